//! Signatures that hold as long as either Ed25519 or ML-DSA-65 does (FIPS 204).
//!
//! Both halves sign the same text, under a prefix that names this scheme and both public keys, so
//! neither half can be taken out and used alone, nor be put beside another key. A signature is
//! good only if both halves are.
//!
//! | | Ed25519 | ML-DSA-65 | together |
//! | --- | --: | --: | --: |
//! | secret seed | 32 B | 32 B | 64 B |
//! | public key | 32 B | 1,952 B | 1,984 B |
//! | signature | 64 B | 3,309 B | 3,373 B |
//!
//! ML-DSA-65 is of security category 3. Signing is deterministic, as FIPS 204 allows.
//!
//! ```
//! use sedge_trust::Identity;
//! use sedge_trust::hybrid::HybridIdentity;
//!
//! let node = HybridIdentity::generate(Identity::generate()?)?;
//! let signature = node.sign(b"a text")?;
//! assert!(node.public_key().verify(b"a text", &signature).is_ok());
//! assert!(node.public_key().verify(b"another", &signature).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;

use ml_dsa::{MlDsa65, Signature as LatticeSignature, SigningKey, VerifyingKey};
use sedge_base::{ErrorKind, NodeId};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::identity::Identity;
use crate::random::{RandomError, random_bytes};
use crate::signature::{Signature, verify};

/// Bytes of a public key's ML-DSA-65 half (FIPS 204, table 2).
pub const LATTICE_KEY_BYTES: usize = 1952;
/// Bytes of a signature's ML-DSA-65 half (FIPS 204, table 2).
pub const LATTICE_SIGNATURE_BYTES: usize = 3309;
/// Bytes of a public key: Ed25519, then ML-DSA-65.
pub const PUBLIC_KEY_BYTES: usize = 32 + LATTICE_KEY_BYTES;
/// Bytes of a signature: Ed25519, then ML-DSA-65.
pub const SIGNATURE_BYTES: usize = 64 + LATTICE_SIGNATURE_BYTES;

/// Begins every signed text, and is the context of the ML-DSA half (FIPS 204, 5.2).
const SCHEME: &[u8] = b"sedge-hybrid/1 Ed25519 ML-DSA-65\0";

/// Which half of a hybrid signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HybridError {
    /// The bytes have another length than a key or signature of this scheme.
    #[error("a {what} has {want} bytes, this has {got}")]
    Length {
        /// What was read.
        what: &'static str,
        /// How many bytes it has.
        want: usize,
        /// How many were given.
        got: usize,
    },
    /// The Ed25519 half is not by the key over this text.
    #[error("the ed25519 half of the signature does not hold")]
    Ed25519,
    /// The ML-DSA half is not by the key over this text.
    #[error("the ml-dsa half of the signature does not hold")]
    MlDsa,
}

impl HybridError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Length { .. } => ErrorKind::Invalid,
            Self::Ed25519 | Self::MlDsa => ErrorKind::Unauthenticated,
        }
    }
}

/// The ML-DSA half could not be made; no text is known for which this happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ml-dsa half of the signature could not be made")]
pub struct SignFailed;

impl SignFailed {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// A node's Ed25519 key with an ML-DSA-65 key beside it; both are wiped on drop, never printed.
pub struct HybridIdentity {
    identity: Identity,
    lattice: Box<SigningKey<MlDsa65>>,
    public: HybridPublicKey,
}

impl fmt::Debug for HybridIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HybridIdentity").field("public", &self.public).finish_non_exhaustive()
    }
}

impl HybridIdentity {
    /// Puts a new ML-DSA key beside a node's keys.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when the operating system's random source gives nothing.
    pub fn generate(identity: Identity) -> Result<Self, RandomError> {
        Ok(Self::from_seed(identity, &Zeroizing::new(random_bytes()?)))
    }

