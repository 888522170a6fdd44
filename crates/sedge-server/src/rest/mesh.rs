//! The machines and what they offer.

use axum::Json;
use axum::extract::State;
use sedge_node::{NodeView, Offer};

use crate::server::Shared;

/// `GET /nodes`.
pub(super) async fn nodes(State(shared): State<Shared>) -> Json<Vec<NodeView>> {
    Json(shared.node.nodes())
}

/// `GET /capabilities`: everything that any node offers.
pub(super) async fn capabilities(State(shared): State<Shared>) -> Json<Vec<Offer>> {
    Json(shared.node.offers())
}

/// `GET /models`: the models among them.
pub(super) async fn models(State(shared): State<Shared>) -> Json<Vec<Offer>> {
    let mut offers = shared.node.offers();
    offers.retain(|it| it.descriptor.kind.is_model());
    Json(offers)
}
