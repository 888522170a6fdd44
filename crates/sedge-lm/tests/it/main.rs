//! The crate from outside: the same bits everywhere, and the tokens that another implementation has.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy spares only test functions"
)]

mod determinism;
mod tokens;
