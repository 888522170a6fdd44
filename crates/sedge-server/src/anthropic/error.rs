//! A no in Anthropic's shape.

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::refusal::Refusal;

/// A no of this door.
#[derive(Debug, Clone)]
pub(super) struct Error(pub(super) Refusal);

/// Gives a refusal Anthropic's shape.
pub(crate) fn refuse(refusal: Refusal) -> Response {
    Error(refusal).into_response()
}

impl Error {
    /// Returns the body, which is also what a broken-off stream says.
    pub(super) fn body(&self) -> Value {
        let Refusal { status, failure, .. } = &self.0;
        json!({
            "type": "error",
            "error": { "type": kind_name(*status), "message": failure.message },
            "sedge": { "code": failure.code },
        })
    }
}

/// Returns the `type` of an error as Anthropic's servers word it.
fn kind_name(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => "permission_error",
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => "timeout_error",
        StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "api_error",
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
    use expect_test::expect;
    use sedge_base::ErrorKind;
    use sedge_capability::Failure;

    use super::*;
    use crate::models::of_model;

    #[test]
    fn a_no_has_anthropics_words_and_our_code() {
        let long =
            Failure::new(ErrorKind::Invalid, "context_length_exceeded", "9000 tokens, window 2048");
        let nobody = Failure::new(ErrorKind::NotFound, "no_offer", "nobody offers `m`");
        let got = [long, nobody].map(|it| {
            let error = Error(of_model("m", it));
            format!("{} {}", error.0.status.as_u16(), error.body())
        });
        expect![[r#"
            400 {"type":"error","error":{"type":"invalid_request_error","message":"9000 tokens, window 2048"},"sedge":{"code":"context_length_exceeded"}}
            404 {"type":"error","error":{"type":"not_found_error","message":"the model `m` is not offered by any node: nobody offers `m`"},"sedge":{"code":"model_not_found"}}"#]]
        .assert_eq(&got.join("\n"));
    }
}
