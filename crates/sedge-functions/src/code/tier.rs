//! One sort of sandbox: the trait, and what goes in and out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sedge_base::{ByteSize, ErrorKind, Timestamp};
use sedge_sandbox::Captured;
use serde::{Deserialize, Serialize};

use crate::code::language::Language;
use crate::code::session::Session;

/// A sort of sandbox, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tier {
    /// A fresh Wasm instance of a snapshot: nothing of this machine can be named.
    Wasm,
    /// The machine's own toolchain behind namespaces, Landlock and seccomp.
    Native,
    /// A virtual machine of a cloud that speaks E2B's protocol: away from this machine, and seen by
    /// its owner.
    #[serde(rename = "e2b")]
    Cloud,
}

impl Tier {
    /// Returns its name, such as `wasm`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::Native => "native",
            Self::Cloud => "e2b",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One program to run once.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) language: Language,
    pub(crate) code: String,
    pub(crate) stdin: String,
    /// How long it may run.
    pub(crate) time: Duration,
    /// How much memory it may have.
    pub(crate) memory: ByteSize,
    /// The folder of the session that it runs in; it stays until the run is over.
    pub(crate) session: Option<Arc<Session>>,
    /// The date that it is told where it has no clock, and what its chance follows from.
    pub(crate) now: Timestamp,
    pub(crate) seed: u32,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself.
    Exited(i32),
    /// Its time was over.
    TimedOut,
    /// It was ended for a reason, such as a signal or too much memory.
    Stopped(String),
}

/// What came of a program.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    pub(crate) ended: Ended,
    pub(crate) stdout: Captured,
    pub(crate) stderr: Captured,
    /// The most memory that it had, where that is known.
    pub(crate) peak_memory: Option<ByteSize>,
    pub(crate) took: Duration,
}

/// Why a tier cannot run something: what is missing, and how to get it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Missing(pub(crate) String);

/// Why a tier that was ready gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TierError {
    /// There is no sandbox, and nothing ran.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The native sandbox failed.
    #[error(transparent)]
    Contain(#[from] sedge_sandbox::ContainError),
    /// The Wasm engine refused: it is full or stops.
    #[error(transparent)]
    Refused(#[from] sedge_capability::Failure),
    /// The cloud cannot be reached, or says no.
    #[error("the cloud cannot be used: {reason}")]
    Cloud {
        /// Why.
        reason: String,
    },
    /// What a helper answered is not understood.
    #[error("{what} gave no answer that makes sense: {reason}")]
    Answer {
        /// Who.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl TierError {
    /// Returns what the caller can do about it.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing(_) => ErrorKind::Unsupported,
            Self::Contain(it) => it.kind(),
            Self::Refused(it) => it.kind,
            Self::Cloud { .. } => ErrorKind::Unavailable,
            Self::Answer { .. } => ErrorKind::Internal,
        }
    }
}

/// One sort of sandbox. An implementation never does less than its tier promises: what it cannot
/// contain it does not run.
#[async_trait]
pub(crate) trait Sandbox: Send + Sync + fmt::Debug + 'static {
    /// Returns which sort it is.
    fn tier(&self) -> Tier;

    /// Returns whether it probably can run a language here; costs next to nothing.
    fn offers(&self, language: Language) -> bool;

    /// Returns `Ok` when it can run a program here, and otherwise what is missing.
    ///
    /// # Errors
    ///
    /// [`Missing`], in words for the machine's owner.
    async fn ready(&self, job: &Job) -> Result<(), Missing>;

    /// Runs one program to its end.
    ///
    /// # Errors
    ///
    /// [`TierError`] when nothing ran. A program that fails is no error here.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the program.
    async fn run(&self, job: &Job) -> Result<Ran, TierError>;
}
