//! The node itself: how it is, what it counted, and its end.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use sedge_node::{Finding, Status};
use serde_json::{Value, json};

use crate::server::Shared;

/// `GET /status`.
pub(super) async fn status(State(shared): State<Shared>) -> Json<Status> {
    Json(shared.node.status().await)
}

/// `GET /doctor`: what is wrong, and what to do about it.
pub(super) async fn doctor(State(shared): State<Shared>) -> Json<Vec<Finding>> {
    Json(shared.node.examine().await)
}

/// `GET /metrics`: success rate, errors and percentiles per capability and node.
pub(super) async fn metrics(State(shared): State<Shared>) -> Json<Value> {
    Json(json!(shared.node.ledger().metrics()))
}

/// `POST /stop`: answers first, then the program stops.
pub(super) async fn stop(State(shared): State<Shared>) -> StatusCode {
    shared.stop.cancel();
    StatusCode::ACCEPTED
}
