//! What is remembered about those who knocked: approvals, who waits, bans, pairing tokens, sessions.

use std::collections::BTreeMap;
use std::time::Duration;

use sedge_base::{ErrorKind, NodeId, Timestamp};

use super::attempts::{ATTEMPTS_WITHIN, Attempts, BAN_TIME, MAX_ATTEMPTS};
use super::pair_token::{Issued, MAX_PAIR_TOKENS, PairTokenId};
use super::record::{Approval, Ban, KEPT_AFTER, Record, Session};
use super::refusal::Refusal;

/// The most requests that wait for a person; those that nobody asked about for longest make room.
pub const MAX_WAITING: usize = 64;

/// How long a request stays on the list after its node asked for the last time.
pub const WAITING_TIME: Duration = Duration::from_secs(60 * 60);

/// The most approvals, the most bans and the most sessions that are kept.
pub const MAX_APPROVALS: usize = 4096;

/// How many characters of a key a person must type at least: too many to look for on purpose.
const MIN_PREFIX: usize = 16;

/// A node that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The node: its key.
    pub node: NodeId,
    /// The name that it claims; others may claim it too.
    pub name: String,
    /// When it asked first.
    pub since: Timestamp,
    /// When it asked last.
    pub seen: Timestamp,
}

/// Why a text names nobody who is known at the door.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickError {
    /// Nobody fits.
    #[error("no pending request for `{text}`")]
    Nobody {
        /// What was asked for.
        text: String,
    },
    /// Several have that name.
    #[error("several nodes ask as `{text}`; say which one by its key: {}", short(keys))]
    Several {
        /// What was asked for.
        text: String,
        /// Their keys.
        keys: Vec<NodeId>,
    },
    /// There is no room for another record.
    #[error("as many are kept as can be kept; {what} first")]
    Full {
        /// What makes room.
        what: &'static str,
    },
}

impl PickError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Nobody { .. } => ErrorKind::NotFound,
            Self::Several { .. } => ErrorKind::Invalid,
            Self::Full { .. } => ErrorKind::Exhausted,
        }
    }

    /// Returns the stable name that machines read.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Nobody { .. } => "no_request",
            Self::Several { .. } => "several_requests",
            Self::Full { .. } => "admission_full",
        }
    }
}

fn short(keys: &[NodeId]) -> String {
    let shown = |it: &NodeId| it.to_string()[..MIN_PREFIX].to_owned();
    keys.iter().map(shown).collect::<Vec<_>>().join(", ")
}

/// The book of the door. What must survive a restart leaves it as [`Record`]s.
#[derive(Debug, Default)]
pub struct Book {
    approvals: BTreeMap<NodeId, Approval>,
    waiting: BTreeMap<NodeId, Waiting>,
    bans: BTreeMap<NodeId, Ban>,
    pair_tokens: BTreeMap<PairTokenId, Issued>,
    sessions: BTreeMap<NodeId, Session>,
    attempts: Attempts,
}

impl Book {
    /// Takes in what was kept; what ended long ago is left out.
    pub fn load(records: Vec<Record>, now: Timestamp) -> Self {
        let mut book = Self::default();
        for record in records {
            if record.ends().is_none_or(|it| now < it.plus(KEPT_AFTER)) {
                book.keep(record);
            }
        }
        book
    }

    /// Writes a record into the book, in place of the one that it replaces.
    pub(super) fn keep(&mut self, record: Record) {
        match record {
            Record::Approval(it) => drop(self.approvals.insert(it.node, it)),
            Record::Ban(it) => drop(self.bans.insert(it.node, it)),
            Record::PairToken(it) => drop(self.pair_tokens.insert(it.id, it)),
            Record::Session(it) => {
                self.sessions.insert(it.node, it);
                // More than there are members: the oldest says least.
                if self.sessions.len() > MAX_APPROVALS {
                    let oldest = self.sessions.values().min_by_key(|it| it.began);
                    let oldest = oldest.map(|it| it.node);
                    oldest.map(|it| self.sessions.remove(&it));
                }
            }
        }
    }

