//! Short texts that travel and are kept: checked wherever they come from.

use std::fmt;
use std::str::FromStr;

use sedge_base::ErrorKind;
use serde::{Deserialize, Serialize};

/// The longest key of a claim, in bytes.
pub const MAX_KEY_BYTES: usize = 128;

/// The longest record, in bytes.
pub const MAX_TEXT_BYTES: usize = 1024;

/// Why a text is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} has 1 to {most} bytes, {not_allowed}")]
pub struct TextError {
    /// What it was to be.
    pub what: &'static str,
    /// The most bytes that it may have.
    pub most: usize,
    /// What it must not have, in words.
    pub not_allowed: &'static str,
}

impl TextError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $most:expr, $bad:expr, $not_allowed:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = TextError;

            fn try_from(text: String) -> Result<Self, TextError> {
                let bad: fn(char) -> bool = $bad;
                if text.is_empty() || text.len() > $most || text.chars().any(bad) {
                    return Err(TextError { what: $what, most: $most, not_allowed: $not_allowed });
                }
                Ok(Self(text))
            }
        }

        impl FromStr for $name {
            type Err = TextError;

            fn from_str(text: &str) -> Result<Self, TextError> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }
    };
}

text! {
    /// What a claim is on, such as `backup/nightly`: see [`MAX_KEY_BYTES`]; no space, no control
    /// character.
    Key, "a key", MAX_KEY_BYTES, |it| it.is_control() || it.is_whitespace(), "no space among them"
}

text! {
    /// What a record says: see [`MAX_TEXT_BYTES`]; one line.
    Text, "a record", MAX_TEXT_BYTES, char::is_control, "and is one line"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_and_characters() {
        assert!("backup/nightly".parse::<Key>().is_ok());
        assert!("two words".parse::<Key>().is_err());
        assert!("two words".parse::<Text>().is_ok());
        assert!("two\nlines".parse::<Text>().is_err());
        assert!("".parse::<Key>().is_err());
        assert!("k".repeat(MAX_KEY_BYTES + 1).parse::<Key>().is_err());
        assert!("t".repeat(MAX_TEXT_BYTES + 1).parse::<Text>().is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_short_and_survives_json(text in ".*") {
            if let Ok(key) = text.parse::<Key>() {
                prop_assert!(key.as_str().len() <= MAX_KEY_BYTES);
                let json = serde_json::to_string(&key).unwrap();
                prop_assert_eq!(serde_json::from_str::<Key>(&json).unwrap(), key);
            }
        }
    }
}
