//! The older protocol's receipt (`TaskReceipt`), vector 003-12, and how ours is written as one.

use sedge_base::{ContentId, ErrorKind, NodeId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Record, Signed, local_cid};
use crate::canonical;
use crate::identity::Identity;
use crate::receipt;

/// How a task ended, as far as the older protocol can tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    /// It answered.
    Success,
    /// It failed, its fuel ran out, or it was cancelled.
    Error,
    /// Its time budget ran out.
    Timeout,
    /// Its memory budget ran out.
    OutOfMemory,
}

impl From<receipt::Status> for Status {
    fn from(status: receipt::Status) -> Self {
        match status {
            receipt::Status::Success => Self::Success,
            receipt::Status::Timeout => Self::Timeout,
            receipt::Status::OutOfMemory => Self::OutOfMemory,
            receipt::Status::Error | receipt::Status::OutOfFuel | receipt::Status::Cancelled => {
                Self::Error
            }
        }
    }
}

/// The 17 signed fields of a receipt.
///
/// The requester neither signs nor is named, and nothing links one receipt to the next;
/// [`crate::Receipt`] has both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The task's id.
    pub task_id: String,
    /// The executor's registered id.
    pub executor: String,
    /// The result, by its content id.
    pub result_cid: String,
    /// How the task ended.
    pub status: Status,
    /// Fuel units used.
    pub fuel_used: u64,
    /// MiB of memory at the peak.
    pub memory_peak_mb: u64,
    /// Milliseconds from start to end.
    pub execution_ms: u64,
    /// SHA-256 of the input.
    #[serde(deserialize_with = "super::spelling::exact")]
    pub input_hash: ContentId,
    /// SHA-256 of the output.
    #[serde(deserialize_with = "super::spelling::exact")]
    pub output_hash: ContentId,
    /// SHA-256 of the module.
    #[serde(deserialize_with = "super::spelling::exact")]
    pub module_hash: ContentId,
    /// When the task started, in ms since 1970.
    pub start_timestamp: u64,
    /// When the task ended, in ms since 1970.
    pub end_timestamp: u64,
    /// The module, by its content id.
    pub module_cid: String,
    /// The input, by its content id.
    pub input_cid: String,
    /// The function in the module.
    pub entrypoint: String,
    /// SHA-256 of the schema that the output must have.
    #[serde(deserialize_with = "super::spelling::exact")]
    pub output_schema_hash: ContentId,
    /// The hash of the task's envelope.
    #[serde(deserialize_with = "super::spelling::exact")]
    pub task_envelope_hash: ContentId,
}

impl Record for Receipt {
    fn signer(&self) -> &str {
        &self.executor
    }

    fn signed_text(&self) -> String {
        canonical::seed(&json!({
            "end_timestamp": self.end_timestamp,
            "entrypoint": self.entrypoint,
            "execution_ms": self.execution_ms,
            "executor": self.executor,
            "fuel_used": self.fuel_used,
            "input_cid": self.input_cid,
            "input_hash": self.input_hash,
            "memory_peak_mb": self.memory_peak_mb,
            "module_cid": self.module_cid,
            "module_hash": self.module_hash,
            "output_hash": self.output_hash,
            "output_schema_hash": self.output_schema_hash,
            "result_cid": self.result_cid,
            "start_timestamp": self.start_timestamp,
            "status": self.status,
            "task_envelope_hash": self.task_envelope_hash,
            "task_id": self.task_id,
        }))
    }
}

/// What the older receipt says and ours does not; everything else is taken from ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewFacts {
    /// The id that the executor is registered with.
    pub executor: String,
    /// The function in the module.
    pub entrypoint: String,
    /// SHA-256 of the schema that the output must have; all zero for none.
    pub output_schema_hash: ContentId,
    /// The hash of the task in the older form; see [`super::Task::hash`].
    pub task_envelope_hash: ContentId,
}

/// Why our receipt cannot be written as an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The key at hand is not the executor's.
    #[error("the receipt names {named:?}, this key belongs to {own:?}")]
    OtherNode {
        /// The node in the receipt.
        named: NodeId,
        /// The node whose key was given.
        own: NodeId,
    },
    /// Our receipt names no module, which the older one must.
    #[error("the receipt names no module or model")]
    NoModule,
}

impl ViewError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::OtherNode { .. } => ErrorKind::Denied,
            Self::NoModule => ErrorKind::Unsupported,
        }
    }
}

/// Writes one of our receipts in the older form and signs it as its executor.
///
/// Content ids become local ones ([`local_cid`]), bytes become MiB (rounded up), and an end that
/// the older form does not know becomes [`Status::Error`].
///
/// # Errors
///
/// [`ViewError`] when the key is not the executor's or there is no module to name.
pub fn sign_view(
    receipt: &receipt::Receipt,
    facts: ViewFacts,
    executor: &Identity,
) -> Result<Signed<Receipt>, ViewError> {
    let body = &receipt.body;
    let (named, own) = (body.executor, executor.node_id());
    if named != own {
        return Err(ViewError::OtherNode { named, own });
    }
    let module_hash = body.artifact_hash.ok_or(ViewError::NoModule)?;
    let view = Receipt {
        task_id: body.task_id.to_string(),
        executor: facts.executor,
        result_cid: local_cid(&body.output_hash),
        status: body.status.into(),
        fuel_used: body.used.fuel,
        memory_peak_mb: body.used.peak_memory_bytes.div_ceil(1 << 20),
        execution_ms: body.used.time_ms,
        input_hash: body.input_hash,
        output_hash: body.output_hash,
        module_hash,
        start_timestamp: body.started_ms,
        end_timestamp: body.ended_ms,
        module_cid: local_cid(&module_hash),
        input_cid: local_cid(&body.input_hash),
        entrypoint: facts.entrypoint,
        output_schema_hash: facts.output_schema_hash,
        task_envelope_hash: facts.task_envelope_hash,
    };
    Ok(Signed::sign(view, executor))
}

#[cfg(test)]
mod tests;
