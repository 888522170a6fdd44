//! Who and what: the ids that travel between nodes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hash::ContentHasher;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text has another length than ids of this kind have.
    #[error("a {what} has {want} characters, this has {got}")]
    Length {
        /// The kind of id, such as `node id`.
        what: &'static str,
        /// How many characters it has.
        want: usize,
        /// How many were given.
        got: usize,
    },
    /// A character is not allowed in ids of this kind.
    #[error("a {what} is written with {allowed} only")]
    Character {
        /// The kind of id.
        what: &'static str,
        /// The allowed characters, in words.
        allowed: &'static str,
    },
}

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $len]);

        impl $name {
            /// Makes the id from its bytes.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Returns the id's bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Returns the first ten hexadecimal characters, for people's eyes only.
            pub fn short(&self) -> String {
                hex::encode(&self.0[..5])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if text.len() != $len * 2 {
                    return Err(IdError::Length { what: $what, want: $len * 2, got: text.len() });
                }
                let mut bytes = [0; $len];
                // One spelling only: what is signed must not be rewritten in capitals.
                let capital = text.bytes().any(|it| it.is_ascii_uppercase());
                let read = hex::decode_to_slice(text, &mut bytes);
                if capital || read.is_err() {
                    let allowed = "lower-case hexadecimal digits";
                    return Err(IdError::Character { what: $what, allowed });
                }
                Ok(Self(bytes))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

bytes_id! {
    /// A machine of the mesh: its Ed25519 public key, 32 bytes, written in hexadecimal.
    NodeId, 32, "node id"
}

bytes_id! {
    /// Content by its SHA-256, 32 bytes, written in hexadecimal: a Wasm module, a model file, an input.
    ContentId, 32, "content id"
}

bytes_id! {
    /// An artifact by the BLAKE3 hash of its bytes, 32 bytes, written in hexadecimal: the name under
    /// which large content travels, because parts of it can be checked against it as they come.
    ArtifactId, 32, "artifact id"
}

bytes_id! {
    /// A set of nodes admitted by one owner: the first 8 bytes of the SHA-256 of the owner's key.
    SwarmId, 8, "swarm id"
}

impl ContentId {
    /// Returns the id of these bytes.
    pub fn of(content: &[u8]) -> Self {
        let mut hasher = ContentHasher::new();
        hasher.update(content);
        hasher.finish()
    }
}

impl SwarmId {
    /// Returns the id that belongs to an owner's key (origins 003-5).
    pub fn of_key(key: &[u8; 32]) -> Self {
        let digest = ContentId::of(key);
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_bytes()[..8]);
        Self(first)
    }
}

/// One task: 1 to 64 of `a–z`, `0–9` and `-`; made by the node that was asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(String);

impl TaskId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TaskId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() || text.len() > 64 {
            return Err(IdError::Length { what: "task id", want: 64, got: text.len() });
        }
        if !text.bytes().all(|it| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
            return Err(IdError::Character {
                what: "task id",
                allowed: "lower-case letters, digits and hyphens",
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for TaskId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<TaskId> for String {
    fn from(id: TaskId) -> Self {
        id.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swarm_ids_match_the_seed_vectors() {
        assert_eq!(SwarmId::of_key(&[1; 32]).to_string(), "72cd6e8422c407fb");
        assert_eq!(SwarmId::of_key(&[0; 32]).to_string(), "66687aadf862bd77");
    }

    #[test]
    fn ids_survive_the_round_trip_through_text() {
        let id = ContentId::of(b"Hello, World!");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().starts_with("dffd6021bb2bd5b0af676290809ec3a5"));
    }

    #[test]
    fn wrong_texts_are_refused() {
        assert!("ab".parse::<NodeId>().is_err());
        assert!("zz".repeat(32).parse::<NodeId>().is_err());
        assert!("é".repeat(32).parse::<NodeId>().is_err());
        assert!("AB".repeat(32).parse::<NodeId>().is_err());
        assert!("A".parse::<TaskId>().is_err());
        assert!("".parse::<TaskId>().is_err());
    }
}
