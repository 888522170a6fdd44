//! Why a task failed, in a form that survives the way between nodes.

use std::borrow::Cow;

use sedge_base::ErrorKind;
use serde::{Deserialize, Serialize};

/// Why a task failed: a kind for the caller's decision, a stable code for its program, a message
/// for its eyes.
///
/// Engines turn their own error enums into this at the seam; what crosses to another node is this
/// and nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What the caller can do about it.
    pub kind: ErrorKind,
    /// The stable name of this very failure, such as `prompt_too_long`.
    pub code: Cow<'static, str>,
    /// One sentence for people: lower case, without a full stop, fit for strangers.
    pub message: String,
}

impl Failure {
    /// Makes a failure; `message` may be an error of the engine.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl ToString) -> Self {
        Self { kind, code: Cow::Borrowed(code), message: message.to_string() }
    }
}
