//! A chat request in OpenAI's shape, and what of it a node can honour.

use sedge_capability::Name;
use sedge_gateway::{ChatInput, ChatMessage, ChatRole, ToolChoice};
use serde::Deserialize;
use serde_json::Value;

use super::tools::{self, CallWritten, ImageWritten};
use crate::models::{
    ToolWritten, in_range, model_name, out_of_range, read_tools, unreadable, unsupported,
};
use crate::refusal::Refusal;

/// The most stop strings that one request may carry, as OpenAI has it.
const MOST_STOPS: usize = 4;

/// A chat request, as written. Fields that are not named here do not change the answer.
#[derive(Debug, Deserialize)]
pub(super) struct ChatRequest {
    model: Option<String>,
    messages: Option<Vec<Message>>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    seed: Option<i64>,
    stop: Option<Stop>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    response_format: Option<ResponseFormat>,
    n: Option<i64>,
    tools: Option<Vec<ToolWritten>>,
    functions: Option<Vec<Value>>,
    tool_choice: Option<Value>,
    logprobs: Option<Value>,
    top_logprobs: Option<i64>,
    logit_bias: Option<serde_json::Map<String, Value>>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    modalities: Option<Vec<String>>,
    audio: Option<Value>,
    web_search_options: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    content: Option<Content>,
    tool_calls: Option<Vec<CallWritten>>,
    tool_call_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    r#type: String,
    text: Option<String>,
    image_url: Option<ImageWritten>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct ResponseFormat {
    r#type: String,
    json_schema: Option<JsonSchema>,
}

#[derive(Debug, Deserialize)]
struct JsonSchema {
    schema: Option<Value>,
}

impl ChatRequest {
    /// Reads a request body.
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(body).map_err(|err| unreadable(&err))
    }

    /// Returns the model's name.
    pub(super) fn model(&self) -> Result<Name, Refusal> {
        model_name(self.model.as_deref())
    }

    /// Returns whether a stream ends with a chunk that counts the tokens.
    pub(super) fn include_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|it| it.include_usage).unwrap_or(false)
    }

    /// Returns what the model shall do.
    pub(super) fn input(self) -> Result<ChatInput, Refusal> {
        self.refuse_what_we_cannot()?;
        let messages = self.messages.unwrap_or_default();
        if messages.is_empty() {
            return Err(Refusal::param(
                "messages",
                "missing_required_parameter",
                "`messages` is empty",
            ));
        }
        let asked = self.max_completion_tokens.map(|it| ("max_completion_tokens", it));
        let asked = asked.or(self.max_tokens.map(|it| ("max_tokens", it)));
        let max_tokens = match asked {
            None => None,
            Some((param, tokens)) => Some(
                u32::try_from(tokens).map_err(|_| out_of_range(param, "a whole number from 0"))?,
            ),
        };
        let stop = match self.stop {
            None => Vec::new(),
            Some(Stop::One(stop)) => vec![stop],
            Some(Stop::Many(stops)) => stops,
        };
        if stop.len() > MOST_STOPS || stop.iter().any(String::is_empty) {
            return Err(out_of_range("stop", "at most 4 strings, none of them empty"));
        }
        let tools = read_tools(self.tools.unwrap_or_default())?;
        let tool_choice = match &self.tool_choice {
            None => None,
            Some(written) => tools::choice(written)?,
        };
        let about_tools = match &tool_choice {
            Some(ToolChoice::Required) => !tools.is_empty(),
            Some(ToolChoice::Named(name)) => tools.iter().any(|it| it.name == *name),
            None | Some(ToolChoice::Auto | ToolChoice::None) => true,
        };
        if !about_tools {
            return Err(out_of_range("tool_choice", "about one of `tools`"));
        }
        Ok(ChatInput {
            messages: messages.into_iter().map(message).collect::<Result<_, _>>()?,
            max_tokens,
            temperature: in_range("temperature", self.temperature, 0.0, 2.0, "from 0 to 2")?,
            top_p: in_range("top_p", self.top_p, 0.0, 1.0, "from 0 to 1")?,
            seed: self.seed.map(i64::cast_unsigned),
            stop,
            schema: self.response_format.map_or(Ok(None), schema)?,
            // Without tools there is nothing to choose.
            tool_choice: tool_choice.filter(|_| !tools.is_empty()),
            tools,
        })
    }

    /// Refuses the fields that would change the answer and that a node cannot honour.
    fn refuse_what_we_cannot(&self) -> Result<(), Refusal> {
        fn some<T>(list: Option<&Vec<T>>) -> bool {
            list.is_some_and(|it| !it.is_empty())
        }
        let checks = [
            ("n", self.n.is_some_and(|it| it != 1), "one answer per request"),
            ("functions", some(self.functions.as_ref()), "they are `tools` now"),
            (
                "logprobs",
                self.logprobs.as_ref().is_some_and(|it| !it.is_null() && it != false),
                "no log probabilities",
            ),
            ("top_logprobs", self.top_logprobs.is_some_and(|it| it != 0), "no log probabilities"),
            (
                "logit_bias",
                self.logit_bias.as_ref().is_some_and(|it| !it.is_empty()),
                "no logit bias",
            ),
            ("presence_penalty", self.presence_penalty.is_some_and(|it| it != 0.0), "no penalties"),
            (
                "frequency_penalty",
                self.frequency_penalty.is_some_and(|it| it != 0.0),
                "no penalties",
            ),
            (
                "modalities",
                self.modalities.as_ref().is_some_and(|it| it.iter().any(|it| it != "text")),
                "text only",
            ),
            ("audio", self.audio.as_ref().is_some_and(|it| !it.is_null()), "text only"),
            (
                "web_search_options",
                self.web_search_options.as_ref().is_some_and(|it| !it.is_null()),
                "no web search",
            ),
        ];
        match checks.into_iter().find(|(_, wanted, _)| *wanted) {
            None => Ok(()),
            Some((param, _, why)) => Err(unsupported(param, why)),
        }
    }
}