    /// Returns who waits for a person, those who came first at the beginning.
    pub fn waiting(&self) -> Vec<Waiting> {
        let mut all: Vec<_> = self.waiting.values().cloned().collect();
        all.sort_by_key(|it| (it.since, it.node));
        all
    }

    /// Returns the approvals, oldest first.
    pub fn approvals(&self) -> Vec<Approval> {
        let mut all: Vec<_> = self.approvals.values().cloned().collect();
        all.sort_by_key(|it| (it.at, it.node));
        all
    }

    /// Returns the bans that hold at `now`, by their ends.
    pub fn bans(&self, now: Timestamp) -> Vec<Ban> {
        let mut all: Vec<_> = self.bans.values().filter(|it| now < it.until).cloned().collect();
        all.sort_by_key(|it| (it.until, it.node));
        all
    }

    /// Returns the pairing tokens that are kept, oldest first.
    pub fn pair_tokens(&self) -> Vec<Issued> {
        let mut all: Vec<_> = self.pair_tokens.values().cloned().collect();
        all.sort_by_key(|it| (it.at, it.id));
        all
    }

    /// Returns how the members came in that were admitted here, oldest first.
    pub fn sessions(&self) -> Vec<Session> {
        let mut all: Vec<_> = self.sessions.values().cloned().collect();
        all.sort_by_key(|it| (it.began, it.node));
        all
    }

    /// Returns the approval of a node.
    pub fn approval(&self, node: &NodeId) -> Option<&Approval> {
        self.approvals.get(node)
    }

    /// Returns whether another key was approved under a name.
    pub(super) fn is_approved_for_another(&self, name: &str, node: &NodeId) -> bool {
        self.approvals.values().any(|it| it.name == name && it.node != *node)
    }

    /// Returns the ban of a node that holds at `now`.
    pub(super) fn ban_of(&self, node: &NodeId, now: Timestamp) -> Option<&Ban> {
        self.bans.get(node).filter(|it| now < it.until)
    }

    /// Finds a node by its key, the beginning of its key (16 characters at least), or its name, among
    /// those that wait.
    pub(super) fn pick_waiting(&self, text: &str) -> Result<Waiting, PickError> {
        let long = text.len() >= MIN_PREFIX;
        let by_key = |it: &&Waiting| long && it.node.to_string().starts_with(text);
        if let Some(found) = self.waiting.values().find(by_key) {
            return Ok(found.clone());
        }
        let named: Vec<_> = self.waiting.values().filter(|it| it.name == text).collect();
        match named[..] {
            [] => Err(PickError::Nobody { text: text.to_owned() }),
            [one] => Ok(one.clone()),
            _ => {
                let keys = named.iter().map(|it| it.node).collect();
                Err(PickError::Several { text: text.to_owned(), keys })
            }
        }
    }

    /// Finds any node that is in the book, as `pick_waiting` does.
    pub fn pick(&self, text: &str) -> Option<NodeId> {
        let known = |(node, name): (&NodeId, &str)| {
            let by_key = text.len() >= MIN_PREFIX && node.to_string().starts_with(text);
            (by_key || name == text).then_some(*node)
        };
        let waiting = self.waiting.values().map(|it| (&it.node, it.name.as_str()));
        let approved = self.approvals.values().map(|it| (&it.node, it.name.as_str()));
        let sessions = self.sessions.values().map(|it| (&it.node, it.name.as_str()));
        let banned = self.bans.keys().map(|it| (it, ""));
        waiting.chain(approved).chain(sessions).chain(banned).find_map(known)
    }

    /// Puts a node on the list of those that wait, or notes that it asks again.
    pub(super) fn wait(&mut self, node: NodeId, name: &str, now: Timestamp) -> Result<(), Refusal> {
        self.waiting.retain(|_, it| now.since(it.seen) < WAITING_TIME);
        if !self.waiting.contains_key(&node) && self.waiting.len() >= MAX_WAITING {
            return Err(Refusal::Full);
        }
        let since = self.waiting.get(&node).filter(|it| it.name == name).map_or(now, |it| it.since);
        self.waiting.insert(node, Waiting { node, name: name.to_owned(), since, seen: now });
        Ok(())
    }

