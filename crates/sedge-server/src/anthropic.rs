//! The Anthropic door: messages, as its clients know them.
//!
//! The key comes in `x-api-key`, as those clients send it, or as a bearer. What the wire shape can say
//! and a node cannot honour is refused with the field's name, never ignored; fields that do not change
//! the answer are let pass.

mod error;
mod messages;
mod request;
mod stream;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;

use crate::access::Access;
use crate::models::BODY_LIMIT;
use crate::routes::Door;
use crate::server::Shared;

/// `/v1/messages`; the clients' base URL is the node's address.
pub(crate) const DOOR: Door = Door {
    prefix: "/v1/messages",
    routes: Router::new,
    token_routes,
    refuse: error::refuse,
    access: Access::Bearer,
    tls_only: false,
};

fn token_routes() -> Router<Shared> {
    Router::new().route("/", post(messages::create)).layer(DefaultBodyLimit::max(BODY_LIMIT))
}

#[cfg(any(test, fuzzing))]
pub(crate) use request::feed;
