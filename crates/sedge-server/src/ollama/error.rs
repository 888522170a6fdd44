//! A no in Ollama's shape.

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::refusal::Refusal;

/// A no of this door.
#[derive(Debug, Clone)]
pub(super) struct Error(pub(super) Refusal);

/// Gives a refusal Ollama's shape.
pub(crate) fn refuse(refusal: Refusal) -> Response {
    Error(refusal).into_response()
}

impl Error {
    /// Returns the body, which is also what a broken-off stream says.
    pub(super) fn body(&self) -> Value {
        json!({ "error": self.0.failure.message, "code": self.0.failure.code })
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl From<BytesRejection> for Error {
    fn from(rejection: BytesRejection) -> Self {
        Self(rejection.into())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        (self.0.status, Json(self.body())).into_response()
    }
}
