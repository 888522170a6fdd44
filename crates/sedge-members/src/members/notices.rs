//! Members that this node does not talk to: what others pass on of them, and how they stand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{ContentId, NodeId};
use tokio::time::Instant;

use super::{Known, Members, State};
use crate::{Advert, Held, Notice, Presence, Pulse, Source};

/// After how long without a word a member is not thought to be there any more.
pub const STALE: Duration = Duration::from_secs(30);
/// What was new in a notice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Noticed {
    /// It is newer than what was kept.
    pub news: bool,
    /// The member is somewhere else than was known.
    pub moved: bool,
}

impl Known {
    /// Takes up what it signed, when it is there and has not told more itself.
    fn fill(&mut self) {
        if self.presence() != Presence::Online {
            return;
        }
        let Some((advert, _)) = &self.notice else { return };
        if self.advert.as_ref().is_none_or(|it| it.serial < advert.serial) {
            self.about = advert.about.clone();
            self.advert = Some(advert.clone());
        }
    }
}

impl Members {
    /// Takes in what a member signed about itself, which was verified. It does not prove that the member
    /// is there.
    pub fn noticed(&self, notice: Arc<Notice>, advert: Advert) -> Noticed {
        let node = notice.node;
        let State { list, book, .. } = &mut *self.write();
        let Some(known) = list.get_mut(&node) else { return Noticed::default() };
        if known.notice.as_ref().is_some_and(|(old, _)| old.serial >= advert.serial) {
            return Noticed::default();
        }
        let moved = book.note(node, &advert.addresses, Source::Itself, self.clock.now());
        known.notice = Some((advert, notice));
        known.fill();
        Noticed { news: true, moved }
    }

    /// Takes in what changes all the time; it counts for the notice whose number it carries.
    pub fn pulsed(&self, node: &NodeId, pulse: &Pulse) {
        let mut state = self.write();
        let Some(known) = state.list.get_mut(node) else { return };
        if let Some(advert) = known.advert.as_mut().filter(|it| it.serial == pulse.serial) {
            pulse.bring(advert);
        }
    }

    /// Notes that the swarm hears of a member.
    pub fn alive(&self, node: &NodeId) {
        let now = self.clock.now();
        if let Some(known) = self.write().list.get_mut(node) {
            known.last_seen = Some(now);
            known.seen_at = Some(Instant::now());
            known.reason = None;
            known.full = false;
            known.fill();
        }
    }

    /// Notes that nobody has an answer of a member at the moment; what it offers is kept.
    pub fn doubted(&self, node: &NodeId, reason: &str) {
        if let Some(known) = self.write().list.get_mut(node)
            && known.reason.is_none()
        {
            known.reason = Some(reason.to_owned());
        }
    }

    /// Returns whether a member that is thought to be there was not heard of for long.
    pub fn is_stale(&self, node: &NodeId) -> bool {
        self.read().list.get(node).is_some_and(|known| {
            known.presence() == Presence::Online
                && known.seen_at.is_some_and(|it| it.elapsed() >= STALE)
        })
    }

    /// Notes, for every other member, whether it is there now.
    pub fn check_all(&self) {
        let mut state = self.write();
        for (_, known) in state.list.iter_mut().filter(|(id, _)| **id != self.me) {
            let there = known.presence() == Presence::Online;
            if there || known.last_seen.is_some() {
                known.checks.note(there);
            }
        }
    }

    /// Returns how many members there are, this node included.
    pub fn count(&self) -> usize {
        self.read().list.len()
    }

    /// Returns whose notices are kept, and their numbers.
    pub fn held(&self) -> Vec<Held> {
        let state = self.read();
        let kept = state.list.iter().filter_map(|(id, it)| Some((id, &it.notice.as_ref()?.0)));
        kept.map(|(node, it)| Held { node: *node, serial: it.serial }).collect()
    }

    /// Returns the hash of all notices: equal collections have equal hashes.
    pub fn notices_hash(&self) -> ContentId {
        let mut text = Vec::new();
        for Held { node, serial } in self.held() {
            text.extend_from_slice(node.as_bytes());
            text.extend_from_slice(&serial.to_le_bytes());
        }
        ContentId::of(&text)
    }

