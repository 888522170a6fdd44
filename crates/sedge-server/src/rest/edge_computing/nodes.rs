//! The machines of the cluster.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use sedge_cluster::{
    ClusterCheck, ClusterHealth, EdgeNodeStatus, HEARTBEAT_TIMEOUT, HealthCheck, MonitorSummary,
    NodeDict, RuntimeSummary, ScheduleType,
};
use sedge_node::{Advice, RolloutStrategy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::error::Error;
use super::super::query::{Asked, invalid, json as read};
use super::unknown_node;
use crate::server::Shared;

/// The longest time that a node may be silent, in seconds: a year.
const LONGEST_S: f64 = 31_536_000.0;

/// The query of the list of nodes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Only those that stand so.
    status: Option<EdgeNodeStatus>,
}

/// `GET /capabilities`: the words that the cluster knows.
pub(super) async fn capabilities() -> Json<Value> {
    use RolloutStrategy::{BlueGreen, Canary, Rolling};
    Json(json!({
        "node_statuses": EdgeNodeStatus::ALL,
        "deployment_strategies": [Rolling, BlueGreen, Canary],
        "schedule_types": ScheduleType::ALL,
    }))
}

/// `GET /nodes?status=…`.
pub(super) async fn list(
    State(shared): State<Shared>,
    Asked(Which { status }): Asked<Which>,
) -> Result<Json<Vec<NodeDict>>, Error> {
    let now = shared.cluster.now();
    let nodes = shared.cluster.list_nodes(status).await?;
    Ok(Json(nodes.iter().map(|it| it.to_dict(now)).collect()))
}

/// `POST /nodes`, an [`EdgeNode`](sedge_cluster::EdgeNode) as body.
pub(super) async fn register(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<NodeDict>, Error> {
    let node = shared.cluster.register_node(read(&body?)?).await?;
    Ok(Json(node.to_dict(shared.cluster.now())))
}

/// A node, and what else is known of it.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    node: NodeDict,
    metadata: serde_json::Map<String, Value>,
    max_functions: u32,
    draining: bool,
    resources: sedge_cluster::ResourceUsage,
}

/// `GET /nodes/{node}`.
pub(super) async fn show(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Error> {
    let cluster = &shared.cluster;
    let node = cluster.get_node(&id).await?.ok_or_else(|| unknown_node(&id))?;
    Ok(Json(Shown {
        node: node.to_dict(cluster.now()),
        metadata: node.metadata,
        max_functions: node.max_functions,
        draining: cluster.is_draining(&id).await?,
        resources: node.resources,
    }))
}

/// `DELETE /nodes/{node}`.
pub(super) async fn deregister(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    Ok(Json(json!({ "deregistered": shared.cluster.deregister_node(&id).await? })))
}

/// How a node shall be marked.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Mark {
    status: Option<EdgeNodeStatus>,
}

/// `POST /nodes/{node}/heartbeat`, a status as body, if it is to be marked so.
pub(super) async fn heartbeat(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Error> {
    let body = body?;
    let Mark { status } = if body.is_empty() { Mark::default() } else { read(&body)? };
    Ok(Json(json!({ "known": shared.cluster.heartbeat(&id, status).await? })))
}

/// `POST /nodes/{node}/offline`.
pub(super) async fn offline(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    Ok(Json(json!({ "known": shared.cluster.mark_offline(&id).await? })))
}

/// `POST /nodes/{node}/drain`.
pub(super) async fn drain(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    Ok(Json(json!({ "drained": shared.cluster.drain_node(&id).await? })))
}

/// `POST /nodes/{node}/undrain`.
pub(super) async fn undrain(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    Ok(Json(json!({ "undrained": shared.cluster.undrain_node(&id).await? })))
}

/// `GET /nodes/{node}/summary`: what its functions did.
pub(super) async fn summary(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<RuntimeSummary>, Error> {
    let runtime = shared.cluster.get_runtime(&id).await?.ok_or_else(|| unknown_node(&id))?;
    Ok(Json(runtime.summary().await?))
}

/// `GET /health`.
pub(super) async fn health(State(shared): State<Shared>) -> Result<Json<ClusterHealth>, Error> {
    Ok(Json(shared.cluster.health().await?))
}

/// The query of what asks for silent nodes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Silence {
    /// How long a node may be silent, in seconds; 60 when left out.
    #[serde(alias = "timeout_seconds")]
    heartbeat_timeout_seconds: Option<f64>,
}

impl Silence {
    pub(super) fn time(&self) -> Result<Duration, Error> {
        match self.heartbeat_timeout_seconds {
            None => Ok(HEARTBEAT_TIMEOUT),
            Some(some) if some > 0.0 && some <= LONGEST_S => Ok(Duration::from_secs_f64(some)),
            Some(_) => Err(invalid("invalid_timeout", "a timeout is above 0 and a year at most")),
        }
    }
}

/// `GET /stale?timeout_seconds=…`: ids of nodes that were silent for longer.
pub(super) async fn stale(
    State(shared): State<Shared>,
    Asked(silence): Asked<Silence>,
) -> Result<Json<Vec<String>>, Error> {
    Ok(Json(shared.cluster.detect_stale_nodes(silence.time()?).await?))
}

/// A check of all nodes, and what was checked before.
#[derive(Debug, Serialize)]
pub(super) struct AllChecked {
    #[serde(flatten)]
    summary: MonitorSummary,
    #[serde(flatten)]
    now: ClusterCheck,
    /// What to do about each node, by its id.
    recommendations: std::collections::BTreeMap<String, Advice>,
}

/// `GET /health-check?heartbeat_timeout_seconds=…`: checks every node, and remembers it.
pub(super) async fn health_check(
    State(shared): State<Shared>,
    Asked(silence): Asked<Silence>,
) -> Result<Json<AllChecked>, Error> {
    let (timeout, nodes) = (silence.time()?, shared.cluster.list_nodes(None).await?);
    let at = shared.cluster.now();
    let mut monitor = shared.cluster.monitor();
    monitor.set_timeout(timeout);
    let now = monitor.check_cluster(&nodes, at);
    let advice =
        |it: &sedge_cluster::EdgeNode| (it.id.clone(), monitor.get_recovery_recommendation(&it.id));
    let recommendations = nodes.iter().map(advice).collect();
    Ok(Json(AllChecked { summary: monitor.summary(), now, recommendations }))
}

/// The last checks of one node.
#[derive(Debug, Serialize)]
pub(super) struct History {
    checks: Vec<HealthCheck>,
    flapping: bool,
    recommendation: Advice,
}

/// The query of a history.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Last {
    /// How many checks; 10 when left out.
    limit: Option<usize>,
}

/// `GET /health-check/{node}?limit=…`.
pub(super) async fn history(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Asked(Last { limit }): Asked<Last>,
) -> Json<History> {
    let limit = limit.unwrap_or(10);
    let monitor = shared.cluster.monitor();
    Json(History {
        checks: monitor.get_history(&id, limit),
        flapping: monitor.detect_flapping(&id, limit),
        recommendation: monitor.get_recovery_recommendation(&id),
    })
}

/// `POST /rebalance`.
pub(super) async fn rebalance(State(shared): State<Shared>) -> Result<Json<Value>, Error> {
    Ok(Json(json!({ "moves": shared.cluster.rebalance_cluster().await? })))
}

/// `POST /auto-heal`.
pub(super) async fn auto_heal(State(shared): State<Shared>) -> Result<Json<Value>, Error> {
    let healed = shared.cluster.auto_heal().await?;
    Ok(Json(json!({ "changes": healed.len(), "healed": healed })))
}
