//! The Ollama door: chat, generation, embeddings and models, as its clients know them.
//!
//! The key comes as a bearer (`OLLAMA_API_KEY` of the official clients). A stream of lines is what this
//! dialect answers unless it is told otherwise. What it can say and a node cannot honour is refused with
//! the field's name; what only tunes a server of its own (`keep_alive`, `num_ctx`, `num_gpu` and the
//! like) is let pass. Nothing is cut: `truncate` has no effect, a text that is too long is refused.

mod chat;
mod embed;
mod error;
mod models;
mod request;
mod stream;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::access::Access;
use crate::models::BODY_LIMIT;
use crate::routes::Door;
use crate::server::Shared;

/// `/api`; the clients' host is the node's address.
pub(crate) const DOOR: Door = Door {
    prefix: "/api",
    routes: Router::new,
    token_routes,
    refuse: error::refuse,
    access: Access::Bearer,
    tls_only: false,
};

fn token_routes() -> Router<Shared> {
    Router::new()
        .route("/chat", post(chat::chat))
        .route("/generate", post(chat::generate))
        .route("/embed", post(embed::embed))
        .route("/embeddings", post(embed::embed_one))
        .route("/tags", get(models::tags))
        .route("/ps", get(models::loaded))
        .route("/show", post(models::show))
        .route("/version", get(models::version))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// Feeds a body to the readers of this door; returns whether one took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(body: &[u8]) -> bool {
    request::feed(body) || embed::feed(body)
}
