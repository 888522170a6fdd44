//! The state that two sides share, and cached values.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use sedge_base::{ErrorKind, Timestamp};
use sedge_capability::Failure;
use sedge_cluster::{CacheStats, PendingChange, SyncEvent, SyncState, SyncSummary, checksum};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::error::Error;
use super::super::query::{Asked, invalid, json as read};
use crate::server::Shared;

/// The longest time that a value is good, in seconds: a year.
const LONGEST_TTL_S: f64 = 31_536_000.0;

/// `GET /sync`.
pub(super) async fn sync(State(shared): State<Shared>) -> Result<Json<SyncSummary>, Error> {
    Ok(Json(shared.cluster.synchronizer().await?.summary()))
}

/// `GET /sync/state`: `null` when there is none.
pub(super) async fn state(State(shared): State<Shared>) -> Result<Json<Option<SyncState>>, Error> {
    Ok(Json(shared.cluster.synchronizer().await?.get_local_state().cloned()))
}

/// New data here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Local {
    data: Map<String, Value>,
    /// Whether the other keys stay.
    #[serde(default)]
    is_delta: bool,
}

/// `POST /sync/local`.
pub(super) async fn update_local(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<SyncState>, Error> {
    let Local { data, is_delta } = read(&body?)?;
    let state = shared.cluster.synchronize(|sync, now| match is_delta {
        true => sync.update_keys(data, now),
        false => sync.update_local(data, now),
    });
    Ok(Json(state.await?))
}

/// A state of the other side.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Remote {
    version: u64,
    data: Map<String, Value>,
    /// Made here when left out, as `SyncState.from_data` does.
    checksum: Option<String>,
    /// Seconds since 1970; now when left out.
    updated_at: Option<f64>,
}

/// `POST /sync/remote`.
pub(super) async fn apply_remote(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Error> {
    let Remote { version, data, checksum: sum, updated_at } = read(&body?)?;
    let updated_at = match updated_at {
        None => shared.cluster.now(),
        Some(some) if (0.0..1e12).contains(&some) => Timestamp::from_millis((some * 1e3) as u64),
        Some(_) => return Err(invalid("invalid_date", "`updated_at` is seconds since 1970")),
    };
    let checksum = sum.unwrap_or_else(|| checksum(&data));
    let state = SyncState { version, data, checksum, updated_at };
    let applied = shared.cluster.synchronize(|sync, now| sync.apply_remote(state, now)).await?;
    let applied = applied.map_err(|it| Failure::new(it.kind(), "wrong_checksum", it))?;
    Ok(Json(json!({ "applied": applied })))
}

/// `GET /sync/pending`.
pub(super) async fn pending(
    State(shared): State<Shared>,
) -> Result<Json<Vec<PendingChange>>, Error> {
    Ok(Json(shared.cluster.synchronizer().await?.get_pending_changes()))
}

/// What the other side has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmed {
    up_to_version: u64,
}

/// `POST /sync/confirm`.
pub(super) async fn confirm(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Error> {
    let Confirmed { up_to_version } = read(&body?)?;
    let removed =
        shared.cluster.synchronize(|sync, now| sync.confirm_sync(up_to_version, now)).await?;
    Ok(Json(json!({ "removed": removed })))
}

/// The query of a history.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Last {
    /// How many events; 20 when left out.
    limit: Option<usize>,
}

/// `GET /sync/history?limit=…`.
pub(super) async fn history(
    State(shared): State<Shared>,
    Asked(Last { limit }): Asked<Last>,
) -> Result<Json<Vec<SyncEvent>>, Error> {
    Ok(Json(shared.cluster.synchronizer().await?.sync_history(limit.unwrap_or(20))))
}

/// `GET /sync/conflicts`: states that were made without knowing of each other, and how many changes found no room.
pub(super) async fn conflicts(State(shared): State<Shared>) -> Result<Json<Value>, Error> {
    let sync = shared.cluster.synchronizer().await?;
    let (conflicts, dropped) = (sync.conflicts(), sync.dropped_changes());
    Ok(Json(json!({ "conflicts": conflicts, "dropped_changes": dropped })))
}

/// `GET /cache`.
pub(super) async fn cache(State(shared): State<Shared>) -> Result<Json<CacheStats>, Error> {
    let stats = shared.cluster.cache().await?.stats();
    Ok(Json(stats))
}

/// `DELETE /cache`.
pub(super) async fn clear(State(shared): State<Shared>) -> Result<Json<Value>, Error> {
    Ok(Json(json!({ "cleared": shared.cluster.clear_cache().await? })))
}

/// `GET /cache/{key}`.
pub(super) async fn get_value(
    State(shared): State<Shared>,
    Path(key): Path<String>,
) -> Result<Json<Value>, Error> {
    let value = shared.cluster.cache().await?.get(&key).cloned();
    let value = value.ok_or_else(|| {
        let text = format!("nothing is cached under `{key}`");
        Failure::new(ErrorKind::NotFound, "not_cached", text)
    })?;
    Ok(Json(json!({ "value": value })))
}

/// A value to be cached.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cached {
    value: Value,
    /// How long it is good, in seconds; five minutes when left out.
    ttl: Option<f64>,
}

/// `PUT /cache/{key}`.
pub(super) async fn put_value(
    State(shared): State<Shared>,
    Path(key): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Error> {
    let Cached { value, ttl } = read(&body?)?;
    let ttl = match ttl {
        None => None,
        Some(some) if (0.0..=LONGEST_TTL_S).contains(&some) => Some(Duration::from_secs_f64(some)),
        Some(_) => return Err(invalid("invalid_ttl", "`ttl` is 0 to a year, in seconds")),
    };
    shared.cluster.cache_value(&key, value, ttl).await?;
    Ok(Json(json!({ "cached": key })))
}

/// `DELETE /cache/{key}`.
pub(super) async fn delete_value(
    State(shared): State<Shared>,
    Path(key): Path<String>,
) -> Result<Json<Value>, Error> {
    Ok(Json(json!({ "deleted": shared.cluster.uncache(&key).await? })))
}
