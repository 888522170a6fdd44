//! A request in Anthropic's shape, and what of it a node can honour.

use sedge_capability::Name;
use sedge_gateway::{ChatInput, ChatMessage, ChatRole, Image, Tool, ToolCall, ToolChoice};
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
    tools: Option<Vec<ToolWritten>>,
    tool_choice: Option<ChoiceWritten>,
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

/// A block of any sort; which fields it has depends on its type.
#[derive(Debug, Deserialize)]
struct Block {
    r#type: String,
    text: Option<String>,
    source: Option<Source>,
    id: Option<String>,
    name: Option<String>,
    input: Option<Value>,
    tool_use_id: Option<String>,
    content: Option<Content>,
    #[serde(default)]
    is_error: Option<bool>,
}

/// Where an image is.
#[derive(Debug, Deserialize)]
struct Source {
    media_type: Option<String>,
    data: Option<String>,
    url: Option<String>,
}

/// A tool, as written; those of the vendor's own servers have another type.
#[derive(Debug, Deserialize)]
struct ToolWritten {
    r#type: Option<String>,
    name: String,
    description: Option<String>,
    input_schema: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct ChoiceWritten {
    r#type: String,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
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
        let tools = tools(self.tools.unwrap_or_default())?;
        let tool_choice = self.tool_choice.map(choice).transpose()?;
        let mut messages = Vec::with_capacity(asked.len() + 1);
        if let Some(system) = self.system {
            messages.push(ChatMessage::text(ChatRole::System, text("system", system)?));
        }
        for message in asked {
            turns(message, &mut messages)?;
        }
        Ok(ChatInput {
            messages,
            max_tokens: Some(max_tokens),
            temperature: in_range("temperature", self.temperature, 0.0, 1.0, "from 0 to 1")?,
            top_p: in_range("top_p", self.top_p, 0.0, 1.0, "from 0 to 1")?,
            stop,
            // Without tools there is nothing to choose.
            tool_choice: tool_choice.filter(|_| !tools.is_empty()),
            tools,
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
            ("mcp_servers", some(self.mcp_servers.as_ref()), "no servers of tools"),
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

fn tools(written: Vec<ToolWritten>) -> Result<Vec<Tool>, Refusal> {
    let tool = |ToolWritten { r#type, name, description, input_schema }: ToolWritten| match (
        r#type.as_deref(),
        input_schema,
    ) {
        (None | Some("custom"), Some(parameters)) => Ok(Tool { name, description, parameters }),
        (None | Some("custom"), None) => Err(missing("tools")),
        (Some(other), _) => {
            let message = format!("tools of type `{other}` are not supported here");
            Err(Refusal::param("tools", "unsupported_value", message))
        }
    };
    written.into_iter().map(tool).collect()
}

fn choice(written: ChoiceWritten) -> Result<ToolChoice, Refusal> {
    if written.disable_parallel_tool_use == Some(true) {
        return Err(unsupported("tool_choice", "a model may ask for several tools at once"));
    }
    match (written.r#type.as_str(), written.name) {
        ("auto", _) => Ok(ToolChoice::Auto),
        ("none", _) => Ok(ToolChoice::None),
        ("any", _) => Ok(ToolChoice::Required),
        ("tool", Some(name)) => Ok(ToolChoice::Named(name)),
        _ => Err(out_of_range("tool_choice", "`auto`, `any`, `none`, or `tool` with a name")),
    }
}

/// Adds the turns of one message: the results of tools come before what is said with them.
fn turns(message: Message, to: &mut Vec<ChatMessage>) -> Result<(), Refusal> {
    let wrong = |message: String| Refusal::param("messages", "unsupported_value", message);
    let Message { role, content } = message;
    let role = match role.as_str() {
        "user" => ChatRole::User,
        "assistant" => ChatRole::Assistant,
        other => {
            let message = format!("a message's role is `user` or `assistant`, not `{other}`");
            return Err(wrong(message));
        }
    };
    let blocks = match content {
        Content::Text(text) => {
            to.push(ChatMessage::text(role, text));
            return Ok(());
        }
        Content::Blocks(blocks) => blocks,
    };
    let mut turn = ChatMessage::text(role, "");
    let mut results = 0_usize;
    for block in blocks {
        match (block.r#type.as_str(), role) {
            ("text", _) => turn.content.push_str(&block.text.unwrap_or_default()),
            ("image", ChatRole::User) => turn.images.push(image(block.source)?),
            ("tool_use", ChatRole::Assistant) => {
                let (Some(id), Some(name)) = (block.id, block.name) else {
                    return Err(wrong("a `tool_use` has an `id` and a `name`".to_owned()));
                };
                let arguments = block.input.unwrap_or_default().to_string();
                turn.tool_calls.push(ToolCall { id, name, arguments });
            }
            ("tool_result", ChatRole::User) => {
                let Some(id) = block.tool_use_id else {
                    return Err(wrong("a `tool_result` has a `tool_use_id`".to_owned()));
                };
                let said = block.content.map_or(Ok(String::new()), |it| text("messages", it))?;
                let failed = block.is_error == Some(true);
                let said = if failed { format!("Error: {said}") } else { said };
                let result = ChatMessage::text(ChatRole::Tool, said);
                to.push(ChatMessage { tool_call_id: Some(id), ..result });
                results += 1;
            }
            (other, _) => {
                return Err(wrong(format!("content of type `{other}` is not supported here")));
            }
        }
    }
    let silent = turn.content.is_empty() && turn.images.is_empty() && turn.tool_calls.is_empty();
    if results == 0 || !silent {
        to.push(turn);
    }
    Ok(())
}

fn image(source: Option<Source>) -> Result<Image, Refusal> {
    let image = source.and_then(|it| match (it.url, it.media_type, it.data) {
        (Some(url), None, None) => Image::from_url(&url),
        (None, Some(kind), Some(data)) => Image::from_url(&format!("data:{kind};base64,{data}")),
        _ => None,
    });
    image.ok_or_else(|| {
        let message = "an image's `source` is a `url`, or base64 with its `media_type`";
        Refusal::param("messages", "unsupported_value", message)
    })
}

/// Returns the text of what may be nothing else.
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
                            format!("content of type `{other}` is not supported here: text only");
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
    fn tools_their_results_and_images_are_handed_on() {
        let use_ = json!([{ "type": "tool_use", "id": "t1", "name": "f", "input": { "a": 1 } }]);
        let result = json!([
            { "type": "tool_result", "tool_use_id": "t1", "content": [{ "type": "text", "text": "no" }], "is_error": true },
            { "type": "text", "text": "and this?" },
            { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "aaaa" } },
        ]);
        check(
            &json!({
                "messages": [{ "role": "assistant", "content": use_ }, { "role": "user", "content": result }],
                "tools": [{ "name": "f", "description": "d", "input_schema": { "type": "object" } }],
                "tool_choice": { "type": "any" },
            }),
            expect![[
                r#"{"messages":[{"role":"assistant","content":"","tool_calls":[{"id":"t1","name":"f","arguments":"{\"a\":1}"}]},{"role":"tool","content":"Error: no","tool_call_id":"t1"},{"role":"user","content":"and this?","images":[{"data":{"media_type":"image/png","base64":"aaaa"}}]}],"max_tokens":9,"tools":[{"name":"f","description":"d","parameters":{"type":"object"}}],"tool_choice":"required"}"#
            ]],
        );
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let image = json!([{ "type": "image", "source": { "type": "base64", "data": "" } }]);
        let thought = json!([{ "type": "thinking", "thinking": "hm", "signature": "s" }]);
        for (name, value) in [
            ("tools", json!([{ "type": "web_search_20250305", "name": "web_search" }])),
            ("tool_choice", json!({ "type": "tool" })),
            ("tool_choice", json!({ "type": "auto", "disable_parallel_tool_use": true })),
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
            ("messages", json!([{ "role": "assistant", "content": thought }])),
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