fn message(message: Message) -> Result<ChatMessage, Refusal> {
    let wrong = |message: String| Refusal::param("messages", "unsupported_value", message);
    let role = match message.role.as_str() {
        "system" | "developer" => ChatRole::System,
        "user" => ChatRole::User,
        "assistant" => ChatRole::Assistant,
        "tool" => ChatRole::Tool,
        other => return Err(wrong(format!("the role `{other}` is not supported by this model"))),
    };
    let tool_calls = tools::calls(message.tool_calls.unwrap_or_default())?;
    if !tool_calls.is_empty() && role != ChatRole::Assistant {
        return Err(wrong("`tool_calls` belong to turns of the assistant".to_owned()));
    }
    if message.tool_call_id.is_some() != (role == ChatRole::Tool) {
        return Err(wrong("`tool_call_id` belongs to each turn of a tool".to_owned()));
    }
    let (mut content, mut images) = (String::new(), Vec::new());
    match message.content {
        None => {}
        Some(Content::Text(text)) => content = text,
        Some(Content::Parts(parts)) => {
            for part in parts {
                match (part.r#type.as_str(), part.text) {
                    ("text", Some(text)) => content.push_str(&text),
                    ("image_url", _) if role == ChatRole::User => {
                        images.push(tools::image(part.image_url)?);
                    }
                    (other, _) => {
                        return Err(wrong(format!(
                            "content of type `{other}` is not supported here"
                        )));
                    }
                }
            }
        }
    }
    Ok(ChatMessage { role, content, images, tool_calls, tool_call_id: message.tool_call_id })
}

fn schema(format: ResponseFormat) -> Result<Option<Value>, Refusal> {
    match format.r#type.as_str() {
        "text" => Ok(None),
        "json_object" => Ok(Some(serde_json::json!({ "type": "object" }))),
        "json_schema" => match format.json_schema.and_then(|it| it.schema) {
            Some(schema) => Ok(Some(schema)),
            None => Err(Refusal::param(
                "response_format",
                "missing_required_parameter",
                "`response_format.json_schema.schema` is missing",
            )),
        },
        other => {
            let message = format!("the response format `{other}` is not supported");
            Err(Refusal::param("response_format", "unsupported_value", message))
        }
    }
}

