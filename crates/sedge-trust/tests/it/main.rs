//! Receipts as a stranger sees them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; clippy spares only test functions"
)]

mod foreign;
