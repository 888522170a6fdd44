//! How far an admitted node is trusted.

use std::fmt;
use std::str::FromStr;

use sedge_base::ErrorKind;
use serde::{Deserialize, Serialize};

/// How far a node is trusted, least first (origins, part 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustLevel {
    /// Nobody looked at it.
    Untrusted,
    /// It waits for a person.
    TofuPending,
    /// A person approved it when it first came.
    Tofu,
    /// It proved that it knows a secret, or has a key, that the owner wrote down before.
    Trusted,
    /// As trusted, and the owner said that it may do what is dangerous.
    Privileged,
}

impl TrustLevel {
    /// Every level, least first.
    pub const ALL: [Self; 5] =
        [Self::Untrusted, Self::TofuPending, Self::Tofu, Self::Trusted, Self::Privileged];

    /// Returns the stable name, such as `tofu_pending`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::TofuPending => "tofu_pending",
            Self::Tofu => "tofu",
            Self::Trusted => "trusted",
            Self::Privileged => "privileged",
        }
    }
}

impl fmt::Display for TrustLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text names no trust level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a trust level is untrusted, tofu_pending, tofu, trusted or privileged")]
pub struct UnknownLevel;

impl UnknownLevel {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl FromStr for TrustLevel {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Self::ALL.into_iter().find(|it| it.name() == text).ok_or(UnknownLevel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_levels_grow() {
        assert!(TrustLevel::ALL.is_sorted());
        for level in TrustLevel::ALL {
            assert_eq!(level.name().parse(), Ok(level));
            assert_eq!(serde_json::to_string(&level).unwrap(), format!("\"{level}\""));
        }
        assert_eq!("root".parse::<TrustLevel>(), Err(UnknownLevel));
    }
}
