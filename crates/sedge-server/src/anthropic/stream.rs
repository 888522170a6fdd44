//! An answer as server-sent events, as Anthropic words them.

use axum::body::Bytes;
use sedge_capability::{End, Failure};
use serde_json::{Value, json};

use super::error::Error;
use super::messages::{Head, stop_reason, usage};
use crate::models::{Wording, of_model};

/// The words of one answer.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) head: Head,
    /// Whether a block of text was begun.
    pub(super) open: bool,
}

impl Wording for Events {
    const MEDIA: &'static str = "text/event-stream";

    fn begin(&mut self) -> Vec<Bytes> {
        let message = self.head.message(&json!([]));
        vec![event("message_start", &json!({ "message": message }))]
    }

    fn text(&mut self, text: &str) -> Vec<Bytes> {
        let mut events = self.open();
        let delta = json!({ "type": "text_delta", "text": text });
        events.push(event("content_block_delta", &json!({ "index": 0, "delta": delta })));
        events
    }

    fn end(&mut self, end: &End) -> Vec<Bytes> {
        let mut events = self.open();
        events.push(event("content_block_stop", &json!({ "index": 0 })));
        let delta = json!({
            "delta": { "stop_reason": stop_reason(end), "stop_sequence": null },
            "usage": usage(end),
            "sedge": self.head.origin(end),
        });
        events.push(event("message_delta", &delta));
        events.push(event("message_stop", &json!({})));
        events
    }

    fn broken(&mut self, failure: Failure) -> Vec<Bytes> {
        vec![event("error", &Error(of_model(&self.head.model, failure)).body())]
    }
}

impl Events {
    /// Begins the block of text, once.
    fn open(&mut self) -> Vec<Bytes> {
        if std::mem::replace(&mut self.open, true) {
            return Vec::new();
        }
        let block = json!({ "type": "text", "text": "" });
        vec![event("content_block_start", &json!({ "index": 0, "content_block": block }))]
    }
}

/// Words one event; its name stands in its data, too.
fn event(name: &str, fields: &Value) -> Bytes {
    let mut data = fields.clone();
    data["type"] = name.into();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
