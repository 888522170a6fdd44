//! The store as its callers see it.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy spares only test functions"
)]

mod admission;
mod approvals;
mod areas;
mod blobs;
mod files;
mod kill;
mod proofs;
mod quorum;
mod tokens;
