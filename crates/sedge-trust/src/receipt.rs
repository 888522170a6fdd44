//! What was done, for whom, under which budgets: signed by both ends over every field.

mod attest;
mod batch;
mod chain;
mod chain_file;
mod checkpoint;
mod export;
mod text;

use std::time::Duration;

use sedge_base::{ContentId, ErrorKind, NodeId, SwarmId, TaskId};
use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError};
use crate::identity::Identity;
use crate::signature::{BadSignature, Signature, verify as verify_signature};
use batch::BatchVerifyError;

pub use attest::{
    AttestError, Form, MAX_ATTESTATION_BYTES, UnknownForm, attest, verify_attestation,
};
pub use batch::{Batch, BatchError, MAX_BATCH};
pub use chain::{BrokenChain, ChainFault, verify_chain};
pub use chain_file::{ChainFileError, ProvenChain, encode_chain, is_chain, verify_chain_file};
pub use checkpoint::{
    Anchor, AnchorError, Checkpoint, CheckpointError, CheckpointVersion, Point, Since, TwoHistories,
};
pub use export::{DecodeError, Export, MAX_EXPORT_BYTES, MAX_EXPORT_RECEIPTS};

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    /// It answered.
    Success,
    /// It failed by itself.
    Error,
    /// Its time budget ran out.
    Timeout,
    /// Its memory budget ran out.
    OutOfMemory,
    /// Its fuel budget ran out.
    OutOfFuel,
    /// The requester went away or said stop.
    Cancelled,
}

/// How much a receipt proves beyond "both ends signed this".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// The executor says so.
    Attested,
    /// Anyone can run the task again and compare.
    ReRunnable,
    /// Anyone can run the task again under the receipt's profile and get the same bytes.
    BitReplayable,
}

/// The limits that the task ran under; 0 means "no such limit".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// Fuel units.
    pub fuel: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Milliseconds.
    pub time_ms: u64,
}

/// What the task used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Used {
    /// Fuel units.
    pub fuel: u64,
    /// Bytes of memory at the peak.
    pub peak_memory_bytes: u64,
    /// Milliseconds from start to end on the executor.
    pub time_ms: u64,
    /// Tokens read by a model.
    pub tokens_in: u64,
    /// Tokens written by a model.
    pub tokens_out: u64,
}

/// The version of the receipt's form; a field, so that it is signed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Version {
    /// The first form.
    #[default]
    #[serde(rename = "sedge-receipt/1")]
    V1,
}

/// Every fact of a receipt. All whole numbers are at most [`canonical::MAX_INTEGER`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// The form of this record.
    pub version: Version,
    /// The swarm that both nodes belong to.
    pub swarm_id: SwarmId,
    /// The task.
    pub task_id: TaskId,
    /// SHA-256 of the task as the requester sent it.
    pub task_hash: ContentId,
    /// The capability's name, such as `fn-1`; see [`MAX_CAPABILITY_BYTES`].
    pub capability: String,
    /// SHA-256 of the module or model that answered; `None` where there is no such file.
    pub artifact_hash: Option<ContentId>,
    /// SHA-256 of the input.
    pub input_hash: ContentId,
    /// SHA-256 of the output, as far as it was sent.
    pub output_hash: ContentId,
    /// The limits.
    pub budgets: Budgets,
    /// What was used.
    pub used: Used,
    /// How the task ended.
    pub status: Status,
    /// How much this receipt proves.
    pub rung: Rung,
    /// Who ran the task.
    pub executor: NodeId,
    /// Who asked for it.
    pub requester: NodeId,
    /// When it started, in ms since 1970 by the executor's clock.
    pub started_ms: u64,
    /// When it ended, in ms since 1970 by the executor's clock; not before the start.
    pub ended_ms: u64,
    /// The place in the executor's chain, from 0.
    pub sequence: u64,
    /// The id of the receipt before this one in the executor's chain; `None` at place 0 only.
    pub previous: Option<ContentId>,
    /// What the output's bits depend on besides artifact and input: the name of the arithmetic, and
    /// the settings that the input left open. Given exactly when the rung is
    /// [`Rung::BitReplayable`]; see [`MAX_PROFILE_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

/// The longest capability name in a receipt, in bytes.
pub const MAX_CAPABILITY_BYTES: usize = 256;

/// The longest profile in a receipt, in bytes.
pub const MAX_PROFILE_BYTES: usize = 256;

