//! The machines and what they offer.

use axum::Json;
use axum::extract::{Path, State};
use sedge_node::{NodeView, Offer, RevokedView};
use sedge_trust::TokenId;

use super::error::Error;
use super::query::invalid;
use crate::asker::Caller;
use crate::server::Shared;

/// `GET /nodes`.
pub(super) async fn nodes(State(shared): State<Shared>) -> Json<Vec<NodeView>> {
    Json(shared.node.nodes())
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
