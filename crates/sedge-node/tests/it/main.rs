//! Whole nodes in one process, on a network in memory.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod relayed;
