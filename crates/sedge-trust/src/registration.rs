//! A node's own word about itself, bound to one swarm, and the registry that keeps it.
//!
//! A registration says "this key goes by this id, offers this"; whether the key belongs to the
//! swarm at all is the membership's matter ([`crate::verify_membership`]).

mod registry;

use sedge_base::{ErrorKind, NodeId, SwarmId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError, ReadError};
use crate::identity::Identity;
use crate::signature::{BadSignature, SessionPublicKey, Signature, verify};

pub use registry::{
    Audit, AuditEvent, MAX_AUDIT, MAX_MEMBERS, Outcome, RegisterError, Registry, UnknownSender,
    VerifyFromError,
};

/// The longest id or capability in a registration, in bytes.
pub const MAX_TEXT_BYTES: usize = 64;

/// The most capabilities in a registration.
pub const MAX_CAPABILITIES: usize = 256;

/// The largest encoded registration that is read, in bytes.
pub const MAX_REGISTRATION_BYTES: usize = 64 << 10;

/// The version of the registration's form; a field, so that it is signed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Version {
    /// The first form.
    #[default]
    #[serde(rename = "sedge-registration/1")]
    V1,
}

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The form of this record.
    pub version: Version,
    /// The swarm that the registration is for.
    pub swarm_id: SwarmId,
    /// The id that the node goes by; see [`MAX_TEXT_BYTES`].
    pub agent_id: String,
    /// The node, which is its Ed25519 public key.
    pub node_id: NodeId,
    /// Its X25519 public key.
    pub session_key: SessionPublicKey,
    /// What it offers, by name; see [`MAX_CAPABILITIES`].
    pub capabilities: Vec<String>,
    /// When it wrote this; a later one replaces an earlier one.
    pub joined_at: Timestamp,
}

/// A field of a registration is missing or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FactsError {
    /// The X25519 key is all zero.
    #[error("the registration has no session key")]
    NoSessionKey,
    /// The list of capabilities is empty.
    #[error("the registration names no capability")]
    NoCapabilities,
    /// `joined_at` is 0.
    #[error("the registration does not say when it was made")]
    NoJoinDate,
    /// An id or capability is empty, too long or holds control characters, or there are too many.
    #[error(
        "ids and capabilities have 1 to {MAX_TEXT_BYTES} bytes without control characters, \
         and there are at most {MAX_CAPABILITIES} capabilities"
    )]
    Text,
}

impl FactsError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Facts {
    /// Checks what can be checked without any key.
    ///
    /// # Errors
    ///
    /// [`FactsError`], which names what is missing.
    pub fn check(&self) -> Result<(), FactsError> {
        if self.session_key.is_missing() {
            return Err(FactsError::NoSessionKey);
        }
        if self.capabilities.is_empty() {
            return Err(FactsError::NoCapabilities);
        }
        if self.joined_at.as_millis() == 0 {
            return Err(FactsError::NoJoinDate);
        }
        let sound = |it: &String| {
            !it.is_empty() && it.len() <= MAX_TEXT_BYTES && !it.contains(char::is_control)
        };
        let all = self.capabilities.len() <= MAX_CAPABILITIES
            && sound(&self.agent_id)
            && self.capabilities.iter().all(sound);
        all.then_some(()).ok_or(FactsError::Text)
    }
}

/// Facts that their node signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The facts.
    pub facts: Facts,
    /// By the node, over the RFC 8785 form of `facts`.
    pub signature: Signature,
}

/// Why these facts make no registration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The facts name another node than the one whose key is at hand.
    #[error("the registration names {named:?}, this key belongs to {own:?}")]
    OtherNode {
        /// The node in the facts.
        named: NodeId,
        /// The node whose key was given.
        own: NodeId,
    },
    /// A fact is missing or too long.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// A number is too large for JSON.
    #[error("the registration cannot be written down")]
    Canonical(#[from] CanonicalError),
}

impl SignError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::OtherNode { .. } => ErrorKind::Denied,
            Self::Facts(err) => err.kind(),
            Self::Canonical(err) => err.kind(),
        }
    }
}

/// Why a registration does not hold by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is for another swarm.
    #[error("the registration is for another swarm, {named:?}")]
    OtherSwarm {
        /// The swarm that it names.
        named: SwarmId,
    },
    /// A fact is missing or too long.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The node that it names did not sign it.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// A number is too large for JSON.
    #[error("the registration cannot be written down")]
    Canonical(#[from] CanonicalError),
}

impl VerifyError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::OtherSwarm { .. } => ErrorKind::Denied,
            Self::Facts(err) => err.kind(),
            Self::Signature(err) => err.kind(),
            Self::Canonical(err) => err.kind(),
        }
    }
}

impl Registration {
    /// Signs what a node says about itself.
    ///
    /// # Errors
    ///
    /// [`SignError`] when the facts name another node, lack something or are too long.
    pub fn sign(facts: Facts, identity: &Identity) -> Result<Self, SignError> {
        facts.check()?;
        let own = identity.node_id();
        if facts.node_id != own {
            return Err(SignError::OtherNode { named: facts.node_id, own });
        }
        let signature = identity.sign(&canonical::jcs(&facts)?);
        Ok(Self { facts, signature })
    }

    /// Checks that the registration is for `swarm`, is complete, and is signed by the node that
    /// it names; which node may use the id is for the [`Registry`] to say.
    ///
    /// # Errors
    ///
    /// [`VerifyError`], which says why it does not hold.
    pub fn verify(&self, swarm: SwarmId) -> Result<(), VerifyError> {
        if self.facts.swarm_id != swarm {
            return Err(VerifyError::OtherSwarm { named: self.facts.swarm_id });
        }
        self.facts.check()?;
        Ok(verify(&self.facts.node_id, &canonical::jcs(&self.facts)?, &self.signature)?)
    }

    /// Returns the bytes that travel: the RFC 8785 form.
    ///
    /// # Errors
    ///
    /// [`CanonicalError`] when a number is too large for JSON.
    pub fn encode(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::jcs(self)
    }

    /// Reads the bytes that travelled; the registration is still to be verified.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when they are too many, of another form, or not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        canonical::read_jcs(bytes, MAX_REGISTRATION_BYTES)
    }
}

#[cfg(test)]
pub(crate) mod tests;
