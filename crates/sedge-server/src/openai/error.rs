//! A no in OpenAI's shape.

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::refusal::Refusal;

/// A no of this door.
#[derive(Debug, Clone)]
pub(super) struct Error(pub(super) Refusal);

/// Gives a refusal OpenAI's shape.
pub(crate) fn refuse(refusal: Refusal) -> Response {
    Error(refusal).into_response()
}

impl Error {
    /// Returns the body, which is also what a broken-off stream says.
    pub(super) fn body(&self) -> Value {
        let Refusal { status, failure, param } = &self.0;
        json!({ "error": {
            "message": failure.message,
            "type": kind_name(*status),
            "param": param,
            "code": failure.code,
        } })
    }
}

/// Returns the `type` of an error as OpenAI's servers word it.
fn kind_name(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "server_error",
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

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use sedge_base::ErrorKind;
    use sedge_capability::Failure;

    use super::*;
    use crate::models::of_model;

    #[track_caller]
    fn check(failure: Failure, expected: Expect) {
        let error = Error(of_model("m", failure));
        expected.assert_eq(&format!("{} {}", error.0.status.as_u16(), error.body()));
    }

    #[test]
    fn a_model_nobody_has() {
        check(
            Failure::new(ErrorKind::NotFound, "no_offer", "nobody offers `m`"),
            expect![[
                r#"404 {"error":{"message":"the model `m` is not offered by any node: nobody offers `m`","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#
            ]],
        );
    }

    #[test]
    fn a_prompt_that_does_not_fit() {
        check(
            Failure::new(ErrorKind::Invalid, "context_length_exceeded", "9000 tokens, window 2048"),
            expect![[
                r#"400 {"error":{"message":"9000 tokens, window 2048","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#
            ]],
        );
    }

    #[test]
    fn a_node_that_is_full() {
        check(
            Failure::new(ErrorKind::Exhausted, "busy", "8 of 8 tasks run"),
            expect![[
                r#"429 {"error":{"message":"8 of 8 tasks run","type":"rate_limit_error","param":null,"code":"busy"}}"#
            ]],
        );
    }
}