/// Feeds a body to the reader of chats; returns whether it took it.
#[cfg(any(test, fuzzing))]
pub(super) fn feed(body: &[u8]) -> bool {
    let Ok(request) = ChatRequest::read(body) else { return false };
    request.include_usage();
    request.model().is_ok() && request.input().is_ok()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(fields: Value) -> Result<ChatInput, Refusal> {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        ChatRequest::read(body.to_string().as_bytes())?.input()
    }

    #[track_caller]
    fn check(fields: Value, expected: Expect) {
        expected.assert_eq(&match read(fields) {
            Ok(input) => serde_json::to_string(&input).unwrap(),
            Err(refusal) => {
                format!("{} {:?}: {}", refusal.failure.code, refusal.param, refusal.failure)
            }
        });
    }

    #[test]
    fn an_explicit_zero_stays_zero() {
        let zeros = json!({ "temperature": 0, "top_p": 0, "seed": 0, "max_tokens": 0 });
        let input = read(zeros).unwrap();
        assert_eq!(
            (input.temperature, input.top_p, input.seed, input.max_tokens),
            (Some(0.0), Some(0.0), Some(0), Some(0))
        );
        let input = read(json!({})).unwrap();
        assert_eq!(
            (input.temperature, input.top_p, input.seed, input.max_tokens),
            (None, None, None, None)
        );
    }

    #[test]
    fn the_newer_name_of_the_token_limit_wins() {
        let both = json!({ "max_tokens": 5, "max_completion_tokens": 7 });
        assert_eq!(read(both).unwrap().max_tokens, Some(7));
    }

    #[test]
    fn what_changes_nothing_is_let_pass() {
        check(
            json!({ "user": "u", "store": true, "n": 1, "tools": [], "logprobs": false,
                "presence_penalty": 0, "metadata": {}, "tool_choice": "none", "logit_bias": {} }),
            expect![[r#"{"messages":[{"role":"user","content":"hi"}]}"#]],
        );
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (name, value) in [
            ("n", json!(2)),
            ("n", json!(0)),
            ("tools", json!([{ "type": "function" }])),
            ("functions", json!([{}])),
            ("tool_choice", json!("required")),
            ("tool_choice", json!("sometimes")),
            ("tool_choice", json!({ "type": "function", "function": { "name": "f" } })),
            ("logprobs", json!(true)),
            ("top_logprobs", json!(3)),
            ("logit_bias", json!({ "50256": -100 })),
            ("presence_penalty", json!(0.5)),
            ("frequency_penalty", json!(-0.5)),
            ("modalities", json!(["text", "audio"])),
            ("audio", json!({ "voice": "alloy" })),
            ("web_search_options", json!({})),
            ("temperature", json!(2.1)),
            ("temperature", json!(-1)),
            ("top_p", json!(1.5)),
            ("max_tokens", json!(-1)),
            ("stop", json!(["a", "b", "c", "d", "e"])),
            ("stop", json!("")),
            ("messages", json!([])),
            ("messages", json!([{ "role": "tool", "content": "x" }])),
            ("response_format", json!({ "type": "grammar" })),
        ] {
            let refusal = read(json!({ name: value })).unwrap_err();
            assert_eq!((refusal.param, refusal.status.as_u16()), (Some(name), 400), "{name}");
        }
    }

    #[test]
    fn images_are_handed_on() {
        let shown = |url: &str| {
            json!({ "messages": [{ "role": "user", "content": [
                { "type": "text", "text": "what is this?" },
                { "type": "image_url", "image_url": { "url": url, "detail": "low" } },
            ] }] })
        };
        check(
            shown("data:image/png;base64,aGk="),
            expect![[
                r#"{"messages":[{"role":"user","content":"what is this?","images":[{"data":{"media_type":"image/png","base64":"aGk="}}]}]}"#
            ]],
        );
        check(
            shown("data:,"),
            expect![[
                r#"unsupported_value Some("messages"): `image_url.url` must be a web address or `data:image/…;base64,…`"#
            ]],
        );
    }

    #[test]
    fn tools_are_handed_on() {
        let call = json!({ "id": "1", "type": "function", "function": { "name": "f", "arguments": "{}" } });
        check(
            json!({
                "messages": [
                    { "role": "user", "content": "hi" },
                    { "role": "assistant", "content": null, "tool_calls": [call] },
                    { "role": "tool", "tool_call_id": "1", "content": "3" },
                ],
                "tools": [{ "type": "function", "function": { "name": "f", "strict": true, "parameters": { "type": "object" } } }],
                "tool_choice": { "type": "function", "function": { "name": "f" } },
            }),
            expect![[
                r#"{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"","tool_calls":[{"id":"1","name":"f","arguments":"{}"}]},{"role":"tool","content":"3","tool_call_id":"1"}],"tools":[{"name":"f","parameters":{"type":"object"}}],"tool_choice":{"named":"f"}}"#
            ]],
        );
    }

    #[test]
    fn parts_of_text_and_developers_are_understood() {
        check(
            json!({ "messages": [
                { "role": "developer", "content": "be brief" },
                { "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] },
                { "role": "assistant", "content": null },
            ], "stop": "x" }),
            expect![[
                r#"{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"ab"},{"role":"assistant","content":""}],"stop":["x"]}"#
            ]],
        );
    }

    #[test]
    fn schemas_are_handed_on() {
        let schema = json!({ "type": "object", "properties": { "a": { "type": "integer" } } });
        let format =
            json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": schema } });
        assert_eq!(read(json!({ "response_format": format })).unwrap().schema, Some(schema));
        let any = json!({ "response_format": { "type": "json_object" } });
        assert_eq!(read(any).unwrap().schema, Some(json!({ "type": "object" })));
        let none = json!({ "response_format": { "type": "json_schema" } });
        assert_eq!(read(none).unwrap_err().param, Some("response_format"));
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_read(body in proptest::collection::vec(any::<u8>(), 0..256)) {
            if let Ok(request) = ChatRequest::read(&body) {
                drop(request.model());
                drop(request.input());
            }
        }

        #[test]
        fn any_value_of_any_field_is_refused_or_read(
            field in "model|messages|max_tokens|temperature|stop|response_format|stream_options|n",
            number in any::<f64>(), text in ".{0,20}", shape in 0..5,
        ) {
            let value = match shape {
                0 => json!(number),
                1 => json!(text),
                2 => json!([text, number]),
                3 => json!({ "type": text, "json_schema": number }),
                _ => json!([{ "role": text, "content": text }]),
            };
            let body = json!({ field: value });
            if let Ok(request) = ChatRequest::read(body.to_string().as_bytes()) {
                drop(request.model());
                drop(request.input());
            }
        }
    }
}
