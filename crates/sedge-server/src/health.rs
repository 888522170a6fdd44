//! The door that only says that somebody is at home.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::access::Access;
use crate::routes::Door;
use crate::{rest, server::Shared};

/// `/health`: open to every program of this machine, tells nothing but the node's public id.
pub(crate) const DOOR: Door = Door {
    prefix: "/health",
    routes: || Router::new().route("/", get(health)),
    token_routes: Router::new,
    refuse: rest::refuse,
    access: Access::Open,
    tls_only: false,
};

async fn health(State(shared): State<Shared>) -> Json<Value> {
    let status = shared.node.status().await;
    Json(json!({ "status": "ok", "id": status.id, "version": status.version }))
}
