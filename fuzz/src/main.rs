//! Every decoder that a stranger reaches, in front of libFuzzer.
//!
//! `fuzz/run.sh` builds this with coverage and with the engine, and calls it; built in any other way it does nothing.

#[cfg(fuzzing)]
mod engine;

use std::process::ExitCode;

/// The name of a decoder and what feeds it.
#[cfg(fuzzing)]
type Target = (&'static str, fn(&[u8]) -> bool);

/// The targets of every crate: a name, and what feeds the decoder.
#[cfg(fuzzing)]
const TARGETS: &[&[Target]] = &[
    sedge_agents::fuzz::TARGETS,
    sedge_capability::fuzz::TARGETS,
    sedge_edges::fuzz::TARGETS,
    sedge_functions::fuzz::TARGETS,
    sedge_gateway::fuzz::TARGETS,
    sedge_lm::fuzz::TARGETS,
    sedge_members::fuzz::TARGETS,
    sedge_net::fuzz::TARGETS,
    sedge_node::fuzz::TARGETS,
    sedge_plugins::fuzz::TARGETS,
    sedge_quorum::fuzz::TARGETS,
    sedge_server::fuzz::TARGETS,
    sedge_swarm::fuzz::TARGETS,
    sedge_sync::fuzz::TARGETS,
    sedge_trust::fuzz::TARGETS,
];

#[cfg(fuzzing)]
fn main() -> ExitCode {
    engine::main()
}

#[cfg(not(fuzzing))]
fn main() -> ExitCode {
    ExitCode::FAILURE
}
