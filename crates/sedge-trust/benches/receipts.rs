//! Receipts per second of one thread: median of 5.

use std::io::Write as _;

use sedge_trust::bench::{SAMPLE_TIME, SAMPLES, measure};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let figures = measure()?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "one thread, {} bytes of canonical text, median of {SAMPLES} samples of {SAMPLE_TIME:?}",
        figures.body_bytes
    )?;
    for (what, rate) in [
        ("signed", figures.signed_per_s),
        ("batched", figures.batched_per_s),
        ("confirmed", figures.confirmed_per_s),
        ("verified", figures.verified_per_s),
    ] {
        writeln!(out, "receipts {what:<10} {rate:>8.0} /s")?;
    }
    Ok(())
}
