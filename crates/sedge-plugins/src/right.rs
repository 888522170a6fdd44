//! What a plugin may ask for beyond its input and its answer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::manifest::shown;

/// A right that this program can really grant, and withhold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Right {
    /// `clock`: the date and the time.
    Clock,
    /// `random`: random numbers.
    Random,
    /// `env:NAME`: a value of the node's configuration.
    Env(String),
}

/// Why a right cannot be granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the right `{right}` cannot be granted here, only `clock`, `random` and `env:NAME` can")]
pub struct RightError {
    /// As it was asked for, shortened to 64 characters.
    pub right: String,
}

impl Right {
    /// Returns the right that covers an import of a component, such as `wasi:clocks/wall-clock@0.2.0`;
    /// `Ok(None)` when the import needs none.
    ///
    /// # Errors
    ///
    /// Returns the reason when no right covers it.
    pub(crate) fn of_import(import: &str) -> Result<Option<Self>, &'static str> {
        let name = import.split_once('@').map_or(import, |it| it.0);
        match name {
            "wasi:http/outgoing-handler" => Err("no plugin gets a network"),
            "wasi:http/types" => Ok(None),
            _ => match name.split_once('/').map_or(name, |it| it.0) {
                "wasi:clocks" => Ok(Some(Self::Clock)),
                "wasi:random" => Ok(Some(Self::Random)),
                "wasi:cli" | "wasi:io" => Ok(None),
                _ => Err("no plugin gets it"),
            },
        }
    }

    /// Returns what a person agrees to.
    pub fn words(&self) -> String {
        match self {
            Self::Clock => "read the date and the time of this machine".to_owned(),
            Self::Random => "draw random numbers".to_owned(),
            Self::Env(name) => {
                format!("read the value of `{name}` in `[plugins.env]` of the configuration")
            }
        }
    }
}

impl FromStr for Right {
    type Err = RightError;

    fn from_str(text: &str) -> Result<Self, RightError> {
        let named = |it: &&str| {
            let first = it.bytes().next().is_some_and(|it| it.is_ascii_alphabetic() || it == b'_');
            first && it.len() <= 64 && it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
        };
        match text {
            "clock" => Ok(Self::Clock),
            "random" => Ok(Self::Random),
            text => match text.strip_prefix("env:").filter(named) {
                Some(name) => Ok(Self::Env(name.to_owned())),
                None => Err(RightError { right: shown(text, 64) }),
            },
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock => f.write_str("clock"),
            Self::Random => f.write_str("random"),
            Self::Env(name) => write!(f, "env:{name}"),
        }
    }
}

impl TryFrom<String> for Right {
    type Error = RightError;

    fn try_from(text: String) -> Result<Self, RightError> {
        text.parse()
    }
}

impl From<Right> for String {
    fn from(right: Right) -> Self {
        right.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_granted_is_read_as_it_is_written() {
        for text in ["clock", "random", "env:API_KEY"] {
            assert_eq!(text.parse::<Right>().unwrap().to_string(), text);
        }
        for text in ["http:example.com", "env:", "env:A B", "env:1", "files", ""] {
            assert_eq!(text.parse::<Right>().unwrap_err().right, text);
        }
    }

    #[test]
    fn imports_are_covered_by_rights_or_by_none() {
        assert_eq!(Right::of_import("wasi:clocks/wall-clock@0.2.0"), Ok(Some(Right::Clock)));
        assert_eq!(Right::of_import("wasi:random/insecure-seed@0.2.3"), Ok(Some(Right::Random)));
        assert_eq!(Right::of_import("wasi:io/streams@0.2.0"), Ok(None));
        let http = "wasi:http/outgoing-handler@0.2.0";
        assert_eq!(Right::of_import(http), Err("no plugin gets a network"));
        assert_eq!(Right::of_import("wasi:filesystem/types@0.2.0"), Err("no plugin gets it"));
    }
}
