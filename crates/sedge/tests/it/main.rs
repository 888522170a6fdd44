//! The program as people and programs use it: real processes on loopback.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod admission;
mod adversary;
mod agent;
mod approvals;
mod apps;
mod artifacts;
mod batches;
mod cli;
mod clouds;
mod cluster;
mod code;
mod crash;
mod demo;
mod dialects;
mod discovery;
mod doctor;
mod edges;
mod fix;
mod fleet;
mod functions;
mod graph;
mod identity;
mod kit;
mod large;
mod machine;
mod mcp;
mod mesh;
mod moved;
mod openai;
mod outbound;
mod pages;
mod pairing;
mod placement;
mod plugins;
mod proof;
mod providers;
mod quorum;
mod redis;
mod revocation;
mod rollouts;
mod schedules;
mod sockets;
mod strangers;
#[path = "../../../sedge-gateway/tests/it/stub.rs"]
mod stub;
mod swarms;
mod tls;
mod tokens;
