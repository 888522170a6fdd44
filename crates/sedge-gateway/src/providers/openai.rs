//! OpenAI's chat completions and embeddings, which a good many servers speak.

use sedge_capability::Failure;
use serde_json::{Value, json};

use super::{Api, Key, Request, Wire, arguments_of, count, number, set, vector};
use crate::chat::{ChatInput, ChatMessage, ChatRole, Tool, ToolChoice};
use crate::embed::EmbedOutput;
use crate::remote::{Answer, Finish, Framing};

/// OpenAI itself.
pub(super) const API: Api = Api {
    name: "openai",
    base_url: Some("https://api.openai.com/v1"),
    key: Key::Needed("authorization", "Bearer "),
    headers: &[],
    framing: Framing::Events,
    sees: true,
    wire: &Dialect {
        most: "max_completion_tokens",
        seed: "seed",
        required: "required",
        asks_usage: true,
    },
};

/// Whatever speaks as OpenAI does: LocalAI, vLLM, llama.cpp's server, LM Studio, OpenRouter.
pub(super) const CUSTOM: Api = Api {
    name: "custom",
    base_url: None,
    key: Key::Asked("authorization", "Bearer "),
    sees: false,
    // The older name of the limit is the one that all of them know.
    wire: &Dialect { most: "max_tokens", seed: "seed", required: "required", asks_usage: true },
    ..API
};

/// What differs among those who speak so.
#[derive(Debug)]
pub(super) struct Dialect {
    /// What the limit of tokens is called.
    pub(super) most: &'static str,
    /// What the seed is called.
    pub(super) seed: &'static str,
    /// The word for a tool that has to be asked for.
    pub(super) required: &'static str,
    /// Whether usage has to be asked for in streams.
    pub(super) asks_usage: bool,
}

impl Wire for Dialect {
    fn chat(&self, model: &str, input: &ChatInput) -> Result<Request, Failure> {
        let ChatInput {
            messages,
            max_tokens,
            temperature,
            top_p,
            seed,
            stop,
            schema,
            tools,
            tool_choice,
        } = input;
        let messages: Vec<_> = messages.iter().map(message).collect();
        let mut body = json!({ "model": model, "messages": messages, "stream": true });
        set(
            &mut body,
            [
                (self.most, max_tokens.map(|it| json!(it))),
                ("temperature", temperature.map(number)),
                ("top_p", top_p.map(number)),
                // Seeds came in as whole numbers with a sign.
                (self.seed, seed.map(|it| json!(it.cast_signed()))),
                ("stop", (!stop.is_empty()).then(|| json!(stop))),
                ("response_format", schema.as_ref().map(format)),
                ("tools", (!tools.is_empty()).then(|| tools.iter().map(tool).collect())),
                ("tool_choice", tool_choice.as_ref().map(|it| self.choice(it))),
                ("stream_options", self.asks_usage.then(|| json!({ "include_usage": true }))),
            ],
        );
        if tools.is_empty()
            && let Some(fields) = body.as_object_mut()
        {
            // Without tools there is nothing to choose, and some servers refuse to be told so.
            fields.remove("tool_choice");
        }
        Ok(Request { path: "/chat/completions".to_owned(), body })
    }

    fn take(&self, object: &Value, answer: &mut Answer) {
        let choice = &object["choices"][0];
        let delta = &choice["delta"];
        match &delta["content"] {
            Value::String(text) => answer.say(text),
            // Models that think aloud send parts; what is not text is not the answer.
            Value::Array(parts) => {
                for part in parts.iter().filter(|it| it["type"] == "text") {
                    answer.say(part["text"].as_str().unwrap_or_default());
                }
            }
            _ => {}
        }
        if let Some(text) = delta["refusal"].as_str() {
            answer.say(text);
        }
        for (at, call) in delta["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let index = call["index"].as_u64().unwrap_or(at as u64);
            let function = &call["function"];
            let (id, name) = (call["id"].as_str(), function["name"].as_str());
            answer.call(index, (id, name), &arguments_of(&function["arguments"]));
        }
        match choice["finish_reason"].as_str() {
            None => {}
            Some("length" | "model_length") => answer.finish(Finish::Length),
            Some("tool_calls" | "function_call") => answer.finish(Finish::ToolCalls),
            Some("content_filter") => answer.finish(Finish::ContentFilter),
            Some(_) => answer.finish(Finish::Stop),
        }
        let usage = &object["usage"];
        answer.prompt(count(&usage["prompt_tokens"]));
        answer.completion(count(&usage["completion_tokens"]));
        answer.cached(count(&usage["prompt_tokens_details"]["cached_tokens"]));
    }

    fn embed(&self, model: &str, texts: &[String]) -> Option<Request> {
        let body = json!({ "model": model, "input": texts, "encoding_format": "float" });
        Some(Request { path: "/embeddings".to_owned(), body })
    }

    fn vectors(&self, body: &Value) -> Option<EmbedOutput> {
        let mut data: Vec<&Value> = body["data"].as_array()?.iter().collect();
        data.sort_by_key(|it| it["index"].as_u64());
        let vectors = data.into_iter().map(|it| vector(&it["embedding"])).collect::<Option<_>>()?;
        let prompt_tokens = count(&body["usage"]["prompt_tokens"]).unwrap_or(0);
        Some(EmbedOutput { vectors, prompt_tokens })
    }
}

impl Dialect {
    fn choice(&self, choice: &ToolChoice) -> Value {
        match choice {
            ToolChoice::Auto => json!("auto"),
            ToolChoice::None => json!("none"),
            ToolChoice::Required => json!(self.required),
            ToolChoice::Named(name) => json!({ "type": "function", "function": { "name": name } }),
        }
    }
}

fn message(message: &ChatMessage) -> Value {
    let ChatMessage { role, content, images, tool_calls, tool_call_id } = message;
    match role {
        ChatRole::System => json!({ "role": "system", "content": content }),
        ChatRole::User if images.is_empty() => json!({ "role": "user", "content": content }),
        ChatRole::User => {
            let mut parts = vec![json!({ "type": "text", "text": content })];
            let shown = |it: String| json!({ "type": "image_url", "image_url": { "url": it } });
            parts.extend(images.iter().map(|it| shown(it.to_url())));
            json!({ "role": "user", "content": parts })
        }
        ChatRole::Assistant if tool_calls.is_empty() => {
            json!({ "role": "assistant", "content": content })
        }
        ChatRole::Assistant => {
            let calls = tool_calls.iter().map(|it| {
                let function = json!({ "name": it.name, "arguments": it.arguments });
                json!({ "id": it.id, "type": "function", "function": function })
            });
            let content = if content.is_empty() { Value::Null } else { json!(content) };
            let calls: Vec<_> = calls.collect();
            json!({ "role": "assistant", "content": content, "tool_calls": calls })
        }
        ChatRole::Tool => {
            json!({ "role": "tool", "tool_call_id": tool_call_id, "content": content })
        }
    }
}

/// Returns a tool as OpenAI and others declare it.
pub(super) fn tool(tool: &Tool) -> Value {
    let Tool { name, description, parameters } = tool;
    let mut function = json!({ "name": name, "parameters": parameters });
    set(&mut function, [("description", description.as_ref().map(|it| json!(it)))]);
    json!({ "type": "function", "function": function })
}

fn format(schema: &Value) -> Value {
    if *schema == json!({ "type": "object" }) {
        return json!({ "type": "json_object" });
    }
    json!({ "type": "json_schema", "json_schema": { "name": "answer", "schema": schema } })
}
