//! Receipts of the older protocol: the listed bytes, and ours written as one.

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::super::task::tests::task;
use super::*;
use crate::receipt::tests::{body, executor, receipt, requester};
use crate::registration::Registry;
use crate::registration::tests::{NOW, identity, registration, swarm};

fn listed() -> Receipt {
    let task = task();
    Receipt {
        task_id: task.task_id.clone(),
        executor: "executor-001".to_owned(),
        result_cid: "local:result_cid".to_owned(),
        status: Status::Success,
        fuel_used: 500_000,
        memory_peak_mb: 64,
        execution_ms: 1500,
        input_hash: ContentId::from_bytes([1; 32]),
        output_hash: ContentId::from_bytes([2; 32]),
        module_hash: ContentId::from_bytes([3; 32]),
        start_timestamp: 1000,
        end_timestamp: 2500,
        module_cid: task.module_cid.clone(),
        input_cid: task.input_cid.clone(),
        entrypoint: task.entrypoint.clone(),
        output_schema_hash: task.output_schema_hash,
        task_envelope_hash: task.hash(),
    }
}

fn registry() -> Registry {
    let mut registry = Registry::new(swarm());
    registry.register(&registration("executor-001", &identity(1)), NOW).unwrap();
    registry
}

fn facts() -> ViewFacts {
    ViewFacts {
        executor: "executor-001".to_owned(),
        entrypoint: "process".to_owned(),
        output_schema_hash: ContentId::from_bytes([0; 32]),
        task_envelope_hash: task().hash(),
    }
}

#[test]
fn vector_003_12() {
    let text = listed().signed_text();
    assert_eq!(text.len(), 705);
    assert_eq!(
        hex::encode(Sha256::digest(text)),
        "19286a84c42eea194c222b02a1f237235b36e76211101db72d318df2dc46a5e5"
    );
    let signed = Signed::sign(listed(), &identity(1));
    assert_eq!(
        signed.signature.to_string(),
        "4d58646e1c502212f24b337253452a2d0be0b0809915136c2006257e25402c37\
         87c0f84c2f2094a6979256acb7d30bceda4c05095ac642945ed15fdad0aea108"
    );
    assert_eq!(signed.verify(&registry()), Ok(()));
}

#[test]
fn ours_is_written_as_an_older_one() {
    let signed = sign_view(&receipt(), facts(), &executor()).unwrap();
    assert_eq!(signed.verify(&registry()), Ok(()));
    let (view, ours) = (&signed.record, receipt().body);
    assert_eq!(view.output_hash, ours.output_hash);
    assert_eq!(view.result_cid, local_cid(&ContentId::of(b"output")));
    assert_eq!((view.memory_peak_mb, view.execution_ms, view.fuel_used), (1, 2, 5));
    let fields = serde_json::to_value(&signed).unwrap();
    assert_eq!(fields.as_object().map(serde_json::Map::len), Some(18), "17 and the signature");
}

#[test]
fn only_the_executor_writes_the_view_and_only_of_a_module() {
    let refused = sign_view(&receipt(), facts(), &requester());
    assert!(matches!(refused, Err(ViewError::OtherNode { .. })));
    let mut body = body(0, None);
    body.artifact_hash = None;
    let nameless = receipt::Receipt::sign(body, &executor()).unwrap();
    assert_eq!(sign_view(&nameless, facts(), &executor()), Err(ViewError::NoModule));
}

proptest! {
    #[test]
    fn a_flipped_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = serde_json::to_vec(&Signed::sign(listed(), &identity(1))).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let holds = serde_json::from_slice(&bytes)
            .is_ok_and(|it: Signed<Receipt>| it.verify(&registry()).is_ok());
        prop_assert!(!holds, "byte {at}, bit {bit}");
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(serde_json::from_slice::<Signed<Receipt>>(&bytes).is_err());
    }
}
