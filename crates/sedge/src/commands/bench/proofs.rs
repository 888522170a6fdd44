//! Receipts signed, alone and in batches, and verified by one core.

use sedge_trust::bench::{BATCHED, ReceiptFigures, SAMPLE_TIME, SAMPLES, measure as measure_receipts};

use super::Figure;
use crate::failed::Failed;

/// Measures in this process, on one thread.
pub(super) fn measure() -> Result<Vec<Figure>, Failed> {
    let figures = measure_receipts().map_err(|err| Failed::of(err.kind(), &err))?;
    let ReceiptFigures { signed_per_s, batched_per_s, confirmed_per_s, verified_per_s, body_bytes } =
        figures;
    let how = |what: &str| {
        format!("one thread, {what}, {body_bytes} bytes each, median of {SAMPLES} times {SAMPLE_TIME:?}")
    };
    let each = |rate: f64| format!("{rate:.0} /s");
    Ok(vec![
        Figure::new("receipts signed", each(signed_per_s), how("canonical form and signature"))
            .beside(format!("{batched_per_s:.0} /s in batches of {BATCHED}")),
        Figure::new(
            "receipts signed in batches",
            each(batched_per_s),
            how("canonical form, a tree and one signature, each with its own proof"),
        ),
        Figure::new(
            "receipts confirmed",
            each(confirmed_per_s),
            how("the executor's signature checked, the requester's made"),
        ),
        Figure::new("receipts verified", each(verified_per_s), how("both signatures")),
    ])
}
