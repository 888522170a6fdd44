//! Requests in Ollama's shape, and what of them a node can honour.

use sedge_capability::Name;
use sedge_gateway::{ChatInput, ChatMessage, ChatRole, Image, ToolCall};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::models::{
    ToolWritten, in_range, missing, model_name, out_of_range, read_tools, unreadable, unsupported,
};
use crate::refusal::Refusal;

/// The most stop strings that one request may carry.
const MOST_STOPS: usize = 16;

/// What both sorts of request have.
#[derive(Debug, Deserialize)]
pub(super) struct Common {
    model: Option<String>,
    stream: Option<bool>,
    format: Option<Value>,
    options: Option<Options>,
    think: Option<Value>,
}

/// A conversation, as written. Fields that are not named here do not change the answer.
#[derive(Debug, Deserialize)]
pub(super) struct ChatRequest {
    #[serde(flatten)]
    pub(super) common: Common,
    messages: Option<Vec<Message>>,
    tools: Option<Vec<ToolWritten>>,
}

/// A text to answer, as written. Fields that are not named here do not change the answer.
#[derive(Debug, Deserialize)]
pub(super) struct GenerateRequest {
    #[serde(flatten)]
    pub(super) common: Common,
    prompt: Option<String>,
    system: Option<String>,
    suffix: Option<String>,
    template: Option<String>,
    raw: Option<bool>,
    context: Option<Vec<Value>>,
    images: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: String,
    images: Option<Vec<String>>,
    tool_calls: Option<Vec<CallWritten>>,
    tool_call_id: Option<String>,
    /// Whose result it is, of clients that know no ids.
    tool_name: Option<String>,
}

/// What the model asked of a tool, as written; older clients know no ids.
#[derive(Debug, Deserialize)]
struct CallWritten {
    id: Option<String>,
    function: CalledWritten,
}

#[derive(Debug, Deserialize)]
struct CalledWritten {
    name: String,
    #[serde(default)]
    arguments: Value,
}

/// How to choose; the rest of a server's options is let pass.
#[derive(Debug, Default, Deserialize)]
struct Options {
    temperature: Option<f64>,
    top_p: Option<f64>,
    seed: Option<i64>,
    num_predict: Option<i64>,
    stop: Option<Stop>,
    top_k: Option<f64>,
    min_p: Option<f64>,
    typical_p: Option<f64>,
    repeat_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    mirostat: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

/// Reads a request body.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|err| unreadable(&err))
}

/// Returns a model's name; the tag that this dialect adds by itself is taken off.
pub(super) fn model(given: Option<&str>) -> Result<Name, Refusal> {
    model_name(given.map(|it| it.strip_suffix(":latest").unwrap_or(it)))
}

impl Common {
    /// Returns the model's name.
    pub(super) fn model(&self) -> Result<Name, Refusal> {
        model(self.model.as_deref())
    }

    /// Returns whether the answer comes in pieces, which it does unless it is told otherwise.
    pub(super) fn streams(&self) -> bool {
        self.stream.unwrap_or(true)
    }

    /// Returns how the model shall answer these messages.
    fn input(self, messages: Vec<ChatMessage>) -> Result<ChatInput, Refusal> {
        let options = self.options.unwrap_or_default();
        options.refuse_what_we_cannot()?;
        if self.think.is_some_and(|it| !it.is_null() && it != false) {
            return Err(unsupported("think", "it does not think aloud"));
        }
        let stop = match options.stop {
            None => Vec::new(),
            Some(Stop::One(stop)) => vec![stop],
            Some(Stop::Many(stops)) => stops,
        };
        if stop.len() > MOST_STOPS || stop.iter().any(String::is_empty) {
            return Err(out_of_range("options.stop", "at most 16 strings, none of them empty"));
        }
        let max_tokens = match options.num_predict {
            // -1 is "as many as it likes", -2 "until the window is full": the same here.
            None | Some(-1 | -2) => None,
            Some(tokens) => Some(
                u32::try_from(tokens)
                    .map_err(|_| out_of_range("options.num_predict", "a whole number from -2"))?,
            ),
        };
        Ok(ChatInput {
            messages,
            max_tokens,
            temperature: in_range(
                "options.temperature",
                options.temperature,
                0.0,
                2.0,
                "from 0 to 2",
            )?,
            top_p: in_range("options.top_p", options.top_p, 0.0, 1.0, "from 0 to 1")?,
            seed: options.seed.map(i64::cast_unsigned),
            stop,
            schema: schema(self.format)?,
            ..ChatInput::default()
        })
    }
}

