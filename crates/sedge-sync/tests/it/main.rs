//! Replicas that meet: over the network in memory, and over real sockets that are slowed down.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod converge;
mod links;
mod peers;
mod spaces;
