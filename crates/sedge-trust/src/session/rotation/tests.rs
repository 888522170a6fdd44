//! Two ends of a session, and a clock that only these tests move.

use proptest::prelude::*;
use sedge_base::Clock;

use super::*;
use crate::registration::tests::{NOW, identity, swarm};

const GRACE: Duration = Duration::from_secs(60);

struct End {
    own: Identity,
    session: Session,
}

impl End {
    fn new(own: u8, peer: u8) -> Self {
        let (own, peer) = (identity(own), identity(peer));
        let peer = (peer.node_id(), peer.session_public_key());
        let session = Session::new(&own, peer, swarm(), GRACE).unwrap();
        Self { own, session }
    }

    fn offer(&mut self) -> Rekey {
        self.session.offer(&self.own).unwrap()
    }

    fn receive(&mut self, rekey: &Rekey, now: Timestamp) -> Result<Rotated, RotateError> {
        let travelled = Rekey::decode(&rekey.encode().unwrap()).unwrap();
        self.session.receive(&self.own, &travelled, now)
    }
}

/// Two ends; the first has the smaller node id.
fn ends() -> (End, End) {
    let (a, b) = (End::new(1, 2), End::new(2, 1));
    if a.own.node_id() < b.own.node_id() { (a, b) } else { (b, a) }
}

#[track_caller]
fn answer(rotated: Rotated) -> Rekey {
    let Rotated::Answer(answer) = rotated else { panic!("an answer, not {rotated:?}") };
    *answer
}

fn rotate(from: &mut End, to: &mut End, now: Timestamp) {
    let offer = from.offer();
    let answer = answer(to.receive(&offer, now).unwrap());
    assert_eq!(from.receive(&answer, now).unwrap(), Rotated::Done);
}

#[test]
fn row_008_a_rotated_session_reads_old_messages_only_within_the_grace_time() {
    let clock = Clock::manual(NOW);
    let (mut a, mut b) = ends();
    let first = a.session.key().clone();
    assert_eq!(&first, b.session.key());
    let old: Vec<_> = (0..3).map(|_| a.session.seal(b"before").unwrap()).collect();
    assert_eq!(b.session.open(&old[0], clock.now()).unwrap(), b"before");

    rotate(&mut a, &mut b, clock.now());
    assert_eq!((a.session.epoch(), b.session.epoch()), (1, 1));
    assert_eq!(a.session.key(), b.session.key(), "both ends agree");
    assert_ne!(a.session.key(), &first, "the key is another one");
    let new = a.session.seal(b"after").unwrap();
    assert_eq!((new.epoch, new.counter), (1, 1));
    assert_eq!(b.session.open(&new, clock.now()).unwrap(), b"after");

    clock.advance(GRACE - Duration::from_millis(1));
    assert_eq!(b.session.open(&old[1], clock.now()).unwrap(), b"before");
    clock.advance(Duration::from_millis(1));
    let refused = OpenError::Epoch { named: 0, current: 1 };
    assert_eq!(b.session.open(&old[2], clock.now()), Err(refused));
    assert!(b.session.previous.is_none(), "the key before is gone");
}

#[test]
fn standing_keys_alone_do_not_give_a_later_key() {
    let (mut a, mut b) = ends();
    rotate(&mut a, &mut b, NOW);
    // Somebody with both standing secrets and everything that travelled knows epoch 0 alone.
    let standing = derive(&a.own, &b.own.session_public_key(), swarm()).unwrap();
    let message = a.session.seal(b"secret").unwrap();
    let context = b.session.context((a.own.node_id(), b.own.node_id()), 1, 1);
    assert!(message.sealed.open(&standing, &context).is_err());
    assert!(message.sealed.open(b.session.key(), &context).is_ok());
    assert!(a.session.pending.is_none(), "the fresh secret is gone");
}

#[test]
fn every_rotation_gives_another_key() {
    let (mut a, mut b) = ends();
    let mut seen = vec![a.session.key().clone()];
    for round in 1..=4 {
        let (from, to) = if round % 2 == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
        rotate(from, to, NOW);
        assert_eq!((a.session.epoch(), b.session.epoch()), (round, round));
        assert_eq!(a.session.key(), b.session.key());
        assert!(!seen.contains(a.session.key()));
        seen.push(a.session.key().clone());
    }
}