    /// Returns the notices that somebody who has these lacks: some `most` bytes of them, or one.
    pub fn notices_beyond(&self, held: &[Held], most: usize) -> Vec<Notice> {
        let has: BTreeMap<NodeId, u64> = held.iter().map(|it| (it.node, it.serial)).collect();
        let (mut beyond, mut size) = (Vec::new(), 0);
        let state = self.read();
        for (node, known) in &state.list {
            let Some((advert, notice)) = &known.notice else { continue };
            if has.get(node).is_some_and(|it| *it >= advert.serial) {
                continue;
            }
            size += notice.text.len();
            if size > most && !beyond.is_empty() {
                break;
            }
            beyond.push(Notice::clone(notice));
        }
        beyond
    }
}

#[cfg(test)]
mod tests {
    use sedge_trust::{Identity, Owner};

    use super::super::tests::{OTHER, three};
    use super::*;
    use crate::notice::FED;
    use crate::pulse::example;

    /// What the other member says of itself, under a number; who signed it was looked at before.
    fn notice(serial: u64, limit: u32) -> (Arc<Notice>, Advert) {
        let advert = Advert { serial, limit, ..example() };
        let notice = Notice::sign(&advert, FED, &Identity::from_bytes(&[5; 64])).unwrap();
        (Arc::new(Notice { node: OTHER, ..notice }), advert)
    }

    fn limit(members: &Members) -> Option<u32> {
        members.get(&OTHER).unwrap().advert.map(|it| it.limit)
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_member_signed_counts_once_it_is_there_and_the_newest_number_wins() {
        let members = three(&Owner::from_seed(&[1; 32]));
        let note = |(notice, advert)| members.noticed(notice, advert).news;
        assert!(note(notice(5, 1)));
        assert!(!note(notice(5, 2)) && !note(notice(4, 3)), "it has a newer one");
        assert_eq!(limit(&members), None, "nobody has heard of it");
        members.alive(&OTHER);
        assert_eq!(limit(&members), Some(1));
        assert!(note(notice(6, 4)));
        assert_eq!(limit(&members), Some(4));
        members.missed(OTHER, "gone".to_owned());
        assert_eq!(limit(&members), None);
        members.alive(&OTHER);
        assert_eq!(limit(&members), Some(4), "it is back, and has not changed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pulse_counts_for_the_notice_whose_number_it_carries() {
        let members = three(&Owner::from_seed(&[1; 32]));
        let (five, advert) = notice(5, 1);
        members.alive(&OTHER);
        members.noticed(five, advert.clone());
        let running = |serial, running| {
            let busy = Advert { running, serial, ..advert.clone() };
            members.pulsed(&OTHER, &Pulse::of(&busy, &busy));
            members.get(&OTHER).unwrap().advert.unwrap().running
        };
        assert_eq!(running(5, 3), 3);
        assert_eq!(running(4, 9), 3);
        assert_eq!(running(6, 9), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn who_compares_gets_what_it_lacks_and_no_more_than_fits() {
        let (one, two) = (three(&Owner::from_seed(&[1; 32])), three(&Owner::from_seed(&[1; 32])));
        let (five, advert) = notice(5, 1);
        one.noticed(Arc::clone(&five), advert);
        assert_ne!(one.notices_hash(), two.notices_hash());
        let given = one.notices_beyond(&two.held(), 0);
        assert_eq!(given, [Notice::clone(&five)], "one at least");
        let (five, advert) = notice(5, 1);
        two.noticed(five, advert);
        assert_eq!(one.notices_hash(), two.notices_hash());
        assert!(one.notices_beyond(&two.held(), 1 << 20).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_not_heard_of_for_long_is_not_thought_to_be_there() {
        let members = three(&Owner::from_seed(&[1; 32]));
        assert!(!members.is_stale(&OTHER), "it was never thought to be there");
        members.alive(&OTHER);
        tokio::time::advance(STALE - Duration::from_secs(1)).await;
        assert!(!members.is_stale(&OTHER));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(members.is_stale(&OTHER));
        members.doubted(&OTHER, "it is silent");
        assert_eq!(members.get(&OTHER).unwrap().presence(), Presence::Offline);
        assert!(members.get(&OTHER).unwrap().reason.is_some());
    }
}
