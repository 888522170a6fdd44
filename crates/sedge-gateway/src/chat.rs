//! What a chat model is asked: a conversation and how to answer it, in nobody's wire format.

mod image;
mod tool;

use sedge_base::ErrorKind;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use image::MOST_IMAGES;
use tool::{LONGEST_TOOL, MOST_TOOLS};

pub use image::Image;
pub(crate) use tool::is_tool_name;
pub use tool::{Tool, ToolCall, ToolChoice};

/// The most messages of one conversation.
pub(crate) const MOST_MESSAGES: usize = 1024;

/// The longest content of one message, in bytes; far beyond any window that runs on a processor.
pub(crate) const LONGEST_CONTENT: usize = 1 << 20;

/// The most stop strings.
pub(crate) const MOST_STOPS: usize = 16;

/// The longest stop string, in bytes.
pub(crate) const LONGEST_STOP: usize = 256;

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatRole {
    /// The one who set the model up.
    System,
    /// The one who asks.
    User,
    /// The model itself, earlier.
    Assistant,
    /// A tool that the model asked for.
    Tool,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatMessage {
    /// Who says it.
    pub role: ChatRole,
    /// What they say; never read for control tokens.
    pub content: String,
    /// What they show; only of those who ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// What the model asked of tools; only of the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Which of them this is the result of; only of a tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

impl ChatMessage {
    /// Returns a turn that is text and nothing else.
    pub fn text(role: ChatRole, content: impl Into<String>) -> Self {
        let (images, tool_calls) = (Vec::new(), Vec::new());
        Self { role, content: content.into(), images, tool_calls, tool_call_id: None }
    }

    /// Returns what of it is not in its place, if anything is.
    fn misplaced(&self) -> Option<&'static str> {
        let Self { role, content: _, images, tool_calls, tool_call_id } = self;
        if !images.is_empty() && *role != ChatRole::User {
            return Some("turns with images only where somebody asks");
        }
        if images.len() > MOST_IMAGES || !images.iter().all(Image::is_sound) {
            return Some("turns of at most 16 images, each an address or up to 8 MiB of base64");
        }
        if !tool_calls.is_empty() && *role != ChatRole::Assistant {
            return Some("turns with calls of tools only where the model answers");
        }
        let sound = |it: &ToolCall| is_tool_name(&it.name) && it.arguments.len() <= LONGEST_CONTENT;
        if tool_calls.len() > MOST_TOOLS || !tool_calls.iter().all(sound) {
            return Some("turns of at most 128 calls of tools");
        }
        if tool_call_id.is_some() != (*role == ChatRole::Tool) {
            return Some("turns of which those of tools, and only those, name their call");
        }
        None
    }
}

/// A conversation and how to answer it.
///
/// What is `None` is left to the model's own presets; an explicit zero is a zero (row 136).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatInput {
    /// The conversation so far, 1 to 1024 turns.
    pub messages: Vec<ChatMessage>,
    /// The most tokens of the answer; what the window has left if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// How freely to choose: 0 (always the best) to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Choose among the best tokens that have this share of the probability: 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// The seed of the choices; the same seed gives the same answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Texts that end the answer, and are not part of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// A JSON schema that the answer obeys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// Tools that the model may ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// Whether it has to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice>,
}

/// Why a conversation is refused before it is looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChatInputError {
    /// It is not JSON of the expected shape.
    #[error("the input is not a conversation: {says}")]
    Shape {
        /// What the reader says, with the place.
        says: String,
    },
    /// A field has a value that it must not have.
    #[error("`{field}` must be {must_be}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it must be.
        must_be: &'static str,
    },
}

impl ChatInputError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl ChatInput {
    /// Reads and checks a conversation.
    ///
    /// # Errors
    ///
    /// [`ChatInputError`], naming the field.
    pub fn read(json: &[u8]) -> Result<Self, ChatInputError> {
        let input: Self = serde_json::from_slice(json)
            .map_err(|err| ChatInputError::Shape { says: err.to_string() })?;
        input.check()?;
        Ok(input)
    }

