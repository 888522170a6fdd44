//! How often somebody may guess: five times in fifteen minutes (origins, part 5.1).
//!
//! Wrong proofs are counted for the key that the transport has proven. Keys cost nothing, so this does
//! not stop whoever makes a new one for each guess: against that, secrets have a least length.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sedge_base::{NodeId, Timestamp};

/// How many wrong proofs lead to a ban.
pub const MAX_ATTEMPTS: usize = 5;

/// Within which time.
pub const ATTEMPTS_WITHIN: Duration = Duration::from_secs(15 * 60);

/// How long a ban for wrong proofs lasts.
pub const BAN_TIME: Duration = Duration::from_secs(15 * 60);

/// The most keys whose wrong proofs are counted; the one that tried least recently makes room.
pub const MAX_COUNTED: usize = 4096;

/// Wrong proofs by key.
#[derive(Debug, Default)]
pub(super) struct Attempts(BTreeMap<NodeId, VecDeque<Timestamp>>);

impl Attempts {
    /// Counts a wrong proof; returns whether it was one too many.
    pub(super) fn wrong(&mut self, node: NodeId, now: Timestamp) -> bool {
        if !self.0.contains_key(&node) && self.0.len() >= MAX_COUNTED {
            self.make_room(now);
        }
        let tried = self.0.entry(node).or_default();
        tried.retain(|it| now.since(*it) < ATTEMPTS_WITHIN);
        tried.push_back(now);
        if tried.len() < MAX_ATTEMPTS {
            return false;
        }
        self.0.remove(&node);
        true
    }

    /// Forgets the wrong proofs of somebody who gave a right one.
    pub(super) fn right(&mut self, node: &NodeId) {
        self.0.remove(node);
    }

    fn make_room(&mut self, now: Timestamp) {
        self.0.retain(|_, tried| tried.back().is_some_and(|it| now.since(*it) < ATTEMPTS_WITHIN));
        if self.0.len() >= MAX_COUNTED
            && let Some(oldest) =
                self.0.iter().min_by_key(|(_, tried)| tried.back().copied()).map(|it| *it.0)
        {
            self.0.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::from_bytes([1; 32]);

    fn at(minutes: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + minutes * 60_000)
    }

    #[test]
    fn five_in_fifteen_minutes_are_one_too_many() {
        let mut attempts = Attempts::default();
        for minute in [0, 3, 6, 9] {
            assert!(!attempts.wrong(NODE, at(minute)));
        }
        assert!(attempts.wrong(NODE, at(14)));
    }

    #[test]
    fn slower_guesses_are_forgotten() {
        let mut attempts = Attempts::default();
        for number in 0..100 {
            assert!(!attempts.wrong(NODE, at(number * 4)), "{number}");
        }
    }

    #[test]
    fn a_right_proof_begins_anew() {
        let mut attempts = Attempts::default();
        for _ in 0..3 {
            for _ in 0..4 {
                assert!(!attempts.wrong(NODE, at(0)));
            }
            attempts.right(&NODE);
        }
    }

    #[test]
    fn strangers_do_not_make_it_grow() {
        let mut attempts = Attempts::default();
        for number in 0..MAX_COUNTED as u64 + 10 {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            attempts.wrong(NodeId::from_bytes(bytes), at(0));
        }
        assert_eq!(attempts.0.len(), MAX_COUNTED);
    }
}
