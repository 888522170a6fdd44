//! `POST /v1/messages`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use sedge_capability::{End, Kind};
use sedge_gateway::ToolCall;
use sedge_node::Answer;
use serde_json::{Value, json};

use super::error::Error;
use super::request::MessagesRequest;
use super::stream::Events;
use crate::asker::Asker;
use crate::models::{arguments, ask, asked_of_tools, of_model, refuse_what_it_lacks, respond};
use crate::refusal::Refusal;
use crate::rest::{origin_headers, receipt_id};
use crate::server::Shared;

/// What an answer is known by.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) model: String,
    task: String,
    node: String,
    node_name: String,
}

/// Answers a conversation, whole or as a stream.
pub(super) async fn create(
    State(shared): State<Shared>,
    asker: Asker,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    let request = MessagesRequest::read(&body?)?;
    let model = request.model()?;
    let streams = request.stream.unwrap_or(false);
    let input = request.input()?;
    refuse_what_it_lacks(&shared, &model, &input)?;
    let answer = ask(&shared, Kind::Chat, &model, &input, &asker).await?;
    let head = Head::new(model.as_str(), &answer);
    let origin = origin_headers(&answer);
    if streams {
        let stream = respond(Events::new(head), answer.outcome).await;
        let stream = stream.map_err(|it| of_model(model.as_str(), it))?;
        return Ok((origin, stream).into_response());
    }
    let (text, end) = answer.outcome.collect().await;
    if let Some(failure) = end.failure {
        return Err(of_model(model.as_str(), failure).into());
    }
    let calls = asked_of_tools(&end);
    let mut content = Vec::with_capacity(1 + calls.len());
    if !text.is_empty() || calls.is_empty() {
        content.push(json!({ "type": "text", "text": String::from_utf8_lossy(&text) }));
    }
    for call in calls {
        let input = arguments(&call).map_err(Refusal::from)?;
        let ToolCall { id, name, .. } = call;
        content.push(json!({ "type": "tool_use", "id": id, "name": name, "input": input }));
    }
    let mut body = head.message(&content.into());
    body["stop_reason"] = stop_reason(&end).into();
    body["usage"] = usage(&end);
    body["sedge"] = head.origin(&end);
    Ok((origin, Json(body)).into_response())
}

impl Head {
    fn new(model: &str, answer: &Answer) -> Self {
        Self {
            model: model.to_owned(),
            task: answer.task.to_string(),
            node: answer.node.to_string(),
            node_name: answer.node_name.clone(),
        }
    }

    /// Returns a message with nothing of its end.
    pub(super) fn message(&self, content: &Value) -> Value {
        json!({
            "id": format!("msg_{}", self.task),
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": null,
            "stop_sequence": null,
            "usage": { "input_tokens": 0, "output_tokens": 0 },
        })
    }

    /// Returns who answered, for clients that look for it.
    pub(super) fn origin(&self, end: &End) -> Value {
        json!({
            "node": self.node,
            "node_name": self.node_name,
            "task": self.task,
            "receipt": receipt_id(end),
            "tokens_per_second": end.detail.get("tokens_per_second"),
        })
    }
}

/// Returns why the model stopped, in Anthropic's words.
pub(super) fn stop_reason(end: &End) -> &'static str {
    match end.detail.get("finish_reason").and_then(Value::as_str) {
        Some("length") => "max_tokens",
        Some("tool_calls") => "tool_use",
        _ => "end_turn",
    }
}

/// Returns how many tokens went in and out; those that a cache made free are counted apart.
pub(super) fn usage(end: &End) -> Value {
    let prompt = end.usage.prompt_tokens.unwrap_or(0);
    let cached = end.usage.cached_tokens.unwrap_or(0);
    json!({
        "input_tokens": prompt.saturating_sub(cached),
        "output_tokens": end.usage.completion_tokens.unwrap_or(0),
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": 0,
    })
}
