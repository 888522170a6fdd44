//! What a room says of a configuration that no node can run with.

use crate::ErrorKind;

/// A key of a section that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` must be {must_be}")]
pub struct ConfigError {
    /// The key with its section, such as `functions.memory`.
    pub key: &'static str,
    /// What it must be, in words.
    pub must_be: &'static str,
}

impl ConfigError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}
