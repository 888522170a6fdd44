//! Fences grow, dates do not go back, nothing grows without bounds.

use std::collections::BTreeSet;

use openraft::testing::blank_ent;
use proptest::prelude::*;

use super::*;
use crate::voter::{Types, Voter};

/// A log that is written entry by entry.
#[derive(Default)]
struct Written {
    state: State,
    next: u64,
    term: u64,
    leader: u64,
}

impl Written {
    fn led_by(leader: u64) -> Self {
        let mut written = Self::default();
        written.elect(leader);
        written
    }

    fn elect(&mut self, leader: u64) {
        (self.term, self.leader) = (self.term + 1, leader);
        let entry = blank_ent::<Types>(self.term, Voter::from(leader), self.next);
        self.next += 1;
        self.state.apply(entry);
    }

    fn write(&mut self, command: Command) -> Outcome {
        let mut entry = blank_ent::<Types>(self.term, Voter::from(self.leader), self.next);
        entry.payload = EntryPayload::Normal(command);
        self.next += 1;
        self.state.apply(entry)
    }

    fn claim(&mut self, key: &str, holder: u64, ttl_ms: u64, at: u64) -> Outcome {
        let (key, holder) = (key.parse().unwrap(), Voter::from(holder).0);
        self.write(Command::Claim { key, holder, ttl_ms, at: Timestamp::from_millis(at) })
    }
}

fn fence(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Claimed(claim) => claim.fence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_claim_has_one_holder_and_each_new_holder_a_greater_fence() {
    let mut log = Written::led_by(1);
    let first = log.claim("a", 7, 1000, 100);
    assert_eq!(fence(&first), 2, "the coordinator has 1");
    assert!(matches!(log.claim("a", 8, 1000, 200), Outcome::Held(it) if it.fence == 2));
    assert_eq!(fence(&log.claim("a", 7, 1000, 300)), 2, "its holder keeps it longer");
    assert!(matches!(log.claim("a", 8, 1000, 1299), Outcome::Held(_)));
    assert_eq!(fence(&log.claim("a", 8, 1000, 1300)), 3, "it has ended");
    let key: Key = "a".parse().unwrap();
    let release = |holder: u64, fence| Command::Release {
        key: key.clone(),
        holder: Voter::from(holder).0,
        fence,
    };
    assert_eq!(log.write(release(7, 2)), Outcome::Released(false));
    assert_eq!(log.write(release(8, 2)), Outcome::Released(false));
    assert_eq!(log.write(release(8, 3)), Outcome::Released(true));
    assert_eq!(fence(&log.claim("a", 7, 1000, 1300)), 4);
}

#[test]
fn a_clock_that_goes_back_ends_no_claim_early_and_gives_no_fence_again() {
    let mut log = Written::led_by(1);
    assert_eq!(fence(&log.claim("a", 7, 1000, 5000)), 2);
    log.elect(2);
    // The new coordinator's clock is behind by far: the claim is held until 6000 all the same.
    assert!(matches!(log.claim("a", 8, 1000, 10), Outcome::Held(_)));
    assert_eq!(fence(&log.claim("b", 8, 1000, 10)), 4);
    assert_eq!(log.state.claims.values().map(|it| it.until.as_millis()).max(), Some(6000));
}

#[test]
fn a_coordinator_is_who_wrote_the_first_entry_of_a_term() {
    let mut log = Written::led_by(3);
    assert_eq!(log.state.coordinator().unwrap().node, Voter::from(3).0);
    log.claim("a", 7, 1, 1);
    log.elect(4);
    log.elect(3);
    let seen: Vec<_> = log.state.coordinators.iter().map(|it| (it.fence, it.term)).collect();
    assert_eq!(seen, [(1, 1), (3, 2), (4, 3)]);
}

#[test]
fn nothing_grows_without_bounds() {
    let mut log = Written::led_by(1);
    for number in 0..MAX_CLAIMS {
        fence(&log.claim(&format!("k{number}"), 7, 1000, 0));
    }
    assert_eq!(log.claim("one-more", 7, 1000, 0), Outcome::Full);
    fence(&log.claim("one-more", 7, 1000, 1000));
    assert_eq!(log.state.claims.len(), 1, "what has ended makes room");
    for number in 0..MAX_RECORDS as u64 + 5 {
        let at = Timestamp::from_millis(number);
        let (text, by) = ("line".parse().unwrap(), Voter::from(7).0);
        log.write(Command::Append { text, by, at });
    }
    assert_eq!(log.state.records.len(), MAX_RECORDS);
    assert_eq!(log.state.records.back().unwrap().number, MAX_RECORDS as u64 + 5);
    for leader in 0..100 {
        log.elect(leader % 2);
    }
    assert_eq!(log.state.coordinators.len(), MAX_COORDINATORS);
}

proptest! {
    #[test]
    fn no_fence_is_given_out_twice(
        steps in prop::collection::vec((0_u8..4, 0_u64..3, 0_u64..3, 0_u64..50), 1..80),
    ) {
        let mut log = Written::led_by(0);
        let mut held: BTreeSet<(u64, u64, u64)> = BTreeSet::new();
        let mut last = 1;
        for (what, key, holder, at) in steps {
            if what == 0 {
                log.elect(holder);
                let fence = log.state.coordinator().unwrap().fence;
                prop_assert!(fence > last);
                last = fence;
            } else if let Outcome::Claimed(claim) = log.claim(&key.to_string(), holder, 10, at)
                && held.insert((claim.fence, key, holder))
            {
                prop_assert!(claim.fence > last, "{} after {last}", claim.fence);
                last = claim.fence;
            }
        }
        let json = serde_json::to_string(&log.state).unwrap();
        prop_assert_eq!(serde_json::from_str::<State>(&json).unwrap(), log.state);
    }
}
