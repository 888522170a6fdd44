//! Functions of the cluster, and how they fare.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use sedge_base::Timestamp;
use sedge_capability::Name;
use sedge_cluster::{
    EdgeFunction, EdgeRuntime, FunctionListed, FunctionStats, InvocationRecord, MetricsSummary,
    Spread,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::error::Error;
use super::super::functions::{OPTIONS_HEADER, USAGE_HEADER, encode_usage};
use super::super::query::{Asked, invalid, json as read, name};
use super::unknown_node;
use crate::server::Shared;

/// The longest id in a record, in bytes.
const MAX_ID: usize = 256;

/// The query of a deployment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Where {
    /// `all`, or `least-loaded`; `all` when left out.
    to: Option<String>,
}

/// Returns the function that a request carries: the component as body, its
/// [`EdgeLimits`](sedge_cluster::EdgeLimits) as JSON in the header [`OPTIONS_HEADER`].
pub(super) fn function(id: &str, headers: &HeaderMap, body: Bytes) -> Result<EdgeFunction, Error> {
    let usual = EdgeFunction::new(name(id)?, body);
    match headers.get(OPTIONS_HEADER) {
        None => Ok(usual),
        Some(options) => Ok(EdgeFunction { limits: read(options.as_bytes())?, ..usual }),
    }
}

async fn runtime(shared: &Shared, node: &str) -> Result<EdgeRuntime, Error> {
    shared.cluster.get_runtime(node).await?.ok_or_else(|| unknown_node(node))
}

/// `PUT /functions/{function}?to=…`: brings it to all nodes, or to the one with the least.
pub(super) async fn deploy(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Asked(Where { to }): Asked<Where>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    let function = function(&id, &headers, body?)?;
    match to.as_deref() {
        None | Some("all") => {
            Ok(Json(shared.cluster.deploy_to_all(&function).await?).into_response())
        }
        Some("least-loaded") => {
            let node_id = shared.cluster.deploy_least_loaded(&function).await?;
            Ok(Json(json!({ "node_id": node_id })).into_response())
        }
        Some(_) => Err(invalid("invalid_target", "`to` is `all` or `least-loaded`")),
    }
}

/// `DELETE /functions/{function}`: takes it away from all nodes.
pub(super) async fn undeploy_all(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Spread>, Error> {
    Ok(Json(shared.cluster.undeploy_from_all(&name(&id)?).await?))
}

/// `GET /nodes/{node}/functions`.
pub(super) async fn list(
    State(shared): State<Shared>,
    Path(node): Path<String>,
) -> Result<Json<Vec<FunctionListed>>, Error> {
    Ok(Json(runtime(&shared, &node).await?.list_functions().await?))
}

/// `PUT /nodes/{node}/functions/{function}`: brings it to one node.
pub(super) async fn deploy_here(
    State(shared): State<Shared>,
    Path((node, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Error> {
    let function = function(&id, &headers, body?)?;
    Ok(Json(json!({ "deployed": shared.cluster.deploy_to_node(&node, &function).await? })))
}

/// `DELETE /nodes/{node}/functions/{function}`.
pub(super) async fn undeploy(
    State(shared): State<Shared>,
    Path((node, id)): Path<(String, String)>,
) -> Result<Json<Value>, Error> {
    let was = runtime(&shared, &node).await?.undeploy(&name(&id)?).await?;
    Ok(Json(json!({ "undeployed": was })))
}

/// `POST /nodes/{node}/functions/{function}/invoke`: raw bytes in and out.
pub(super) async fn invoke(
    State(shared): State<Shared>,
    Path((node, id)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    let invoked = runtime(&shared, &node).await?.invoke(&id, body?).await?;
    let mut headers = HeaderMap::new();
    if let Ok(task) = invoked.task.to_string().parse() {
        headers.insert("x-sedge-task", task);
    }
    headers.insert(USAGE_HEADER, encode_usage(&invoked.usage));
    Ok((headers, invoked.output).into_response())
}

/// `POST /nodes/{node}/functions/{function}/warm-up`.
pub(super) async fn warm_up(
    State(shared): State<Shared>,
    Path((node, id)): Path<(String, String)>,
) -> Result<Json<Value>, Error> {
    let runtime = runtime(&shared, &node).await?;
    let known = runtime.warm_up(&id).await;
    let warm = known && runtime.is_warm(&name(&id)?).await?;
    Ok(Json(json!({ "known": known, "warm": warm })))
}

/// `GET /nodes/{node}/functions/{function}/stats`.
pub(super) async fn stats(
    State(shared): State<Shared>,
    Path((node, id)): Path<(String, String)>,
) -> Result<Json<FunctionStats>, Error> {
    Ok(Json(runtime(&shared, &node).await?.get_function_stats(&name(&id)?).await?))
}

/// The query of what was counted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Of {
    /// Of one function.
    function_id: Option<String>,
    /// On one node.
    node_id: Option<String>,
}

/// `GET /metrics?function_id=…&node_id=…`.
pub(super) async fn metrics(
    State(shared): State<Shared>,
    Asked(Of { function_id, node_id }): Asked<Of>,
) -> Json<MetricsSummary> {
    let metrics = shared.cluster.metrics();
    Json(metrics.summary_of(function_id.as_deref(), node_id.as_deref()))
}

/// An invocation that happened elsewhere.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recorded {
    function_id: Name,
    node_id: String,
    duration_ms: f64,
    success: bool,
    /// Seconds since 1970; now when left out. It is checked and not kept: counts have no dates.
    timestamp: Option<f64>,
    #[serde(default)]
    error: String,
}

/// `POST /metrics`: counts one invocation besides those of the cluster itself.
pub(super) async fn record(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<MetricsSummary>, Error> {
    let Recorded { function_id, node_id, duration_ms, success, timestamp, error } = read(&body?)?;
    if node_id.is_empty() || node_id.len() > MAX_ID {
        return Err(invalid("invalid_record", "`node_id` has 1 to 256 bytes"));
    }
    if !(duration_ms >= 0.0 && duration_ms.is_finite()) {
        return Err(invalid("invalid_record", "`duration_ms` is 0 or more"));
    }
    let timestamp = match timestamp {
        None => shared.cluster.now(),
        Some(some) if (0.0..1e12).contains(&some) => Timestamp::from_millis((some * 1e3) as u64),
        Some(_) => return Err(invalid("invalid_record", "`timestamp` is seconds since 1970")),
    };
    let function_id = function_id.to_string();
    let record = InvocationRecord { function_id, node_id, duration_ms, success, timestamp, error };
    let mut metrics = shared.cluster.metrics();
    metrics.record(&record);
    Ok(Json(metrics.summary()))
}