impl Options {
    /// Refuses what would change the answer and cannot be honoured; the value that changes nothing passes.
    fn refuse_what_we_cannot(&self) -> Result<(), Refusal> {
        let checks = [
            ("options.top_k", self.top_k, 0.0, "no choice among the k best"),
            ("options.min_p", self.min_p, 0.0, "no least probability"),
            ("options.typical_p", self.typical_p, 1.0, "no typical sampling"),
            ("options.repeat_penalty", self.repeat_penalty, 1.0, "no penalties"),
            ("options.presence_penalty", self.presence_penalty, 0.0, "no penalties"),
            ("options.frequency_penalty", self.frequency_penalty, 0.0, "no penalties"),
            ("options.mirostat", self.mirostat, 0.0, "no mirostat"),
        ];
        #[expect(clippy::float_cmp, reason = "the values that are written so, not computed")]
        let wanted = checks.into_iter().find(|(_, it, idle, _)| it.is_some_and(|it| it != *idle));
        match wanted {
            None => Ok(()),
            Some((param, _, _, why)) => Err(unsupported(param, why)),
        }
    }
}

impl ChatRequest {
    /// Returns what the model shall do.
    pub(super) fn input(self) -> Result<ChatInput, Refusal> {
        let tools = read_tools(self.tools.unwrap_or_default())?;
        let written = self.messages.unwrap_or_default();
        if written.is_empty() {
            return Err(missing("messages"));
        }
        let mut turns = Turns::default();
        let messages = written.into_iter().map(|it| turns.read(it)).collect::<Result<_, _>>()?;
        let input = self.common.input(messages)?;
        Ok(ChatInput { tools, ..input })
    }
}

impl GenerateRequest {
    /// Returns what the model shall do.
    pub(super) fn input(self) -> Result<ChatInput, Refusal> {
        fn some(text: Option<&String>) -> bool {
            text.is_some_and(|it| !it.is_empty())
        }
        let checks = [
            ("suffix", some(self.suffix.as_ref()), "no text to fill in"),
            ("template", some(self.template.as_ref()), "the model has its own"),
            ("raw", self.raw == Some(true), "the model has its own template"),
            ("context", self.context.is_some_and(|it| !it.is_empty()), "send the conversation"),
        ];
        if let Some((param, _, why)) = checks.into_iter().find(|(_, wanted, _)| *wanted) {
            return Err(unsupported(param, why));
        }
        let prompt = self.prompt.filter(|it| !it.is_empty()).ok_or_else(|| missing("prompt"))?;
        let system = self.system.filter(|it| !it.is_empty());
        let system = system.map(|content| ChatMessage::text(ChatRole::System, content));
        let images = self.images.unwrap_or_default().into_iter().map(|it| image("images", &it));
        let images = images.collect::<Result<_, _>>()?;
        let user = ChatMessage { images, ..ChatMessage::text(ChatRole::User, prompt) };
        self.common.input(system.into_iter().chain([user]).collect())
    }
}

/// The turns that were read: which calls of tools wait for a result.
#[derive(Default)]
struct Turns {
    /// Each call's id and tool, in their order.
    waiting: Vec<(String, String)>,
    count: usize,
}

