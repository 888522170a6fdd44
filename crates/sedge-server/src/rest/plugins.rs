//! What the owner has added to the node.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use sedge_node::{Emitted, PluginList, PluginView};
use serde_json::Value;

use super::error::Error;
use super::query::json as read;
use crate::server::Shared;

/// `GET /plugins`.
pub(super) async fn list(State(shared): State<Shared>) -> Json<PluginList> {
    Json(shared.node.plugins())
}

/// `GET /plugins/{name}`.
pub(super) async fn show(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<PluginView>, Error> {
    Ok(Json(shared.node.plugin(&name)?))
}

/// `POST /plugins/{name}/enable`, an [`Agreement`](sedge_node::Agreement) as body.
pub(super) async fn enable(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<PluginView>, Error> {
    Ok(Json(shared.node.enable_plugin(&name, read(&body?)?).await?))
}

/// `POST /plugins/{name}/disable`.
pub(super) async fn disable(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<PluginView>, Error> {
    Ok(Json(shared.node.disable_plugin(&name).await?))
}

/// `POST /plugins`: looks into the folders now.
pub(super) async fn reload(State(shared): State<Shared>) -> Json<PluginList> {
    Json(shared.node.reload_plugins().await)
}

/// `POST /hooks/{hook}`, JSON as body: calls whoever registered for it.
pub(super) async fn emit(
    State(shared): State<Shared>,
    Path(hook): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Emitted>, Error> {
    let data: Value = read(&body?)?;
    Ok(Json(shared.node.emit_hook(&hook, &data).await?))
}
