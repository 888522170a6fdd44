//! An answer as server-sent events, as OpenAI words them.

use axum::body::Bytes;
use sedge_capability::{End, Failure};
use serde_json::{Value, json};

use super::chat::{Head, finish_reason, usage};
use super::error::Error;
use super::tools::called;
use crate::models::{Wording, of_model};

/// The words of one answer.
#[derive(Debug)]
pub(super) struct Chunks {
    pub(super) head: Head,
    pub(super) include_usage: bool,
}

impl Wording for Chunks {
    const MEDIA: &'static str = "text/event-stream";

    fn begin(&mut self) -> Vec<Bytes> {
        vec![self.delta(&json!({ "role": "assistant", "content": "" }))]
    }

    fn text(&mut self, text: &str) -> Vec<Bytes> {
        vec![self.delta(&json!({ "content": text }))]
    }

    fn end(&mut self, end: &End) -> Vec<Bytes> {
        let mut events = Vec::new();
        let calls = called(end);
        if !calls.is_empty() {
            let numbered = calls.into_iter().enumerate().map(|(index, mut call)| {
                call["index"] = index.into();
                call
            });
            let calls: Vec<Value> = numbered.collect();
            events.push(self.delta(&json!({ "tool_calls": calls })));
        }
        let mut last = self.chunk(&json!([{
            "index": 0,
            "delta": {},
            "finish_reason": finish_reason(end),
            "logprobs": null,
        }]));
        if self.include_usage {
            events.push(event(&last));
            last = self.chunk(&json!([]));
            last["usage"] = usage(end);
        }
        last["sedge"] = self.head.origin(end);
        events.push(event(&last));
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        events
    }

    fn broken(&mut self, failure: Failure) -> Vec<Bytes> {
        // No `[DONE]`: the answer is not whole.
        vec![event(&Error(of_model(&self.head.model, failure)).body())]
    }
}

impl Chunks {
    fn delta(&self, delta: &Value) -> Bytes {
        let choices = json!([{
            "index": 0,
            "delta": delta,
            "finish_reason": null,
            "logprobs": null,
        }]);
        event(&self.chunk(&choices))
    }

    fn chunk(&self, choices: &Value) -> Value {
        let mut chunk = json!({
            "id": self.head.id,
            "object": "chat.completion.chunk",
            "created": self.head.created,
            "model": self.head.model,
            "choices": choices,
        });
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}

fn event(body: &Value) -> Bytes {
    Bytes::from(format!("data: {body}\n\n"))
}