impl Turns {
    fn read(&mut self, message: Message) -> Result<ChatMessage, Refusal> {
        let wrong = |message: String| Refusal::param("messages", "unsupported_value", message);
        let role = match message.role.as_str() {
            "system" => ChatRole::System,
            "user" => ChatRole::User,
            "assistant" => ChatRole::Assistant,
            "tool" => ChatRole::Tool,
            other => {
                let message = format!("the role `{other}` is not supported by this model");
                return Err(wrong(message));
            }
        };
        let images = message.images.unwrap_or_default();
        if !images.is_empty() && role != ChatRole::User {
            return Err(wrong("`images` belong to turns of the user".to_owned()));
        }
        let calls = message.tool_calls.unwrap_or_default();
        if !calls.is_empty() && role != ChatRole::Assistant {
            return Err(wrong("`tool_calls` belong to turns of the assistant".to_owned()));
        }
        let images = images.iter().map(|it| image("messages", it)).collect::<Result<_, _>>()?;
        let tool_calls = calls.into_iter().map(|it| self.call(it)).collect();
        let tool_call_id = match role {
            ChatRole::Tool => {
                let id = self.answered(message.tool_call_id, message.tool_name.as_deref());
                Some(id.ok_or_else(|| wrong("no tool was asked for this result".to_owned()))?)
            }
            _ => None,
        };
        Ok(ChatMessage { role, content: message.content, images, tool_calls, tool_call_id })
    }

    fn call(&mut self, CallWritten { id, function }: CallWritten) -> ToolCall {
        let CalledWritten { name, arguments } = function;
        self.count += 1;
        let id = id.filter(|it| !it.is_empty()).unwrap_or_else(|| format!("call_{}", self.count));
        self.waiting.push((id.clone(), name.clone()));
        let arguments = if arguments.is_null() { "{}".to_owned() } else { arguments.to_string() };
        ToolCall { id, name, arguments }
    }

    /// Returns the call that a result is for: the one that it names, or the first of that tool.
    fn answered(&mut self, id: Option<String>, tool: Option<&str>) -> Option<String> {
        let fits = |(known, name): &(String, String)| match (&id, tool) {
            (Some(id), _) => known == id,
            (None, Some(tool)) => name == tool,
            (None, None) => true,
        };
        let place = self.waiting.iter().position(fits)?;
        Some(self.waiting.remove(place).0)
    }
}

/// Returns an image, whose type this dialect leaves to its first bytes.
fn image(param: &'static str, base64: &str) -> Result<Image, Refusal> {
    let known = [("iVBOR", "png"), ("/9j/", "jpeg"), ("R0lG", "gif"), ("UklG", "webp")];
    let found = known.into_iter().find(|(begin, _)| base64.starts_with(begin));
    let image =
        found.and_then(|(_, it)| Image::from_url(&format!("data:image/{it};base64,{base64}")));
    image.ok_or_else(|| {
        let message = "an image is the base64 of a PNG, JPEG, GIF or WebP file";
        Refusal::param(param, "unsupported_value", message)
    })
}

fn schema(format: Option<Value>) -> Result<Option<Value>, Refusal> {
    match format {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(word)) if word.is_empty() => Ok(None),
        Some(Value::String(word)) if word == "json" => Ok(Some(json!({ "type": "object" }))),
        Some(schema @ Value::Object(_)) => Ok(Some(schema)),
        Some(_) => Err(out_of_range("format", "`json` or a JSON schema")),
    }
}

