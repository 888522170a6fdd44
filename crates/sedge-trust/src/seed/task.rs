//! The older protocol's task and claim (`TaskEnvelope`, `TaskClaim`), vectors 003-11 and 003-13.

use sedge_base::{ContentId, ErrorKind, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Record;
use crate::canonical;

/// The limits of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budgets {
    /// Fuel units.
    pub fuel_limit: u64,
    /// MiB of memory.
    pub memory_mb: u64,
    /// Milliseconds.
    pub timeout_ms: u64,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The task's id.
    pub task_id: String,
    /// The module, by its content id such as `local:…`.
    pub module_cid: String,
    /// The function in the module.
    pub entrypoint: String,
    /// The input, by its content id.
    pub input_cid: String,
    /// SHA-256 of the schema that the output must have; all zero for none.
    #[serde(deserialize_with = "super::spelling::exact")]
    pub output_schema_hash: ContentId,
    /// The limits.
    pub budgets: Budgets,
    /// The requester's registered id.
    pub requester: String,
    /// By when the task must be done, in ms since 1970.
    pub deadline: Timestamp,
    /// How urgent it is; what the scale means is up to the swarm.
    pub priority: u8,
}

impl Task {
    /// Returns SHA-256 over the seed form of every field.
    pub fn hash(&self) -> ContentId {
        let Self {
            task_id,
            module_cid,
            entrypoint,
            input_cid,
            output_schema_hash,
            budgets,
            requester,
            deadline,
            priority,
        } = self;
        let text = canonical::seed(&json!({
            "budgets": budgets,
            "deadline": deadline,
            "entrypoint": entrypoint,
            "input_cid": input_cid,
            "module_cid": module_cid,
            "output_schema_hash": output_schema_hash,
            "priority": priority,
            "requester": requester,
            "task_id": task_id,
        }));
        ContentId::of(text.as_bytes())
    }
}

/// A task with its own hash. The hash is no signature: anyone can change both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEnvelope {
    /// The task.
    #[serde(flatten)]
    pub task: Task,
    /// [`Task::hash`] of the task.
    #[serde(deserialize_with = "super::spelling::exact")]
    pub envelope_hash: ContentId,
}

/// A task's fields do not have the hash that stands beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the task has hash {is:?}, its envelope says {said:?}")]
pub struct WrongHash {
    /// The hash of the fields.
    pub is: ContentId,
    /// The hash in the envelope.
    pub said: ContentId,
}

impl WrongHash {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Corrupt
    }
}

impl TaskEnvelope {
    /// Puts a task's hash beside it.
    pub fn new(task: Task) -> Self {
        Self { envelope_hash: task.hash(), task }
    }

    /// Checks that the task has the hash that stands beside it.
    ///
    /// # Errors
    ///
    /// [`WrongHash`] when it has not.
    pub fn check(&self) -> Result<(), WrongHash> {
        let (is, said) = (self.task.hash(), self.envelope_hash);
        if is == said { Ok(()) } else { Err(WrongHash { is, said }) }
    }
}

/// An executor's word that it runs a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The task's id.
    pub task_id: String,
    /// The executor's registered id.
    pub executor_id: String,
    /// When it took the task, in ms since 1970.
    pub timestamp: Timestamp,
}

impl Record for Claim {
    fn signer(&self) -> &str {
        &self.executor_id
    }

    fn signed_text(&self) -> String {
        let Self { task_id, executor_id, timestamp } = self;
        canonical::seed(&json!({
            "executor_id": executor_id,
            "task_id": task_id,
            "timestamp": timestamp,
        }))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Signed;
    use super::*;
    use crate::registration::tests::identity;

    pub(in super::super) fn task() -> Task {
        Task {
            task_id: "task-001".to_owned(),
            module_cid: "local:module_cid".to_owned(),
            entrypoint: "process".to_owned(),
            input_cid: "local:input_cid".to_owned(),
            output_schema_hash: ContentId::from_bytes([0; 32]),
            budgets: Budgets { fuel_limit: 1_000_000, memory_mb: 128, timeout_ms: 30_000 },
            requester: "requester-001".to_owned(),
            deadline: Timestamp::from_millis(1_700_000_000_000),
            priority: 1,
        }
    }

    #[test]
    fn vector_003_11() {
        let mut envelope = TaskEnvelope::new(task());
        assert_eq!(
            envelope.envelope_hash.to_string(),
            "dc64b5158343db63eb963662c0628a6addffc280d9782cfb309399f8e808130d"
        );
        assert_eq!(envelope.check(), Ok(()));
        envelope.task.priority = 2;
        assert!(envelope.check().is_err());
    }

    #[test]
    fn a_task_survives_json() {
        let envelope = TaskEnvelope::new(task());
        let json = serde_json::to_string(&envelope).unwrap();
        assert!(json.contains("\"priority\":1"));
        assert_eq!(serde_json::from_str::<TaskEnvelope>(&json).unwrap(), envelope);
    }

    #[test]
    fn vector_003_13() {
        let claim = Claim {
            task_id: "task-001".to_owned(),
            executor_id: "executor-001".to_owned(),
            timestamp: Timestamp::from_millis(1_700_000_000_000),
        };
        assert_eq!(
            Signed::sign(claim, &identity(1)).signature.to_string(),
            "259a43d9991fff7f3212a9f5144e25ee08d6b355fbae5501d88381d4c9d0ad79\
             a98376fe00025faa6709fb785f00d428b082b958b08299bb62c1b8e7208d760a"
        );
    }
}
