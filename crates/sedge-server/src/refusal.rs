//! A no, before a door gives it its own shape.

use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use sedge_base::ErrorKind;
use sedge_capability::Failure;

/// A no: the status, and why.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// Why.
    pub(crate) failure: Failure,
    /// The field of the request that is wrong, if it is one.
    pub(crate) param: Option<&'static str>,
}

impl Refusal {
    /// Makes a no whose status is not the usual one of its kind.
    pub(crate) fn new(
        status: StatusCode,
        kind: ErrorKind,
        code: &'static str,
        message: impl ToString,
    ) -> Self {
        Self { status, failure: Failure::new(kind, code, message), param: None }
    }

    /// Makes a no about one field of the request.
    pub(crate) fn param(param: &'static str, code: &'static str, message: impl ToString) -> Self {
        let failure = Failure::new(ErrorKind::Invalid, code, message);
        Self { param: Some(param), ..Self::from(failure) }
    }

    /// Makes the no to a token where the node's key is needed.
    pub(crate) fn needs_key() -> Self {
        let text = "a token may run tasks and list what there is; this needs the node's key";
        Failure::new(ErrorKind::Denied, "needs_key", text).into()
    }

    /// Makes the no that says little more than a status.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let (kind, code, message) = match status {
            StatusCode::NOT_FOUND => {
                (ErrorKind::NotFound, "unknown_path", "there is nothing at this path")
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                (ErrorKind::Invalid, "method_not_allowed", "this path does not take this method")
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                (ErrorKind::Invalid, "body_too_large", "the body is larger than this path takes")
            }
            _ => (ErrorKind::Invalid, "bad_request", "the request is not understood"),
        };
        Self::new(status, kind, code, message)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let status = StatusCode::from_u16(failure.kind.http_status());
        Self { status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), failure, param: None }
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        Self::of_status(rejection.into_response().status())
    }
}
