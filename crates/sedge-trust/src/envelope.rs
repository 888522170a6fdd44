//! Messages between members: encrypted, signed, and accepted once.
//!
//! The order of checks is fixed: registry, signature, age, nonce, counter, decryption, payload
//! hash. Only a message that passed them all is remembered, so a forged or damaged one cannot
//! shut out the honest one.
//!
//! ```
//! use sedge_base::{SwarmId, Timestamp};
//! use sedge_trust::envelope::{Outbox, ReplayWindow};
//! use sedge_trust::registration::{Facts, Version};
//! use sedge_trust::{Identity, Registration, Registry, session::SessionKey};
//!
//! let (node, swarm_id) = (Identity::generate()?, SwarmId::of_key(&[1; 32]));
//! let (key, now) = (SessionKey::from_bytes([1; 32]), Timestamp::from_millis(1_700_000_000_000));
//! let facts = Facts {
//!     version: Version::V1,
//!     swarm_id,
//!     agent_id: "otter".to_owned(),
//!     node_id: node.node_id(),
//!     session_key: node.session_public_key(),
//!     capabilities: vec!["worker".to_owned()],
//!     joined_at: now,
//! };
//! let mut registry = Registry::new(swarm_id);
//! registry.register(&Registration::sign(facts, &node)?, now)?;
//!
//! let mut outbox = Outbox::new(node, swarm_id, "otter".to_owned(), 1);
//! let envelope = outbox.seal("chat", b"Hello, swarm!", &key, now)?;
//! let mut window = ReplayWindow::new();
//! assert_eq!(envelope.open(&registry, &mut window, &key, now)?.payload, b"Hello, swarm!");
//! assert!(envelope.open(&registry, &mut window, &key, now).is_err(), "once only");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod replay;
mod sealed;

use sedge_base::{ContentId, ErrorKind, NodeId, SwarmId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError, ReadError};
use crate::cipher::{self, OpenFailed, Sealed};
use crate::identity::Identity;
use crate::random::{RandomError, random_bytes};
use crate::registration::{MAX_TEXT_BYTES, Registry, UnknownSender, VerifyFromError};
use crate::session::SessionKey;
use crate::signature::{BadSignature, Nonce, Signature};

pub(crate) use replay::Mark;
pub use replay::{MAX_AGE, MAX_AHEAD, MAX_NONCES, ReplayError, ReplayWindow};

/// The longest payload, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 16 << 20;

/// The longest topic, in bytes.
pub const MAX_TOPIC_BYTES: usize = 256;

/// The largest encoded envelope that is read, in bytes: the payload as hexadecimal, and a header.
pub const MAX_ENVELOPE_BYTES: usize = 2 * MAX_PAYLOAD_BYTES + (16 << 10);

/// The version of the envelope's form; a field, so that it is signed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Version {
    /// The first form.
    #[default]
    #[serde(rename = "sedge-envelope/1")]
    V1,
}

/// What stands on the outside; everyone who carries the envelope can read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The form of this record.
    pub version: Version,
    /// The swarm that it is for.
    pub swarm_id: SwarmId,
    /// The sender, by the id that it is registered with; its key is not in here.
    pub sender_id: String,
    /// What it is about; see [`MAX_TOPIC_BYTES`].
    pub topic: String,
    /// When it was sealed, by the sender's clock.
    pub timestamp: Timestamp,
    /// Makes it unlike every other.
    pub nonce: Nonce,
    /// Grows with every envelope of the sender; from 1, gaps are allowed.
    pub counter: u64,
    /// SHA-256 of the plain payload. Whoever can guess the payload can confirm the guess.
    pub payload_hash: ContentId,
}

/// A payload under a header: signed by its sender, encrypted with the header bound to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// What stands on the outside.
    pub header: Header,
    /// The payload under AES-256-GCM, with the RFC 8785 form of `header` as associated data.
    #[serde(with = "sealed")]
    pub sealed: Sealed,
    /// By the sender, over the RFC 8785 form of `header`.
    pub signature: Signature,
}

/// What an accepted envelope says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Who sent it, by the registry.
    pub sender: NodeId,
    /// The plain payload.
    pub payload: Vec<u8>,
}

/// Why a payload was not put into an envelope.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The payload is too long.
    #[error("a payload has at most {MAX_PAYLOAD_BYTES} bytes, this has {got}")]
    Payload {
        /// How many bytes it has.
        got: usize,
    },
    /// The topic is empty or too long.
    #[error("a topic has 1 to {MAX_TOPIC_BYTES} bytes")]
    Topic,
    /// No random bytes for the nonce.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The cipher refused.
    #[error(transparent)]
    Cipher(#[from] cipher::SealError),
    /// The counter is used up, or the date is too large for JSON.
    #[error("the header cannot be written down")]
    Canonical(#[from] CanonicalError),
}

impl SealError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Payload { .. } | Self::Topic => ErrorKind::Invalid,
            Self::Random(err) => err.kind(),
            Self::Cipher(err) => err.kind(),
            Self::Canonical(err) => err.kind(),
        }
    }
}

