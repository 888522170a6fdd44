//! Google's Gemini API.

use sedge_base::ErrorKind;
use sedge_capability::Failure;
use serde_json::{Value, json};

use super::{Api, Key, Request, Wire, arguments_of, cannot, count, number, object_of, set, vector};
use crate::chat::{ChatInput, ChatMessage, ChatRole, Image, Tool, ToolChoice};
use crate::embed::EmbedOutput;
use crate::remote::{Answer, Finish, Framing};

/// Google.
pub(super) const API: Api = Api {
    name: "google",
    base_url: Some("https://generativelanguage.googleapis.com/v1beta"),
    key: Key::Needed("x-goog-api-key", ""),
    headers: &[],
    framing: Framing::Events,
    sees: true,
    wire: &Gemini,
};

#[derive(Debug)]
struct Gemini;

impl Wire for Gemini {
    fn chat(&self, model: &str, input: &ChatInput) -> Result<Request, Failure> {
        let ChatInput { messages, tools, tool_choice, .. } = input;
        let system: Vec<Value> = messages
            .iter()
            .filter(|it| it.role == ChatRole::System)
            .map(|it| json!({ "text": it.content }))
            .collect();
        let mut body = json!({ "contents": contents(messages)? });
        let settings = settings(input)?;
        let declared: Vec<_> = tools.iter().map(tool).collect();
        let choice = tool_choice.as_ref().filter(|_| !tools.is_empty());
        set(
            &mut body,
            [
                ("systemInstruction", (!system.is_empty()).then(|| json!({ "parts": system }))),
                (
                    "generationConfig",
                    settings.as_object().filter(|it| !it.is_empty()).map(|it| json!(it)),
                ),
                (
                    "tools",
                    (!tools.is_empty()).then(|| json!([{ "functionDeclarations": declared }])),
                ),
                ("toolConfig", choice.map(|it| json!({ "functionCallingConfig": chosen(it) }))),
            ],
        );
        Ok(Request { path: format!("/models/{model}:streamGenerateContent?alt=sse"), body })
    }

    fn take(&self, object: &Value, answer: &mut Answer) {
        let candidate = &object["candidates"][0];
        for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
            if part["thought"] == true {
                continue;
            }
            if let Some(text) = part["text"].as_str() {
                answer.say(text);
            }
            let call = &part["functionCall"];
            if let Some(name) = call["name"].as_str() {
                let index = answer.calls();
                let made = format!("call_{index}");
                let id = call["id"].as_str().unwrap_or(&made);
                answer.call(index, (Some(id), Some(name)), &arguments_of(&call["args"]));
            }
        }
        match candidate["finishReason"].as_str() {
            None => {}
            Some("MAX_TOKENS") => answer.finish(Finish::Length),
            Some("SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII") => {
                answer.finish(Finish::ContentFilter);
            }
            Some(_) => answer.finish(Finish::Stop),
        }
        if object["promptFeedback"]["blockReason"].is_string() {
            answer.finish(Finish::ContentFilter);
        }
        let usage = &object["usageMetadata"];
        answer.prompt(count(&usage["promptTokenCount"]));
        let thought = count(&usage["thoughtsTokenCount"]).unwrap_or(0);
        let said = count(&usage["candidatesTokenCount"]);
        answer.completion(said.map(|it| it.saturating_add(thought)));
        answer.cached(count(&usage["cachedContentTokenCount"]));
    }

    fn embed(&self, model: &str, texts: &[String]) -> Option<Request> {
        let one = |text: &String| json!({ "model": format!("models/{model}"), "content": { "parts": [{ "text": text }] } });
        let requests: Vec<_> = texts.iter().map(one).collect();
        let path = format!("/models/{model}:batchEmbedContents");
        Some(Request { path, body: json!({ "requests": requests }) })
    }

    fn vectors(&self, body: &Value) -> Option<EmbedOutput> {
        let all = body["embeddings"].as_array()?.iter();
        let vectors = all.map(|it| vector(&it["values"])).collect::<Option<_>>()?;
        // It counts no tokens here.
        Some(EmbedOutput { vectors, prompt_tokens: 0 })
    }
}

