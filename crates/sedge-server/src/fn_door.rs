//! The door of functions that speak HTTP themselves: `/fn/{name}/…` is theirs.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{Request, Uri};
use axum::response::Response;
use axum::routing::any;
use sedge_base::ErrorKind;
use sedge_capability::{Failure, Name};

use crate::access::Access;
use crate::rest::{Error, refuse};
use crate::routes::Door;
use crate::server::Shared;

/// The largest request to a function, in bytes.
const BODY_LIMIT: usize = 16 << 20;

/// `/fn`: what this node's `wasi:http` functions answer.
pub(crate) const DOOR: Door = Door { prefix: "/fn", routes, refuse, access: Access::Key };

fn routes() -> Router<Shared> {
    Router::new()
        .route("/{name}", any(root))
        .route("/{name}/", any(root))
        .route("/{name}/{*path}", any(below))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

async fn root(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    parts: Parts,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    serve(&shared, &name, "", parts, body?).await
}

async fn below(
    State(shared): State<Shared>,
    Path((name, path)): Path<(String, String)>,
    parts: Parts,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    serve(&shared, &name, &path, parts, body?).await
}

/// Hands a request to the function, without what is only for this door: the node's key.
async fn serve(
    shared: &Shared,
    name: &str,
    path: &str,
    mut parts: Parts,
    body: Bytes,
) -> Result<Response, Error> {
    let refused = |kind, code, message: String| Error::from(Failure::new(kind, code, message));
    let name: Name = name
        .parse()
        .map_err(|err| refused(ErrorKind::Invalid, "invalid_name", format!("{err}")))?;
    let Some(function) = shared.node.http_function(&name) else {
        let message = format!("this node has no function `{name}` that answers HTTP");
        return Err(refused(ErrorKind::NotFound, "unknown_function", message));
    };
    let path = match parts.uri.query() {
        Some(query) => format!("/{path}?{query}"),
        None => format!("/{path}"),
    };
    let path = PathAndQuery::try_from(path)
        .map_err(|err| refused(ErrorKind::Invalid, "invalid_path", err.to_string()))?;
    let host = parts.headers.get(HOST).cloned();
    let authority = host.as_ref().and_then(|it| it.to_str().ok()).unwrap_or("localhost");
    parts.uri = Uri::builder()
        .scheme("http")
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(|err| refused(ErrorKind::Invalid, "invalid_path", err.to_string()))?;
    parts.headers.remove(AUTHORIZATION);
    let response = function.handle(Request::from_parts(parts, body)).await?;
    Ok(response.map(Body::from))
}