/// Why these facts make no receipt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key at hand is not the one of the node that the receipt names.
    #[error("the receipt names {named:?}, this key belongs to {own:?}")]
    OtherNode {
        /// The node in the receipt.
        named: NodeId,
        /// The node whose key was given.
        own: NodeId,
    },
    /// A fact contradicts another one or is too long.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A number is too large for JSON.
    #[error("the receipt cannot be written down")]
    Canonical(#[from] CanonicalError),
    /// The executor's signature, which the requester is to confirm, is wrong.
    #[error(transparent)]
    Executor(#[from] BadSignature),
    /// The receipt is not of the batch that it names, or the batch is too large.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

impl SignError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::OtherNode { .. } => ErrorKind::Denied,
            Self::Body(err) => err.kind(),
            Self::Canonical(err) => err.kind(),
            Self::Executor(err) => err.kind(),
            Self::Batch(err) => err.kind(),
        }
    }
}

/// Facts that contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The capability's name is empty or too long.
    #[error("a capability name has 1 to {MAX_CAPABILITY_BYTES} bytes")]
    Capability,
    /// The end lies before the start.
    #[error("the receipt ends before it starts")]
    Times,
    /// Only the first receipt of a chain has none before it.
    #[error("the place in the chain and the receipt before it do not fit together")]
    Previous,
    /// What can be computed again names its profile, and nothing else does.
    #[error(
        "a bit-replayable receipt, and no other one, has a profile of 1 to {MAX_PROFILE_BYTES} bytes"
    )]
    Profile,
}

impl BodyError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Body {
    /// Checks what can be checked without any key.
    ///
    /// # Errors
    ///
    /// [`BodyError`] when two facts contradict each other or a text is too long.
    pub const fn check(&self) -> Result<(), BodyError> {
        if self.capability.is_empty() || self.capability.len() > MAX_CAPABILITY_BYTES {
            return Err(BodyError::Capability);
        }
        if self.ended_ms < self.started_ms {
            return Err(BodyError::Times);
        }
        if (self.sequence == 0) != self.previous.is_none() {
            return Err(BodyError::Previous);
        }
        let fits = match (&self.profile, self.rung) {
            (Some(profile), Rung::BitReplayable) => {
                !profile.is_empty() && profile.len() <= MAX_PROFILE_BYTES
            }
            (None, rung) => !matches!(rung, Rung::BitReplayable),
            (Some(_), _) => false,
        };
        if !fits {
            return Err(BodyError::Profile);
        }
        Ok(())
    }

    /// Returns how long the task ran by the executor's clock.
    pub const fn took(&self) -> Duration {
        Duration::from_millis(self.ended_ms.saturating_sub(self.started_ms))
    }

    /// Returns the signed text: the RFC 8785 form of every field.
    ///
    /// # Errors
    ///
    /// [`CanonicalError`] when a number is too large for JSON.
    pub fn canonical(&self) -> Result<Vec<u8>, CanonicalError> {
        text::canonical(self)
    }
}

/// One receipt: the facts, the executor's signature, and the requester's if it confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The facts.
    pub body: Body,
    /// By the executor, over the RFC 8785 form of `body`, or over the root of its batch.
    pub executor_signature: Signature,
    /// By the requester, over `body`'s hash and the executor's signature; `None` until confirmed.
    pub requester_signature: Option<Signature>,
    /// Where the receipt stands among those that the executor signed together; absent when it was
    /// signed alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
}

/// What the requester signs.
#[derive(Serialize)]
struct Countersigned {
    version: &'static str,
    receipt: ContentId,
    executor_signature: Signature,
}

/// The keys to verify against; they come from the registry or the person, never from a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyKeys {
    /// Who ran the task.
    pub executor: NodeId,
    /// Who asked for it.
    pub requester: NodeId,
}

/// What a verified receipt proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The receipt's id.
    pub id: ContentId,
    /// Whether the requester confirmed it too.
    pub countersigned: bool,
}

