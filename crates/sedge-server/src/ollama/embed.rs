//! `POST /api/embed`, and `POST /api/embeddings` for one text.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use sedge_base::{Clock, ErrorKind};
use sedge_capability::{Failure, Kind, Name};
use sedge_gateway::{EmbedInput, EmbedOutput};
use sedge_node::Answer;
use serde::Deserialize;
use serde_json::json;

use super::error::Error;
use super::request::{model, read};
use crate::asker::Asker;
use crate::models::{ask, missing, of_model, out_of_range};
use crate::refusal::Refusal;
use crate::rest::origin_headers;
use crate::server::Shared;

/// Texts to turn into vectors, as written.
#[derive(Debug, Deserialize)]
struct EmbedRequest {
    model: Option<String>,
    input: Option<Input>,
    dimensions: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Many(Vec<String>),
}

/// One text, as the older request has it.
#[derive(Debug, Deserialize)]
struct OneRequest {
    model: Option<String>,
    prompt: Option<String>,
}

/// Turns texts into vectors.
pub(super) async fn embed(
    State(shared): State<Shared>,
    asker: Asker,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    let clock = Clock::machine();
    let asked = clock.now();
    let request: EmbedRequest = read(&body?)?;
    let model = model(request.model.as_deref())?;
    let (answer, output) = run(&shared, &asker, &model, request.input).await?;
    let got = output.vectors.first().map_or(0, Vec::len);
    if request.dimensions.is_some_and(|it| it != got) {
        let must_be = format!("{got}, which this model's vectors have");
        return Err(out_of_range("dimensions", &must_be).into());
    }
    let total = u64::try_from(clock.now().since(asked).as_nanos()).unwrap_or(u64::MAX);
    let body = json!({
        "model": model,
        "embeddings": output.vectors,
        "total_duration": total,
        "prompt_eval_count": output.prompt_tokens,
    });
    Ok((answer, Json(body)).into_response())
}

/// Turns one text into a vector.
pub(super) async fn embed_one(
    State(shared): State<Shared>,
    asker: Asker,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    let request: OneRequest = read(&body?)?;
    let model = model(request.model.as_deref())?;
    let prompt = request.prompt.ok_or_else(|| missing("prompt"))?;
    let (answer, output) = run(&shared, &asker, &model, Some(Input::One(prompt))).await?;
    let body = json!({ "embedding": output.vectors.into_iter().next() });
    Ok((answer, Json(body)).into_response())
}

async fn run(
    shared: &Shared,
    asker: &Asker,
    model: &Name,
    input: Option<Input>,
) -> Result<(axum::http::HeaderMap, EmbedOutput), Error> {
    let texts = match input {
        None => return Err(missing("input").into()),
        Some(Input::One(text)) => vec![text],
        Some(Input::Many(texts)) => texts,
    };
    let answer = ask(shared, Kind::Embedding, model, &EmbedInput { texts }, asker).await?;
    let origin = origin_headers(&answer);
    let Answer { outcome, .. } = answer;
    let (output, end) = outcome.collect().await;
    if let Some(failure) = end.failure {
        return Err(of_model(model.as_str(), failure).into());
    }
    let output = serde_json::from_slice(&output).map_err(|err| {
        Refusal::from(Failure::new(ErrorKind::Internal, "unreadable_output", err))
    })?;
    Ok((origin, output))
}

/// Feeds a body to the readers of texts; returns whether one took it.
#[cfg(any(test, fuzzing))]
pub(super) fn feed(body: &[u8]) -> bool {
    let one = read::<OneRequest>(body).is_ok_and(|it| it.prompt.is_some());
    read::<EmbedRequest>(body).is_ok_and(|it| it.input.is_some()) || one
}
