//! Who decides for the swarm, and what was decided.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use sedge_node::{Agreed, Claim, Key, QuorumView, Record, Text};
use sedge_trust::swarm::Role;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::query::json;
use crate::server::Shared;

/// The body of `POST /quorum`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoundAsk {
    /// The nodes that vote besides this one, by name, id or the beginning of an id.
    pub nodes: Vec<String>,
}

/// The body of `POST /nodes/{node}/roles`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolesAsk {
    /// What the node is from now on: `coordinator`, `worker`, `scout`, `specialist`.
    pub roles: Vec<Role>,
}

/// The body of `POST /quorum/claims`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimAsk {
    /// On what.
    pub key: Key,
    /// For how long, in milliseconds: 1 to 86,400,000.
    pub ttl_ms: u64,
    /// The node to ask; the coordinator, wherever it is, when left out.
    #[serde(default)]
    pub on: Option<String>,
}

/// The body of `POST /quorum/claims/release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseAsk {
    /// On what.
    pub key: Key,
    /// The claim's fence.
    pub fence: u64,
}

/// The body of `POST /quorum/records`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordAsk {
    /// What it says: one line of at most 1,024 bytes.
    pub text: Text,
}

/// `GET /quorum`: how it looks from here.
pub(super) async fn show(State(shared): State<Shared>) -> Json<QuorumView> {
    Json(shared.node.quorum_view())
}

/// `POST /quorum`: founds it.
pub(super) async fn found(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<QuorumView>, Error> {
    let FoundAsk { nodes } = json(&body?)?;
    Ok(Json(shared.node.found_quorum(&nodes).await?))
}

/// `POST /quorum/voters/{node}`.
pub(super) async fn add(
    State(shared): State<Shared>,
    Path(node): Path<String>,
) -> Result<Json<QuorumView>, Error> {
    Ok(Json(shared.node.add_voter(&node).await?))
}

/// `DELETE /quorum/voters/{node}`.
pub(super) async fn remove(
    State(shared): State<Shared>,
    Path(node): Path<String>,
) -> Result<Json<QuorumView>, Error> {
    Ok(Json(shared.node.remove_voter(&node).await?))
}

/// `POST /nodes/{node}/roles`.
pub(super) async fn set_roles(
    State(shared): State<Shared>,
    Path(node): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<QuorumView>, Error> {
    let RolesAsk { roles } = json(&body?)?;
    Ok(Json(shared.node.set_roles(&node, &roles).await?))
}

/// `POST /quorum/claims`: for this node.
pub(super) async fn claim(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Claim>, Error> {
    let ClaimAsk { key, ttl_ms, on } = json(&body?)?;
    let ttl = Duration::from_millis(ttl_ms);
    Ok(Json(shared.node.claim(key, ttl, on.as_deref()).await?))
}

/// `POST /quorum/claims/release`: whether this node held it.
pub(super) async fn release(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<bool>, Error> {
    let ReleaseAsk { key, fence } = json(&body?)?;
    Ok(Json(shared.node.release(key, fence).await?))
}

/// `POST /quorum/records`.
pub(super) async fn record(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Record>, Error> {
    let RecordAsk { text } = json(&body?)?;
    Ok(Json(shared.node.record(text).await?))
}

/// `GET /quorum/records`: claims and records, confirmed by a majority.
pub(super) async fn agreed(State(shared): State<Shared>) -> Result<Json<Agreed>, Error> {
    Ok(Json(shared.node.agreed().await?))
}
