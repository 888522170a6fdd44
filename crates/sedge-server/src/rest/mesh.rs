//! The machines and what they offer.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use sedge_node::{Drained, Moved, NodeView, Offer, Presence, RelaysView, RevokedView, SwarmHealth};
use sedge_trust::TokenId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::Error;
use super::query::{Asked, invalid, json as read};
use crate::asker::Caller;
use crate::server::Shared;

/// The query of the list of nodes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Only those in this state.
    status: Option<Presence>,
}

/// `GET /nodes?status=…`.
pub(super) async fn nodes(
    State(shared): State<Shared>,
    Asked(Which { status }): Asked<Which>,
) -> Json<Vec<NodeView>> {
    let mut nodes = shared.node.nodes();
    nodes.retain(|it| status.is_none_or(|status| status == it.status));
    Json(nodes)
}

/// `GET /nodes/{node}`, the node by name, id or the beginning of an id.
pub(super) async fn node(
    State(shared): State<Shared>,
    Path(node): Path<String>,
) -> Result<Json<NodeView>, Error> {
    Ok(Json(shared.node.describe(&node)?))
}

/// `GET /health`: how the swarm fares.
pub(super) async fn health(State(shared): State<Shared>) -> Json<SwarmHealth> {
    Json(shared.node.health())
}

/// `POST /nodes/{node}/drain`.
pub(super) async fn drain(
    State(shared): State<Shared>,
    Path(node): Path<String>,
) -> Result<Json<Drained>, Error> {
    Ok(Json(shared.node.drain(&node, true).await?))
}

/// `POST /nodes/{node}/undrain`.
pub(super) async fn undrain(
    State(shared): State<Shared>,
    Path(node): Path<String>,
) -> Result<Json<Drained>, Error> {
    Ok(Json(shared.node.drain(&node, false).await?))
}

/// `GET /relay`.
pub(super) async fn relays(State(shared): State<Shared>) -> Json<RelaysView> {
    Json(shared.node.relays())
}

/// `PUT /relay`: runs one.
pub(super) async fn relay_on(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<RelaysView>, Error> {
    Ok(Json(shared.node.relay_on(read(&body?)?).await?))
}

/// `DELETE /relay`: runs none any more.
pub(super) async fn relay_off(State(shared): State<Shared>) -> Result<Json<Value>, Error> {
    Ok(Json(json!({ "stopped": shared.node.relay_off().await? })))
}

/// What shall be moved.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RebalanceAsk {
    /// Move every function of this node to others, instead of evening all out.
    pub evacuate: Option<String>,
    /// Only say what would move.
    pub dry_run: bool,
}

/// `POST /rebalance`.
pub(super) async fn rebalance(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Vec<Moved>>, Error> {
    let RebalanceAsk { evacuate, dry_run } = read(&body?)?;
    Ok(Json(shared.node.rebalance(evacuate.as_deref(), dry_run).await?))
}

/// `GET /capabilities`: everything that any node offers.
pub(super) async fn capabilities(State(shared): State<Shared>, caller: Caller) -> Json<Vec<Offer>> {
    let mut offers = shared.node.offers();
    caller.see(&mut offers);
    Json(offers)
}

/// `GET /models`: the models among them.
pub(super) async fn models(State(shared): State<Shared>, caller: Caller) -> Json<Vec<Offer>> {
    let mut offers = shared.node.offers();
    caller.see(&mut offers);
    offers.retain(|it| it.descriptor.kind.is_model());
    Json(offers)
}

/// `POST /nodes/{node}/revoke`, the node by name, id or the beginning of an id.
pub(super) async fn revoke(
    State(shared): State<Shared>,
    Path(node): Path<String>,
) -> Result<Json<RevokedView>, Error> {
    Ok(Json(shared.node.revoke(&node).await?))
}

/// `POST /tokens/{id}/revoke`, the id of one of the token's blocks.
pub(super) async fn revoke_token(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<RevokedView>, Error> {
    let id: TokenId = id.parse().map_err(|err| invalid("invalid_token_id", err))?;
    Ok(Json(shared.node.revoke_token(id).await?))
}
