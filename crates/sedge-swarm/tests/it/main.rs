//! Swarms over real connections, on loopback only.

#![expect(clippy::unwrap_used, reason = "a test's own steps may fail it")]

mod document;
mod messages;
mod processes;
mod swarm;
