//! `/edge-computing`: an older cluster API, in its own keys (seed 000).

mod functions;
mod kept;
mod nodes;
mod plans;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post, put};
use sedge_base::ErrorKind;
use sedge_capability::Failure;
use sedge_cluster::{InvokeError, RegisterError};

use super::error::Error;
use super::{COMPONENT_LIMIT, INPUT_LIMIT};
use crate::server::Shared;

/// What the door serves below its path.
pub(super) fn routes() -> Router<Shared> {
    node_routes().merge(function_routes()).merge(plan_routes()).merge(kept_routes())
}

fn node_routes() -> Router<Shared> {
    Router::new()
        .route("/capabilities", get(nodes::capabilities))
        .route("/health", get(nodes::health))
        .route("/health-check", get(nodes::health_check))
        .route("/health-check/{node}", get(nodes::history))
        .route("/stale", get(nodes::stale))
        .route("/rebalance", post(nodes::rebalance))
        .route("/auto-heal", post(nodes::auto_heal))
        .route("/nodes", get(nodes::list).post(nodes::register))
        .route("/nodes/{node}", get(nodes::show).delete(nodes::deregister))
        .route("/nodes/{node}/heartbeat", post(nodes::heartbeat))
        .route("/nodes/{node}/offline", post(nodes::offline))
        .route("/nodes/{node}/drain", post(nodes::drain))
        .route("/nodes/{node}/undrain", post(nodes::undrain))
        .route("/nodes/{node}/summary", get(nodes::summary))
}

fn function_routes() -> Router<Shared> {
    let component = || DefaultBodyLimit::max(COMPONENT_LIMIT);
    let invoke = post(functions::invoke).layer(DefaultBodyLimit::max(INPUT_LIMIT));
    let dispatch = post(plans::dispatch).layer(DefaultBodyLimit::max(INPUT_LIMIT));
    Router::new()
        .route(
            "/functions/{function}",
            put(functions::deploy).layer(component()).delete(functions::undeploy_all),
        )
        .route("/nodes/{node}/functions", get(functions::list))
        .route(
            "/nodes/{node}/functions/{function}",
            put(functions::deploy_here).layer(component()).delete(functions::undeploy),
        )
        .route("/nodes/{node}/functions/{function}/invoke", invoke)
        .route("/nodes/{node}/functions/{function}/warm-up", post(functions::warm_up))
        .route("/nodes/{node}/functions/{function}/stats", get(functions::stats))
        .route("/metrics", get(functions::metrics).post(functions::record))
        .route("/tasks", dispatch)
        .route("/tasks/{id}", get(plans::gather))
}

fn plan_routes() -> Router<Shared> {
    let plan = get(plans::show).put(plans::plan).layer(DefaultBodyLimit::max(COMPONENT_LIMIT));
    Router::new()
        .route("/deployments", get(plans::list))
        .route("/deployments/{id}", plan)
        .route("/deployments/{id}/execute", post(plans::execute))
        .route("/deployments/{id}/rollback", post(plans::rollback))
        .route("/scheduler", get(plans::scheduler))
        .route("/jobs", get(plans::jobs).post(plans::add_job))
        .route("/jobs/{id}", get(plans::job).delete(plans::remove_job))
}

fn kept_routes() -> Router<Shared> {
    let value = get(kept::get_value).put(kept::put_value).delete(kept::delete_value);
    Router::new()
        .route("/sync", get(kept::sync))
        .route("/sync/state", get(kept::state))
        .route("/sync/local", post(kept::update_local))
        .route("/sync/remote", post(kept::apply_remote))
        .route("/sync/pending", get(kept::pending))
        .route("/sync/confirm", post(kept::confirm))
        .route("/sync/history", get(kept::history))
        .route("/sync/conflicts", get(kept::conflicts))
        .route("/cache", get(kept::cache).merge(delete(kept::clear)))
        .route("/cache/{key}", value)
}

/// Says that the cluster has no such node.
fn unknown_node(id: &str) -> Error {
    let text = format!("there is no node `{id}` in the cluster");
    Failure::new(ErrorKind::NotFound, "unknown_node", text).into()
}

impl From<RegisterError> for Error {
    fn from(error: RegisterError) -> Self {
        let (kind, code) = (error.kind(), error.code().to_owned().into());
        Failure { kind, code, message: error.to_string() }.into()
    }
}

impl From<InvokeError> for Error {
    fn from(error: InvokeError) -> Self {
        let (kind, code) = (error.kind(), error.code().to_owned().into());
        Failure { kind, code, message: error.to_string() }.into()
    }
}

/// Feeds a body to every reader of this door; returns whether one took it.
#[cfg(any(test, fuzzing))]
pub(super) fn feed(body: &[u8]) -> bool {
    use super::query::json;
    use sedge_cluster::{EdgeLimits, EdgeNode, JobAsk, PlanAsk};

    let taken = [
        json::<EdgeNode>(body).is_ok(),
        json::<EdgeLimits>(body).is_ok_and(|it| it.options().is_ok()),
        json::<JobAsk>(body).is_ok(),
        json::<PlanAsk>(body).is_ok(),
        json::<functions::Recorded>(body).is_ok(),
        json::<nodes::Mark>(body).is_ok(),
        json::<plans::DispatchAsk>(body).is_ok(),
        json::<plans::PlanHead>(body).is_ok(),
        json::<kept::Local>(body).is_ok(),
        json::<kept::Remote>(body).is_ok(),
        json::<kept::Confirmed>(body).is_ok(),
        json::<kept::Cached>(body).is_ok(),
    ];
    taken.contains(&true)
}

/// Feeds what stands behind a question mark to every reader of this door; returns whether one took it.
#[cfg(any(test, fuzzing))]
pub(super) fn feed_query(uri: &axum::http::Uri) -> bool {
    use axum::extract::Query;

    let taken = [
        Query::<nodes::Which>::try_from_uri(uri).is_ok(),
        Query::<nodes::Silence>::try_from_uri(uri).is_ok_and(|it| it.time().is_ok()),
        Query::<nodes::Last>::try_from_uri(uri).is_ok(),
        Query::<functions::Where>::try_from_uri(uri).is_ok(),
        Query::<functions::Of>::try_from_uri(uri).is_ok(),
        Query::<plans::Which>::try_from_uri(uri).is_ok(),
        Query::<plans::Patience>::try_from_uri(uri).is_ok(),
        Query::<kept::Last>::try_from_uri(uri).is_ok(),
    ];
    taken.contains(&true)
}
