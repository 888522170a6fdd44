//! Durable state: embedded SQLite in one file, content beside it, and databases of applications.
//!
//! Invariants: a write is acknowledged only after it is on disk; whatever was not acknowledged may
//! be missing after a crash, and nothing else. A file that is damaged, foreign or of a newer program
//! is refused and left as it is. One process at a time has the store open.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("sedge.db");
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # runtime.block_on(async {
//! let store = sedge_store::Store::open(&path).await?;
//! store.settings().set("node.name", "kitchen").await?;
//! assert_eq!(store.settings().get("node.name").await?.as_deref(), Some("kitchen"));
//! store.close().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod admission;
mod approvals;
mod artifacts;
mod audit;
mod blobs;
mod calls;
mod checkpoints;
mod databases;
mod decisions;
mod deployments;
mod disk;
mod events;
mod fault;
mod graph;
mod inputs;
mod key_values;
mod members;
mod migrations;
mod open;
mod plans;
mod quorum;
mod reader;
mod receipts;
mod revocations;
mod row;
mod settings;
mod store;
mod writer;

pub use admission::{Admissions, StoredAdmission};
pub use approvals::{Approvals, AskError, StoredApproval};
pub use artifacts::{
    Artifact, ArtifactError, ArtifactLimits, Artifacts, Keep, OpenArtifact, Staged,
};
pub use audit::{Audit, AuditEntry, MAX_AUDIT, Trail};
pub use blobs::{Blobs, GetBlobError, PutBlobError};
pub use calls::{CallLimit, Calls, TakeCallError};
pub use checkpoints::{Checkpoints, StoredCheckpoint};
pub use databases::{Database, DatabaseError, Table, Value};
pub use decisions::{Decisions, StoredDecision};
pub use deployments::{Deployment, Deployments};
pub use disk::{Disk, DiskDouble};
pub use events::Metrics;
pub use fault::Fault;
pub use graph::{GraphArea, StoredEntry, StoredTensor};
pub use inputs::{Inputs, StoredInput};
pub use key_values::{Change, ChangeError, KeyValues};
pub use members::{Member, Members, PutMemberError};
pub use open::OpenError;
pub use plans::{Plans, StoredPlan};
pub use quorum::{Quorum, QuorumChange, StoredQuorum};
pub use receipts::{AppendError, CountersignError, Receipts, Role, StoredReceipt};
pub use revocations::{Revocations, StoredRevocation, Subject};
pub use settings::Settings;
pub use store::{Forgotten, Store};
