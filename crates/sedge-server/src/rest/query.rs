//! What stands behind the question mark.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use sedge_base::ErrorKind;
use sedge_capability::{Failure, Name};
use serde::de::DeserializeOwned;

use super::error::Error;

/// The query of a request, refused in this door's shape when it is wrong.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(err) => Err(invalid("invalid_query", err.body_text())),
        }
    }
}

/// Makes a refusal of something in the request.
pub(super) fn invalid(code: &'static str, message: impl ToString) -> Error {
    Failure::new(ErrorKind::Invalid, code, message).into()
}

/// Reads a capability's name out of a path.
pub(crate) fn name(text: &str) -> Result<Name, Error> {
    text.parse().map_err(|err| invalid("invalid_name", err))
}

/// Reads a JSON body.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|err| invalid("invalid_json", err))
}
