//! Envelopes: what is accepted and what is refused.

use std::time::Duration;

use proptest::prelude::*;

pub(crate) use super::super::registration::tests::registry;
use super::super::registration::tests::{NOW, identity, swarm};
use super::*;

fn key() -> SessionKey {
    SessionKey::from_bytes([1; 32])
}

fn outbox(number: u8) -> Outbox {
    Outbox::new(identity(number), swarm(), format!("peer-00{number}"), 1)
}

fn envelope() -> Envelope {
    outbox(1).seal("chat", b"Hello, swarm!", &key(), NOW).unwrap()
}

/// Changes a header and signs it again with `by`'s key.
fn sealed_again(header: Header, by: &Identity) -> Envelope {
    let text = canonical::jcs(&header).unwrap();
    let sealed = Sealed::seal(&key(), b"Hello, swarm!", &text).unwrap();
    Envelope { header, sealed, signature: by.sign(&text) }
}

struct Receiver {
    registry: Registry,
    window: ReplayWindow,
}

impl Receiver {
    fn new() -> Self {
        Self { registry: registry(), window: ReplayWindow::new() }
    }

    fn deliver(&mut self, envelope: &Envelope) -> Result<Vec<u8>, OpenError> {
        self.deliver_at(envelope, NOW)
    }

    fn deliver_at(&mut self, envelope: &Envelope, now: Timestamp) -> Result<Vec<u8>, OpenError> {
        let opened = envelope.open(&self.registry, &mut self.window, &key(), now)?;
        Ok(opened.payload)
    }
}

#[test]
fn an_honest_envelope_is_accepted_after_travelling() {
    let bytes = envelope().encode().unwrap();
    let read = Envelope::decode(&bytes).unwrap();
    let (registry, mut window) = (registry(), ReplayWindow::new());
    let opened = read.open(&registry, &mut window, &key(), NOW).unwrap();
    assert_eq!(opened.payload, b"Hello, swarm!");
    assert_eq!(opened.sender, identity(1).node_id());
}

#[test]
fn row_009_old_early_repeated_and_miscounted_envelopes_are_refused() {
    let honest = envelope();
    let at = |ms| Timestamp::from_millis(NOW.as_millis() + ms);
    let before = |ms| Timestamp::from_millis(NOW.as_millis() - ms);
    let mut receiver = Receiver::new();

    let old = receiver.deliver_at(&honest, at(300_001)).unwrap_err();
    let by = Duration::from_millis(1);
    assert!(matches!(old, OpenError::Replay(ReplayError::TooOld { by: it }) if it == by));
    assert!(Receiver::new().deliver_at(&honest, at(300_000)).is_ok());

    let early = receiver.deliver_at(&honest, before(61_000)).unwrap_err();
    let by = Duration::from_secs(1);
    assert!(matches!(early, OpenError::Replay(ReplayError::FromFuture { by: it }) if it == by));
    assert!(Receiver::new().deliver_at(&honest, before(60_000)).is_ok());

    assert!(receiver.deliver(&honest).is_ok());
    let same_nonce = sealed_again(Header { counter: 2, ..honest.header.clone() }, &identity(1));
    let repeated = receiver.deliver(&same_nonce).unwrap_err();
    assert!(matches!(repeated, OpenError::Replay(ReplayError::Repeated)));

    let nonce = Nonce::from_bytes([9; 16]);
    let same_counter = sealed_again(Header { nonce, ..honest.header }, &identity(1));
    let miscounted = receiver.deliver(&same_counter).unwrap_err();
    let counter = ReplayError::Counter { last: 1, got: 1 };
    assert!(matches!(miscounted, OpenError::Replay(it) if it == counter));
}

#[test]
fn row_010_a_forged_counter_does_not_shut_out_the_honest_sender() {
    let mut receiver = Receiver::new();
    let honest = envelope();
    for counter in [u64::MAX, canonical::MAX_INTEGER] {
        let mut forged = honest.clone();
        forged.header.counter = counter;
        forged.header.nonce = Nonce::from_bytes([9; 16]);
        assert!(receiver.deliver(&forged).is_err());
    }
    // Even with the honest header and signature, a damaged text must not use them up.
    let mut damaged = honest.clone();
    damaged.sealed.ciphertext[0] ^= 1;
    assert!(matches!(receiver.deliver(&damaged), Err(OpenError::Decrypt(_))));
    assert_eq!(receiver.window.remembered(), 0);
    assert_eq!(receiver.window.last_counter(&identity(1).node_id()), 0);
    assert_eq!(receiver.deliver(&honest).unwrap(), b"Hello, swarm!");
}