/// Why an envelope is not accepted. The replay window stays as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is for another swarm.
    #[error("the envelope is for another swarm")]
    OtherSwarm,
    /// The topic is empty, or a text or the payload is too long.
    #[error("the envelope's topic, sender or payload is longer than allowed")]
    Size,
    /// Nobody is registered under the sender's id.
    #[error(transparent)]
    Sender(#[from] UnknownSender),
    /// The key that is registered for the sender's id did not sign the header.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// It is too old, from the future, or was accepted before.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// Another key, or the payload belongs to another header, or a byte changed.
    #[error(transparent)]
    Decrypt(#[from] OpenFailed),
    /// The payload is not the one that the sender signed.
    #[error("the payload is not the one that the header names")]
    PayloadHash,
    /// A number is too large for JSON.
    #[error("the header cannot be written down")]
    Canonical(#[from] CanonicalError),
}

impl OpenError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::OtherSwarm => ErrorKind::Denied,
            Self::Sender(_) | Self::Signature(_) => ErrorKind::Unauthenticated,
            Self::Replay(err) => err.kind(),
            Self::Decrypt(_) | Self::PayloadHash => ErrorKind::Corrupt,
            Self::Size => ErrorKind::Invalid,
            Self::Canonical(err) => err.kind(),
        }
    }
}

impl From<VerifyFromError> for OpenError {
    fn from(err: VerifyFromError) -> Self {
        match err {
            VerifyFromError::Unknown(err) => Self::Sender(err),
            VerifyFromError::Signature(err) => Self::Signature(err),
        }
    }
}

/// What one member sends: knows its keys, its id and its counter.
#[derive(Debug)]
pub struct Outbox {
    identity: Identity,
    swarm: SwarmId,
    agent_id: String,
    next: u64,
}

impl Outbox {
    /// Makes the outbox of the member that is registered as `agent_id`.
    ///
    /// `first` is the first counter: 1 for a member that never sent; else greater than every one
    /// it used, or others refuse its messages. At most [`canonical::MAX_INTEGER`].
    pub const fn new(identity: Identity, swarm: SwarmId, agent_id: String, first: u64) -> Self {
        Self { identity, swarm, agent_id, next: first }
    }

    /// Returns the counter that the next envelope will have.
    pub const fn next_counter(&self) -> u64 {
        self.next
    }

    /// Encrypts and signs one payload.
    ///
    /// # Errors
    ///
    /// [`SealError`]; the counter does not move then.
    pub fn seal(
        &mut self,
        topic: &str,
        payload: &[u8],
        key: &SessionKey,
        now: Timestamp,
    ) -> Result<Envelope, SealError> {
        if topic.is_empty() || topic.len() > MAX_TOPIC_BYTES {
            return Err(SealError::Topic);
        }
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(SealError::Payload { got: payload.len() });
        }
        let header = Header {
            version: Version::V1,
            swarm_id: self.swarm,
            sender_id: self.agent_id.clone(),
            topic: topic.to_owned(),
            timestamp: now,
            nonce: Nonce::from_bytes(random_bytes()?),
            counter: self.next,
            payload_hash: ContentId::of(payload),
        };
        let text = canonical::jcs(&header)?;
        let sealed = Sealed::seal(key, payload, &text)?;
        let signature = self.identity.sign(&text);
        self.next = self.next.saturating_add(1);
        Ok(Envelope { header, sealed, signature })
    }
}

impl Envelope {
    /// Checks everything and returns the payload; the sender's key comes from `registry` alone.
    ///
    /// # Errors
    ///
    /// [`OpenError`], which says what is wrong; `window` stays as it was.
    pub fn open(
        &self,
        registry: &Registry,
        window: &mut ReplayWindow,
        key: &SessionKey,
        now: Timestamp,
    ) -> Result<Opened, OpenError> {
        let header = &self.header;
        if header.swarm_id != registry.swarm_id() {
            return Err(OpenError::OtherSwarm);
        }
        let texts_fit = (1..=MAX_TOPIC_BYTES).contains(&header.topic.len())
            && header.sender_id.len() <= MAX_TEXT_BYTES;
        if !texts_fit || self.sealed.ciphertext.len() > MAX_PAYLOAD_BYTES {
            return Err(OpenError::Size);
        }
        let text = canonical::jcs(header)?;
        let sender = registry.verify_from(&header.sender_id, &text, &self.signature)?.node_id;
        let Header { nonce, counter, timestamp, .. } = *header;
        let mark = Mark { sender, nonce, counter, timestamp };
        window.check(&mark, now)?;
        let payload = self.sealed.open(key, &text)?;
        if ContentId::of(&payload) != header.payload_hash {
            return Err(OpenError::PayloadHash);
        }
        window.record(&mark, registry, now);
        Ok(Opened { sender, payload })
    }

    /// Returns the bytes that travel: the RFC 8785 form.
    ///
    /// # Errors
    ///
    /// [`CanonicalError`] when a number is too large for JSON.
    pub fn encode(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::jcs(self)
    }

    /// Reads the bytes that travelled; the envelope is still to be opened.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when they are too many, of another form, or not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        canonical::read_jcs(bytes, MAX_ENVELOPE_BYTES)
    }
}

#[cfg(test)]
mod tests;
