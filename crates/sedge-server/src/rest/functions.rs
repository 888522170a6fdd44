//! Components: bring them, call them, take them away.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use sedge_base::{ByteSize, ErrorKind};
use sedge_capability::{Budgets, Failure, Kind, Media, Usage};
use sedge_node::{Ask, Deploy, DeployOptions, Deployed, Target};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Error;
use super::query::{Asked, json as read, name};
use super::{origin_headers, receipt_id};
use crate::asker::Asker;
use crate::server::Shared;

/// The header that tells what a task used: [`Usage`] as JSON.
pub const USAGE_HEADER: &str = "x-sedge-usage";

/// The header that carries [`DeployOptions`] as JSON; other than ASCII is written as JSON escapes.
pub const OPTIONS_HEADER: &str = "x-sedge-options";

/// The query of a deployment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Where {
    /// `here`, `all`, `auto`, or a node's name, id or beginning of an id; `here` when left out, or
    /// `auto` when the options say how many replicas are wanted.
    to: Option<String>,
}

/// The query of a call: the budgets of the task.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    fuel: Option<u64>,
    memory: Option<u64>,
    time_ms: Option<u64>,
}

/// `PUT /functions/{name}?to=…`, the component as body.
pub(super) async fn deploy(
    State(shared): State<Shared>,
    Path(function): Path<String>,
    Asked(Where { to }): Asked<Where>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Vec<Deployed>>, Error> {
    let options = match headers.get(OPTIONS_HEADER) {
        None => DeployOptions::default(),
        Some(options) => read(options.as_bytes())?,
    };
    let target = match to.as_deref() {
        None if options.replicas.is_some() => Target::Auto,
        None | Some("here") => Target::Here,
        Some("all") => Target::All,
        Some("auto") => Target::Auto,
        Some(node) => Target::Node(node.to_owned()),
    };
    let deploy = Deploy { name: name(&function)?, wasm: body?, target, options };
    Ok(Json(shared.node.deploy(deploy).await?))
}

/// `DELETE /functions/{name}`.
pub(super) async fn undeploy(
    State(shared): State<Shared>,
    Path(function): Path<String>,
) -> Result<Json<Value>, Error> {
    if shared.node.undeploy(&name(&function)?).await? {
        return Ok(Json(json!({ "removed": function })));
    }
    let message = format!("this node has no function `{function}`");
    Err(Failure::new(ErrorKind::NotFound, "unknown_function", message).into())
}

/// `POST /functions/{name}/call`, for functions, sandboxes and the tools of edges: raw bytes in and out; what is known about the task is in headers,
/// of a failed one too.
pub(super) async fn call(
    State(shared): State<Shared>,
    Path(function): Path<String>,
    Asked(limits): Asked<Limits>,
    asker: Asker,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    let Limits { fuel, memory, time_ms } = limits;
    let memory = memory.map(ByteSize::from_bytes);
    let kind = match function.split_once(':') {
        Some(("edge", _)) => Kind::Tool,
        Some(("code", _)) => Kind::Sandbox,
        _ => Kind::Function,
    };
    let ask = Ask {
        capability: name(&function)?,
        kind: Some(kind),
        input: body?,
        media: Media::Plain,
        budgets: Budgets { fuel, memory, time_ms, ..Budgets::default() },
        on: asker.on()?,
        pass: asker.pass(),
    };
    let answer = shared.node.run(ask).await?;
    let mut told = origin_headers(&answer);
    let (output, end) = answer.outcome.collect().await;
    told.insert(USAGE_HEADER, encode_usage(&end.usage));
    if let Some(id) = receipt_id(&end).and_then(|it| HeaderValue::try_from(it).ok()) {
        told.insert("x-sedge-receipt", id);
    }
    Ok(match end.failure {
        None => (told, output).into_response(),
        Some(failure) => (told, Error::from(failure)).into_response(),
    })
}

/// Returns what a task used, as a header's value.
pub(super) fn encode_usage(usage: &Usage) -> HeaderValue {
    let text = serde_json::to_string(usage).ok();
    let value = text.and_then(|it| HeaderValue::try_from(it).ok());
    value.unwrap_or(HeaderValue::from_static("{}"))
}
