//! What the database beneath can do wrong in any operation.

use rusqlite::ErrorCode;
use sedge_base::ErrorKind;

/// Why the database could not do what it was asked; nothing of the operation was done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The store was closed before.
    #[error("the store is closed")]
    Closed,
    /// The disk, or the quota on it, is full.
    #[error("the disk is full")]
    DiskFull(#[source] rusqlite::Error),
    /// The file may not be written.
    #[error("the database may only be read")]
    ReadOnly(#[source] rusqlite::Error),
    /// The file's content is damaged.
    #[error("the database is damaged")]
    Corrupt(#[source] rusqlite::Error),
    /// A stored value is not what this program writes.
    #[error("the stored {what} is damaged")]
    Value {
        /// Which value.
        what: &'static str,
    },
    /// A value is larger than the store takes.
    #[error("{what} has {got} bytes, {most} are the most")]
    TooLarge {
        /// Which value.
        what: &'static str,
        /// Its length in bytes.
        got: usize,
        /// The most that is taken, in bytes.
        most: usize,
    },
    /// The whole group of writes was undone because one of them, or its commit, failed.
    #[error("the group of writes was undone: {reason}")]
    Undone {
        /// What the database said.
        reason: String,
    },
    /// Anything else that the database says.
    #[error("the database failed")]
    Database(#[source] rusqlite::Error),
}

impl Fault {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Closed => ErrorKind::Unavailable,
            Self::DiskFull(_) => ErrorKind::Exhausted,
            Self::ReadOnly(_) => ErrorKind::Denied,
            Self::Corrupt(_) | Self::Value { .. } => ErrorKind::Corrupt,
            Self::TooLarge { .. } => ErrorKind::Invalid,
            Self::Undone { .. } | Self::Database(_) => ErrorKind::Internal,
        }
    }

    /// Refuses a text that is longer than the store takes.
    pub(crate) const fn check_len(what: &'static str, got: usize, most: usize) -> Result<(), Self> {
        if got > most { Err(Self::TooLarge { what, got, most }) } else { Ok(()) }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(err: rusqlite::Error) -> Self {
        match err.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull(err),
            Some(ErrorCode::ReadOnly) => Self::ReadOnly(err),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(err),
            _ => Self::Database(err),
        }
    }
}
