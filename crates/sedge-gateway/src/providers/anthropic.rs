//! Anthropic's Messages API.

use sedge_capability::Failure;
use serde_json::{Value, json};

use super::{Api, Key, Request, Wire, cannot, count, number, object_of, set};
use crate::chat::{ChatInput, ChatMessage, ChatRole, Image, Tool, ToolChoice};
use crate::embed::EmbedOutput;
use crate::remote::{Answer, Finish, Framing};

/// Anthropic.
pub(super) const API: Api = Api {
    name: "anthropic",
    base_url: Some("https://api.anthropic.com/v1"),
    key: Key::Needed("x-api-key", ""),
    headers: &[("anthropic-version", "2023-06-01")],
    framing: Framing::Events,
    sees: true,
    wire: &Messages,
};

/// The most tokens of an answer when nobody says: the API answers nobody who leaves it open.
const USUAL_MOST: u32 = 4096;

#[derive(Debug)]
struct Messages;

impl Wire for Messages {
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
        if seed.is_some() {
            return Err(cannot(API.name, "seed"));
        }
        if schema.is_some() {
            return Err(cannot(API.name, "schema"));
        }
        let system: Vec<&str> = messages
            .iter()
            .filter(|it| it.role == ChatRole::System)
            .map(|it| it.content.as_str())
            .collect();
        let mut body = json!({
            "model": model,
            "max_tokens": max_tokens.unwrap_or(USUAL_MOST),
            "messages": turns(messages)?,
            "stream": true,
        });
        let choice = tool_choice.as_ref().filter(|_| !tools.is_empty());
        set(
            &mut body,
            [
                ("system", (!system.is_empty()).then(|| json!(system.join("\n\n")))),
                ("temperature", temperature.map(number)),
                ("top_p", top_p.map(number)),
                ("stop_sequences", (!stop.is_empty()).then(|| json!(stop))),
                ("tools", (!tools.is_empty()).then(|| tools.iter().map(tool).collect())),
                ("tool_choice", choice.map(chosen)),
            ],
        );
        Ok(Request { path: "/messages".to_owned(), body })
    }

    fn take(&self, object: &Value, answer: &mut Answer) {
        let index = object["index"].as_u64().unwrap_or(0);
        match object["type"].as_str() {
            Some("message_start") => {
                let usage = &object["message"]["usage"];
                let read = count(&usage["cache_read_input_tokens"]);
                let written = count(&usage["cache_creation_input_tokens"]);
                // What a cache gave or took is not among what it calls input.
                let sum = |it: u32| it.saturating_add(read.unwrap_or(0));
                let prompt = count(&usage["input_tokens"]).map(sum);
                answer.prompt(prompt.map(|it| it.saturating_add(written.unwrap_or(0))));
                answer.cached(read);
                answer.completion(count(&usage["output_tokens"]));
            }
            Some("content_block_start") => {
                let block = &object["content_block"];
                match block["type"].as_str() {
                    Some("text") => answer.say(block["text"].as_str().unwrap_or_default()),
                    Some("tool_use") => {
                        answer.call(index, (block["id"].as_str(), block["name"].as_str()), "");
                    }
                    _ => {}
                }
            }
            Some("content_block_delta") => {
                let delta = &object["delta"];
                if let Some(text) = delta["text"].as_str().filter(|_| delta["type"] == "text_delta")
                {
                    answer.say(text);
                }
                if let Some(json) = delta["partial_json"].as_str() {
                    answer.call(index, (None, None), json);
                }
            }
            Some("message_delta") => {
                answer.completion(count(&object["usage"]["output_tokens"]));
                match object["delta"]["stop_reason"].as_str() {
                    None => {}
                    Some("max_tokens" | "model_context_window_exceeded") => {
                        answer.finish(Finish::Length);
                    }
                    Some("tool_use") => answer.finish(Finish::ToolCalls),
                    Some("refusal") => answer.finish(Finish::ContentFilter),
                    Some(_) => answer.finish(Finish::Stop),
                }
            }
            Some("message_stop") => answer.end(),
            _ => {}
        }
    }

    fn embed(&self, _: &str, _: &[String]) -> Option<Request> {
        None
    }

    fn vectors(&self, _: &Value) -> Option<EmbedOutput> {
        None
    }
}

/// Returns the conversation as turns that alternate: results of tools are the asker's.
fn turns(messages: &[ChatMessage]) -> Result<Vec<Value>, Failure> {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let role = match message.role {
            ChatRole::System => continue,
            ChatRole::User | ChatRole::Tool => "user",
            ChatRole::Assistant => "assistant",
        };
        let blocks = blocks(message)?;
        match turns.last_mut() {
            Some((last, all)) if *last == role => all.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    let turns = turns.into_iter().filter(|(_, it)| !it.is_empty());
    Ok(turns.map(|(role, content)| json!({ "role": role, "content": content })).collect())
}

fn blocks(message: &ChatMessage) -> Result<Vec<Value>, Failure> {
    let ChatMessage { role, content, images, tool_calls, tool_call_id } = message;
    if *role == ChatRole::Tool {
        let result =
            json!({ "type": "tool_result", "tool_use_id": tool_call_id, "content": content });
        return Ok(vec![result]);
    }
    let mut blocks = Vec::new();
    for image in images {
        let source = match image {
            Image::Url(url) => json!({ "type": "url", "url": url }),
            Image::Data { media_type, base64 } => {
                json!({ "type": "base64", "media_type": media_type, "data": base64 })
            }
        };
        blocks.push(json!({ "type": "image", "source": source }));
    }
    // It refuses texts that are empty.
    if !content.is_empty() {
        blocks.push(json!({ "type": "text", "text": content }));
    }
    for call in tool_calls {
        let (id, name) = (&call.id, &call.name);
        let input = object_of(call)?;
        blocks.push(json!({ "type": "tool_use", "id": id, "name": name, "input": input }));
    }
    Ok(blocks)
}

fn tool(tool: &Tool) -> Value {
    let Tool { name, description, parameters } = tool;
    let mut written = json!({ "name": name, "input_schema": parameters });
    set(&mut written, [("description", description.as_ref().map(|it| json!(it)))]);
    written
}

fn chosen(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!({ "type": "auto" }),
        ToolChoice::None => json!({ "type": "none" }),
        ToolChoice::Required => json!({ "type": "any" }),
        ToolChoice::Named(name) => json!({ "type": "tool", "name": name }),
    }
}
