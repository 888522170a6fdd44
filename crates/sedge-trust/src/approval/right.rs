//! The right to approve: a person's key, and the owner's token that names it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use ed25519_dalek::{Signer as _, SigningKey};
use sedge_base::{ErrorKind, NodeId, Timestamp};

use crate::keyfile::{self, KeyFileError};
use crate::random::{RandomError, random_bytes};
use crate::signature::Signature;
use crate::token::{Limit, Token, TokenError, TokenForged, TokenRefused, TokenRequest};
use zeroize::Zeroizing;

/// The name of the file that holds a person's key.
pub const APPROVER_FILE: &str = "approver.key";

const MAGIC: &[u8; 8] = b"SEDGEAP1";

/// The key by which a person who does not own the swarm approves; wiped on drop, never printed.
#[derive(Clone)]
pub struct ApproverKey(SigningKey);

impl fmt::Debug for ApproverKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApproverKey").field(&self.public_key()).finish()
    }
}

impl ApproverKey {
    /// Makes a new key from the operating system's random source.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when that source gives nothing.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self::from_seed(&Zeroizing::new(random_bytes()?)))
    }

    /// Makes the key from its Ed25519 seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads the key from [`APPROVER_FILE`] in `dir`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`], which names the file and what is wrong with it.
    pub fn load(dir: &Path) -> Result<Option<Self>, KeyFileError> {
        let seed = keyfile::load(dir, APPROVER_FILE, MAGIC)?;
        Ok(seed.map(|it| Self::from_seed(&it)))
    }

    /// Reads the key from [`APPROVER_FILE`] in `dir`, or makes and stores a new one (mode 600).
    ///
    /// # Errors
    ///
    /// [`KeyFileError`], which names the file and what is wrong with it; it is never replaced.
    pub fn load_or_create(dir: &Path) -> Result<Self, KeyFileError> {
        if let Some(key) = Self::load(dir)? {
            return Ok(key);
        }
        let new = Self::generate()?;
        if keyfile::create(dir, APPROVER_FILE, MAGIC, new.0.as_bytes())? {
            return Ok(new);
        }
        Self::load(dir)?.ok_or_else(|| KeyFileError::Corrupt { path: dir.join(APPROVER_FILE) })
    }

    /// Returns the public key, in the form of a node id; it is no node's id.
    pub fn public_key(&self) -> NodeId {
        NodeId::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Returns the name that a token of the owner must have for this key to approve.
    pub fn right(&self) -> String {
        name(&self.public_key())
    }

    pub(super) fn sign(&self, text: &[u8]) -> Signature {
        Signature::from_bytes(self.0.sign(text).to_bytes())
    }
}

/// Why a key may not approve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RightError {
    /// The key is not the owner's, and shows no token.
    #[error("the key is not the owner's, and no token of the owner names it")]
    Missing,
    /// The text is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The owner did not sign the token.
    #[error(transparent)]
    Forged(#[from] TokenForged),
    /// The token does not name the key.
    #[error("the token does not name `{name}`")]
    NotNamed {
        /// What it should name.
        name: String,
    },
    /// The token has a limit that cannot be checked offline.
    #[error("a token for approving has no limits but names and a date")]
    Limit,
    /// The token has ended.
    #[error(transparent)]
    Refused(#[from] TokenRefused),
}

impl RightError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Token(it) => it.kind(),
            Self::Forged(it) => it.kind(),
            Self::Refused(it) => it.kind(),
            Self::Missing | Self::NotNamed { .. } | Self::Limit => ErrorKind::Denied,
        }
    }
}

fn name(approver: &NodeId) -> String {
    format!("approver:{approver}")
}

/// Checks that a token of the owner gives a key the right to approve now.
pub(super) fn check(
    token: &str,
    approver: &NodeId,
    owner: &NodeId,
    now: Timestamp,
) -> Result<(), RightError> {
    let token = Token::parse(token)?.verify(owner)?;
    let name = name(approver);
    // Calls are counted and nodes are known by nodes; whoever runs the tool may be neither.
    let mut limits = token.blocks().iter().flat_map(|it| &it.limits);
    if !limits.all(|it| matches!(it, Limit::Capabilities(_) | Limit::Until(_))) {
        return Err(RightError::Limit);
    }
    if !token.grants(&name) {
        return Err(RightError::NotNamed { name });
    }
    let request = TokenRequest {
        capability: &name,
        node: *approver,
        now,
        budgets: &[],
        used: &BTreeMap::new(),
    };
    Ok(token.check(&request)?)
}
