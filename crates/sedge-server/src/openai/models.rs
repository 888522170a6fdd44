//! The models of all nodes.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use sedge_base::ErrorKind;
use sedge_capability::Failure;
use sedge_node::Offer;
use serde::Serialize;

use super::error::Error;
use crate::asker::Caller;
use crate::models::of_model;
use crate::server::Shared;

/// One model, as clients list it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: String,
}

/// A list, as clients read it.
#[derive(Debug, Serialize)]
pub(super) struct List<T> {
    pub(super) object: &'static str,
    pub(super) data: Vec<T>,
}

/// `GET /v1/models`: every model of every node, each once.
pub(super) async fn list(State(shared): State<Shared>, caller: Caller) -> Json<List<Model>> {
    let data = models(&shared, &caller).await.into_values().collect();
    Json(List { object: "list", data })
}

/// `GET /v1/models/{id}`.
pub(super) async fn show(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Model>, Error> {
    match models(&shared, &caller).await.remove(&id) {
        Some(model) => Ok(Json(model)),
        None => {
            let failure =
                Failure::new(ErrorKind::NotFound, "no_offer", "`sedge models` lists what is");
            Err(of_model(&id, failure).into())
        }
    }
}

async fn models(shared: &Shared, caller: &Caller) -> BTreeMap<String, Model> {
    let created = shared.node.status().await.started.as_millis() / 1000;
    let mut offers = shared.node.offers();
    caller.see(&mut offers);
    by_id(&offers, created)
}

/// Keeps the models among the offers, each name once, owned by the nodes that have it.
fn by_id(offers: &[Offer], created: u64) -> BTreeMap<String, Model> {
    let mut models = BTreeMap::<String, Model>::new();
    for offer in offers {
        if !offer.descriptor.kind.is_model() {
            continue;
        }
        let id = offer.descriptor.name.to_string();
        if let Some(model) = models.get_mut(&id) {
            model.owned_by = format!("{}, {}", model.owned_by, offer.node_name);
        } else {
            let owned_by = offer.node_name.clone();
            models.insert(id.clone(), Model { id, object: "model", created, owned_by });
        }
    }
    models
}
