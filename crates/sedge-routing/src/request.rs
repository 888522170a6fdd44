//! What is wanted of the mesh, and what its nodes look like from here.

use std::collections::BTreeMap;
use std::time::Duration;

use sedge_base::{ByteSize, NodeId};
use sedge_capability::{Kind, Name};
use serde::{Deserialize, Serialize};

/// What lies between the deciding node and another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// Nothing: it is on this machine.
    Local,
    /// A local network.
    Lan,
    /// The internet, without anybody between.
    Direct,
    /// A relay.
    Relayed,
}

impl Path {
    /// Returns the name that people read, such as `lan`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Lan => "lan",
            Self::Direct => "direct",
            Self::Relayed => "relayed",
        }
    }
}

/// What a task needs of the node that runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The capability; every candidate is taken to offer it.
    pub capability: Name,
    /// What sort of thing it has to be; `None` when any will do.
    pub kind: Option<Kind>,
    /// The one node that may run it; `None` when any may.
    pub pinned: Option<NodeId>,
    /// Length of the input, in bytes.
    pub input_bytes: u64,
    /// Labels that the capability has to carry.
    pub labels: BTreeMap<String, String>,
    /// The longest input that may go through a relay, in bytes; `None` when any may.
    #[serde(default)]
    pub relay_limit: Option<u64>,
}

impl Request {
    /// Makes a request that any node may run: no input, no wished labels.
    pub const fn new(capability: Name) -> Self {
        let labels = BTreeMap::new();
        Self { capability, kind: None, pinned: None, input_bytes: 0, labels, relay_limit: None }
    }
}

/// How many tasks something has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Load {
    /// Tasks that run.
    pub running: u32,
    /// Tasks that wait for their turn.
    pub waiting: u32,
    /// The most that may run at once; 0 when there is no limit.
    pub limit: u32,
}

impl Load {
    /// Returns the tasks that run or wait.
    pub const fn in_flight(&self) -> u32 {
        self.running.saturating_add(self.waiting)
    }

    /// Returns whether one more would go beyond the limit.
    pub const fn is_full(&self) -> bool {
        self.limit > 0 && self.in_flight() >= self.limit
    }
}

/// A node that offers the capability, as it was last seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// Its name for people.
    pub name: String,
    /// Whether it is the deciding node itself.
    pub here: bool,
    /// Whether it was heard of lately.
    pub healthy: bool,
    /// Whether it takes no new tasks because it is about to stop.
    pub draining: bool,
    /// The tasks of this capability.
    pub load: Load,
    /// The tasks of the whole node.
    pub node_load: Load,
    /// Memory that nobody uses.
    pub free_memory: ByteSize,
    /// How busy its processors are, 0 to 100.
    pub cpu_percent: f32,
    /// The way there and back; `None` when it was never measured.
    pub rtt: Option<Duration>,
    /// What lies between; `None` while there is no connection, and for the deciding node.
    pub path: Option<Path>,
    /// By how much its answers came later, of late, than was expected of it by what it says; `None`
    /// when nothing was measured.
    pub late_by: Option<Duration>,
    /// Measured speed of a model; `None` for anything else and before the first answer.
    pub tokens_per_second: Option<f64>,
    /// Whether the module is compiled or the model is in memory.
    pub ready: bool,
    /// The labels of the capability there.
    pub labels: BTreeMap<String, String>,
}
