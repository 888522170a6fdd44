//! `POST /v1/embeddings`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sedge_base::ErrorKind;
use sedge_capability::{Failure, Kind};
use sedge_gateway::{EmbedInput, EmbedOutput};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Error;
use crate::asker::Asker;
use crate::models::{ask, model_name, of_model, unreadable};
use crate::refusal::Refusal;
use crate::rest::origin_headers;
use crate::server::Shared;

/// The most texts in one request, as OpenAI has it.
const MOST_INPUTS: usize = 2048;

/// An embeddings request, as written.
#[derive(Debug, Deserialize)]
struct EmbedRequest {
    model: Option<String>,
    input: Option<Value>,
    encoding_format: Option<String>,
    dimensions: Option<usize>,
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Float,
    /// Little-endian 32-bit floats in base64, which the official clients ask for by themselves.
    Base64,
}

/// Turns texts into vectors.
pub(super) async fn embed(
    State(shared): State<Shared>,
    asker: Asker,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    let request: EmbedRequest = serde_json::from_slice(&body?).map_err(|err| unreadable(&err))?;
    let model = model_name(request.model.as_deref())?;
    let encoding = encoding(request.encoding_format.as_deref())?;
    let input = EmbedInput { texts: texts(request.input)? };
    let answer = ask(&shared, Kind::Embedding, &model, &input, &asker).await?;
    let origin = origin_headers(&answer);
    let (output, end) = answer.outcome.collect().await;
    if let Some(failure) = end.failure {
        return Err(of_model(model.as_str(), failure).into());
    }
    let output: EmbedOutput = serde_json::from_slice(&output).map_err(|err| {
        Refusal::from(Failure::new(ErrorKind::Internal, "unreadable_output", err))
    })?;
    let data = output
        .vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| {
            fits(request.dimensions, vector.len())?;
            let embedding = written(vector, encoding);
            Ok(json!({ "object": "embedding", "index": index, "embedding": embedding }))
        })
        .collect::<Result<Vec<_>, Refusal>>()?;
    let tokens = output.prompt_tokens;
    let body = json!({
        "object": "list",
        "data": data,
        "model": model,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    });
    Ok((origin, Json(body)).into_response())
}

fn encoding(format: Option<&str>) -> Result<Encoding, Refusal> {
    match format {
        None | Some("float") => Ok(Encoding::Float),
        Some("base64") => Ok(Encoding::Base64),
        Some(other) => {
            let message = format!("`encoding_format` is `float` or `base64`, not `{other}`");
            Err(Refusal::param("encoding_format", "invalid_value", message))
        }
    }
}

fn texts(input: Option<Value>) -> Result<Vec<String>, Refusal> {
    let wrong = |message: &str| Err(Refusal::param("input", "invalid_value", message));
    let texts = match input {
        None | Some(Value::Null) => {
            return Err(Refusal::param(
                "input",
                "missing_required_parameter",
                "`input` is missing",
            ));
        }
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) if items.iter().any(|it| it.is_number() || it.is_array()) => {
            return wrong("`input` as token numbers is not supported: send text");
        }
        Some(input) => match serde_json::from_value(input) {
            Ok(texts) => texts,
            Err(_) => return wrong("`input` must be a text or a list of texts"),
        },
    };
    if texts.is_empty() || texts.len() > MOST_INPUTS || texts.iter().any(String::is_empty) {
        return wrong("`input` must be 1 to 2048 texts, none of them empty");
    }
    Ok(texts)
}

/// Refuses a length that the model's vectors do not have.
fn fits(dimensions: Option<usize>, got: usize) -> Result<(), Refusal> {
    match dimensions {
        Some(want) if want != got => {
            let message = format!("`dimensions` is {want}, and this model's vectors have {got}");
            Err(Refusal::param("dimensions", "invalid_value", message))
        }
        _ => Ok(()),
    }
}

fn written(vector: &[f32], encoding: Encoding) -> Value {
    match encoding {
        Encoding::Float => json!(vector),
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|it| it.to_le_bytes()).collect();
            Value::String(STANDARD.encode(bytes))
        }
    }
}

/// Feeds a body to the reader of texts; returns whether it took it.
#[cfg(any(test, fuzzing))]
pub(super) fn feed(body: &[u8]) -> bool {
    let Ok(request) = serde_json::from_slice::<EmbedRequest>(body) else { return false };
    let form = encoding(request.encoding_format.as_deref());
    drop(fits(request.dimensions, 384));
    model_name(request.model.as_deref()).is_ok() && form.is_ok() && texts(request.input).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_little_endian() {
        assert_eq!(written(&[1.0, -2.0], Encoding::Base64), json!("AACAPwAAAMA="));
        assert_eq!(written(&[0.5], Encoding::Float), json!([0.5]));
    }

    #[test]
    fn inputs() {
        assert_eq!(texts(Some(json!("a"))).unwrap(), ["a"]);
        assert_eq!(texts(Some(json!(["a", "b"]))).unwrap(), ["a", "b"]);
        for bad in
            [json!([1, 2]), json!([[1]]), json!(""), json!([]), json!({}), json!(["a", null])]
        {
            assert_eq!(texts(Some(bad)).unwrap_err().param, Some("input"));
        }
    }
}
