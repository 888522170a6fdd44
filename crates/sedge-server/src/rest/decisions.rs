//! Why a task ran where it did.

use axum::Json;
use axum::extract::{Path, State};
use sedge_base::TaskId;
use sedge_node::Routed;

use super::error::Error;
use super::query::invalid;
use crate::server::Shared;

/// `GET /decisions/last` and `GET /decisions/{task}`.
pub(super) async fn show(
    State(shared): State<Shared>,
    Path(task): Path<String>,
) -> Result<Json<Routed>, Error> {
    let task = match task.as_str() {
        "last" => None,
        task => Some(task.parse::<TaskId>().map_err(|err| invalid("invalid_task_id", err))?),
    };
    Ok(Json(shared.node.decision(task.as_ref()).await?))
}
