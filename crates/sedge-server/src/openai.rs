//! The OpenAI door: chat, embeddings and models, as its clients know them.
//!
//! What the wire shape can say and a node cannot honour is refused with the field's name, never
//! ignored; fields that do not change the answer are let pass.

mod chat;
mod embeddings;
mod error;
mod models;
mod request;
mod stream;
mod tools;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::access::Access;
use crate::models::BODY_LIMIT;
use crate::routes::Door;
use crate::server::Shared;

/// `/v1`: the base URL of OpenAI clients.
pub(crate) const DOOR: Door = Door {
    prefix: "/v1",
    routes: Router::new,
    token_routes,
    refuse: error::refuse,
    access: Access::Bearer,
    tls_only: false,
};

fn token_routes() -> Router<Shared> {
    Router::new()
        .route("/models", get(models::list))
        .route("/models/{*id}", get(models::show))
        .route("/chat/completions", post(chat::complete))
        .route("/embeddings", post(embeddings::embed))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// Feeds a body to the readers of this door; returns whether one took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(body: &[u8]) -> bool {
    request::feed(body) || embeddings::feed(body)
}
