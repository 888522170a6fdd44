//! The door to functions that handle HTTP themselves (`wasi:http`), wherever they are deployed.
//!
//! `/fn/{name}/…` hands the request on as one task, its path without the door's own beginning, and
//! answers with what the function says. The node's key or the token stays here, and so does what belongs to one
//! connection only; a function cannot set the `x-sedge-…` fields that say who answered.

mod apps;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use sedge_base::ErrorKind;
use sedge_capability::http::{read_response, strip_hop_by_hop, write_request};
use sedge_capability::{Budgets, Failure, Kind, Media};
use sedge_node::Ask;
use serde::Deserialize;

use crate::access::Access;
use crate::asker::Asker;
use crate::peer::Peer;
use crate::rest::{self, Error, capability_name, origin_headers, receipt_id};
use crate::routes::Door;
use crate::server::Shared;

/// The largest body of a request, in bytes.
const BODY_LIMIT: usize = 16 << 20;

/// What the fields begin with that only a node may set.
const OURS: &str = "x-sedge-";

/// `/fn`: functions that handle HTTP.
pub(crate) const DOOR: Door = Door {
    prefix: "/fn",
    routes: Router::new,
    token_routes,
    refuse: rest::refuse,
    access: Access::Bearer,
    tls_only: false,
};

fn token_routes() -> Router<Shared> {
    Router::new()
        .route("/{name}", any(hand_on))
        .route("/{name}/", any(hand_on))
        .route("/{name}/{*path}", any(hand_on))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// The part of a path that names the function.
#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

/// Any method on `/{name}/…`.
async fn hand_on(
    State(shared): State<Shared>,
    Path(Named { name }): Path<Named>,
    asker: Asker,
    request: Request,
) -> Result<Response, Error> {
    let (mut parts, body) = request.into_parts();
    let body: Result<Bytes, BytesRejection> =
        Bytes::from_request(Request::from_parts(parts.clone(), body), &shared).await;
    parts.uri = below(&parts.uri)?;
    let capability = match apps::routes(&shared.node, &name) {
        None => capability_name(&name)?,
        Some(_) if parts.uri.path() == apps::HEALTH => return Ok("OK".into_response()),
        Some(routes) => {
            let client = parts.extensions.get::<ConnectInfo<Peer>>().map(|it| it.0.0);
            apps::choose(&routes, &mut parts, (client, shared.entrance.tls))?
        }
    };
    parts.headers.remove(AUTHORIZATION);
    strip(&mut parts.headers);
    let message = write_request(&axum::http::Request::from_parts(parts, body?));
    let ask = Ask {
        capability,
        kind: Some(Kind::Function),
        input: message,
        media: Media::Http,
        budgets: Budgets::default(),
        on: asker.on()?,
        pass: asker.pass(),
    };
    let answer = shared.node.run(ask).await?;
    let mut told = origin_headers(&answer);
    let (output, end) = answer.outcome.collect().await;
    if let Some(id) = receipt_id(&end).and_then(|it| HeaderValue::try_from(it).ok()) {
        told.insert(HeaderName::from_static("x-sedge-receipt"), id);
    }
    if let Some(failure) = end.failure {
        return Ok((told, Error::from(failure)).into_response());
    }
    let mut response = read_response(&output.into()).map_err(|err| {
        let text = format!("`{name}` did not answer with an HTTP message: {err}");
        Failure::new(ErrorKind::Failed, "bad_response", text)
    })?;
    let headers = response.headers_mut();
    strip(headers);
    headers.extend(told);
    Ok(response.map(axum::body::Body::from))
}

/// Takes out what is not the function's business: connections, lengths, and this node's own words.
fn strip(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    headers.remove(CONTENT_LENGTH);
    let ours: Vec<HeaderName> =
        headers.keys().filter(|it| it.as_str().starts_with(OURS)).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
}

/// Returns what of an address is below the function's name, as the client wrote it.
fn below(uri: &Uri) -> Result<Uri, Failure> {
    let whole = uri.path_and_query().map_or("/", |it| it.as_str());
    let after = whole.trim_start_matches('/');
    let below = after.find(['/', '?']).map_or("", |at| &after[at..]);
    let below = if below.starts_with('/') { below.to_owned() } else { format!("/{below}") };
    below.parse().map_err(|err| {
        Failure::new(ErrorKind::Invalid, "bad_address", format!("the address is wrong: {err}"))
    })
}

/// Feeds an address to what finds the function's own part of it; returns whether there is one.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(text: &str) -> bool {
    text.parse().is_ok_and(|it| below(&it).is_ok_and(|it| it.path().starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_sees_its_own_paths() {
        for (whole, expected) in [
            ("/web", "/"),
            ("/web/", "/"),
            ("/web?a=b", "/?a=b"),
            ("/web/a%2Fb/c?d=%20", "/a%2Fb/c?d=%20"),
            ("/web//a", "//a"),
        ] {
            assert_eq!(below(&whole.parse().unwrap()).unwrap(), expected, "{whole}");
        }
    }

    #[test]
    fn only_nodes_say_who_answers() {
        let mut headers = HeaderMap::new();
        for name in ["x-sedge-node", "connection", "content-length", "x-mine"] {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        strip(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-mine"]);
    }
}
