//! The file of tools: as written, as checked.

use std::collections::BTreeMap;
use std::time::Duration;

use sedge_base::ErrorKind;
use serde::Deserialize;

use crate::registration::{AnnouncedTool, RegistrationError, Tool};

/// The longest command, in words.
const MAX_WORDS: usize = 64;

/// The longest word of a command, in bytes.
const MAX_WORD: usize = 4096;

/// One `[[tool]]`, as written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolSection {
    /// Its name, such as `camera.snap`.
    pub name: String,
    /// What it does, for whoever picks a tool.
    #[serde(default)]
    pub description: String,
    /// The program and its arguments; no shell reads them. The tool's arguments come to its standard
    /// input as JSON, its standard output is the answer.
    pub command: Vec<String>,
    /// Whether a person has to approve each run; true unless it says `false`.
    #[serde(default = "yes")]
    pub approval: bool,
    /// How long a run may take; the node decides when it is left out.
    #[serde(default, with = "humantime_serde")]
    pub timeout: Option<Duration>,
    /// The JSON schema of its arguments; any object when it is left out.
    #[serde(default)]
    pub input_schema: Option<serde_json::Value>,
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    tool: Vec<ToolSection>,
}

/// The tools of an edge, checked.
#[derive(Debug)]
pub struct ToolsFile {
    pub(super) tools: BTreeMap<String, CommandTool>,
}

/// One tool, checked.
#[derive(Debug)]
pub(super) struct CommandTool {
    pub(super) description: String,
    pub(super) command: Vec<String>,
    pub(super) approval: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) input_schema: String,
}

/// Why a file of tools is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolsError {
    /// It is no TOML of this form.
    #[error("the file of tools is not understood")]
    Form(#[source] toml::de::Error),
    /// A tool is malformed.
    #[error("the tool `{tool}` is refused")]
    Tool {
        /// Its name.
        tool: String,
        /// What is wrong.
        source: RegistrationError,
    },
    /// A command is empty or too long.
    #[error("the command of `{tool}` has 1 to {MAX_WORDS} words of at most {MAX_WORD} bytes")]
    Command {
        /// The tool.
        tool: String,
    },
    /// A name is there twice.
    #[error("two tools are named `{tool}`")]
    Twice {
        /// The name.
        tool: String,
    },
}

impl ToolsError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl ToolsFile {
    /// Reads the text of a file of tools.
    ///
    /// # Errors
    ///
    /// [`ToolsError`], which says what is wrong.
    pub fn parse(text: &str) -> Result<Self, ToolsError> {
        let written: Written = toml::from_str(text).map_err(ToolsError::Form)?;
        let mut tools = BTreeMap::new();
        for section in written.tool {
            let ToolSection { name, description, command, approval, timeout, input_schema } =
                section;
            let input_schema = input_schema.map_or_else(String::new, |it| it.to_string());
            let announced = AnnouncedTool {
                name: name.clone(),
                description: description.clone(),
                input_schema: input_schema.clone(),
                ..AnnouncedTool::default()
            };
            // By the rules of whoever it will be announced to.
            let checked = Tool::try_from(announced)
                .map_err(|source| ToolsError::Tool { tool: name.clone(), source })?;
            let name = checked.name;
            let long = |it: &String| it.len() > MAX_WORD;
            let empty = command.first().is_none_or(String::is_empty);
            if empty || command.len() > MAX_WORDS || command.iter().any(long) {
                return Err(ToolsError::Command { tool: name });
            }
            let tool = CommandTool { description, command, approval, timeout, input_schema };
            if tools.insert(name.clone(), tool).is_some() {
                return Err(ToolsError::Twice { tool: name });
            }
        }
        Ok(Self { tools })
    }

    /// Returns how many tools there are, and how many of them need no approval.
    pub fn counts(&self) -> (usize, usize) {
        (self.tools.len(), self.tools.values().filter(|it| !it.approval).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_needs_approval_unless_it_says_otherwise() {
        let text = "[[tool]]\nname = 'a'\ncommand = ['true']\ntimeout = '2s'\n\
                    [[tool]]\nname = 'b'\ncommand = ['true']\napproval = false\n\
                    input_schema = { type = 'object' }";
        let file = ToolsFile::parse(text).unwrap();
        assert_eq!(file.counts(), (2, 1));
        assert_eq!(file.tools["a"].timeout, Some(Duration::from_secs(2)));
        assert!(file.tools["a"].approval);
        assert_eq!(file.tools["b"].input_schema, r#"{"type":"object"}"#);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("tools = 1", "not understood"),
            ("[[tool]]\nname = 'a b'\ncommand = ['true']", "`a b`"),
            ("[[tool]]\nname = 'a'\ncommand = []", "the command of `a`"),
            ("[[tool]]\nname = 'a'\ncommand = ['']", "the command of `a`"),
            ("[[tool]]\nname = 'a'\ncommand = ['x']\n[[tool]]\nname = 'a'\ncommand = ['x']", "two"),
        ] {
            let said = ToolsFile::parse(text).unwrap_err().to_string();
            assert!(said.contains(part), "{said}");
        }
    }
}
