//! Measures receipts: how many one thread signs, confirms and verifies in a second.

use std::hint::black_box;
use std::time::Duration;

use sedge_base::{ContentId, ErrorKind, IdError, SwarmId};
use serde::Serialize;

use crate::identity::Identity;
use crate::random::RandomError;
use crate::receipt::{
    Body, Budgets, Receipt, Rung, SignError, Status, Used, VerifyError, VerifyKeys, Version,
};

/// How often each figure is taken; the median counts.
pub const SAMPLES: usize = 5;

/// How long one sample runs at least.
pub const SAMPLE_TIME: Duration = Duration::from_millis(100);

/// How many receipts share a signature in the figures of batches.
pub const BATCHED: usize = 1024;

/// How many receipts pass between two looks at the clock.
const BATCH: u32 = 64;

/// Receipts per second of one thread; each figure is the median of [`SAMPLES`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReceiptFigures {
    /// Canonical form and the executor's signature.
    pub signed_per_s: f64,
    /// Canonical form, and one signature for each [`BATCHED`] receipts.
    pub batched_per_s: f64,
    /// Check of the executor's signature and the requester's own.
    pub confirmed_per_s: f64,
    /// Check of both signatures.
    pub verified_per_s: f64,
    /// The signed text's length, in bytes.
    pub body_bytes: usize,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// No random bytes for the keys.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The sample task's id was refused.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A receipt was not signed.
    #[error("a receipt was not signed")]
    Sign(#[from] SignError),
    /// A receipt did not verify.
    #[error("a receipt did not verify")]
    Verify(#[from] VerifyError),
}

impl BenchError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Random(err) => err.kind(),
            Self::Id(_) | Self::Sign(_) | Self::Verify(_) => ErrorKind::Internal,
        }
    }
}

/// Measures on the calling thread for about 2 s; call it where nothing waits for that thread.
///
/// # Errors
///
/// [`BenchError`] when there is no randomness for the keys, or a receipt fails.
pub fn measure() -> Result<ReceiptFigures, BenchError> {
    measure_for(SAMPLE_TIME)
}

fn measure_for(sample: Duration) -> Result<ReceiptFigures, BenchError> {
    let (executor, requester) = (Identity::generate()?, Identity::generate()?);
    let keys = VerifyKeys { executor: executor.node_id(), requester: requester.node_id() };
    let body = body(&keys)?;
    let signed = Receipt::sign(body.clone(), &executor)?;
    let mut confirmed = signed.clone();
    confirmed.countersign(&requester)?;
    let signed_per_s = rate(sample, || {
        black_box(Receipt::sign(black_box(&body).clone(), &executor)?);
        Ok(())
    })?;
    let batch = vec![body.clone(); BATCHED];
    let batched_per_s = BATCHED as f64
        * rate_of(sample, 1, || {
            black_box(Receipt::sign_batch(black_box(&batch).clone(), &executor)?);
            Ok(())
        })?;
    let confirmed_per_s = rate(sample, || {
        let mut receipt = black_box(&signed).clone();
        receipt.countersign(&requester)?;
        black_box(receipt);
        Ok(())
    })?;
    let verified_per_s = rate(sample, || {
        black_box(black_box(&confirmed).verify(&keys)?);
        Ok(())
    })?;
    let body_bytes = body.canonical().map_err(SignError::from)?.len();
    Ok(ReceiptFigures { signed_per_s, batched_per_s, confirmed_per_s, verified_per_s, body_bytes })
}

/// Returns the median of how often per second the work was done.
fn rate(sample: Duration, work: impl FnMut() -> Result<(), BenchError>) -> Result<f64, BenchError> {
    rate_of(sample, BATCH, work)
}

/// As [`rate`], looking at the clock after each `batch`.
#[expect(
    clippy::disallowed_methods,
    reason = "this measures the machine; there is no runtime here whose clock could be paused"
)]
fn rate_of(
    sample: Duration,
    batch: u32,
    mut work: impl FnMut() -> Result<(), BenchError>,
) -> Result<f64, BenchError> {
    let mut rates = [0.0; SAMPLES];
    for rate in &mut rates {
        let (began, mut done) = (std::time::Instant::now(), 0_u32);
        *rate = loop {
            for _ in 0..batch {
                work()?;
            }
            done = done.saturating_add(batch);
            let took = began.elapsed();
            if took >= sample {
                break f64::from(done) / took.as_secs_f64();
            }
        };
    }
    rates.sort_unstable_by(f64::total_cmp);
    Ok(rates[SAMPLES / 2])
}

/// Returns a receipt's facts as a short call of a function has them.
fn body(keys: &VerifyKeys) -> Result<Body, IdError> {
    Ok(Body {
        version: Version::V1,
        swarm_id: SwarmId::of_key(&[1; 32]),
        task_id: "bench-0000000000000000".parse()?,
        task_hash: ContentId::of(b"task"),
        capability: "upper".to_owned(),
        artifact_hash: Some(ContentId::of(b"module")),
        input_hash: ContentId::of(b"input"),
        output_hash: ContentId::of(b"output"),
        budgets: Budgets { fuel: 1_000_000_000, memory_bytes: 64 << 20, time_ms: 30_000 },
        used: Used { fuel: 12_345, peak_memory_bytes: 1 << 20, time_ms: 1, ..Used::default() },
        status: Status::Success,
        rung: Rung::ReRunnable,
        executor: keys.executor,
        requester: keys.requester,
        started_ms: 1_700_000_000_000,
        ended_ms: 1_700_000_000_001,
        sequence: 1,
        previous: Some(ContentId::of(b"the receipt before")),
        profile: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_taken() {
        let figures = measure_for(Duration::ZERO).unwrap();
        let ReceiptFigures { signed_per_s, batched_per_s, confirmed_per_s, .. } = figures;
        let ReceiptFigures { verified_per_s, body_bytes, .. } = figures;
        for rate in [signed_per_s, batched_per_s, confirmed_per_s, verified_per_s] {
            assert!(rate.is_finite() && rate > 0.0);
        }
        assert!((800..2000).contains(&body_bytes), "{body_bytes}");
    }
}
