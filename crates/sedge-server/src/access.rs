//! Who may come in: this machine's own programs, with the node's key or with a token.
//!
//! The key opens everything; a token opens the routes that a door lists for tokens, and there only
//! what it allows.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use sedge_base::ErrorKind;
use sedge_capability::Failure;
use sedge_node::Pass;
use sedge_trust::token::TOKEN_PREFIX;
use subtle::ConstantTimeEq;

use crate::asker::Caller;
use crate::refusal::Refusal;
use crate::routes::Door;
use crate::server::Shared;

/// Where clients of Anthropic's dialect put the key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Whether a door asks for the node's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody on this machine may come in.
    Open,
    /// `Authorization: Bearer` with the node's key, or with a token, is needed.
    Bearer,
}

/// Lets a request through to its door, or refuses it in the door's own shape.
pub(crate) async fn check(
    door: &Door,
    State(shared): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Err(refusal) = shared.entrance.check(request.headers(), request.uri()) {
        return (door.refuse)(refusal);
    }
    if door.access == Access::Bearer {
        match caller(request.headers(), &shared) {
            Ok(caller) => request.extensions_mut().insert(caller),
            Err(refusal) => return (door.refuse)(refusal),
        };
    }
    next.run(request).await
}

/// Lets nobody through but who has the node's key.
pub(crate) async fn key_only(door: &Door, request: Request, next: Next) -> Response {
    match request.extensions().get() {
        Some(Caller::Key) => next.run(request).await,
        Some(Caller::Token(_)) | None if door.access == Access::Bearer => {
            (door.refuse)(Refusal::needs_key())
        }
        Some(Caller::Token(_)) | None => next.run(request).await,
    }
}

/// Finds out who asks, by the key or the token that the request carries.
pub(crate) fn caller(headers: &HeaderMap, shared: &Shared) -> Result<Caller, Refusal> {
    let open = |token: &str| shared.node.open_token(token);
    known(bearer(headers), shared.node.api_key().reveal(), open)
}

/// Finds out who asks, by the key or the token that stands in a message of its own wire.
pub(crate) fn bearer_of(given: &str, shared: &Shared) -> Result<Caller, Refusal> {
    let open = |token: &str| shared.node.open_token(token);
    known(Some(given.as_bytes()), shared.node.api_key().reveal(), open)
}

/// Returns what the request carries as its bearer, or in `x-api-key` when it carries none.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return headers.get(API_KEY).map(|it| it.as_bytes().trim_ascii());
    };
    let header = header.as_bytes();
    match header.split_at_checked(7) {
        Some((scheme, given)) if scheme.eq_ignore_ascii_case(b"bearer ") => {
            Some(given.trim_ascii())
        }
        _ => None,
    }
}

fn known(
    given: Option<&[u8]>,
    key: &str,
    open: impl FnOnce(&str) -> Result<Arc<Pass>, Failure>,
) -> Result<Caller, Refusal> {
    let refused = |code, message| {
        Err(Refusal::new(StatusCode::UNAUTHORIZED, ErrorKind::Unauthenticated, code, message))
    };
    let Some(given) = given else {
        return refused(
            "missing_api_key",
            "no API key: send `Authorization: Bearer` with this node's key or a token",
        );
    };
    if bool::from(given.ct_eq(key.as_bytes())) {
        return Ok(Caller::Key);
    }
    match str::from_utf8(given) {
        Ok(text) if text.starts_with(TOKEN_PREFIX) => Ok(Caller::Token(open(text)?)),
        _ => refused("invalid_api_key", "this is not this node's API key"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_key(header: &str, expected: Result<(), &str>) {
        check_header(&AUTHORIZATION, header, expected);
    }

    #[track_caller]
    fn check_header(name: &HeaderName, header: &str, expected: Result<(), &str>) {
        let mut headers = HeaderMap::new();
        headers.insert(name, header.parse().unwrap());
        let open = |_: &str| Err(Failure::new(ErrorKind::Unauthenticated, "bad_token", "no"));
        let got = known(bearer(&headers), "secret", open);
        let got = got.map(|it| assert!(matches!(it, Caller::Key)));
        assert_eq!(got.as_ref().map_err(|it| &*it.failure.code).copied(), expected);
    }

    #[test]
    fn the_key_is_compared_whole() {
        check_key("Bearer secret", Ok(()));
        check_key("bearer secret", Ok(()));
        check_key("Bearer secre", Err("invalid_api_key"));
        check_key("Bearer secrets", Err("invalid_api_key"));
        check_key("Bearer ", Err("invalid_api_key"));
        check_key("Basic secret", Err("missing_api_key"));
        check_key("", Err("missing_api_key"));
        check_key("Bearer sedge-token.AAAA", Err("bad_token"));
    }

    #[test]
    fn the_key_may_stand_in_a_header_of_its_own() {
        check_header(&API_KEY, "secret", Ok(()));
        check_header(&API_KEY, "secre", Err("invalid_api_key"));
        check_header(&API_KEY, "sedge-token.AAAA", Err("bad_token"));
    }
}
