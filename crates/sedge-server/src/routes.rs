//! The one list of doors. A new door is its own file and one line here.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;

use crate::access::{self, Access};
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::{anthropic, grpc, health, ollama, openai, page, rest, wasi_http};

/// One way in: where it is, what it serves and how it says no.
pub(crate) struct Door {
    /// The beginning of its paths.
    pub(crate) prefix: &'static str,
    /// What it serves below the prefix to those who have the node's key, or to everybody if the
    /// door is open.
    pub(crate) routes: fn() -> Router<Shared>,
    /// What it serves to those who have a token, too.
    pub(crate) token_routes: fn() -> Router<Shared>,
    /// How a refusal looks in its wire shape.
    pub(crate) refuse: fn(Refusal) -> Response,
    /// Whether it asks who comes.
    pub(crate) access: Access,
    /// Whether it is there only where nothing but TLS is heard.
    pub(crate) tls_only: bool,
}

/// Every door.
const DOORS: [&Door; 8] = [
    &health::DOOR,
    &openai::DOOR,
    &anthropic::DOOR,
    &ollama::DOOR,
    &rest::DOOR,
    &wasi_http::DOOR,
    &grpc::DOOR,
    &page::DOOR,
];

/// Where nothing is: an unknown path, refused as the REST door refuses.
const NOWHERE: Door = Door {
    prefix: "",
    routes: Router::new,
    token_routes: Router::new,
    refuse: rest::refuse,
    access: Access::Bearer,
    tls_only: false,
};

/// Returns the service behind the listener.
pub(crate) fn app(shared: &Shared) -> Router {
    let nowhere = guarded(&NOWHERE, shared);
    DOORS
        .into_iter()
        .filter(|it| shared.entrance.tls || !it.tls_only)
        .fold(nowhere, |router, door| router.nest(door.prefix, guarded(door, shared)))
        .with_state(shared.clone())
}

/// Returns a door's routes behind its checks, every refusal in its own shape.
fn guarded(door: &'static Door, shared: &Shared) -> Router<Shared> {
    let refuse = door.refuse;
    let check = move |node, request, next| access::check(door, node, request, next);
    let key_only = move |request, next| access::key_only(door, request, next);
    (door.routes)()
        .layer(axum::middleware::from_fn(key_only))
        .merge((door.token_routes)())
        .fallback(async move || refuse(Refusal::of_status(StatusCode::NOT_FOUND)))
        .method_not_allowed_fallback(async move || {
            refuse(Refusal::of_status(StatusCode::METHOD_NOT_ALLOWED))
        })
        .layer(axum::middleware::from_fn_with_state(shared.clone(), check))
}