#[test]
fn row_026_a_text_under_another_header_does_not_decrypt() {
    let mut outbox = outbox(1);
    // The same payload twice, so that the signed payload hash cannot tell them apart.
    let mut first = outbox.seal("chat", b"Hello, swarm!", &key(), NOW).unwrap();
    let mut second = outbox.seal("chat", b"Hello, swarm!", &key(), NOW).unwrap();
    std::mem::swap(&mut first.sealed, &mut second.sealed);
    let mut receiver = Receiver::new();
    assert!(matches!(receiver.deliver(&first), Err(OpenError::Decrypt(_))));
    assert!(matches!(receiver.deliver(&second), Err(OpenError::Decrypt(_))));
    std::mem::swap(&mut first.sealed, &mut second.sealed);
    assert!(receiver.deliver(&first).is_ok());
    assert!(receiver.deliver(&second).is_ok());
}

#[test]
fn an_envelope_has_no_room_for_a_key() {
    let bytes = String::from_utf8(envelope().encode().unwrap()).unwrap();
    let with_key = bytes.replacen('{', &format!("{{\"a\":\"{}\",", identity(3).node_id()), 1);
    assert!(matches!(Envelope::decode(with_key.as_bytes()), Err(ReadError::Form(_))));
}

#[test]
fn only_the_registered_key_speaks_for_an_id() {
    let mut receiver = Receiver::new();
    for thief in [2, 3] {
        let forged = sealed_again(envelope().header, &identity(thief));
        let refused = receiver.deliver(&forged).unwrap_err();
        let owner = identity(1).node_id();
        assert!(
            matches!(refused, OpenError::Signature(BadSignature { signer }) if signer == owner)
        );
    }
    let unknown = outbox(3).seal("chat", b"", &key(), NOW).unwrap();
    let refused = receiver.deliver(&unknown).unwrap_err().to_string();
    assert_eq!(refused, "sender `peer-003` is not in the registry");
}

#[test]
fn another_swarm_another_key_and_another_payload_are_refused() {
    let mut elsewhere = outbox(1);
    elsewhere.swarm = SwarmId::of_key(&[2; 32]);
    let elsewhere = elsewhere.seal("chat", b"", &key(), NOW).unwrap();
    let mut receiver = Receiver::new();
    assert!(matches!(receiver.deliver(&elsewhere), Err(OpenError::OtherSwarm)));
    let other_key = SessionKey::from_bytes([2; 32]);
    let other_key = outbox(1).seal("chat", b"", &other_key, NOW).unwrap();
    assert!(matches!(receiver.deliver(&other_key), Err(OpenError::Decrypt(_))));
    let payload_hash = ContentId::of(b"another");
    let lying = sealed_again(Header { payload_hash, ..envelope().header }, &identity(1));
    assert!(matches!(receiver.deliver(&lying), Err(OpenError::PayloadHash)));
}

#[test]
fn what_is_too_long_is_not_sealed() {
    let mut outbox = outbox(1);
    let long = vec![0; MAX_PAYLOAD_BYTES + 1];
    let refused = outbox.seal("chat", &long, &key(), NOW);
    assert!(matches!(refused, Err(SealError::Payload { .. })));
    let long = "x".repeat(MAX_TOPIC_BYTES + 1);
    for topic in ["", long.as_str()] {
        assert!(matches!(outbox.seal(topic, b"", &key(), NOW), Err(SealError::Topic)));
    }
    assert_eq!(outbox.next_counter(), 1);
}

proptest! {
    #[test]
    fn a_flipped_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = envelope().encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let accepted =
            Envelope::decode(&bytes).is_ok_and(|it| Receiver::new().deliver(&it).is_ok());
        prop_assert!(!accepted, "byte {at}, bit {bit}");
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(Envelope::decode(&bytes).is_err());
    }
}
