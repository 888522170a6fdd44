//! What somebody may have to answer for, written down and shown.

use std::fmt::Display;

use sedge_base::Timestamp;
use sedge_capability::Failure;
use sedge_store::{AuditEntry, Trail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::warn;

use crate::node::{Node, internal};

/// The newest part of the audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditTrail {
    /// The newest first.
    pub entries: Vec<AuditLine>,
    /// How many older entries made room for newer ones.
    pub gone: u64,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditLine {
    /// Its number; never given twice.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What sort of thing, such as `admission.refused`.
    pub kind: String,
    /// Whom or what it is about, such as a node id.
    pub subject: String,
    /// What else is known.
    pub detail: Value,
}

impl Node {
    /// Returns the newest entries of the audit, `limit` at most.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the store cannot be read.
    pub async fn audit_trail(&self, limit: usize) -> Result<AuditTrail, Failure> {
        let Trail { entries, gone } = self.store.audit().trail(limit).await.map_err(internal)?;
        let lines =
            entries.into_iter().map(|(number, AuditEntry { at, kind, subject, detail })| {
                let detail = serde_json::from_str(&detail).unwrap_or(Value::String(detail));
                AuditLine { number, at, kind, subject, detail }
            });
        Ok(AuditTrail { entries: lines.collect(), gone })
    }

    /// Writes an entry about a node, or somebody else who has a name. What happened has happened: a failure is logged, not returned.
    pub(crate) async fn audit(&self, kind: &str, whom: &(impl Display + Sync), detail: Value) {
        let entry = AuditEntry {
            at: self.clock.now(),
            kind: kind.to_owned(),
            subject: whom.to_string(),
            detail: detail.to_string(),
        };
        if let Err(error) = self.store.audit().append(entry).await {
            warn!(target: "sedge::events::audit_failed", kind, %error);
        }
    }
}
