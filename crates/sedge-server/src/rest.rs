//! The REST door, for the program and for scripts.
//!
//! Answers are the node's own records as JSON; a refusal is always
//! `{"error":{"kind","code","message","hint"}}`.

mod admission;
mod approvals;
mod apps;
mod artifacts;
mod audit;
mod batches;
mod decisions;
mod edge_computing;
mod error;
mod functions;
mod graph;
mod mesh;
mod node;
mod pairing;
mod plugins;
mod query;
mod quorum;
mod receipts;
mod rollouts;
mod schedules;
mod secrets;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::routing::{delete, get, post, put};
use sedge_node::Answer;

use crate::access::Access;
use crate::routes::Door;
use crate::server::Shared;

pub use admission::{AskLine, BanAsk, KnockAsk, PairTokenAsk};
pub use artifacts::FetchLine;
pub(crate) use error::{Error, refuse};
pub use error::{ErrorBody, ErrorRecord};
pub use functions::{OPTIONS_HEADER, USAGE_HEADER};
pub use graph::{ShareAsk, SpaceAsk, WatchLine};
pub use mesh::RebalanceAsk;
pub use pairing::{InviteAsk, JoinAsk};
pub(crate) use query::name as capability_name;
pub use quorum::{ClaimAsk, FoundAsk, RecordAsk, ReleaseAsk, RolesAsk};
pub(crate) use receipts::receipt_id;

/// The largest request whose path says nothing else, in bytes.
const BODY_LIMIT: usize = 64 << 10;

/// The largest input of a function, in bytes.
const INPUT_LIMIT: usize = 16 << 20;

/// The largest component, in bytes.
const COMPONENT_LIMIT: usize = 64 << 20;

/// The largest value of the graph, in bytes: a tensor's numbers as text.
const VALUE_LIMIT: usize = 32 << 20;

/// The largest wish for a task at another time, in bytes: its input as JSON.
const WISH_LIMIT: usize = 1 << 20;

/// `/api/v1`: what the program speaks.
pub(crate) const DOOR: Door = Door {
    prefix: "/api/v1",
    routes,
    token_routes,
    refuse,
    access: Access::Bearer,
    tls_only: false,
};

