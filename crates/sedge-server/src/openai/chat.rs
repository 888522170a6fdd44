//! `POST /v1/chat/completions`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use sedge_base::Clock;
use sedge_capability::{End, Kind, Name};
use sedge_node::Answer;
use serde_json::{Value, json};

use super::error::Error;
use super::request::ChatRequest;
use super::stream::Chunks;
use super::tools::called;
use crate::asker::Asker;
use crate::models::{ask, of_model, refuse_what_it_lacks, respond};
use crate::rest::{origin_headers, receipt_id};
use crate::server::Shared;

/// What every piece of one answer repeats.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) model: String,
    pub(super) created: u64,
    task: String,
    node: String,
    node_name: String,
}

/// Answers a conversation, whole or as a stream.
pub(super) async fn complete(
    State(shared): State<Shared>,
    asker: Asker,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    let request = ChatRequest::read(&body?)?;
    let model = request.model()?;
    let streams = request.stream.unwrap_or(false);
    let include_usage = request.include_usage();
    let input = request.input()?;
    refuse_what_it_lacks(&shared, &model, &input)?;
    let answer = ask(&shared, Kind::Chat, &model, &input, &asker).await?;
    let head = Head::new(&model, &answer);
    let origin = origin_headers(&answer);
    if streams {
        let stream = respond(Chunks { head, include_usage }, answer.outcome).await;
        let stream = stream.map_err(|it| of_model(model.as_str(), it))?;
        return Ok((origin, stream).into_response());
    }
    let (text, end) = answer.outcome.collect().await;
    if let Some(failure) = end.failure {
        return Err(of_model(model.as_str(), failure).into());
    }
    let mut message = json!({
        "role": "assistant",
        "content": String::from_utf8_lossy(&text),
        "refusal": null,
    });
    let calls = called(&end);
    if !calls.is_empty() {
        if text.is_empty() {
            message["content"] = Value::Null;
        }
        message["tool_calls"] = calls.into();
    }
    let body = json!({
        "id": head.id,
        "object": "chat.completion",
        "created": head.created,
        "model": head.model,
        "choices": [{
            "index": 0,
            "message": message,
            "finish_reason": finish_reason(&end),
            "logprobs": null,
        }],
        "usage": usage(&end),
        "sedge": head.origin(&end),
    });
    Ok((origin, Json(body)).into_response())
}

impl Head {
    fn new(model: &Name, answer: &Answer) -> Self {
        Self {
            id: format!("chatcmpl-{}", answer.task),
            model: model.to_string(),
            created: Clock::machine().now().as_millis() / 1000,
            task: answer.task.to_string(),
            node: answer.node.to_string(),
            node_name: answer.node_name.clone(),
        }
    }

    /// Returns who answered, for clients that look for it.
    pub(super) fn origin(&self, end: &End) -> Value {
        let mut origin = json!({
            "node": self.node,
            "node_name": self.node_name,
            "task": self.task,
            "receipt": receipt_id(end),
            "tokens_per_second": end.detail.get("tokens_per_second"),
        });
        // Who outside of the swarm has seen the conversation.
        if let Some(provider) = end.detail.get("provider") {
            origin["provider"] = provider.clone();
        }
        origin
    }
}

/// Returns why the model stopped, in OpenAI's words.
pub(super) fn finish_reason(end: &End) -> Value {
    end.detail.get("finish_reason").cloned().unwrap_or_else(|| "stop".into())
}

/// Returns how many tokens went in and out.
pub(super) fn usage(end: &End) -> Value {
    let prompt = end.usage.prompt_tokens.unwrap_or(0);
    let completion = end.usage.completion_tokens.unwrap_or(0);
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": u64::from(prompt) + u64::from(completion),
        "prompt_tokens_details": { "cached_tokens": end.usage.cached_tokens.unwrap_or(0) },
    })
}
