//! Ollama's own API, which answers in lines.

use sedge_base::ErrorKind;
use sedge_capability::Failure;
use serde_json::{Value, json};

use super::{
    Api, Key, Request, Wire, arguments_of, cannot, count, number, object_of, openai, set, vector,
};
use crate::chat::{ChatInput, ChatMessage, ChatRole, Image, Tool, ToolChoice};
use crate::embed::EmbedOutput;
use crate::remote::{Answer, Finish, Framing};

/// Ollama, on this machine unless the owner says otherwise.
pub(super) const API: Api = Api {
    name: "ollama",
    base_url: Some("http://127.0.0.1:11434"),
    key: Key::Asked("authorization", "Bearer "),
    headers: &[],
    framing: Framing::Lines,
    sees: false,
    wire: &Ollama,
};

#[derive(Debug)]
struct Ollama;

impl Wire for Ollama {
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
        let tools: &[Tool] = match tool_choice {
            None | Some(ToolChoice::Auto) => tools,
            Some(ToolChoice::None) => &[],
            Some(ToolChoice::Required | ToolChoice::Named(_)) => {
                return Err(cannot(API.name, "tool_choice"));
            }
        };
        let turns: Result<Vec<_>, _> =
            messages.iter().enumerate().map(|(at, it)| turn(it, &messages[..at])).collect();
        let mut options = json!({});
        set(
            &mut options,
            [
                ("num_predict", max_tokens.map(|it| json!(it))),
                ("temperature", temperature.map(number)),
                ("top_p", top_p.map(number)),
                ("seed", seed.map(|it| json!(it.cast_signed()))),
                ("stop", (!stop.is_empty()).then(|| json!(stop))),
            ],
        );
        let options = options.as_object().filter(|it| !it.is_empty()).map(|it| json!(it));
        let mut body = json!({ "model": model, "messages": turns?, "stream": true });
        let any = json!({ "type": "object" });
        let format = schema.as_ref().map(|it| if *it == any { json!("json") } else { it.clone() });
        set(
            &mut body,
            [
                ("options", options),
                ("format", format),
                ("tools", (!tools.is_empty()).then(|| tools.iter().map(openai::tool).collect())),
            ],
        );
        Ok(Request { path: "/api/chat".to_owned(), body })
    }

    fn take(&self, object: &Value, answer: &mut Answer) {
        let message = &object["message"];
        answer.say(message["content"].as_str().unwrap_or_default());
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let function = &call["function"];
            if let Some(name) = function["name"].as_str() {
                let index = answer.calls();
                let made = format!("call_{index}");
                let id = call["id"].as_str().unwrap_or(&made);
                answer.call(index, (Some(id), Some(name)), &arguments_of(&function["arguments"]));
            }
        }
        if object["done"] == true {
            answer.prompt(count(&object["prompt_eval_count"]));
            answer.completion(count(&object["eval_count"]));
            let length = object["done_reason"] == "length";
            answer.finish(if length { Finish::Length } else { Finish::Stop });
            answer.end();
        }
    }

    fn embed(&self, model: &str, texts: &[String]) -> Option<Request> {
        // What does not fit is refused here, not cut off in silence.
        let body = json!({ "model": model, "input": texts, "truncate": false });
        Some(Request { path: "/api/embed".to_owned(), body })
    }

    fn vectors(&self, body: &Value) -> Option<EmbedOutput> {
        let all = body["embeddings"].as_array()?.iter();
        let vectors = all.map(vector).collect::<Option<_>>()?;
        let prompt_tokens = count(&body["prompt_eval_count"]).unwrap_or(0);
        Some(EmbedOutput { vectors, prompt_tokens })
    }
}

fn turn(message: &ChatMessage, before: &[ChatMessage]) -> Result<Value, Failure> {
    let ChatMessage { role, content, images, tool_calls, tool_call_id } = message;
    let role = match role {
        ChatRole::System => "system",
        ChatRole::User => "user",
        ChatRole::Assistant => "assistant",
        ChatRole::Tool => "tool",
    };
    let mut turn = json!({ "role": role, "content": content });
    let mut bytes = Vec::new();
    for image in images {
        match image {
            Image::Url(_) => return Err(cannot(API.name, "an image by its address")),
            Image::Data { base64, .. } => bytes.push(base64),
        }
    }
    let mut calls = Vec::new();
    for call in tool_calls {
        let function = json!({ "name": call.name, "arguments": object_of(call)? });
        calls.push(json!({ "function": function }));
    }
    // Results go by the tool's name here.
    let named = match tool_call_id {
        None => None,
        Some(id) => {
            let mut calls = before.iter().rev().flat_map(|it| &it.tool_calls);
            let call = calls.find(|it| it.id == *id).ok_or_else(|| {
                let text = format!("no turn before it has the call `{id}` that a result names");
                Failure::new(ErrorKind::Invalid, "invalid_input", text)
            })?;
            Some(json!(call.name))
        }
    };
    set(
        &mut turn,
        [
            ("images", (!bytes.is_empty()).then(|| json!(bytes))),
            ("tool_calls", (!calls.is_empty()).then(|| json!(calls))),
            ("tool_name", named),
        ],
    );
    Ok(turn)
}
