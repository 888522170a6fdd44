//! Who may come in: this machine's own programs, with the node's key or with a token.
//!
//! The key opens everything; a token opens the routes that a door lists for tokens, and there only
//! what it allows.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Uri};
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
    if let Err(refusal) = local(request.headers(), request.uri()) {
        return (door.refuse)(refusal);
    }
    if door.access == Access::Bearer {
        let open = |token: &str| shared.node.open_token(token);
        match caller(request.headers(), shared.node.api_key().reveal(), open) {
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
            let text = "a token may run tasks and list what there is; this needs the node's key";
            let failure = Failure::new(ErrorKind::Denied, "needs_key", text);
            (door.refuse)(failure.into())
        }
        Some(Caller::Token(_)) | None => next.run(request).await,
    }
}

/// Refuses what a browser was tricked into sending: a foreign name that resolves to loopback
/// (DNS rebinding), or a page of another site.
fn local(headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
    let host = match headers.get(HOST) {
        Some(host) => host.to_str().ok(),
        None => uri.authority().map(|it| it.as_str()),
    };
    if !host.is_some_and(is_loopback) {
        return Err(Refusal::new(
            StatusCode::MISDIRECTED_REQUEST,
            ErrorKind::Denied,
            "foreign_host",
            "this API answers to 127.0.0.1, [::1] and localhost only",
        ));
    }
    for origin in headers.get_all(ORIGIN) {
        let site = origin.to_str().ok().and_then(|it| it.split_once("://"));
        if !site.is_some_and(|(_, host)| is_loopback(host)) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                ErrorKind::Denied,
                "foreign_origin",
                "pages of other sites may not use this API",
            ));
        }
    }
    Ok(())
}

/// Returns whether a host with or without a port is this machine itself.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit()) => {
            name
        }
        _ => host,
    };
    name == "127.0.0.1" || name == "[::1]" || name.eq_ignore_ascii_case("localhost")
}

/// Finds out who asks, by the key or the token that the request carries.
fn caller(
    headers: &HeaderMap,
    key: &str,
    open: impl FnOnce(&str) -> Result<Arc<Pass>, Failure>,
) -> Result<Caller, Refusal> {
    let header = headers.get(AUTHORIZATION).map(|it| it.as_bytes());
    let given = header.and_then(|it| match it.split_at_checked(7) {
        Some((scheme, given)) if scheme.eq_ignore_ascii_case(b"bearer ") => {
            Some(given.trim_ascii())
        }
        _ => None,
    });
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

    #[test]
    fn only_this_machine_is_local() {
        for good in ["127.0.0.1", "127.0.0.1:7411", "localhost:1", "LocalHost", "[::1]:80", "[::1]"]
        {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "",
            ":80",
            "example.org",
            "127.0.0.1.example.org",
            "127.0.0.1:80:80",
            "::1",
            "10.0.0.1",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }

    #[track_caller]
    fn check_key(header: &str, expected: Result<(), &str>) {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, header.parse().unwrap());
        let open = |_: &str| Err(Failure::new(ErrorKind::Unauthenticated, "bad_token", "no"));
        let got = caller(&headers, "secret", open);
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
}
