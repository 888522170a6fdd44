//! Nodes that talk to each other, on loopback only.

#![expect(clippy::unwrap_used, reason = "a test's own steps may fail it")]

mod artifacts;
mod contract;
mod death;
mod frames;
mod peers;
mod places;
mod pool;
#[cfg(target_os = "linux")]
mod processes;
#[cfg(target_os = "linux")]
mod relays;
mod swarm;
mod web;
