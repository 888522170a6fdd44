//! `POST /api/chat` and `POST /api/generate`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use sedge_base::Clock;
use sedge_capability::{Kind, Name};
use sedge_gateway::ChatInput;

use super::error::Error;
use super::request::{ChatRequest, GenerateRequest, read};
use super::stream::{Head, Lines, Shape, called};
use crate::asker::Asker;
use crate::models::{ask, of_model, refuse_what_it_lacks, respond};
use crate::refusal::Refusal;
use crate::rest::origin_headers;
use crate::server::Shared;

/// Answers a conversation.
pub(super) async fn chat(
    State(shared): State<Shared>,
    asker: Asker,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    let request: ChatRequest = read(&body?)?;
    let (model, streams) = (request.common.model()?, request.common.streams());
    answer((&shared, &asker), Shape::Message, &model, streams, &request.input()?).await
}

/// Answers a text.
pub(super) async fn generate(
    State(shared): State<Shared>,
    asker: Asker,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    let request: GenerateRequest = read(&body?)?;
    let (model, streams) = (request.common.model()?, request.common.streams());
    answer((&shared, &asker), Shape::Response, &model, streams, &request.input()?).await
}

async fn answer(
    (shared, asker): (&Shared, &Asker),
    shape: Shape,
    model: &Name,
    streams: bool,
    input: &ChatInput,
) -> Result<Response, Error> {
    let clock = Clock::machine();
    let asked = clock.now();
    refuse_what_it_lacks(shared, model, input)?;
    let answer = ask(shared, Kind::Chat, model, input, asker).await?;
    let origin = origin_headers(&answer);
    let head = Head::new(shape, model.as_str(), &answer, clock, asked);
    if streams {
        let stream = respond(Lines { head }, answer.outcome).await;
        let stream = stream.map_err(|it| of_model(model.as_str(), it))?;
        return Ok((origin, stream).into_response());
    }
    let (text, end) = answer.outcome.collect().await;
    if let Some(failure) = end.failure {
        return Err(of_model(model.as_str(), failure).into());
    }
    let mut body = head.last(&String::from_utf8_lossy(&text), &end);
    let calls = called(&end).map_err(Refusal::from)?;
    if !calls.is_empty() {
        body["message"]["tool_calls"] = calls.into();
    }
    Ok((origin, Json(body)).into_response())
}
