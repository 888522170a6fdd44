//! Whole meshes under many seeds.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod many;
mod seeds;
