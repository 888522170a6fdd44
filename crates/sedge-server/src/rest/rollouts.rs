//! New versions of functions on their way.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use sedge_node::Rollout;

use super::error::Error;
use super::functions::OPTIONS_HEADER;
use super::query::{invalid, json as read, name};
use crate::server::Shared;

/// `GET /rollouts`.
pub(super) async fn list(State(shared): State<Shared>) -> Json<Vec<Rollout>> {
    Json(shared.node.rollouts())
}

/// `GET /rollouts/{id}`.
pub(super) async fn show(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Rollout>, Error> {
    Ok(Json(shared.node.rollout(&id)?))
}

/// `PUT /rollouts/{function}`, the component as body, a [`RolloutAsk`](sedge_node::RolloutAsk) as
/// JSON in the header [`OPTIONS_HEADER`].
pub(super) async fn plan(
    State(shared): State<Shared>,
    Path(function): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Rollout>, Error> {
    let Some(ask) = headers.get(OPTIONS_HEADER) else {
        return Err(invalid("no_options", format!("the header `{OPTIONS_HEADER}` is missing")));
    };
    let ask = read(ask.as_bytes())?;
    Ok(Json(shared.node.plan_rollout(name(&function)?, body?, ask).await?))
}

/// `POST /rollouts/{id}/start`.
pub(super) async fn start(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Rollout>, Error> {
    Ok(Json(shared.node.start_rollout(&id).await?))
}

/// `POST /rollouts/{id}/rollback`.
pub(super) async fn back(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Rollout>, Error> {
    Ok(Json(shared.node.roll_back(&id).await?))
}
