//! What an edge says about itself: as announced, and as checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sedge_base::ErrorKind;
use serde::Serialize;
use serde_json::{Value, json};

/// The most tools of one edge.
const MAX_TOOLS: usize = 128;
/// The most kinds of channels, and the most entries of metadata, of one edge.
const MAX_ENTRIES: usize = 64;
/// The longest free text, in bytes: descriptions, names, versions, metadata.
const MAX_TEXT: usize = 1024;
/// The longest input schema, in bytes of its JSON.
const MAX_SCHEMA: usize = 16 << 10;
/// The longest id of an edge, and of a tool, in bytes: both fit into one capability's name.
const MAX_ID: usize = 58;

/// The id that an edge gives itself: 1 to 58 ASCII letters, digits, `.`, `_` and `-`; it begins with
/// a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct EdgeId(String);

impl EdgeId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name that a token must allow for its holder to connect as this edge.
    pub fn right(&self) -> String {
        format!("edge:{}", self.0)
    }
}

impl fmt::Display for EdgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EdgeId {
    type Err = RegistrationError;

    fn from_str(text: &str) -> Result<Self, RegistrationError> {
        if is_id(text) { Ok(Self(text.to_owned())) } else { Err(RegistrationError::Id) }
    }
}

fn is_id(text: &str) -> bool {
    let allowed = |it: u8| it.is_ascii_alphanumeric() || b"._-".contains(&it);
    let first = text.bytes().next().is_some_and(|it| it.is_ascii_alphanumeric());
    first && text.len() <= MAX_ID && text.bytes().all(allowed)
}

/// What an edge says about itself, as it came.
#[derive(Debug, Clone, Default)]
pub struct Announced {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The version of its program.
    pub version: String,
    /// What it can run.
    pub tools: Vec<AnnouncedTool>,
    /// The kinds of channels that it serves, such as `telegram`.
    pub channels: Vec<String>,
    /// Free entries.
    pub metadata: BTreeMap<String, String>,
}

/// One tool, as it came.
#[derive(Debug, Clone, Default)]
pub struct AnnouncedTool {
    /// Its name, such as `nodes.camera_snap`.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON schema of its input, as text; empty takes any object.
    pub input_schema: String,
    /// Whether a person has to say yes before each run.
    pub requires_approval: bool,
    /// How long a run may take; the node decides when it says nothing.
    pub timeout: Option<Duration>,
    /// Whether it gives artifacts.
    pub produces_artifacts: bool,
}

/// What an edge says about itself, checked.
#[derive(Debug, Clone)]
pub struct Registration {
    pub(crate) id: EdgeId,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) tools: Vec<Tool>,
    pub(crate) channels: Vec<String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// One tool, checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tool {
    /// Its name, with the same letters as an id.
    pub name: String,
    /// What it does; may be empty.
    pub description: String,
    /// The JSON schema of its input.
    pub input_schema: Value,
    /// Whether a person has to say yes before each run.
    pub requires_approval: bool,
    /// How long a run may take; `None` leaves it to the node.
    pub timeout: Option<Duration>,
    /// Whether it gives artifacts.
    pub produces_artifacts: bool,
}

/// Why an edge is not taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// The id is none.
    #[error("an edge id has 1 to 58 letters, digits or ._- and begins with a letter or digit")]
    Id,
    /// A tool's name is none.
    #[error("a tool's name has 1 to 58 letters, digits or ._- and begins with a letter or digit")]
    Tool,
    /// Two tools have one name.
    #[error("two tools are named `{tool}`")]
    Twice {
        /// The name.
        tool: String,
    },
    /// The schema of a tool is no JSON object, or too long.
    #[error("the input schema of `{tool}` is no JSON object of at most 16 KiB")]
    Schema {
        /// The tool.
        tool: String,
    },
    /// There is more than is kept.
    #[error("an edge has at most 128 tools, 64 channels and 64 entries, each text at most 1 KiB")]
    TooMuch,
}

impl RegistrationError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Registration {
    /// Returns the edge's id.
    pub const fn id(&self) -> &EdgeId {
        &self.id
    }
}

