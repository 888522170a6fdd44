//! Public keys and signatures as they are written and checked.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::VerifyingKey;
use sedge_base::{ErrorKind, NodeId};
use serde::{Deserialize, Serialize};

/// Why a text is not a key or a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {what} is written with {digits} lower-case hexadecimal digits")]
pub struct HexError {
    what: &'static str,
    digits: usize,
}

impl HexError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $len]);

        impl $name {
            /// Makes it from its bytes.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Returns its bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), hex::encode(&self.0[..5]))
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                let wrong = HexError { what: $what, digits: $len * 2 };
                // One spelling only, so that a changed byte is never read as the same value.
                if text.bytes().any(|it| it.is_ascii_uppercase()) {
                    return Err(wrong);
                }
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| wrong)?;
                Ok(Self(bytes))
            }
        }

        impl TryFrom<String> for $name {
            type Error = HexError;

            fn try_from(text: String) -> Result<Self, HexError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(it: $name) -> Self {
                it.to_string()
            }
        }
    };
}

hex_bytes! {
    /// An Ed25519 signature, 64 bytes, written in hexadecimal.
    Signature, 64, "signature"
}

hex_bytes! {
    /// An X25519 public key, 32 bytes, written in hexadecimal; all zero means "none given".
    SessionPublicKey, 32, "session key"
}

hex_bytes! {
    /// 16 random bytes that make a message unlike every other, written in hexadecimal.
    Nonce, 16, "nonce"
}

hex_bytes! {
    /// A hash of a Merkle tree's leaf, inner node or root, 32 bytes, written in hexadecimal.
    TreeHash, 32, "tree hash"
}

hex_bytes! {
    /// An HMAC-SHA-256, 32 bytes, written in hexadecimal.
    Mac, 32, "proof"
}

impl SessionPublicKey {
    /// Returns whether this is the all-zero key, which stands for a missing one.
    pub fn is_missing(&self) -> bool {
        self.0 == [0; 32]
    }
}

/// The signature was not made by that key over that text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not by {signer:?} over this text")]
pub struct BadSignature {
    /// Whose signature it should have been.
    pub signer: NodeId,
}

impl BadSignature {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Unauthenticated
    }
}

/// Checks an Ed25519 signature strictly: weak keys and second spellings of a signature fail.
///
/// # Errors
///
/// [`BadSignature`] when the key is not a key or the signature is not its.
pub fn verify(signer: &NodeId, text: &[u8], signature: &Signature) -> Result<(), BadSignature> {
    let wrong = BadSignature { signer: *signer };
    let key = VerifyingKey::from_bytes(signer.as_bytes()).map_err(|_| wrong)?;
    let signature = ed25519_dalek::Signature::from_bytes(signature.as_bytes());
    key.verify_strict(text, &signature).map_err(|_| wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_8032_test_1() {
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
                         5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        let (signer, signature) = (public.parse().unwrap(), signature.parse().unwrap());
        assert_eq!(verify(&signer, b"", &signature), Ok(()));
        assert_eq!(verify(&signer, b"x", &signature), Err(BadSignature { signer }));
    }

    #[test]
    fn one_spelling_only() {
        assert!("AB".repeat(64).parse::<Signature>().is_err());
        assert!("ab".repeat(64).parse::<Signature>().is_ok());
        assert!("é".repeat(32).parse::<SessionPublicKey>().is_err());
    }

    #[test]
    fn a_weak_key_signs_nothing() {
        let weak = NodeId::from_bytes([0; 32]);
        assert!(verify(&weak, b"", &Signature::from_bytes([0; 64])).is_err());
    }
}
