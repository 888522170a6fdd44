//! Receipts signed and verified by one core.

use std::time::Duration;

use sedge_base::{ContentId, ErrorKind, SwarmId};
use sedge_trust::receipt::{Body, Budgets, Used, Version, VerifyKeys};
use sedge_trust::{Identity, Receipt, Rung, Status};
use tokio::time::Instant;

use super::Figure;
use crate::failed::Failed;

/// How long each sort is measured.
const SPELL: Duration = Duration::from_millis(500);

/// Measures in this process, on one thread.
pub(super) fn measure() -> Result<Vec<Figure>, Failed> {
    let random = |err| Failed::of(ErrorKind::Internal, &err);
    let executor = Identity::generate().map_err(random)?;
    let requester = Identity::generate().map_err(random)?;
    let body = body(&executor, &requester)?;
    let signed = rate(|| Receipt::sign(body.clone(), &executor).map(drop).map_err(|err| Failed::of(err.kind(), &err)))?;
    let mut receipt =
        Receipt::sign(body, &executor).map_err(|err| Failed::of(err.kind(), &err))?;
    receipt.countersign(&requester).map_err(|err| Failed::of(err.kind(), &err))?;
    let keys = VerifyKeys { executor: executor.node_id(), requester: requester.node_id() };
    let verified =
        rate(|| receipt.verify(&keys).map(drop).map_err(|err| Failed::of(err.kind(), &err)))?;
    Ok(vec![
        Figure::new("receipts signed", format!("{signed:.0} /s"), "one thread, canonical form and signature, 0.5 s"),
        Figure::new("receipts verified", format!("{verified:.0} /s"), "one thread, both signatures, 0.5 s"),
    ])
}

/// Returns how often per second something can be done.
fn rate(mut work: impl FnMut() -> Result<(), Failed>) -> Result<f64, Failed> {
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < SPELL {
        work()?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

fn body(executor: &Identity, requester: &Identity) -> Result<Body, Failed> {
    Ok(Body {
        version: Version::default(),
        swarm_id: SwarmId::of_key(executor.node_id().as_bytes()),
        task_id: "bench".parse().map_err(|err| Failed::of(ErrorKind::Internal, &err))?,
        task_hash: ContentId::of(b"task"),
        capability: "upper".to_owned(),
        artifact_hash: Some(ContentId::of(b"module")),
        input_hash: ContentId::of(b"input"),
        output_hash: ContentId::of(b"output"),
        budgets: Budgets::default(),
        used: Used::default(),
        status: Status::Success,
        rung: Rung::ReRunnable,
        executor: executor.node_id(),
        requester: requester.node_id(),
        started_ms: 1,
        ended_ms: 2,
        sequence: 0,
        previous: None,
    })
}
