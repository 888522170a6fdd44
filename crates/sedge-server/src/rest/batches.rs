//! Many tasks handed in at once, and their results.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use sedge_base::ErrorKind;
use sedge_capability::Failure;
use sedge_node::{Batch, Gathered};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Error;
use super::query::{Asked, invalid, json as read};
use crate::server::Shared;

/// The longest wait for results, in seconds.
const LONGEST_WAIT_S: u64 = 600;

/// The query of a gathering.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Patience {
    /// How long to wait until every task has ended, in seconds, 0 to 600; 0 when left out.
    #[serde(default)]
    wait_s: u64,
}

/// `POST /batches`, a [`BatchAsk`](sedge_node::BatchAsk) as body.
pub(super) async fn dispatch(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Batch>, Error> {
    Ok(Json(shared.node.dispatch(read(&body?)?).await?))
}

/// `GET /batches`.
pub(super) async fn list(State(shared): State<Shared>) -> Json<Vec<Batch>> {
    Json(shared.node.batches().await)
}

/// `GET /batches/{id}?wait_s=…`.
pub(super) async fn gather(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Asked(Patience { wait_s }): Asked<Patience>,
) -> Result<Json<Gathered>, Error> {
    if wait_s > LONGEST_WAIT_S {
        return Err(invalid("invalid_wait", "`wait_s` is 0 to 600"));
    }
    Ok(Json(shared.node.gather(&id, Duration::from_secs(wait_s)).await?))
}

/// `DELETE /batches/{id}`.
pub(super) async fn remove(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    if shared.node.forget_batch(&id).await? {
        return Ok(Json(json!({ "removed": id })));
    }
    let text = format!("there is no batch `{id}`");
    Err(Failure::new(ErrorKind::NotFound, "unknown_batch", text).into())
}
