//! Tasks that run by themselves.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use sedge_base::ErrorKind;
use sedge_capability::Failure;
use sedge_node::ScheduleView;
use serde_json::{Value, json};

use super::error::Error;
use super::query::json as read;
use crate::server::Shared;

/// `GET /schedules`.
pub(super) async fn list(State(shared): State<Shared>) -> Json<Vec<ScheduleView>> {
    Json(shared.node.schedules())
}

/// `POST /schedules`, a [`ScheduleAsk`](sedge_node::ScheduleAsk) as body.
pub(super) async fn add(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ScheduleView>, Error> {
    Ok(Json(shared.node.schedule(read(&body?)?).await?))
}

/// `DELETE /schedules/{id}`.
pub(super) async fn remove(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    if shared.node.unschedule(&id).await? {
        return Ok(Json(json!({ "removed": id })));
    }
    let text = format!("there is no schedule `{id}`");
    Err(Failure::new(ErrorKind::NotFound, "unknown_schedule", text).into())
}

/// `POST /schedules/{id}/run`: one run now, whatever is due.
pub(super) async fn run(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<ScheduleView>, Error> {
    Ok(Json(shared.node.run_schedule(&id).await?))
}
