//! The types that the consensus engine works with.

use std::fmt;
use std::io::Cursor;

use openraft::EmptyNode;
use sedge_base::NodeId;
use serde::{Deserialize, Serialize};

use crate::state::{Command, Outcome};

/// A node as the engine knows it: by its id alone; where it is found is the node's matter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Voter(pub NodeId);

impl Default for Voter {
    /// No node has this id; the engine needs one before it knows better.
    fn default() -> Self {
        Self(NodeId::from_bytes([0; 32]))
    }
}

impl fmt::Display for Voter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.short())
    }
}

impl fmt::Debug for Voter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The openraft test suite makes its ids out of numbers.
#[cfg(test)]
impl From<u64> for Voter {
    fn from(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[24..].copy_from_slice(&number.to_be_bytes());
        Self(NodeId::from_bytes(bytes))
    }
}

openraft::declare_raft_types!(
    /// What the log carries, and how.
    pub Types:
        D = Command,
        R = Outcome,
        NodeId = Voter,
        Node = EmptyNode,
        SnapshotData = Cursor<Vec<u8>>,
);

/// A place in the log: the term, its leader, and a number.
pub(crate) type LogId = openraft::LogId<Voter>;

/// A promise to a candidate or leader.
pub(crate) type Vote = openraft::Vote<Voter>;

/// An entry of the log.
pub(crate) type Entry = openraft::Entry<Types>;

/// Who votes, and since which entry.
pub(crate) type Voters = openraft::StoredMembership<Voter, EmptyNode>;

/// What the engine says when the disk fails.
pub(crate) type StorageError = openraft::StorageError<Voter>;
