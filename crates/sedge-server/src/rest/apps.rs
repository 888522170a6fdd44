//! Applications of this node: the channels that they hear, and what they have kept.

use axum::Json;
use axum::extract::{Path, State};
use sedge_node::{AppForgotten, ChannelView};

use super::error::Error;
use crate::server::Shared;

/// `GET /channels`.
pub(super) async fn channels(State(shared): State<Shared>) -> Json<Vec<ChannelView>> {
    Json(shared.node.channels())
}

/// `DELETE /apps/{name}/data`, once no component of it is deployed here.
pub(super) async fn forget(
    State(shared): State<Shared>,
    Path(app): Path<String>,
) -> Result<Json<AppForgotten>, Error> {
    Ok(Json(shared.node.forget_app(&app).await?))
}
