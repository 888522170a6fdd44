//! What the caller of a failed operation can do about it.

use serde::{Deserialize, Serialize};

/// The kind of a failure: decides the exit code, the HTTP status and whether to try again.
///
/// Every error enum of the workspace has a `kind()` that returns one of these; surfaces ask
/// nothing else of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request itself is wrong; the same request will fail again.
    Invalid,
    /// What was named does not exist here or on any known node.
    NotFound,
    /// It exists already, or somebody else changed it meanwhile.
    Conflict,
    /// Nobody proved who asks.
    Unauthenticated,
    /// Who asks is known, and may not.
    Denied,
    /// A budget, quota or limit is spent: fuel, memory, tokens, places in a queue.
    Exhausted,
    /// The deadline passed first.
    Timeout,
    /// The caller went away or said stop.
    Cancelled,
    /// What is needed is not here now; the same request may succeed later or elsewhere.
    Unavailable,
    /// This build or this machine cannot do it.
    Unsupported,
    /// The guest's code failed by itself: a trap or an error that it returned.
    Failed,
    /// Stored or received data is damaged.
    Corrupt,
    /// A fault of ours, or of the operating system below us.
    Internal,
}

impl ErrorKind {
    /// Returns whether the same request may succeed on another try or on another node.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::Timeout)
    }

    /// Returns the exit code of the program: 2 for a caller's mistake, 1 to 14 else.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Invalid => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::Unauthenticated => 5,
            Self::Denied => 6,
            Self::Exhausted => 7,
            Self::Timeout => 8,
            Self::Cancelled => 9,
            Self::Unavailable => 10,
            Self::Unsupported => 11,
            Self::Failed => 12,
            Self::Corrupt => 13,
            Self::Internal => 1,
        }
    }

    /// Returns the HTTP status code.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthenticated => 401,
            Self::Denied => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Exhausted => 429,
            Self::Cancelled => 499,
            Self::Internal | Self::Corrupt => 500,
            Self::Unsupported => 501,
            Self::Failed => 502,
            Self::Unavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// Returns the stable name that machines read, such as `not_found`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Unauthenticated => "unauthenticated",
            Self::Denied => "denied",
            Self::Exhausted => "exhausted",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
            Self::Failed => "failed",
            Self::Corrupt => "corrupt",
            Self::Internal => "internal",
        }
    }

    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 13] = [
        Self::Invalid,
        Self::NotFound,
        Self::Conflict,
        Self::Unauthenticated,
        Self::Denied,
        Self::Exhausted,
        Self::Timeout,
        Self::Cancelled,
        Self::Unavailable,
        Self::Unsupported,
        Self::Failed,
        Self::Corrupt,
        Self::Internal,
    ];

    /// Returns the kind of that stable name, or `None` when no kind has it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_exit_codes_are_unique() {
        for (at, one) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(ErrorKind::from_name(one.name()), Some(one));
            for other in &ErrorKind::ALL[at + 1..] {
                assert_ne!(one.exit_code(), other.exit_code());
            }
        }
    }
}
