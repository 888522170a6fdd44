//! One capability, an input, budgets, a deadline, a requester.

use bytes::Bytes;
use sedge_base::{ContentId, NodeId, TaskId, Timestamp};
use sedge_trust::canonical::{self, CanonicalError};
use serde::{Deserialize, Serialize};

use crate::{Budgets, Name};

/// What the bytes of an input are, and of the output that answers it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Media {
    /// What the capability's own schemas say.
    #[default]
    #[serde(rename = "plain")]
    Plain,
    /// A whole HTTP message, see [`http`](crate::http).
    #[serde(rename = "message/http")]
    Http,
}

/// What somebody wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Made by the node that was asked.
    pub id: TaskId,
    /// The capability to run it on.
    pub capability: Name,
    /// The input, as the capability's schema says.
    pub input: Bytes,
    /// What the input is.
    pub media: Media,
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

    /// Returns the hash that a receipt binds: SHA-256 of the RFC 8785 form of every field, with the
    /// input by its hash.
    ///
    /// # Errors
    ///
    /// [`CanonicalError`] when a number is too large for JSON.
    pub fn hash(&self) -> Result<ContentId, CanonicalError> {
        #[derive(Serialize)]
        struct Facts<'a> {
            version: &'static str,
            id: &'a TaskId,
            capability: &'a Name,
            input_hash: ContentId,
            media: Media,
            budgets: Budgets,
            deadline_ms: u64,
            priority: u8,
            requester: NodeId,
        }
        let Self { id, capability, input: _, media, budgets, deadline, priority, requester } = self;
        let facts = Facts {
            version: "sedge-task/1",
            id,
            capability,
            input_hash: self.input_id(),
            media: *media,
            budgets: *budgets,
            deadline_ms: deadline.as_millis(),
            priority: *priority,
            requester: *requester,
        };
        Ok(ContentId::of(&canonical::jcs(&facts)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_changes_the_hash() {
        let task = Task {
            id: "t-1".parse().unwrap(),
            capability: "fn-1".parse().unwrap(),
            input: Bytes::from_static(b"in"),
            media: Media::Plain,
            budgets: Budgets::default(),
            deadline: Timestamp::from_millis(5),
            priority: 1,
            requester: NodeId::from_bytes([1; 32]),
        };
        let hash = task.hash().unwrap();
        assert_eq!(task.clone().hash().unwrap(), hash);
        let others = [
            Task { id: "t-2".parse().unwrap(), ..task.clone() },
            Task { capability: "fn-2".parse().unwrap(), ..task.clone() },
            Task { input: Bytes::from_static(b"on"), ..task.clone() },
            Task { media: Media::Http, ..task.clone() },
            Task { budgets: Budgets { fuel: Some(1), ..Budgets::default() }, ..task.clone() },
            Task { deadline: Timestamp::from_millis(6), ..task.clone() },
            Task { priority: 2, ..task.clone() },
            Task { requester: NodeId::from_bytes([2; 32]), ..task.clone() },
        ];
        for other in others {
            assert_ne!(other.hash().unwrap(), hash, "{other:?}");
        }
    }
}
