//! What the crate does from outside: files fetched from real local servers, models asked.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod asking;
mod fetch;
mod local;
mod providers;
mod real;
mod server;
mod stub;
