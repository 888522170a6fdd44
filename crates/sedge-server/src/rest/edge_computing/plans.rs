//! What the cluster does later: deployments, jobs, and payloads in numbers.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use sedge_base::ErrorKind;
use sedge_capability::{Failure, Name};
use sedge_cluster::{
    DeploymentPlan, Dispatch, EdgeFunction, EdgeLimits, PlanAsk, Retrieved, ScheduledJob,
    SchedulerSummary,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::error::Error;
use super::super::functions::OPTIONS_HEADER;
use super::super::query::{Asked, invalid, json as read, name};
use crate::server::Shared;

/// The longest wait for results, in seconds.
const LONGEST_WAIT_S: u64 = 600;

/// What a plan is made of, in the header [`OPTIONS_HEADER`].
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PlanHead {
    plan: PlanAsk,
    limits: EdgeLimits,
}

/// `GET /deployments`.
pub(super) async fn list(State(shared): State<Shared>) -> Result<Json<Vec<DeploymentPlan>>, Error> {
    Ok(Json(shared.cluster.deployments().list_deployments().await?))
}

/// `GET /deployments/{id}`.
pub(super) async fn show(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<DeploymentPlan>, Error> {
    Ok(Json(shared.cluster.deployments().get_deployment_status(&id).await?))
}

/// `PUT /deployments/{function}`: plans; the component as body, the rest as JSON in the header.
pub(super) async fn plan(
    State(shared): State<Shared>,
    Path(function): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<DeploymentPlan>, Error> {
    let PlanHead { plan, limits } = match headers.get(OPTIONS_HEADER) {
        None => PlanHead::default(),
        Some(head) => read(head.as_bytes())?,
    };
    let function = EdgeFunction { limits, ..EdgeFunction::new(name(&function)?, body?) };
    Ok(Json(shared.cluster.deployments().create_plan(&function, plan).await?))
}

/// `POST /deployments/{id}/execute`.
pub(super) async fn execute(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<DeploymentPlan>, Error> {
    Ok(Json(shared.cluster.deployments().execute(&id).await?))
}

/// `POST /deployments/{id}/rollback`.
pub(super) async fn rollback(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    Ok(Json(json!({ "count": shared.cluster.deployments().rollback(&id).await? })))
}

/// The query of the list of jobs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Only those that will run again.
    #[serde(default)]
    enabled_only: bool,
    /// Only those that the node is about to begin.
    #[serde(default)]
    due: bool,
}

/// `GET /jobs?enabled_only=…&due=…`.
pub(super) async fn jobs(
    State(shared): State<Shared>,
    Asked(Which { enabled_only, due }): Asked<Which>,
) -> Json<Vec<ScheduledJob>> {
    let scheduler = shared.cluster.scheduler();
    Json(if due { scheduler.get_due_jobs() } else { scheduler.list_jobs(enabled_only) })
}

/// `POST /jobs`, a [`JobAsk`](sedge_cluster::JobAsk) as body.
pub(super) async fn add_job(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ScheduledJob>, Error> {
    Ok(Json(shared.cluster.scheduler().add_job(read(&body?)?).await?))
}

/// `GET /jobs/{id}`.
pub(super) async fn job(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<ScheduledJob>, Error> {
    let job = shared.cluster.scheduler().get_job(&id).ok_or_else(|| {
        let text = format!("there is no job `{id}`");
        Failure::new(ErrorKind::NotFound, "unknown_job", text)
    })?;
    Ok(Json(job))
}

/// `DELETE /jobs/{id}`.
pub(super) async fn remove_job(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    Ok(Json(json!({ "removed": shared.cluster.scheduler().remove_job(&id).await? })))
}

/// `GET /scheduler`.
pub(super) async fn scheduler(State(shared): State<Shared>) -> Json<SchedulerSummary> {
    Json(shared.cluster.scheduler().summary())
}

/// Payloads for one function.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DispatchAsk {
    function_id: Name,
    payloads: Vec<String>,
}

/// `POST /tasks`: hands payloads to the nodes that have the function, in turn.
pub(super) async fn dispatch(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Dispatch>, Error> {
    let DispatchAsk { function_id, payloads } = read(&body?)?;
    Ok(Json(shared.cluster.orchestrator().dispatch(&function_id, payloads).await?))
}

/// The query of a gathering.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Patience {
    /// How long to wait until every task has ended, in seconds, 0 to 600; 0 when left out.
    #[serde(default)]
    wait_s: u64,
}

/// `GET /tasks/{id}?wait_s=…`: of all payloads that were handed in together, or, by a task's id, of one.
pub(super) async fn gather(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Asked(Patience { wait_s }): Asked<Patience>,
) -> Result<Json<Vec<Retrieved>>, Error> {
    if wait_s > LONGEST_WAIT_S {
        return Err(invalid("invalid_wait", "`wait_s` is 0 to 600"));
    }
    let orchestrator = shared.cluster.orchestrator();
    if id.contains(':') {
        return Ok(Json(vec![orchestrator.retrieve_result(&id).await?]));
    }
    Ok(Json(orchestrator.gather(&id, Duration::from_secs(wait_s)).await?))
}