#[test]
fn two_offers_at_once_end_in_one_epoch() {
    let (mut smaller, mut larger) = ends();
    let (ours, theirs) = (smaller.offer(), larger.offer());
    assert_eq!(smaller.receive(&theirs, NOW).unwrap(), Rotated::OursCounts);
    let answer = answer(larger.receive(&ours, NOW).unwrap());
    assert_eq!(smaller.receive(&answer, NOW).unwrap(), Rotated::Done);
    assert_eq!(smaller.session.key(), larger.session.key());
    assert_eq!((smaller.session.epoch(), larger.session.epoch()), (1, 1));
}

#[test]
fn lost_records_are_sent_again() {
    let (mut a, mut b) = ends();
    let offer = a.offer();
    assert_eq!(a.offer(), offer, "the same until it is answered");
    let lost = answer(b.receive(&offer, NOW).unwrap());
    let again = answer(b.receive(&offer, NOW).unwrap());
    assert_eq!(again, lost);
    assert_eq!(a.receive(&again, NOW).unwrap(), Rotated::Done);
    assert_eq!(a.session.key(), b.session.key());
    assert!(matches!(a.receive(&lost, NOW), Err(RotateError::NotAsked)));
}

#[test]
fn old_forged_and_foreign_records_change_nothing() {
    let (mut a, mut b) = ends();
    let old = a.offer();
    let answered = answer(b.receive(&old, NOW).unwrap());
    a.receive(&answered, NOW).unwrap();
    rotate(&mut b, &mut a, NOW);
    let key = b.session.key().clone();

    let refused = b.receive(&old, NOW).unwrap_err();
    let old_offer = matches!(refused, RotateError::Epoch { named: 1, current: 2 });
    assert!(old_offer, "{refused}");
    let mut forged = a.offer();
    forged.facts.fresh = SessionPublicKey::from_bytes([7; 32]);
    assert!(matches!(b.receive(&forged, NOW), Err(RotateError::Signature(_))));
    let thief = identity(3);
    let mut foreign = forged.facts;
    foreign.from = thief.node_id();
    let foreign = Rekey::sign(foreign, &thief).unwrap();
    assert!(matches!(b.receive(&foreign, NOW), Err(RotateError::OtherSession)));
    let mut weak = a.offer().facts;
    weak.fresh = SessionPublicKey::from_bytes([0; 32]);
    let weak = Rekey::sign(weak, &a.own).unwrap();
    assert!(matches!(b.receive(&weak, NOW), Err(RotateError::Weak(_))));
    assert_eq!((b.session.epoch(), b.session.key()), (2, &key));
}

#[test]
fn messages_are_opened_once_and_only_by_the_peer() {
    let (mut a, mut b) = ends();
    let message = a.session.seal(b"once").unwrap();
    assert!(a.session.open(&message, NOW).is_err(), "not sent back to its sender");
    assert_eq!(b.session.open(&message, NOW).unwrap(), b"once");
    let repeated = OpenError::Repeated { last: 1, got: 1 };
    assert_eq!(b.session.open(&message, NOW), Err(repeated));
    let mut moved = a.session.seal(b"two").unwrap();
    moved.counter = 9;
    assert_eq!(b.session.open(&moved, NOW), Err(OpenError::Cipher(OpenFailed)));
    moved.counter = 2;
    assert_eq!(b.session.open(&moved, NOW).unwrap(), b"two");
    a.session.current.sealed = MAX_SEALED;
    assert_eq!(a.session.seal(b"").unwrap_err(), SealError::Worn);
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(Rekey::decode(&bytes).is_err());
    }

    #[test]
    fn a_flipped_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let (mut a, mut b) = ends();
        let mut bytes = a.offer().encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let accepted = Rekey::decode(&bytes)
            .is_ok_and(|it| b.session.receive(&b.own, &it, NOW).is_ok());
        prop_assert!(!accepted, "byte {at}, bit {bit}");
        prop_assert_eq!(b.session.epoch(), 0);
    }
}