    fn check(&self) -> Result<(), ChatInputError> {
        let Self { messages, max_tokens: _, temperature, top_p, seed: _, stop, schema, .. } = self;
        let value = |field, must_be| Err(ChatInputError::Value { field, must_be });
        if messages.is_empty() || messages.len() > MOST_MESSAGES {
            return value("messages", "1 to 1024 turns");
        }
        if messages.iter().any(|it| it.content.len() > LONGEST_CONTENT) {
            return value("messages", "turns of at most 1 MiB each");
        }
        if temperature.is_some_and(|it| !(0.0..=2.0).contains(&it)) {
            return value("temperature", "0 to 2");
        }
        if top_p.is_some_and(|it| !(0.0..=1.0).contains(&it)) {
            return value("top_p", "0 to 1");
        }
        if stop.len() > MOST_STOPS {
            return value("stop", "at most 16 texts");
        }
        if stop.iter().any(|it| it.is_empty() || it.len() > LONGEST_STOP) {
            return value("stop", "texts of 1 to 256 bytes");
        }
        if schema.as_ref().is_some_and(|it| !it.is_object() && !it.is_boolean()) {
            return value("schema", "a JSON schema");
        }
        if let Some(must_be) = messages.iter().find_map(ChatMessage::misplaced) {
            return value("messages", must_be);
        }
        self.check_tools()
    }

    fn check_tools(&self) -> Result<(), ChatInputError> {
        let Self { tools, tool_choice, .. } = self;
        let value = |field, must_be| Err(ChatInputError::Value { field, must_be });
        let sound = |it: &Tool| is_tool_name(&it.name) && it.parameters.is_object();
        if tools.len() > MOST_TOOLS || !tools.iter().all(sound) {
            return value("tools", "at most 128 tools, each with a plain name and a JSON schema");
        }
        match tool_choice {
            Some(ToolChoice::Required) if tools.is_empty() => {
                value("tool_choice", "about one of the tools")
            }
            Some(ToolChoice::Named(name)) if !tools.iter().any(|it| it.name == *name) => {
                value("tool_choice", "about one of the tools")
            }
            _ => Ok(()),
        }
    }

    /// Returns whether only a model that knows of tools can answer.
    pub fn needs_tools(&self) -> bool {
        let told = |it: &ChatMessage| it.role == ChatRole::Tool || !it.tool_calls.is_empty();
        !self.tools.is_empty() || self.messages.iter().any(told)
    }

    /// Returns whether only a model that sees can answer.
    pub fn needs_eyes(&self) -> bool {
        self.messages.iter().any(|it| !it.images.is_empty())
    }

    /// Returns the JSON schema of a conversation that has tools and images as well.
    pub fn rich_json_schema() -> Value {
        let mut schema = Self::json_schema();
        let text = json!({ "type": "string" });
        let call = json!({
            "type": "object",
            "required": ["id", "name", "arguments"],
            "additionalProperties": false,
            "properties": { "id": text, "name": text, "arguments": text },
        });
        let turn = &mut schema["properties"]["messages"]["items"]["properties"];
        turn["role"] = json!({ "enum": ["system", "user", "assistant", "tool"] });
        turn["images"] =
            json!({ "type": "array", "maxItems": MOST_IMAGES, "items": { "type": "object" } });
        turn["tool_calls"] = json!({ "type": "array", "maxItems": MOST_TOOLS, "items": call });
        turn["tool_call_id"] = json!({ "type": ["string", "null"] });
        let tool = json!({
            "type": "object",
            "required": ["name"],
            "additionalProperties": false,
            "properties": {
                "name": { "type": "string", "minLength": 1, "maxLength": LONGEST_TOOL },
                "description": { "type": ["string", "null"] },
                "parameters": { "type": "object" },
            },
        });
        let all = &mut schema["properties"];
        all["tools"] = json!({ "type": "array", "maxItems": MOST_TOOLS, "items": tool });
        all["tool_choice"] = json!({ "type": ["string", "object", "null"] });
        schema
    }