/// Why a receipt is not to be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The receipt names another executor.
    #[error("the receipt names another executor, {named:?}")]
    OtherExecutor {
        /// The node in the receipt.
        named: NodeId,
    },
    /// The receipt names another requester.
    #[error("the receipt names another requester, {named:?}")]
    OtherRequester {
        /// The node in the receipt.
        named: NodeId,
    },
    /// The executor did not sign these facts.
    #[error("the executor did not sign this")]
    Executor(#[source] BadSignature),
    /// The requester did not confirm these facts.
    #[error("the requester did not confirm this")]
    Requester(#[source] BadSignature),
    /// The executor did not sign these facts together with others.
    #[error("the executor did not sign this in a batch")]
    Batch(#[source] BatchError),
    /// Facts contradict each other.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A number is too large for JSON.
    #[error("the receipt cannot be written down")]
    Canonical(#[from] CanonicalError),
}

impl VerifyError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::OtherExecutor { .. } | Self::OtherRequester { .. } => ErrorKind::Denied,
            Self::Executor(err) | Self::Requester(err) => err.kind(),
            Self::Batch(err) => err.kind(),
            Self::Body(err) => err.kind(),
            Self::Canonical(err) => err.kind(),
        }
    }
}

impl Receipt {
    /// Signs the facts as their executor.
    ///
    /// # Errors
    ///
    /// [`SignError`] when the facts name another executor or contradict each other.
    pub fn sign(body: Body, executor: &Identity) -> Result<Self, SignError> {
        body.check()?;
        let own = executor.node_id();
        if body.executor != own {
            return Err(SignError::OtherNode { named: body.executor, own });
        }
        let executor_signature = executor.sign(&body.canonical()?);
        Ok(Self { body, executor_signature, requester_signature: None, batch: None })
    }

    /// Confirms the receipt as its requester, after checking the executor's signature.
    ///
    /// # Errors
    ///
    /// [`SignError`] when the receipt names another requester or the executor did not sign it.
    pub fn countersign(&mut self, requester: &Identity) -> Result<(), SignError> {
        self.body.check()?;
        let own = requester.node_id();
        if self.body.requester != own {
            return Err(SignError::OtherNode { named: self.body.requester, own });
        }
        let text = self.body.canonical()?;
        self.verify_executor(&self.body.executor, &text).map_err(|err| match err {
            VerifyError::Batch(err) => SignError::Batch(err),
            VerifyError::Canonical(err) => SignError::Canonical(err),
            _ => SignError::Executor(BadSignature { signer: self.body.executor }),
        })?;
        self.requester_signature = Some(requester.sign(&self.confirmation(&text)?));
        Ok(())
    }

    /// Returns the receipt's id: SHA-256 of the RFC 8785 form of its facts.
    ///
    /// # Errors
    ///
    /// [`CanonicalError`] when a number is too large for JSON.
    pub fn id(&self) -> Result<ContentId, CanonicalError> {
        Ok(ContentId::of(&self.body.canonical()?))
    }

    /// Verifies the receipt against keys that come from elsewhere.
    ///
    /// # Errors
    ///
    /// [`VerifyError`], which says what is wrong with it.
    pub fn verify(&self, keys: &VerifyKeys) -> Result<Verified, VerifyError> {
        self.body.check()?;
        if self.body.executor != keys.executor {
            return Err(VerifyError::OtherExecutor { named: self.body.executor });
        }
        if self.body.requester != keys.requester {
            return Err(VerifyError::OtherRequester { named: self.body.requester });
        }
        let text = self.body.canonical()?;
        self.verify_executor(&keys.executor, &text)?;
        if let Some(signature) = &self.requester_signature {
            verify_signature(&keys.requester, &self.confirmation(&text)?, signature)
                .map_err(VerifyError::Requester)?;
        }
        let countersigned = self.requester_signature.is_some();
        Ok(Verified { id: ContentId::of(&text), countersigned })
    }

    /// Checks the executor's signature, alone or over a batch.
    fn verify_executor(&self, executor: &NodeId, text: &[u8]) -> Result<(), VerifyError> {
        let Some(batch) = &self.batch else {
            return verify_signature(executor, text, &self.executor_signature)
                .map_err(VerifyError::Executor);
        };
        let verified = batch.verify(executor, &ContentId::of(text), &self.executor_signature);
        verified.map_err(|err| match err {
            BatchVerifyError::Batch(err) => VerifyError::Batch(err),
            BatchVerifyError::Canonical(err) => VerifyError::Canonical(err),
        })
    }

    fn confirmation(&self, text: &[u8]) -> Result<Vec<u8>, CanonicalError> {
        canonical::jcs(&Countersigned {
            version: "sedge-receipt-confirmation/1",
            receipt: ContentId::of(text),
            executor_signature: self.executor_signature,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