    /// Turns a request into an approval; returns it, and those who claimed the same name with other
    /// keys: they wait no longer.
    pub(super) fn approve(
        &mut self,
        waiting: &Waiting,
        now: Timestamp,
    ) -> Result<(Approval, Vec<NodeId>), PickError> {
        let Waiting { node, name, .. } = waiting;
        if !self.approvals.contains_key(node) && self.approvals.len() >= MAX_APPROVALS {
            return Err(PickError::Full { what: "revoke nodes that you do not need" });
        }
        let same = |it: &&Waiting| it.name == *name && it.node != *node;
        let ousted: Vec<_> = self.waiting.values().filter(same).map(|it| it.node).collect();
        for it in ousted.iter().chain([node]) {
            self.waiting.remove(it);
        }
        let approval = Approval { node: *node, name: name.clone(), at: now };
        self.approvals.insert(*node, approval.clone());
        Ok((approval, ousted))
    }

    /// Takes a node off the list of those that wait; returns whether it was on it.
    pub(super) fn stop_waiting(&mut self, node: &NodeId) -> bool {
        self.waiting.remove(node).is_some()
    }

    /// Notes a wrong proof; returns the ban that it leads to, if it does.
    pub(super) fn wrong_proof(&mut self, node: NodeId, now: Timestamp) -> Option<Ban> {
        if !self.attempts.wrong(node, now) {
            return None;
        }
        let minutes = ATTEMPTS_WITHIN.as_secs() / 60;
        let reason = format!("{MAX_ATTEMPTS} wrong proofs within {minutes} minutes");
        Some(self.ban(Ban { node, at: now, until: now.plus(BAN_TIME), reason }))
    }

    pub(super) fn right_proof(&mut self, node: &NodeId) {
        self.attempts.right(node);
    }

    /// Bans a node; a ban that holds longer stays.
    pub(super) fn ban(&mut self, ban: Ban) -> Ban {
        if let Some(known) = self.bans.get(&ban.node).filter(|it| it.until >= ban.until) {
            return known.clone();
        }
        if !self.bans.contains_key(&ban.node) && self.bans.len() >= MAX_APPROVALS {
            // The one that ends first makes room: it is over, or the nearest to it.
            let first = self.bans.values().min_by_key(|it| it.until).map(|it| it.node);
            first.map(|it| self.bans.remove(&it));
        }
        self.waiting.remove(&ban.node);
        self.bans.insert(ban.node, ban.clone());
        ban
    }

    /// Lifts a ban; returns whether there was one.
    pub(super) fn unban(&mut self, node: &NodeId) -> bool {
        self.attempts.right(node);
        self.bans.remove(node).is_some()
    }

    /// Keeps a pairing token that was made.
    pub(super) fn issue(&mut self, issued: Issued, now: Timestamp) -> Result<(), PickError> {
        self.pair_tokens.retain(|_, it| now < it.expires.plus(KEPT_AFTER));
        if self.pair_tokens.len() >= MAX_PAIR_TOKENS {
            return Err(PickError::Full { what: "wait until older pairing tokens are forgotten" });
        }
        self.pair_tokens.insert(issued.id, issued);
        Ok(())
    }

    /// Returns a pairing token that was made here.
    pub(super) fn pair_token(&mut self, id: &PairTokenId) -> Option<&mut Issued> {
        self.pair_tokens.get_mut(id)
    }

    /// Forgets that a node was let in, when its membership is taken back; returns what it was.
    pub(super) fn forget(&mut self, node: &NodeId) -> Vec<Record> {
        let approval = self.approvals.remove(node).map(Record::Approval);
        let session = self.sessions.remove(node).map(Record::Session);
        approval.into_iter().chain(session).collect()
    }
}
