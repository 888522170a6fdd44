//! An agent over HTTP that asks a language model: `wasi:http` in and out, for Spin, wasmtime and sedge.
//!
//! `GET /health`, `GET /.well-known/agent.json`, and `POST /api/chat` with `{"message": "…"}` or `{"messages": […]}`. The
//! model is behind an OpenAI-compatible endpoint: `OPENAI_BASE_URL` such as `http://127.0.0.1:7378/v1`, `OPENAI_MODEL`,
//! and `OPENAI_API_KEY` where the host adds no key of its own. There is no answer but the model's.

mod ask;
mod wire;

use serde::Deserialize;
use serde_json::{Value, json};
use wasip2::cli::environment;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, Method, ResponseOutparam};

use crate::ask::{Endpoint, complete};
use crate::wire::{answer, read};

/// The largest request, in bytes.
const MOST_ASKED: usize = 1 << 20;

struct Agent;

wasip2::http::proxy::export!(Agent);

/// What somebody asks.
#[derive(Deserialize)]
struct Asked {
    message: Option<String>,
    #[serde(default)]
    messages: Vec<Value>,
    model: Option<String>,
    max_tokens: Option<u32>,
}

/// A status and what is wrong, in words.
struct Wrong(u16, String);

impl Guest for Agent {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default().to_owned();
        let done = match (request.method(), path.as_str()) {
            (Method::Get, "/health") => Ok(health()),
            (Method::Get, "/.well-known/agent.json") => Ok(card()),
            (Method::Post, "/api/chat") => chat(request),
            (_, "/health" | "/.well-known/agent.json" | "/api/chat") => {
                Err(Wrong(405, "this page takes another method".to_owned()))
            }
            _ => Err(Wrong(404, format!("there is no page `{path}`"))),
        };
        match done {
            Ok(value) => answer(out, 200, &value),
            Err(Wrong(status, words)) => answer(out, status, &json!({ "error": words })),
        }
    }
}

fn variable(name: &str) -> Option<String> {
    let all = environment::get_environment();
    all.into_iter().find(|it| it.0 == name && !it.1.is_empty()).map(|it| it.1)
}

fn needed(name: &str) -> Result<String, Wrong> {
    variable(name).ok_or_else(|| Wrong(503, format!("the variable {name} is not set")))
}

fn health() -> Value {
    json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "model": variable("OPENAI_MODEL"),
        "endpoint_set": variable("OPENAI_BASE_URL").is_some(),
    })
}

fn card() -> Value {
    json!({
        "name": "agent",
        "description": "An agent that answers by a language model of its owner.",
        "version": env!("CARGO_PKG_VERSION"),
        "url": "/api/chat",
        "capabilities": { "streaming": false, "pushNotifications": false },
        "defaultInputModes": ["text/plain", "application/json"],
        "defaultOutputModes": ["application/json"],
        "skills": [{
            "id": "chat",
            "name": "Chat",
            "description": "Answers a message or a conversation.",
            "tags": ["chat"],
        }],
    })
}

fn chat(request: IncomingRequest) -> Result<Value, Wrong> {
    let base = needed("OPENAI_BASE_URL")?;
    let endpoint = Endpoint::parse(&base)
        .ok_or_else(|| Wrong(503, "OPENAI_BASE_URL is no http:// or https:// address".to_owned()))?;
    let body = request.consume().map_err(|()| Wrong(400, "the body cannot be read".to_owned()))?;
    let body = read(body, MOST_ASKED).map_err(|it| Wrong(413, it))?;
    let asked: Asked = serde_json::from_slice(&body).map_err(|it| Wrong(400, it.to_string()))?;
    let model = match asked.model {
        Some(model) => model,
        None => needed("OPENAI_MODEL")?,
    };
    let messages = match (asked.message, asked.messages) {
        (Some(text), mut before) => {
            before.push(json!({ "role": "user", "content": text }));
            before
        }
        (None, messages) if messages.is_empty() => {
            return Err(Wrong(400, "say `message` or `messages`".to_owned()));
        }
        (None, messages) => messages,
    };
    let mut wanted = json!({ "model": model, "messages": messages });
    if let Some(most) = asked.max_tokens {
        wanted["max_tokens"] = json!(most);
    }
    let key = variable("OPENAI_API_KEY");
    let told = complete(&endpoint, key.as_deref(), &wanted).map_err(|it| Wrong(502, it))?;
    match told["choices"][0]["message"]["content"].as_str() {
        Some(reply) => Ok(json!({ "reply": reply, "model": told["model"], "usage": told["usage"] })),
        None => Err(Wrong(502, "the endpoint answered without a message".to_owned())),
    }
}