    /// Returns the JSON schema of a conversation that is text.
    pub fn json_schema() -> Value {
        json!({
            "type": "object",
            "required": ["messages"],
            "additionalProperties": false,
            "properties": {
                "messages": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MOST_MESSAGES,
                    "items": {
                        "type": "object",
                        "required": ["role", "content"],
                        "additionalProperties": false,
                        "properties": {
                            "role": { "enum": ["system", "user", "assistant"] },
                            "content": { "type": "string" },
                        },
                    },
                },
                "max_tokens": { "type": ["integer", "null"], "minimum": 0, "maximum": u32::MAX },
                "temperature": { "type": ["number", "null"], "minimum": 0, "maximum": 2 },
                "top_p": { "type": ["number", "null"], "minimum": 0, "maximum": 1 },
                "seed": { "type": ["integer", "null"], "minimum": 0 },
                "stop": {
                    "type": "array",
                    "maxItems": MOST_STOPS,
                    "items": { "type": "string", "minLength": 1, "maxLength": LONGEST_STOP },
                },
                "schema": { "type": ["object", "boolean", "null"] },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Expect) {
        let got = ChatInput::read(json.as_bytes());
        expected.assert_eq(&match got {
            Ok(input) => serde_json::to_string(&input).unwrap(),
            Err(err) => err.to_string(),
        });
    }

    #[test]
    fn an_explicit_zero_stays_a_zero() {
        check(
            r#"{"messages":[{"role":"user","content":"hi"}],"temperature":0,"top_p":0,"seed":0,"max_tokens":0}"#,
            expect![[
                r#"{"messages":[{"role":"user","content":"hi"}],"max_tokens":0,"temperature":0.0,"top_p":0.0,"seed":0}"#
            ]],
        );
    }

    #[test]
    fn what_is_absent_stays_absent() {
        check(
            r#"{"messages":[{"role":"system","content":""}]}"#,
            expect![[r#"{"messages":[{"role":"system","content":""}]}"#]],
        );
    }

    #[test]
    fn wrong_values_are_named() {
        check(r#"{"messages":[]}"#, expect!["`messages` must be 1 to 1024 turns"]);
        let hot = r#"{"messages":[{"role":"user","content":""}],"temperature":3}"#;
        check(hot, expect!["`temperature` must be 0 to 2"]);
        let stop = r#"{"messages":[{"role":"user","content":""}],"stop":[""]}"#;
        check(stop, expect!["`stop` must be texts of 1 to 256 bytes"]);
    }

    #[test]
    fn unknown_keys_are_refused() {
        check(
            r#"{"messages":[],"tempreature":1}"#,
            expect![
                "the input is not a conversation: unknown field `tempreature`, expected one of `messages`, `max_tokens`, `temperature`, `top_p`, `seed`, `stop`, `schema`, `tools`, `tool_choice` at line 1 column 28"
            ],
        );
    }

    #[test]
    fn tools_and_images_have_their_places() {
        let asked = r#"{"messages":[{"role":"user","content":"","images":[{"url":"https://a/b"}]},{"role":"assistant","content":"","tool_calls":[{"id":"1","name":"f","arguments":"{}"}]},{"role":"tool","content":"3","tool_call_id":"1"}],"tools":[{"name":"f"}],"tool_choice":{"named":"f"}}"#;
        let input = ChatInput::read(asked.as_bytes()).unwrap();
        assert!(input.needs_tools() && input.needs_eyes());
        let tool = r#"{"messages":[{"role":"tool","content":""}]}"#;
        check(
            tool,
            expect![
                "`messages` must be turns of which those of tools, and only those, name their call"
            ],
        );
        let named = r#"{"messages":[{"role":"user","content":""}],"tool_choice":{"named":"g"}}"#;
        check(named, expect!["`tool_choice` must be about one of the tools"]);
        let odd = r#"{"messages":[{"role":"user","content":""}],"tools":[{"name":"a b"}]}"#;
        check(
            odd,
            expect!["`tools` must be at most 128 tools, each with a plain name and a JSON schema"],
        );
    }

    proptest! {
        #[test]
        fn odd_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(input) = ChatInput::read(&bytes) {
                prop_assert!(!input.messages.is_empty());
            }
        }
    }
}
