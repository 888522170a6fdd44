//! By the share of the node's places that are taken.

use super::Turn;

pub(super) fn score(turn: &Turn<'_>) -> u64 {
    let load = turn.candidate.node_load;
    // Without a limit, every task counts as if a hundred could run.
    let places = if load.limit == 0 { 100 } else { u64::from(load.limit) };
    u64::from(load.in_flight()) * 1000 / places
}
