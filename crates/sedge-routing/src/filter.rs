//! Who may not run a task, and why.

use std::fmt;

use sedge_base::{ByteSize, NodeId};
use serde::{Deserialize, Serialize};

use crate::request::{Candidate, Path, Request};

/// Why a node was not even compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The caller named another node.
    NotPinned,
    /// It was not heard of lately.
    Unhealthy,
    /// It takes no new tasks.
    Draining,
    /// The capability does not carry a wished label there.
    Label {
        /// The label's key.
        key: String,
        /// Its wished value.
        wanted: String,
    },
    /// The capability has as many tasks as it may.
    CapabilityFull {
        /// The tasks that run or wait.
        in_flight: u32,
        /// The limit.
        limit: u32,
    },
    /// It is reached through a relay only, and the input is too long for that.
    OverRelay {
        /// The input's length.
        bytes: u64,
        /// What may go through a relay at once.
        limit: u64,
    },
    /// The node has as many tasks as it may.
    NodeFull {
        /// The tasks that run or wait.
        in_flight: u32,
        /// The limit.
        limit: u32,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPinned => f.write_str("another node was asked for"),
            Self::Unhealthy => f.write_str("not heard of lately"),
            Self::Draining => f.write_str("takes no new tasks"),
            Self::Label { key, wanted } => write!(f, "lacks the label {key} = {wanted}"),
            Self::CapabilityFull { in_flight, limit } => {
                write!(f, "has {in_flight} tasks of this capability, {limit} is its limit")
            }
            Self::OverRelay { bytes, limit } => {
                let [bytes, limit] = [*bytes, *limit].map(ByteSize::from_bytes);
                write!(
                    f,
                    "reached through a relay only, which may carry {limit} at once, not {bytes}"
                )
            }
            Self::NodeFull { in_flight, limit } => {
                write!(f, "has {in_flight} tasks in all, {limit} is its limit")
            }
        }
    }
}

/// A node that may not run the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The node.
    pub node: NodeId,
    /// Its name for people.
    pub name: String,
    /// Why not.
    pub reason: Reason,
}

/// Returns the first reason against a candidate, or `None` when it may run the task.
pub(crate) fn reason_against(request: &Request, candidate: &Candidate) -> Option<Reason> {
    if request.pinned.is_some_and(|it| it != candidate.node) {
        return Some(Reason::NotPinned);
    }
    if !candidate.healthy {
        return Some(Reason::Unhealthy);
    }
    if candidate.draining {
        return Some(Reason::Draining);
    }
    let missing =
        request.labels.iter().find(|(key, want)| candidate.labels.get(*key) != Some(*want));
    if let Some((key, wanted)) = missing {
        return Some(Reason::Label { key: key.clone(), wanted: wanted.clone() });
    }
    let too_long = request.relay_limit.filter(|it| request.input_bytes > *it);
    if let Some(limit) = too_long.filter(|_| candidate.path == Some(Path::Relayed)) {
        return Some(Reason::OverRelay { bytes: request.input_bytes, limit });
    }
    let (load, node) = (candidate.load, candidate.node_load);
    if load.is_full() {
        return Some(Reason::CapabilityFull { in_flight: load.in_flight(), limit: load.limit });
    }
    if node.is_full() {
        return Some(Reason::NodeFull { in_flight: node.in_flight(), limit: node.limit });
    }
    None
}
