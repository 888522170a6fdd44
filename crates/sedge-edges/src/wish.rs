//! A wish to run a tool that a person has to say yes to.

use std::time::Duration;

use sedge_base::{ContentId, NodeId};
use sedge_capability::{Failure, Name};
use sedge_trust::Approval;
use tokio::sync::oneshot;

use crate::registration::EdgeId;

/// A wish to run a tool that a person has to say yes to.
///
/// Who takes it answers once. An answer that nobody waits for any more is no error: the caller left.
#[derive(Debug)]
pub struct Wish {
    /// The edge that runs it.
    pub edge: EdgeId,
    /// The tool, as a capability.
    pub capability: Name,
    /// The arguments, in their RFC 8785 form.
    pub arguments: String,
    /// What an approval calls them by.
    pub arguments_id: ContentId,
    /// The node that was asked.
    pub asked_by: NodeId,
    /// How long the caller waits; as long as there is a question, when it does not say.
    pub wait: Option<Duration>,
    /// Where the answer goes: an approval of this very wish, or why there is none.
    pub answer: oneshot::Sender<Result<Approval, Failure>>,
}
