//! How the candidates that may run a task are put in order.

mod best;
mod least_busy;
mod random;
mod round_robin;

use serde::{Deserialize, Serialize};

use crate::estimate::Estimate;
use crate::request::Candidate;

/// How the candidates are put in order; the lowest score wins, the lower node id where equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// By the expected time to answer, in microseconds.
    #[default]
    Best,
    /// By the share of the node's places that are taken, in thousandths.
    LeastBusy,
    /// In turn by node id; the seed is the number of the turn.
    RoundRobin,
    /// By lot; the seed decides.
    Random,
}

/// One candidate among those that may run the task.
pub(crate) struct Turn<'a> {
    pub(crate) candidate: &'a Candidate,
    pub(crate) estimate: Estimate,
    /// Its place by node id, from 0.
    pub(crate) place: u64,
    /// How many there are; at least 1.
    pub(crate) count: u64,
    pub(crate) seed: u64,
}

impl Strategy {
    /// Every strategy, with the name that config and people use.
    pub const ALL: [(&'static str, Self); 4] = [
        ("best", Self::Best),
        ("least_busy", Self::LeastBusy),
        ("round_robin", Self::RoundRobin),
        ("random", Self::Random),
    ];

    /// Returns the name that config and people use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Best => "best",
            Self::LeastBusy => "least_busy",
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
        }
    }

    pub(crate) fn score(self, turn: &Turn<'_>) -> u64 {
        match self {
            Self::Best => best::score(turn),
            Self::LeastBusy => least_busy::score(turn),
            Self::RoundRobin => round_robin::score(turn),
            Self::Random => random::score(turn),
        }
    }
}
