//! The doors of a real node, over real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod access;
mod client;
mod openai;
mod rest;
mod tokens;
