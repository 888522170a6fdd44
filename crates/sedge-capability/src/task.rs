//! One capability, an input, budgets, a deadline, a requester.

use bytes::Bytes;
use sedge_base::{ContentId, NodeId, TaskId, Timestamp};

use crate::{Budgets, Name};

/// What somebody wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Made by the node that was asked.
    pub id: TaskId,
    /// The capability to run it on.
    pub capability: Name,
    /// The input, as the capability's schema says.
    pub input: Bytes,
    /// The most it may use.
    pub budgets: Budgets,
    /// When the requester stops waiting, by the requester's clock.
    pub deadline: Timestamp,
    /// 0 (whenever) to 255 (now); 100 is usual.
    pub priority: u8,
    /// The node that was asked.
    pub requester: NodeId,
}

impl Task {
    /// The usual priority.
    pub const USUAL_PRIORITY: u8 = 100;

    /// Returns the id of the input's content.
    pub fn input_id(&self) -> ContentId {
        ContentId::of(&self.input)
    }
}
