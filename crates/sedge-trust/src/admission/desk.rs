//! The one who opens: asks the modes in order, and takes what a person decides.

use sedge_base::{NodeId, Timestamp};

use super::book::{Book, PickError};
use super::pair_token::{Issued, PairToken};
use super::record::{Approval, Ban, Record, Session};
use super::refusal::Refusal;
use super::{Knock, Mode, Verdict};

/// Asks the modes in their order (origins, part 5.1: composite): the first that lets somebody in, or
/// makes them wait, decides; with none, the last one's reason is told.
#[derive(Debug)]
pub struct Desk {
    modes: Vec<Box<dyn Mode>>,
    book: Book,
}

/// What became of a knock, and what has to be on disk before anybody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What to answer.
    pub verdict: Verdict,
    /// What to put on disk first.
    pub records: Vec<Record>,
    /// The mode and reason of every no on the way, for the log and the audit.
    pub refusals: Vec<(&'static str, Refusal)>,
}

/// What a person's yes leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// The approval, to be put on disk before anybody is told.
    pub approval: Approval,
    /// Those who claimed the same name with other keys, and wait no longer.
    pub ousted: Vec<NodeId>,
}

impl Desk {
    /// Makes a desk that asks these modes.
    pub const fn new(modes: Vec<Box<dyn Mode>>, book: Book) -> Self {
        Self { modes, book }
    }

    /// Returns the names of the modes, in order.
    pub fn modes(&self) -> Vec<&'static str> {
        self.modes.iter().map(|it| it.name()).collect()
    }

    /// Returns what is remembered.
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// Judges a knock.
    pub fn knock(&mut self, knock: &Knock<'_>) -> Judged {
        let peer = knock.peer();
        let refused = |refusal: Refusal| Judged {
            verdict: Verdict::Refused(refusal.clone()),
            records: Vec::new(),
            refusals: vec![("desk", refusal)],
        };
        if let Some(Ban { until, reason, .. }) = self.book.ban_of(&peer, knock.now) {
            return refused(Refusal::Banned { until: *until, reason: reason.clone() });
        }
        let name = knock.name();
        if knock.name_taken || self.book.is_approved_for_another(name, &peer) {
            return refused(Refusal::IdInUse { name: name.to_owned() });
        }
        self.judge(knock, 0, Vec::new())
    }

    /// Goes on with a knock that a person rejected: the modes behind the one that made it wait.
    pub fn go_on(&mut self, knock: &Knock<'_>) -> Judged {
        let at = self.modes.iter().position(|it| it.asks_a_person());
        let (name, next) = at.map_or(("desk", 0), |it| (self.modes[it].name(), it + 1));
        self.judge(knock, next, vec![(name, Refusal::Rejected)])
    }

    fn judge(
        &mut self,
        knock: &Knock<'_>,
        from: usize,
        mut refusals: Vec<(&'static str, Refusal)>,
    ) -> Judged {
        let (peer, now) = (knock.peer(), knock.now);
        let mut records = Vec::new();
        for mode in self.modes.iter().skip(from) {
            // A secret that was told once must not undo the owner's own decision.
            let verdict = if knock.revoked && !mode.asks_a_person() {
                Verdict::Refused(Refusal::Revoked)
            } else {
                mode.judge(knock, &mut self.book, &mut records)
            };
            match verdict {
                Verdict::Refused(refusal) => {
                    let guessed = refusal.is_wrong_proof();
                    refusals.push((mode.name(), refusal.clone()));
                    let ban = guessed.then(|| self.book.wrong_proof(peer, now)).flatten();
                    if let Some(ban) = ban {
                        records.push(Record::Ban(ban));
                        return Judged { verdict: Verdict::Refused(refusal), records, refusals };
                    }
                }
                Verdict::Waits => return Judged { verdict: Verdict::Waits, records, refusals },
                Verdict::Admitted(grant) => {
                    self.book.right_proof(&peer);
                    self.book.stop_waiting(&peer);
                    let session = Session {
                        node: peer,
                        name: knock.name().to_owned(),
                        mode: grant.mode.to_owned(),
                        trust: grant.trust,
                        began: now,
                        ends: grant.ends,
                    };
                    self.book.keep(Record::Session(session.clone()));
                    records.push(Record::Session(session));
                    return Judged { verdict: Verdict::Admitted(grant), records, refusals };
                }
            }
        }
        let last = refusals.last().map_or(Refusal::NoModes, |(_, it)| it.clone());
        Judged { verdict: Verdict::Refused(last), records, refusals }
    }

    /// Says yes to a node that waits, named by its key, the beginning of its key (16 characters at
    /// least) or, if nobody else claims it, its name.
    ///
    /// # Errors
    ///
    /// [`PickError`] when nobody waits under that name, or several do.
    pub fn approve(&mut self, who: &str, now: Timestamp) -> Result<Approved, PickError> {
        let waiting = self.book.pick_waiting(who)?;
        let (approval, ousted) = self.book.approve(&waiting, now)?;
        Ok(Approved { approval, ousted })
    }

    /// Says no to a node that waits; it may ask again.
    ///
    /// # Errors
    ///
    /// As [`Desk::approve`].
    pub fn reject(&mut self, who: &str) -> Result<NodeId, PickError> {
        let node = self.book.pick_waiting(who)?.node;
        self.book.stop_waiting(&node);
        Ok(node)
    }

    /// Bans a node, and returns what holds now, to be put on disk: a ban that lasts longer stays.
    pub fn ban(&mut self, ban: Ban) -> Ban {
        self.book.ban(ban)
    }

    /// Lifts a ban; returns whether there was one, to be taken off the disk.
    pub fn unban(&mut self, node: &NodeId) -> bool {
        self.book.unban(node)
    }

    /// Keeps a pairing token that was made; returns what to put on disk.
    ///
    /// # Errors
    ///
    /// [`PickError::Full`].
    pub fn issue(
        &mut self,
        token: &PairToken,
        now: Timestamp,
        ttl: std::time::Duration,
    ) -> Result<Issued, PickError> {
        let issued = token.issue(now, ttl);
        self.book.issue(issued.clone(), now)?;
        Ok(issued)
    }

    /// Forgets that a node was let in, because its membership was taken back; returns what to take
    /// off the disk.
    pub fn forget(&mut self, node: &NodeId) -> Vec<Record> {
        self.book.forget(node)
    }
}

#[cfg(test)]
mod tests;
