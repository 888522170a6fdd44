//! An answer as server-sent events, as Anthropic words them.

use axum::body::Bytes;
use sedge_capability::{End, Failure};
use sedge_gateway::ToolCall;
use serde_json::{Value, json};

use super::error::Error;
use super::messages::{Head, stop_reason, usage};
use crate::models::{Wording, asked_of_tools, of_model};

/// The words of one answer.
#[derive(Debug)]
pub(super) struct Events {
    head: Head,
    /// Whether a block of text was begun.
    open: bool,
}

impl Wording for Events {
    const MEDIA: &'static str = "text/event-stream";

    fn begin(&mut self) -> Vec<Bytes> {
        let message = self.head.message(&json!([]));
        vec![event("message_start", &json!({ "message": message }))]
    }

    fn text(&mut self, text: &str) -> Vec<Bytes> {
        let mut events = self.open();
        events.push(delta(0, &json!({ "type": "text_delta", "text": text })));
        events
    }

    fn end(&mut self, end: &End) -> Vec<Bytes> {
        let calls = asked_of_tools(end);
        // Without text and without calls the answer is an empty text.
        let mut events = if calls.is_empty() { self.open() } else { Vec::new() };
        if self.open {
            events.push(event("content_block_stop", &json!({ "index": 0 })));
        }
        for (index, call) in (usize::from(self.open)..).zip(calls) {
            let ToolCall { id, name, arguments } = call;
            let block = json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
            events.push(start(index, &block));
            let json = json!({ "type": "input_json_delta", "partial_json": arguments });
            events.push(delta(index, &json));
            events.push(event("content_block_stop", &json!({ "index": index })));
        }
        let last = json!({
            "delta": { "stop_reason": stop_reason(end), "stop_sequence": null },
            "usage": usage(end),
            "sedge": self.head.origin(end),
        });
        events.push(event("message_delta", &last));
        events.push(event("message_stop", &json!({})));
        events
    }

    fn broken(&mut self, failure: Failure) -> Vec<Bytes> {
        vec![event("error", &Error(of_model(&self.head.model, failure)).body())]
    }
}

impl Events {
    pub(super) const fn new(head: Head) -> Self {
        Self { head, open: false }
    }

    /// Begins the block of text, once.
    fn open(&mut self) -> Vec<Bytes> {
        if std::mem::replace(&mut self.open, true) {
            return Vec::new();
        }
        vec![start(0, &json!({ "type": "text", "text": "" }))]
    }
}

fn start(index: usize, block: &Value) -> Bytes {
    event("content_block_start", &json!({ "index": index, "content_block": block }))
}

fn delta(index: usize, delta: &Value) -> Bytes {
    event("content_block_delta", &json!({ "index": index, "delta": delta }))
}

/// Words one event; its name stands in its data, too.
fn event(name: &str, fields: &Value) -> Bytes {
    let mut data = fields.clone();
    data["type"] = name.into();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
