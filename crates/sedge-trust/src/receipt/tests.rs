//! Receipts: what passes and what is refused.

use proptest::prelude::*;

use super::*;

pub(crate) fn executor() -> Identity {
    Identity::from_bytes(&[1; 64])
}

pub(crate) fn requester() -> Identity {
    Identity::from_bytes(&[2; 64])
}

pub(crate) fn keys() -> VerifyKeys {
    VerifyKeys { executor: executor().node_id(), requester: requester().node_id() }
}

pub(crate) fn body(sequence: u64, previous: Option<ContentId>) -> Body {
    Body {
        version: Version::V1,
        swarm_id: SwarmId::of_key(&[1; 32]),
        task_id: "task-001".parse().unwrap(),
        task_hash: ContentId::of(b"task"),
        capability: "fn-1".to_owned(),
        artifact_hash: Some(ContentId::of(b"module")),
        input_hash: ContentId::of(b"input"),
        output_hash: ContentId::of(b"output"),
        budgets: Budgets { fuel: 1_000_000, memory_bytes: 1 << 27, time_ms: 30_000 },
        used: Used { fuel: 5, peak_memory_bytes: 1 << 16, time_ms: 2, tokens_in: 0, tokens_out: 0 },
        status: Status::Success,
        rung: Rung::ReRunnable,
        executor: executor().node_id(),
        requester: requester().node_id(),
        started_ms: 1_700_000_000_000,
        ended_ms: 1_700_000_000_002,
        sequence,
        previous,
        profile: None,
    }
}

pub(crate) fn receipt() -> Receipt {
    let mut receipt = Receipt::sign(body(0, None), &executor()).unwrap();
    receipt.countersign(&requester()).unwrap();
    receipt
}

#[test]
fn both_signatures_verify() {
    let receipt = receipt();
    let verified = receipt.verify(&keys()).unwrap();
    assert!(verified.countersigned);
    assert_eq!(verified.id, receipt.id().unwrap());
}

#[test]
fn an_altered_output_hash_fails() {
    let mut receipt = receipt();
    receipt.body.output_hash = ContentId::of(b"another output");
    assert!(matches!(receipt.verify(&keys()), Err(VerifyError::Executor(_))));
}

#[test]
fn the_executor_cannot_change_what_the_requester_confirmed() {
    let mut altered = receipt();
    altered.body.used.fuel += 1;
    let again = Receipt::sign(altered.body.clone(), &executor()).unwrap();
    altered.executor_signature = again.executor_signature;
    assert!(matches!(altered.verify(&keys()), Err(VerifyError::Requester(_))));
}

#[test]
fn keys_come_from_outside() {
    let stranger = Identity::from_bytes(&[3; 64]);
    let mut forged = body(0, None);
    forged.executor = stranger.node_id();
    let forged = Receipt::sign(forged, &stranger).unwrap();
    assert!(matches!(forged.verify(&keys()), Err(VerifyError::OtherExecutor { .. })));
    assert!(matches!(Receipt::sign(body(0, None), &stranger), Err(SignError::OtherNode { .. })));
    assert!(matches!(receipt().countersign(&stranger), Err(SignError::OtherNode { .. })));
}

#[test]
fn contradictions_are_refused() {
    let mut backwards = body(0, None);
    backwards.ended_ms = 0;
    assert_eq!(backwards.check(), Err(BodyError::Times));
    assert_eq!(body(1, None).check(), Err(BodyError::Previous));
    assert_eq!(body(0, Some(ContentId::of(b""))).check(), Err(BodyError::Previous));
    let mut nameless = body(0, None);
    nameless.capability.clear();
    assert_eq!(nameless.check(), Err(BodyError::Capability));
    let profile = || Some("sedge-lm-1".to_owned());
    let replayable = Body { rung: Rung::BitReplayable, profile: profile(), ..body(0, None) };
    assert_eq!(replayable.check(), Ok(()));
    let unnamed = Body { profile: None, ..replayable.clone() };
    assert_eq!(unnamed.check(), Err(BodyError::Profile));
    let long = Body { profile: Some("x".repeat(MAX_PROFILE_BYTES + 1)), ..replayable };
    assert_eq!(long.check(), Err(BodyError::Profile));
    let useless = Body { profile: profile(), ..body(0, None) };
    assert_eq!(useless.check(), Err(BodyError::Profile));
}

proptest! {
    #[test]
    fn a_flipped_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let export = Export::new(vec![receipt()]);
        let mut bytes = export.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let accepted = Export::decode(&bytes)
            .is_ok_and(|it| it.receipts().iter().all(|it| it.verify(&keys()).is_ok()));
        prop_assert!(!accepted, "byte {at}, bit {bit}");
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(Export::decode(&bytes).is_err());
    }
}
