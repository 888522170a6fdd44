//! A request in Anthropic's shape, and what of it a node can honour.

use sedge_capability::Name;
use sedge_gateway::{ChatInput, ChatMessage, ChatRole};
use serde::Deserialize;
use serde_json::Value;

use crate::models::{in_range, missing, model_name, out_of_range, unreadable, unsupported};
use crate::refusal::Refusal;

/// The most stop sequences that one request may carry.
const MOST_STOPS: usize = 16;

/// A request, as written. Fields that are not named here do not change the answer.
#[derive(Debug, Deserialize)]
pub(super) struct MessagesRequest {
    model: Option<String>,
    messages: Option<Vec<Message>>,
    max_tokens: Option<i64>,
    system: Option<Content>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<i64>,
    stop_sequences: Option<Vec<String>>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    tools: Option<Vec<Value>>,
    thinking: Option<Thinking>,
    mcp_servers: Option<Vec<Value>>,
    output_format: Option<Value>,
    output_config: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    content: Content,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Blocks(Vec<Block>),
}

#[derive(Debug, Deserialize)]
struct Block {
    r#type: String,
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Thinking {
    r#type: String,
}

impl MessagesRequest {
    /// Reads a request body.
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(body).map_err(|err| unreadable(&err))
    }

    /// Returns the model's name.
    pub(super) fn model(&self) -> Result<Name, Refusal> {
        model_name(self.model.as_deref())
    }

    /// Returns what the model shall do.
    pub(super) fn input(self) -> Result<ChatInput, Refusal> {
        self.refuse_what_we_cannot()?;
        let asked = self.messages.unwrap_or_default();
        if asked.is_empty() {
            return Err(missing("messages"));
        }
        let max_tokens = self.max_tokens.ok_or_else(|| missing("max_tokens"))?;
        let max_tokens = u32::try_from(max_tokens).ok().filter(|it| *it > 0);
        let max_tokens =
            max_tokens.ok_or_else(|| out_of_range("max_tokens", "a whole number from 1"))?;
        let stop = self.stop_sequences.unwrap_or_default();
        if stop.len() > MOST_STOPS || stop.iter().any(String::is_empty) {
            return Err(out_of_range("stop_sequences", "at most 16 strings, none of them empty"));
        }
        let mut messages = Vec::with_capacity(asked.len() + 1);
        if let Some(system) = self.system {
            messages.push(ChatMessage::text(ChatRole::System, text("system", system)?));
        }
        for Message { role, content } in asked {
            let role = match role.as_str() {
                "user" => ChatRole::User,
                "assistant" => ChatRole::Assistant,
                other => {
                    let message =
                        format!("a message's role is `user` or `assistant`, not `{other}`");
                    return Err(Refusal::param("messages", "unsupported_value", message));
                }
            };
            messages.push(ChatMessage::text(role, text("messages", content)?));
        }
        Ok(ChatInput {
            messages,
            max_tokens: Some(max_tokens),
            temperature: in_range("temperature", self.temperature, 0.0, 1.0, "from 0 to 1")?,
            top_p: in_range("top_p", self.top_p, 0.0, 1.0, "from 0 to 1")?,
            stop,
            ..ChatInput::default()
        })
    }

    /// Refuses the fields that would change the answer and that a node cannot honour.
    fn refuse_what_we_cannot(&self) -> Result<(), Refusal> {
        fn some<T>(list: Option<&Vec<T>>) -> bool {
            list.is_some_and(|it| !it.is_empty())
        }
        let thinks = self.thinking.as_ref().is_some_and(|it| it.r#type != "disabled");
        let given = |it: Option<&Value>| it.is_some_and(|it| !it.is_null());
        let checks = [
            ("tools", some(self.tools.as_ref()), "no tools yet"),
            ("mcp_servers", some(self.mcp_servers.as_ref()), "no tools yet"),
            ("thinking", thinks, "it does not think aloud"),
            ("top_k", self.top_k.is_some(), "no choice among the k best"),
            ("output_format", given(self.output_format.as_ref()), "text only"),
            ("output_config", given(self.output_config.as_ref()), "text only"),
        ];
        match checks.into_iter().find(|(_, wanted, _)| *wanted) {
            None => Ok(()),
            Some((param, _, why)) => Err(unsupported(param, why)),
        }
    }
}

/// Returns the text of a message; other sorts of content are refused.
fn text(param: &'static str, content: Content) -> Result<String, Refusal> {
    match content {
        Content::Text(text) => Ok(text),
        Content::Blocks(blocks) => {
            let mut all = String::new();
            for block in blocks {
                match (block.r#type.as_str(), block.text) {
                    ("text", Some(text)) => all.push_str(&text),
                    (other, _) => {
                        let message =
                            format!("content of type `{other}` is not supported: text only");
                        return Err(Refusal::param(param, "unsupported_value", message));
                    }
                }
            }
            Ok(all)
        }
    }
}

/// Feeds a body to the reader of messages; returns whether it took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(body: &[u8]) -> bool {
    let Ok(request) = MessagesRequest::read(body) else { return false };
    request.model().is_ok() && request.input().is_ok()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(fields: &Value) -> Result<ChatInput, Refusal> {
        let mut body = json!({
            "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }],
        });
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        MessagesRequest::read(body.to_string().as_bytes())?.input()
    }

    #[track_caller]
    fn check(fields: &Value, expected: Expect) {
        expected.assert_eq(&match read(fields) {
            Ok(input) => serde_json::to_string(&input).unwrap(),
            Err(refusal) => {
                format!("{} {:?}: {}", refusal.failure.code, refusal.param, refusal.failure)
            }
        });
    }

    #[test]
    fn the_system_prompt_stands_first_and_zeros_stay() {
        check(
            &json!({
                "system": [{ "type": "text", "text": "be ", "cache_control": { "type": "ephemeral" } },
                           { "type": "text", "text": "brief" }],
                "temperature": 0, "top_p": 0, "stop_sequences": ["x"], "metadata": { "user_id": "u" },
                "tools": [], "thinking": { "type": "disabled" }, "service_tier": "auto",
            }),
            expect![[
                r#"{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}],"max_tokens":9,"temperature":0.0,"top_p":0.0,"stop":["x"]}"#
            ]],
        );
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let image = json!([{ "type": "image", "source": { "type": "base64", "data": "" } }]);
        for (name, value) in [
            ("tools", json!([{ "name": "f", "input_schema": {} }])),
            ("thinking", json!({ "type": "enabled", "budget_tokens": 1024 })),
            ("top_k", json!(40)),
            ("output_config", json!({ "format": {} })),
            ("temperature", json!(1.1)),
            ("max_tokens", json!(0)),
            ("max_tokens", Value::Null),
            ("stop_sequences", json!([""])),
            ("messages", json!([])),
            ("messages", json!([{ "role": "system", "content": "x" }])),
            ("messages", json!([{ "role": "user", "content": image }])),
        ] {
            let refusal = read(&json!({ name: value })).unwrap_err();
            assert_eq!((refusal.param, refusal.status.as_u16()), (Some(name), 400), "{name}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_read(body in proptest::collection::vec(any::<u8>(), 0..256)) {
            feed(&body);
        }
    }
}
