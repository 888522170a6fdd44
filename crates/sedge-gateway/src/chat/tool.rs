//! Tools that a model may ask for, and what it asks of them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The most tools of one conversation.
pub(crate) const MOST_TOOLS: usize = 128;

/// The longest name of a tool, in bytes.
pub(crate) const LONGEST_TOOL: usize = 64;

/// A tool that the model may ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// 1 to 64 ASCII letters, digits, `_` and `-`.
    pub name: String,
    /// What it is good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The JSON schema of its arguments.
    #[serde(default = "anything")]
    pub parameters: Value,
}

/// Whether the model has to ask for a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// It may.
    Auto,
    /// It must not.
    None,
    /// It has to ask for at least one.
    Required,
    /// It has to ask for this one.
    Named(String),
}

/// What a model asks of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// What the result refers to.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its arguments, as the model wrote them: meant to be JSON, and not always.
    pub arguments: String,
}

/// Returns the schema of a tool that says nothing of its arguments.
fn anything() -> Value {
    json!({ "type": "object", "properties": {} })
}

/// Returns whether a tool can have this name.
pub(crate) fn is_tool_name(text: &str) -> bool {
    let plain = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-');
    (1..=LONGEST_TOOL).contains(&text.len()) && text.bytes().all(plain)
}
