//! An answer as lines of JSON, as Ollama words them.

use axum::body::Bytes;
use sedge_base::{Clock, Timestamp};
use sedge_capability::{End, Failure};
use sedge_gateway::ToolCall;
use sedge_node::Answer;
use serde_json::{Value, json};

use super::error::Error;
use crate::models::{Wording, arguments, asked_of_tools, of_model};
use crate::rest::receipt_id;

/// Where the text of an answer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `message.content`: of a conversation.
    Message,
    /// `response`: of a text.
    Response,
}

/// What every line of one answer repeats.
#[derive(Debug)]
pub(super) struct Head {
    shape: Shape,
    model: String,
    task: String,
    node: String,
    node_name: String,
    clock: Clock,
    asked: Timestamp,
}

impl Head {
    pub(super) fn new(
        shape: Shape,
        model: &str,
        answer: &Answer,
        clock: Clock,
        asked: Timestamp,
    ) -> Self {
        let (task, node) = (answer.task.to_string(), answer.node.to_string());
        let (model, node_name) = (model.to_owned(), answer.node_name.clone());
        Self { shape, model, task, node, node_name, clock, asked }
    }

    fn line(&self, text: &str, done: bool) -> Value {
        let mut line = json!({
            "model": self.model,
            "created_at": self.clock.now().to_string(),
            "done": done,
        });
        match self.shape {
            Shape::Message => line["message"] = json!({ "role": "assistant", "content": text }),
            Shape::Response => line["response"] = text.into(),
        }
        line
    }

    /// Returns the last line: what is left of the text, why it ended, and what it took, in nanoseconds.
    pub(super) fn last(&self, text: &str, end: &End) -> Value {
        let detail = |name: &str| end.detail.get(name).and_then(Value::as_f64);
        let nanoseconds = |name: &str| {
            // A time that is no number of nanoseconds is none.
            let exact = detail(name).map(|it| (it * 1e6).round()).filter(|it| *it >= 0.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates"
            )]
            exact.map(|it| it as u64)
        };
        let total = self.clock.now().since(self.asked).as_nanos();
        let mut line = self.line(text, true);
        // This dialect has no word of its own for an answer that asks for tools.
        let reason = end.detail.get("finish_reason").filter(|it| *it != "tool_calls");
        line["done_reason"] = reason.cloned().unwrap_or("stop".into());
        line["total_duration"] = u64::try_from(total).unwrap_or(u64::MAX).into();
        line["prompt_eval_count"] = end.usage.prompt_tokens.unwrap_or(0).into();
        line["prompt_eval_duration"] = nanoseconds("prompt_ms").into();
        line["eval_count"] = end.usage.completion_tokens.unwrap_or(0).into();
        line["eval_duration"] = nanoseconds("decode_ms").into();
        line["sedge"] = json!({
            "node": self.node,
            "node_name": self.node_name,
            "task": self.task,
            "receipt": receipt_id(end),
        });
        line
    }
}

/// The words of one answer.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) head: Head,
}

impl Wording for Lines {
    const MEDIA: &'static str = "application/x-ndjson";

    fn begin(&mut self) -> Vec<Bytes> {
        Vec::new()
    }

    fn text(&mut self, text: &str) -> Vec<Bytes> {
        vec![written(&self.head.line(text, false))]
    }

    fn end(&mut self, end: &End) -> Vec<Bytes> {
        let mut lines = Vec::new();
        match called(end) {
            Ok(calls) if calls.is_empty() => {}
            Ok(calls) => {
                let mut line = self.head.line("", false);
                line["message"]["tool_calls"] = calls.into();
                lines.push(written(&line));
            }
            Err(failure) => return self.broken(failure),
        }
        lines.push(written(&self.head.last("", end)));
        lines
    }

    fn broken(&mut self, failure: Failure) -> Vec<Bytes> {
        vec![written(&Error(of_model(&self.head.model, failure)).body())]
    }
}

/// Returns what the model asks of tools, in Ollama's shape; empty when it asks nothing.
pub(super) fn called(end: &End) -> Result<Vec<Value>, Failure> {
    let shaped = |call: &ToolCall| {
        let function = json!({ "name": call.name, "arguments": arguments(call)? });
        Ok(json!({ "id": call.id, "function": function }))
    };
    asked_of_tools(end).iter().map(shaped).collect()
}

fn written(line: &Value) -> Bytes {
    Bytes::from(format!("{line}\n"))
}