/// Feeds a body to the readers of conversations; returns whether one took it.
#[cfg(any(test, fuzzing))]
pub(super) fn feed(body: &[u8]) -> bool {
    let chat = read::<ChatRequest>(body);
    let chat = chat.is_ok_and(|it| it.common.model().is_ok() && it.input().is_ok());
    let generate = read::<GenerateRequest>(body);
    generate.is_ok_and(|it| it.common.model().is_ok() && it.input().is_ok()) || chat
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn chat(fields: &Value) -> Result<ChatInput, Refusal> {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        read::<ChatRequest>(body.to_string().as_bytes())?.input()
    }

    #[track_caller]
    fn check(input: Result<ChatInput, Refusal>, expected: Expect) {
        expected.assert_eq(&match input {
            Ok(input) => serde_json::to_string(&input).unwrap(),
            Err(refusal) => {
                format!("{} {:?}: {}", refusal.failure.code, refusal.param, refusal.failure)
            }
        });
    }

    #[test]
    fn options_are_read_and_zeros_stay() {
        check(
            chat(&json!({
                "options": { "temperature": 0, "top_p": 0, "seed": 0, "num_predict": 0, "stop": "x",
                    "num_ctx": 2048, "num_gpu": 1, "repeat_penalty": 1.0 },
                "format": "json", "keep_alive": "5m", "think": false, "tools": [],
            })),
            expect![[
                r#"{"messages":[{"role":"user","content":"hi"}],"max_tokens":0,"temperature":0.0,"top_p":0.0,"seed":0,"stop":["x"],"schema":{"type":"object"}}"#
            ]],
        );
        check(
            chat(&json!({ "options": { "num_predict": -1 } })),
            expect![[r#"{"messages":[{"role":"user","content":"hi"}]}"#]],
        );
    }

    #[test]
    fn tools_their_results_and_images_are_handed_on() {
        let call = |name: &str| json!({ "function": { "name": name, "arguments": { "a": 1 } } });
        check(
            chat(&json!({
                "messages": [
                    { "role": "user", "content": "look", "images": ["iVBORw0="] },
                    { "role": "assistant", "content": "", "tool_calls": [call("f"), call("g")] },
                    { "role": "tool", "content": "3", "tool_name": "g" },
                    { "role": "tool", "content": "4" },
                ],
                "tools": [{ "type": "function", "function": { "name": "f" } }],
            })),
            expect![[
                r#"{"messages":[{"role":"user","content":"look","images":[{"data":{"media_type":"image/png","base64":"iVBORw0="}}]},{"role":"assistant","content":"","tool_calls":[{"id":"call_1","name":"f","arguments":"{\"a\":1}"},{"id":"call_2","name":"g","arguments":"{\"a\":1}"}]},{"role":"tool","content":"3","tool_call_id":"call_2"},{"role":"tool","content":"4","tool_call_id":"call_1"}],"tools":[{"name":"f","parameters":{"type":"object","properties":{}}}]}"#
            ]],
        );
    }

    #[test]
    fn a_prompt_becomes_a_conversation() {
        let body = br#"{"model":"m:latest","prompt":"hi","system":"be brief"}"#;
        let request: GenerateRequest = read(body).unwrap();
        assert_eq!(request.common.model().unwrap().as_str(), "m");
        assert!(request.common.streams(), "unless told otherwise");
        check(
            request.input(),
            expect![[
                r#"{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}]}"#
            ]],
        );
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (name, fields) in [
            ("tools", json!({ "tools": [{ "type": "function" }] })),
            (
                "messages",
                json!({ "messages": [{ "role": "tool", "content": "3", "tool_name": "f" }] }),
            ),
            ("think", json!({ "think": "high" })),
            ("format", json!({ "format": "yaml" })),
            ("options.top_k", json!({ "options": { "top_k": 40 } })),
            ("options.repeat_penalty", json!({ "options": { "repeat_penalty": 1.1 } })),
            ("options.temperature", json!({ "options": { "temperature": 3 } })),
            ("options.num_predict", json!({ "options": { "num_predict": -3 } })),
            ("options.stop", json!({ "options": { "stop": [""] } })),
            ("messages", json!({ "messages": [] })),
            ("messages", json!({ "messages": [{ "role": "tool", "content": "" }] })),
            ("messages", json!({ "messages": [{ "role": "user", "images": ["aaaa"] }] })),
        ] {
            let refusal = chat(&fields).unwrap_err();
            assert_eq!((refusal.param, refusal.status.as_u16()), (Some(name), 400), "{name}");
        }
        for name in ["suffix", "template"] {
            let body = json!({ "model": "m", "prompt": "a", name: "b" }).to_string();
            let refusal = read::<GenerateRequest>(body.as_bytes()).unwrap().input().unwrap_err();
            assert_eq!(refusal.param, Some(name));
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_read(body in proptest::collection::vec(any::<u8>(), 0..256)) {
            feed(&body);
        }
    }
}
