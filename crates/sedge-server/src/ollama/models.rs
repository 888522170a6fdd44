//! The models of all nodes, as Ollama lists them.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use sedge_base::{ErrorKind, Timestamp};
use sedge_capability::{Descriptor, Failure, Kind};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Error;
use super::request::{model, read};
use crate::asker::Caller;
use crate::models::of_model;
use crate::server::Shared;

#[derive(Debug, Deserialize)]
struct ShowRequest {
    model: Option<String>,
    /// What older clients call it.
    name: Option<String>,
}

/// `GET /api/tags`: every model of every node, each once.
pub(super) async fn tags(State(shared): State<Shared>, caller: Caller) -> Json<Value> {
    let models = models(&shared, &caller).await;
    Json(json!({ "models": models.values().map(entry).collect::<Vec<_>>() }))
}

/// `GET /api/ps`: the models that are in the memory of a node.
pub(super) async fn loaded(State(shared): State<Shared>, caller: Caller) -> Json<Value> {
    let models = models(&shared, &caller).await;
    let loaded = models.values().filter(|it| label(&it.descriptor, "loaded") == "true");
    Json(json!({ "models": loaded.map(entry).collect::<Vec<_>>() }))
}

/// `POST /api/show`: one model.
pub(super) async fn show(
    State(shared): State<Shared>,
    caller: Caller,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Error> {
    let request: ShowRequest = read(&body?)?;
    let name = model(request.model.or(request.name).as_deref())?;
    let Some(known) = models(&shared, &caller).await.remove(name.as_str()) else {
        let failure = Failure::new(ErrorKind::NotFound, "no_offer", "`sedge models` lists what is");
        return Err(of_model(name.as_str(), failure).into());
    };
    let descriptor = &known.descriptor;
    let capability = match descriptor.kind {
        Kind::Embedding => "embedding",
        _ => "completion",
    };
    let family = label(descriptor, "model.family");
    let mut info = serde_json::Map::new();
    info.insert("general.architecture".to_owned(), family.into());
    if let Ok(context) = label(descriptor, "model.context").parse::<u64>() {
        info.insert(format!("{family}.context_length"), context.into());
    }
    if let Ok(parameters) = label(descriptor, "model.parameters").parse::<u64>() {
        info.insert("general.parameter_count".to_owned(), parameters.into());
    }
    Ok(Json(json!({
        "modelfile": "",
        "parameters": "",
        "template": "",
        "details": details(descriptor),
        "model_info": info,
        "capabilities": [capability],
        "modified_at": known.since.to_string(),
    })))
}

/// `GET /api/version`: ours.
pub(super) async fn version() -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION") }))
}

/// A model, and since when it is known here.
struct Known {
    descriptor: Descriptor,
    since: Timestamp,
}

async fn models(shared: &Shared, caller: &Caller) -> BTreeMap<String, Known> {
    let since = shared.node.status().await.started;
    let mut offers = shared.node.offers();
    caller.see(&mut offers);
    let mut models = BTreeMap::<String, Known>::new();
    for offer in offers.into_iter().filter(|it| it.descriptor.kind.is_model()) {
        let (name, descriptor) = (offer.descriptor.name.to_string(), offer.descriptor);
        // Of two nodes that have it, the one where it is in memory tells more.
        let known = models.get(&name).map(|it| label(&it.descriptor, "loaded") == "true");
        if known != Some(true) {
            models.insert(name, Known { descriptor, since });
        }
    }
    models
}

fn entry(known: &Known) -> Value {
    let Descriptor { name, content, .. } = &known.descriptor;
    json!({
        "name": name,
        "model": name,
        "modified_at": known.since.to_string(),
        "digest": content.map(|it| it.to_string()),
        "details": details(&known.descriptor),
    })
}

fn details(descriptor: &Descriptor) -> Value {
    let family = label(descriptor, "model.family");
    json!({
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": label(descriptor, "model.parameters"),
        "quantization_level": label(descriptor, "model.quantisation"),
    })
}

/// Returns a label of a model, or nothing as text.
fn label<'a>(descriptor: &'a Descriptor, name: &str) -> &'a str {
    descriptor.labels.get(name).map_or("", String::as_str)
}
