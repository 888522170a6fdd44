//! What a capability is called, takes, gives and costs at most.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use sedge_base::ContentId;
use sedge_trust::receipt::Rung;
use serde::{Deserialize, Serialize};

use crate::Budgets;

/// What sort of thing a capability is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A deployed Wasm component.
    Function,
    /// A language model that answers conversations.
    Chat,
    /// A model that turns texts into vectors.
    Embedding,
    /// A program of somebody else's that takes JSON.
    Tool,
    /// A place where code of one language runs once.
    Sandbox,
}

impl Kind {
    /// Returns whether a model answers.
    pub const fn is_model(self) -> bool {
        matches!(self, Self::Chat | Self::Embedding)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Function => "function",
            Self::Chat => "chat",
            Self::Embedding => "embedding",
            Self::Tool => "tool",
            Self::Sandbox => "sandbox",
        })
    }
}

/// Whether running a task twice does the same as running it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idempotence {
    /// A broken-off task may be given to another node.
    Idempotent,
    /// A broken-off task is reported, never repeated.
    Once,
}

/// The name that callers and routes use, such as `fn-1` or `smollm2-135m-instruct`.
///
/// 1 to 128 of ASCII letters, digits, `.`, `_`, `-`, `:` and `/`; it begins with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is not a capability's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 128 letters, digits or ._-:/ and begins with a letter or digit")]
pub struct NameError;

impl Name {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |it: u8| it.is_ascii_alphanumeric() || b"._-:/".contains(&it);
        let first = text.bytes().next().is_some_and(|it| it.is_ascii_alphanumeric());
        if first && text.len() <= 128 && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError)
        }
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a capability is called, takes, gives and costs at most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Its name, unique per node.
    pub name: Name,
    /// What sort of thing it is.
    pub kind: Kind,
    /// One sentence for people and for models that choose tools.
    pub summary: String,
    /// JSON schema of the input. Raw bytes are a string with `contentMediaType`.
    pub input: serde_json::Value,
    /// JSON schema of the output.
    pub output: serde_json::Value,
    /// Free labels that routes filter by, such as `model.family = llama`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The most that one task may use here.
    #[serde(default)]
    pub limits: Budgets,
    /// Whether a broken-off task may be repeated.
    pub idempotence: Idempotence,
    /// What its receipts can prove at most; see [`End::profile`](crate::End::profile).
    pub rung: Rung,
    /// The module or model file behind it.
    #[serde(default)]
    pub content: Option<ContentId>,
}

impl Descriptor {
    /// Returns whether the input is raw bytes, which no JSON schema can look into.
    pub fn takes_bytes(&self) -> bool {
        self.input.get("contentMediaType").is_some()
    }

    /// Returns the schema of raw bytes.
    pub fn bytes_schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "contentMediaType": "application/octet-stream" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["fn-1", "SmolLM2:135m", "a/b.c_d"] {
            assert_eq!(good.parse::<Name>().map(|it| it.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "-a", "a b", "é", "a\n", &"x".repeat(129)] {
            assert_eq!(bad.parse::<Name>(), Err(NameError));
        }
    }
}