    /// Makes the ML-DSA key from its stored 32-byte seed (FIPS 204, algorithm 1: ξ).
    pub fn from_seed(identity: Identity, seed: &[u8; 32]) -> Self {
        let lattice = Box::new(SigningKey::from_seed(&(*seed).into()));
        let mut public = Box::new([0; PUBLIC_KEY_BYTES]);
        public[..32].copy_from_slice(identity.node_id().as_bytes());
        public[32..].copy_from_slice(&lattice.expanded_key().verifying_key().encode());
        Self { identity, lattice, public: HybridPublicKey(public) }
    }

    /// Returns the public key.
    pub const fn public_key(&self) -> &HybridPublicKey {
        &self.public
    }

    /// Signs a text with both keys.
    ///
    /// # Errors
    ///
    /// [`SignFailed`] when the ML-DSA half cannot be made.
    pub fn sign(&self, text: &[u8]) -> Result<HybridSignature, SignFailed> {
        let bound = self.public.bind(text);
        let lattice = self.lattice.expanded_key().sign_deterministic(&bound, SCHEME);
        let lattice = lattice.map_err(|_| SignFailed)?;
        let mut bytes = Box::new([0; SIGNATURE_BYTES]);
        bytes[..64].copy_from_slice(self.identity.sign(&bound).as_bytes());
        bytes[64..].copy_from_slice(&lattice.encode());
        Ok(HybridSignature(bytes))
    }
}

macro_rules! long_bytes {
    ($(#[$doc:meta])* $name:ident, $len:expr, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Box<[u8; $len]>);

        impl $name {
            /// Reads it from its bytes: the Ed25519 half, then the ML-DSA half.
            ///
            /// # Errors
            ///
            /// [`HybridError::Length`] when there are more or fewer.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, HybridError> {
                let read = bytes.try_into().map(|it| Self(Box::new(it)));
                read.map_err(|_| HybridError::Length { what: $what, want: $len, got: bytes.len() })
            }

            /// Returns its bytes: the Ed25519 half, then the ML-DSA half.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0[..]
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({}…)"), hex::encode(&self.0[..5]))
            }
        }
    };
}

long_bytes! {
    /// A public key of both kinds, 1,984 bytes.
    HybridPublicKey, PUBLIC_KEY_BYTES, "hybrid public key"
}

long_bytes! {
    /// A signature of both kinds, 3,373 bytes.
    HybridSignature, SIGNATURE_BYTES, "hybrid signature"
}

impl HybridPublicKey {
    /// Returns the node whose Ed25519 key is the first half.
    pub fn node_id(&self) -> NodeId {
        let mut key = [0; 32];
        key.copy_from_slice(&self.0[..32]);
        NodeId::from_bytes(key)
    }

    /// Checks both halves of a signature; one alone is worth nothing.
    ///
    /// # Errors
    ///
    /// [`HybridError`], which names the half that does not hold.
    pub fn verify(&self, text: &[u8], signature: &HybridSignature) -> Result<(), HybridError> {
        let bound = self.bind(text);
        let (classic, lattice) = signature.0.split_at(64);
        let mut first = [0; 64];
        first.copy_from_slice(classic);
        verify(&self.node_id(), &bound, &Signature::from_bytes(first))
            .map_err(|_| HybridError::Ed25519)?;
        let lattice =
            LatticeSignature::<MlDsa65>::try_from(lattice).map_err(|_| HybridError::MlDsa)?;
        let key = self.0[32..].try_into().map_err(|_| HybridError::MlDsa)?;
        let good =
            VerifyingKey::<MlDsa65>::decode(&key).verify_with_context(&bound, SCHEME, &lattice);
        good.then_some(()).ok_or(HybridError::MlDsa)
    }

    /// Returns what both halves sign: the scheme, a hash of both keys, the text.
    fn bind(&self, text: &[u8]) -> Vec<u8> {
        let keys = Sha256::digest(&self.0[..]);
        [SCHEME, keys.as_slice(), text].concat()
    }
}

#[cfg(test)]
mod tests;
