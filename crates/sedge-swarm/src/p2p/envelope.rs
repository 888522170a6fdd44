//! The records that travel in a swarm, under the names that the older API gives them.

use std::ops::Deref;

use sedge_base::{ContentId, Timestamp};
use sedge_trust::seed;
use serde::{Deserialize, Serialize};

pub use sedge_trust::seed::{
    ArtifactPointer, ArtifactType, Budgets as TaskBudgets, Claim, Envelope as SignedEnvelope,
    Heartbeat, Receipt, SignalType, Signaling, Signed, Status as TaskStatus, Task, WrongHash,
};

/// An executor's signed word that it runs a task.
pub type TaskClaim = Signed<Claim>;
/// An executor's signed word on what became of a task, over all 17 fields.
pub type TaskReceipt = Signed<Receipt>;
/// A signed message of a WebRTC negotiation.
pub type SignalingMessage = Signed<Signaling>;

/// A task with its own hash; the fields of the [`Task`] are read through it.
///
/// The hash is no signature: who wants the task done is what the envelope that carried it proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskEnvelope(seed::TaskEnvelope);

impl TaskEnvelope {
    /// Writes a task: `deadline` in ms since 1970, the ids and the schema's hash as the older API
    /// orders them.
    #[expect(clippy::too_many_arguments, reason = "the older API's order, which documents use")]
    pub fn new(
        task_id: String,
        module_cid: String,
        entrypoint: String,
        input_cid: String,
        output_schema_hash: [u8; 32],
        budgets: TaskBudgets,
        requester: String,
        deadline: u64,
        priority: u8,
    ) -> Self {
        Self(seed::TaskEnvelope::new(Task {
            task_id,
            module_cid,
            entrypoint,
            input_cid,
            output_schema_hash: ContentId::from_bytes(output_schema_hash),
            budgets,
            requester,
            deadline: Timestamp::from_millis(deadline),
            priority,
        }))
    }

    /// Returns the hash that stands beside the task.
    pub const fn envelope_hash(&self) -> &ContentId {
        &self.0.envelope_hash
    }

    /// Checks that the task has the hash that stands beside it.
    ///
    /// # Errors
    ///
    /// [`WrongHash`] when it has not.
    pub fn check(&self) -> Result<(), WrongHash> {
        self.0.check()
    }
}

impl Deref for TaskEnvelope {
    type Target = Task;

    fn deref(&self) -> &Task {
        &self.0.task
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vector_003_11() {
        let budgets = TaskBudgets { fuel_limit: 1_000_000, memory_mb: 128, timeout_ms: 30_000 };
        let task = TaskEnvelope::new(
            "task-001".to_owned(),
            "local:module_cid".to_owned(),
            "process".to_owned(),
            "local:input_cid".to_owned(),
            [0; 32],
            budgets,
            "requester-001".to_owned(),
            1_700_000_000_000,
            1,
        );
        let hash = "dc64b5158343db63eb963662c0628a6addffc280d9782cfb309399f8e808130d";
        assert_eq!(task.envelope_hash().to_string(), hash);
        assert_eq!((task.task_id.as_str(), task.check()), ("task-001", Ok(())));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(serde_json::from_slice::<TaskEnvelope>(&bytes).is_err());
            prop_assert!(serde_json::from_slice::<TaskClaim>(&bytes).is_err());
            prop_assert!(serde_json::from_slice::<TaskReceipt>(&bytes).is_err());
        }
    }
}