impl TryFrom<Announced> for Registration {
    type Error = RegistrationError;

    fn try_from(announced: Announced) -> Result<Self, RegistrationError> {
        let Announced { id, name, version, tools, channels, metadata } = announced;
        let id = id.trim().parse()?;
        let texts = metadata.iter().flat_map(|(key, value)| [key, value]).chain(&channels);
        let short = texts.chain([&name, &version]).all(|it| it.len() <= MAX_TEXT);
        let few = tools.len() <= MAX_TOOLS
            && channels.len() <= MAX_ENTRIES
            && metadata.len() <= MAX_ENTRIES;
        if !(short && few) {
            return Err(RegistrationError::TooMuch);
        }
        let mut seen = BTreeSet::new();
        let tools: Vec<Tool> = tools.into_iter().map(Tool::try_from).collect::<Result<_, _>>()?;
        for tool in &tools {
            if !seen.insert(tool.name.as_str()) {
                return Err(RegistrationError::Twice { tool: tool.name.clone() });
            }
        }
        Ok(Self { id, name, version, tools, channels, metadata })
    }
}

impl TryFrom<AnnouncedTool> for Tool {
    type Error = RegistrationError;

    fn try_from(announced: AnnouncedTool) -> Result<Self, RegistrationError> {
        let AnnouncedTool { name, description, input_schema, timeout, .. } = announced;
        let name = name.trim().to_owned();
        if !is_id(&name) {
            return Err(RegistrationError::Tool);
        }
        if description.len() > MAX_TEXT {
            return Err(RegistrationError::TooMuch);
        }
        let input_schema = match input_schema.trim() {
            "" => Some(json!({ "type": "object" })),
            text if text.len() > MAX_SCHEMA => None,
            text => serde_json::from_str(text).ok().filter(Value::is_object),
        };
        let input_schema =
            input_schema.ok_or_else(|| RegistrationError::Schema { tool: name.clone() })?;
        let AnnouncedTool { requires_approval, produces_artifacts, .. } = announced;
        let timeout = timeout.filter(|it| !it.is_zero());
        Ok(Self { name, description, input_schema, requires_approval, timeout, produces_artifacts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(announced: Announced, expected: Result<(), &str>) {
        let got = Registration::try_from(announced).map(drop).map_err(|it| it.to_string());
        match (got, expected) {
            (Ok(()), Ok(())) => {}
            (Err(got), Err(expected)) => assert!(got.contains(expected), "{got}"),
            (got, expected) => panic!("{got:?}, not {expected:?}"),
        }
    }

    fn with(tools: &[(&str, &str)]) -> Announced {
        let tool = |(name, schema): &(&str, &str)| AnnouncedTool {
            name: (*name).to_owned(),
            input_schema: (*schema).to_owned(),
            ..AnnouncedTool::default()
        };
        let tools = tools.iter().map(tool).collect();
        Announced { id: "kitchen".to_owned(), tools, ..Announced::default() }
    }

    #[test]
    fn what_an_edge_says_is_checked() {
        check(with(&[("echo", ""), ("nodes.camera_snap", r#"{"type":"object"}"#)]), Ok(()));
        check(with(&[("echo", ""), (" echo ", "")]), Err("two tools are named `echo`"));
        check(with(&[("e cho", "")]), Err("a tool's name has"));
        for bad in ["[1]", "{", "true", &" ".repeat(MAX_SCHEMA)] {
            let expected = if bad.trim().is_empty() { Ok(()) } else { Err("schema of `echo`") };
            check(with(&[("echo", bad)]), expected);
        }
        for bad in ["", "-a", "a b", "é", "edge:x", &"x".repeat(59)] {
            check(Announced { id: bad.to_owned(), ..with(&[]) }, Err("an edge id has"));
        }
        let many: Vec<_> = (0..=MAX_TOOLS).map(|it| format!("t{it}")).collect();
        let many: Vec<_> = many.iter().map(|it| (it.as_str(), "")).collect();
        check(with(&many), Err("at most 128 tools"));
        check(Announced { name: "x".repeat(1025), ..with(&[]) }, Err("each text at most 1 KiB"));
    }
}