fn routes() -> Router<Shared> {
    mesh_routes()
        .merge(state_routes())
        .merge(work_routes())
        .merge(proof_routes())
        .nest("/edge-computing", edge_computing::routes())
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// This node, and the machines that it belongs to.
fn mesh_routes() -> Router<Shared> {
    Router::new()
        .route("/status", get(node::status))
        .route("/doctor", get(node::doctor))
        .route("/metrics", get(node::metrics))
        .route("/stop", post(node::stop))
        .route("/nodes", get(mesh::nodes))
        .route("/nodes/{node}", get(mesh::node))
        .route("/nodes/{node}/drain", post(mesh::drain))
        .route("/nodes/{node}/undrain", post(mesh::undrain))
        .route("/nodes/{node}/revoke", post(mesh::revoke))
        .route("/health", get(mesh::health))
        .route("/relay", get(mesh::relays).put(mesh::relay_on).delete(mesh::relay_off))
        .route("/rebalance", post(mesh::rebalance))
        .route("/tokens/{id}/revoke", post(mesh::revoke_token))
        .route("/invites", post(pairing::invite).get(pairing::invite_state))
        .route("/join", post(pairing::join))
        .route("/nodes/{node}/roles", post(quorum::set_roles))
        .route("/quorum", get(quorum::show).post(quorum::found))
        .route("/quorum/voters/{node}", post(quorum::add).delete(quorum::remove))
        .route("/quorum/claims", post(quorum::claim))
        .route("/quorum/claims/release", post(quorum::release))
        .route("/quorum/records", get(quorum::agreed).post(quorum::record))
        .route("/join/ask", post(admission::ask))
        .route("/admission", get(admission::show))
        .route("/admission/pair-tokens", post(admission::pair_token))
        .route("/admission/nodes/{node}/approve", post(admission::approve))
        .route("/admission/nodes/{node}/reject", post(admission::reject))
        .route("/admission/nodes/{node}/ban", post(admission::ban))
        .route("/admission/nodes/{node}/unban", post(admission::unban))
}

/// What is kept: values and artifacts.
fn state_routes() -> Router<Shared> {
    let graph = get(graph::get).post(graph::put).layer(DefaultBodyLimit::max(VALUE_LIMIT));
    Router::new()
        .route("/graph", graph)
        .route("/graph/links", get(graph::links))
        .route("/graph/readers", post(graph::share))
        .route("/graph/spaces", get(graph::spaces).post(graph::found))
        .route("/graph/watch", get(graph::watch))
        .route("/artifacts", get(artifacts::list).post(artifacts::put))
        .route("/artifacts/{id}", delete(artifacts::remove))
        .route("/artifacts/{id}/content", get(artifacts::content))
        .route("/artifacts/{id}/digest", post(artifacts::digest))
        .route("/artifacts/{id}/fetch", post(artifacts::fetch))
        .route("/artifacts/{id}/pointer", post(artifacts::point))
        .route("/pointers", post(artifacts::follow))
        .route("/pointers/check", post(artifacts::fits))
}

/// What runs, and when.
fn work_routes() -> Router<Shared> {
    let put_function = put(functions::deploy)
        .layer(DefaultBodyLimit::max(COMPONENT_LIMIT))
        .delete(functions::undeploy);
    let batches =
        get(batches::list).post(batches::dispatch).layer(DefaultBodyLimit::max(INPUT_LIMIT));
    let rollout =
        get(rollouts::show).put(rollouts::plan).layer(DefaultBodyLimit::max(COMPONENT_LIMIT));
    let schedules =
        get(schedules::list).post(schedules::add).layer(DefaultBodyLimit::max(WISH_LIMIT));
    Router::new()
        .route("/functions/{name}", put_function)
        .route("/channels", get(apps::channels))
        .route("/apps/{name}/data", delete(apps::forget))
        .route("/secrets", get(secrets::list))
        .route("/secrets/{name}", put(secrets::set).delete(secrets::remove))
        .route("/batches", batches)
        .route("/batches/{id}", get(batches::gather).delete(batches::remove))
        .route("/rollouts", get(rollouts::list))
        .route("/rollouts/{id}", rollout)
        .route("/rollouts/{id}/start", post(rollouts::start))
        .route("/rollouts/{id}/rollback", post(rollouts::back))
        .route("/plugins", get(plugins::list).post(plugins::reload))
        .route("/plugins/{name}", get(plugins::show))
        .route("/plugins/{name}/enable", post(plugins::enable))
        .route("/plugins/{name}/disable", post(plugins::disable))
        .route("/hooks/{hook}", post(plugins::emit))
        .route("/schedules", schedules)
        .route("/schedules/{id}", delete(schedules::remove))
        .route("/schedules/{id}/run", post(schedules::run))
}

/// What happened, why, and who says so.
fn proof_routes() -> Router<Shared> {
    Router::new()
        .route("/approvals", get(approvals::list).post(approvals::decide))
        .route("/audit", get(audit::list))
        .route("/decisions/{task}", get(decisions::show))
        .route("/receipts", get(receipts::list))
        .route("/receipts/export", get(receipts::export_all))
        .route("/receipts/chain", get(receipts::export_chain))
        .route("/receipts/{id}/replay", post(receipts::replay))
        .route("/chains", get(receipts::chains))
        .route("/chains/checkpoint", post(receipts::checkpoint))
        .route("/receipts/{id}", get(receipts::show))
        .route("/receipts/{id}/export", get(receipts::export))
}

/// What a token opens: running tasks, and the lists of what it may run.
fn token_routes() -> Router<Shared> {
    Router::new()
        .route("/functions/{name}/call", post(functions::call))
        .layer(DefaultBodyLimit::max(INPUT_LIMIT))
        .route("/capabilities", get(mesh::capabilities))
        .route("/models", get(mesh::models))
}

/// Returns the headers that say who answers.
pub(crate) fn origin_headers(answer: &Answer) -> HeaderMap {
    let values = [
        ("x-sedge-node", answer.node.to_string()),
        ("x-sedge-node-name", answer.node_name.clone()),
        ("x-sedge-task", answer.task.to_string()),
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in values {
        // A name with characters that no header can carry is left out; the id is always there.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}

/// Feeds a body to every reader of this door; returns whether one took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(body: &[u8]) -> bool {
    use sedge_node::{
        Agreement, BatchAsk, DeployOptions, GraphPut, Point, RolloutAsk, ScheduleAsk,
    };
    use sedge_trust::Approval;
    use sedge_trust::seed::{ArtifactPointer, Signed};

    use self::query::json;

    fn reads<T: serde::de::DeserializeOwned>(body: &[u8]) -> bool {
        json::<T>(body).is_ok()
    }
    let readers = [
        reads::<InviteAsk>,
        reads::<JoinAsk>,
        reads::<KnockAsk>,
        reads::<BanAsk>,
        reads::<PairTokenAsk>,
        reads::<SpaceAsk>,
        reads::<ShareAsk>,
        reads::<GraphPut>,
        reads::<RebalanceAsk>,
        reads::<FoundAsk>,
        reads::<RolesAsk>,
        reads::<ClaimAsk>,
        reads::<ReleaseAsk>,
        reads::<RecordAsk>,
        reads::<DeployOptions>,
        reads::<BatchAsk>,
        reads::<RolloutAsk>,
        reads::<ScheduleAsk>,
        reads::<Agreement>,
        reads::<Approval>,
        reads::<Point>,
        reads::<Signed<ArtifactPointer>>,
    ];
    let taken = readers.map(|it| it(body));
    taken.contains(&true) || edge_computing::feed(body)
}

/// Feeds an address to what reads names in paths and questions behind them; returns whether one took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed_address(text: &str) -> bool {
    use axum::extract::Query;
    use axum::http::Uri;

    fn asks<T: serde::de::DeserializeOwned>(uri: &Uri) -> bool {
        Query::<T>::try_from_uri(uri).is_ok()
    }
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let named = query::name(uri.path().trim_start_matches('/')).is_ok();
    let readers = [
        asks::<artifacts::How>,
        asks::<audit::Count>,
        asks::<batches::Patience>,
        asks::<functions::Limits>,
        asks::<functions::Where>,
        asks::<graph::Which>,
        asks::<mesh::Which>,
        asks::<receipts::Exported>,
        asks::<receipts::From>,
    ];
    let asked = readers.iter().any(|it| it(&uri)) || edge_computing::feed_query(&uri);
    named || uri.query().is_some() && asked
}
