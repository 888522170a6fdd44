//! Who may come in: this machine's own programs, with the node's key.

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use sedge_base::ErrorKind;
use subtle::ConstantTimeEq;

use crate::refusal::Refusal;
use crate::routes::Door;
use crate::server::Shared;

/// Whether a door asks for the node's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody on this machine may come in.
    Open,
    /// `Authorization: Bearer` with the node's key is needed.
    Key,
}

/// Lets a request through to its door, or refuses it in the door's own shape.
pub(crate) async fn check(
    door: &Door,
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    if let Err(refusal) = local(request.headers(), request.uri()) {
        return (door.refuse)(refusal);
    }
    if door.access == Access::Key
        && let Err(refusal) = key(request.headers(), shared.node.api_key().reveal())
    {
        return (door.refuse)(refusal);
    }
    next.run(request).await
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

/// Refuses a request that does not carry the node's key.
fn key(headers: &HeaderMap, expected: &str) -> Result<(), Refusal> {
    let header = headers.get(AUTHORIZATION).map(|it| it.as_bytes());
    let given = header.and_then(|it| match it.split_at_checked(7) {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"bearer ") => Some(key.trim_ascii()),
        _ => None,
    });
    let refused = |code, message| {
        Err(Refusal::new(StatusCode::UNAUTHORIZED, ErrorKind::Unauthenticated, code, message))
    };
    match given {
        None => refused(
            "missing_api_key",
            "no API key: send `Authorization: Bearer` with this node's key",
        ),
        Some(given) if bool::from(given.ct_eq(expected.as_bytes())) => Ok(()),
        Some(_) => refused("invalid_api_key", "this is not this node's API key"),
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
        let got = key(&headers, "secret");
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
    }
}