fn settings(input: &ChatInput) -> Result<Value, Failure> {
    let ChatInput { max_tokens, temperature, top_p, seed, stop, schema, .. } = input;
    let seed = match seed {
        None => None,
        Some(seed) => match i32::try_from(seed.cast_signed()) {
            Ok(seed) => Some(json!(seed)),
            Err(_) => return Err(cannot(API.name, "seed of more than 32 bits")),
        },
    };
    let mut settings = json!({});
    set(
        &mut settings,
        [
            ("maxOutputTokens", max_tokens.map(|it| json!(it))),
            ("temperature", temperature.map(number)),
            ("topP", top_p.map(number)),
            ("seed", seed),
            ("stopSequences", (!stop.is_empty()).then(|| json!(stop))),
            ("responseMimeType", schema.as_ref().map(|_| json!("application/json"))),
            ("responseJsonSchema", schema.clone()),
        ],
    );
    Ok(settings)
}

fn contents(messages: &[ChatMessage]) -> Result<Vec<Value>, Failure> {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let (role, parts) = match message.role {
            ChatRole::System => continue,
            ChatRole::User => ("user", shown(message)?),
            ChatRole::Assistant => ("model", said(message)?),
            ChatRole::Tool => ("user", vec![result(message, &messages[..at])?]),
        };
        match turns.last_mut() {
            Some((last, all)) if *last == role => all.extend(parts),
            _ => turns.push((role, parts)),
        }
    }
    Ok(turns.into_iter().map(|(role, parts)| json!({ "role": role, "parts": parts })).collect())
}

fn shown(message: &ChatMessage) -> Result<Vec<Value>, Failure> {
    let mut parts = vec![json!({ "text": message.content })];
    for image in &message.images {
        match image {
            Image::Url(_) => return Err(cannot(API.name, "an image by its address")),
            Image::Data { media_type, base64 } => {
                let inline = json!({ "mimeType": media_type, "data": base64 });
                parts.push(json!({ "inlineData": inline }));
            }
        }
    }
    Ok(parts)
}

fn said(message: &ChatMessage) -> Result<Vec<Value>, Failure> {
    let mut parts = Vec::new();
    if !message.content.is_empty() || message.tool_calls.is_empty() {
        parts.push(json!({ "text": message.content }));
    }
    for call in &message.tool_calls {
        let call = json!({ "name": call.name, "args": object_of(call)? });
        parts.push(json!({ "functionCall": call }));
    }
    Ok(parts)
}

/// Returns a tool's result, which goes by the tool's name here.
fn result(message: &ChatMessage, before: &[ChatMessage]) -> Result<Value, Failure> {
    let id = message.tool_call_id.as_deref().unwrap_or_default();
    let mut calls = before.iter().rev().flat_map(|it| &it.tool_calls);
    let Some(call) = calls.find(|it| it.id == id) else {
        let text = format!("no turn before it has the call `{id}` that a result names");
        return Err(Failure::new(ErrorKind::Invalid, "invalid_input", text));
    };
    let response = match serde_json::from_str(&message.content) {
        Ok(object @ Value::Object(_)) => object,
        _ => json!({ "result": message.content }),
    };
    Ok(json!({ "functionResponse": { "name": call.name, "response": response } }))
}

fn tool(tool: &Tool) -> Value {
    let Tool { name, description, parameters } = tool;
    let mut written = json!({ "name": name, "parametersJsonSchema": parameters });
    set(&mut written, [("description", description.as_ref().map(|it| json!(it)))]);
    written
}

fn chosen(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!({ "mode": "AUTO" }),
        ToolChoice::None => json!({ "mode": "NONE" }),
        ToolChoice::Required => json!({ "mode": "ANY" }),
        ToolChoice::Named(name) => json!({ "mode": "ANY", "allowedFunctionNames": [name] }),
    }
}
