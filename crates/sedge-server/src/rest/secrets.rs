//! Secrets of this node, which its host adds to what functions send. Their values go in and never out.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use sedge_base::{ErrorKind, Secret};
use sedge_capability::Failure;
use sedge_node::{Place, SecretView};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Error;
use crate::server::Shared;

/// What is to be kept; it is never printed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    value: String,
    places: Vec<Place>,
}

/// `GET /secrets`: their names, and where they may go.
pub(super) async fn list(State(shared): State<Shared>) -> Result<Json<Vec<SecretView>>, Error> {
    Ok(Json(shared.node.secrets().await?))
}

/// `PUT /secrets/{name}`: `{"value": "…", "places": ["https://…"]}`.
pub(super) async fn set(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Error> {
    // What a reader says of a wrong record may repeat it.
    let New { value, places } = serde_json::from_slice(&body?).map_err(|_| {
        let text = r#"write {"value": "…", "places": ["https://…"]}"#;
        Failure::new(ErrorKind::Invalid, "bad_secret", text)
    })?;
    shared.node.set_secret(&name, Secret::new(value), places).await?;
    Ok(Json(json!({ "name": name })))
}

/// `DELETE /secrets/{name}`.
pub(super) async fn remove(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Error> {
    Ok(Json(json!({ "removed": shared.node.remove_secret(&name).await? })))
}
