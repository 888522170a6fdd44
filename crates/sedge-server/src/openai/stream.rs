//! An answer as server-sent events, one flush per event.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use sedge_capability::{End, Event, Outcome};
use serde_json::{Value, json};

use super::chat::{Head, finish_reason, usage};
use super::error::Error;
use super::tools::called;

/// A stream in the middle of its answer. Dropping it drops the outcome, which ends the task.
#[derive(Debug)]
struct Running {
    head: Head,
    outcome: Outcome,
    include_usage: bool,
    /// The beginning of a character whose end has not come yet.
    partial: Vec<u8>,
    /// Events that are ready to be sent.
    ready: VecDeque<Bytes>,
    ended: bool,
}

/// Starts the stream; waits for the first piece, so that what fails early has a status of its own.
pub(super) async fn respond(
    head: Head,
    outcome: Outcome,
    include_usage: bool,
) -> Result<Response, Error> {
    let ready = VecDeque::new();
    let mut running =
        Running { head, outcome, include_usage, partial: Vec::new(), ready, ended: false };
    let first = running.outcome.next().await;
    if let Some(Event::End(end)) = &first
        && let Some(failure) = end.failure.clone()
    {
        return Err(Error::of_model(&running.head.model, failure));
    }
    running.push(&json!({ "role": "assistant", "content": "" }), None);
    running.take(first);
    let events = stream::unfold(running, |mut running| async move {
        let event = running.next().await?;
        Some((Ok::<_, Infallible>(event), running))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(events)).into_response())
}

impl Running {
    /// Returns the next event, or `None` when all are sent.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            let event = self.outcome.next().await;
            self.take(event);
        }
    }

    fn take(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Chunk(bytes)) => {
                self.partial.extend_from_slice(&bytes);
                let text = whole_characters(&mut self.partial);
                if !text.is_empty() {
                    self.push(&json!({ "content": text }), None);
                }
            }
            Some(Event::End(end)) => self.end(&end),
            None => self.ended = true,
        }
    }

    fn end(&mut self, end: &End) {
        self.ended = true;
        if let Some(failure) = end.failure.clone() {
            // No `[DONE]`: the answer is not whole.
            let body = Error::of_model(&self.head.model, failure).body();
            self.ready.push_back(event(&body));
            return;
        }
        let calls = called(end);
        if !calls.is_empty() {
            let numbered = calls.into_iter().enumerate().map(|(index, mut call)| {
                call["index"] = index.into();
                call
            });
            let calls: Vec<Value> = numbered.collect();
            self.push(&json!({ "tool_calls": calls }), None);
        }
        let mut last = self.chunk(&json!([{
            "index": 0,
            "delta": {},
            "finish_reason": finish_reason(end),
            "logprobs": null,
        }]));
        if self.include_usage {
            self.ready.push_back(event(&last));
            last = self.chunk(&json!([]));
            last["usage"] = usage(end);
        }
        last["sedge"] = self.head.origin(end);
        self.ready.push_back(event(&last));
        self.ready.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
    }

    fn push(&mut self, delta: &Value, finish_reason: Option<&str>) {
        let choices = json!([{
            "index": 0,
            "delta": delta,
            "finish_reason": finish_reason,
            "logprobs": null,
        }]);
        let chunk = self.chunk(&choices);
        self.ready.push_back(event(&chunk));
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

/// Takes the whole characters off the front of `bytes`; what can be no character becomes `�`.
fn whole_characters(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    loop {
        match str::from_utf8(bytes) {
            Ok(all) => {
                text.push_str(all);
                bytes.clear();
                return text;
            }
            Err(err) => {
                let (good, rest) = bytes.split_at(err.valid_up_to());
                text.push_str(&String::from_utf8_lossy(good));
                let Some(bad) = err.error_len() else {
                    *bytes = rest.to_vec();
                    return text;
                };
                text.push('\u{fffd}');
                *bytes = rest[bad..].to_vec();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_never_cut() {
        let mut bytes = Vec::new();
        let mut got = Vec::new();
        for piece in
            ["né".as_bytes().split_at(2).0, "é!".as_bytes().split_at(1).1, b"\xff.", b"\xe2\x82"]
        {
            bytes.extend_from_slice(piece);
            got.push(whole_characters(&mut bytes));
        }
        assert_eq!(got, ["n", "é!", "\u{fffd}.", ""]);
        assert_eq!(bytes, b"\xe2\x82");
    }
}
