//! The graph that all members write.

use std::convert::Infallible;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use sedge_node::{GraphPut, LinkSeen, Seen, SpaceView};
use serde::{Deserialize, Serialize};

use super::error::{Error, ErrorRecord};
use super::query::{Asked, json as read};
use crate::server::Shared;

/// The query of what stands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// The space; the open one when left out.
    space: Option<String>,
    /// The node of the graph.
    soul: String,
    /// One of its keys; all when left out.
    key: Option<String>,
}

/// What a client asks of `POST /graph/spaces`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpaceAsk {
    /// What the space is called.
    pub name: String,
    /// Which members read it besides this node, by name, id or the beginning of an id.
    #[serde(default)]
    pub readers: Vec<String>,
}

/// What a client asks of `POST /graph/readers`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareAsk {
    /// The space, by id or name.
    pub space: String,
    /// The member, by name, id or the beginning of an id.
    pub node: String,
    /// Whether it reads the space no longer: the others get a new key.
    #[serde(default)]
    pub withhold: bool,
}

/// One line of the answer to a watch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchLine {
    /// This stands from now on.
    Seen(Box<Seen>),
    /// It cannot be watched any longer; the last line.
    Error(Box<ErrorRecord>),
}

/// `GET /graph?space=…&soul=…&key=…`.
pub(super) async fn get(
    State(shared): State<Shared>,
    Asked(Which { space, soul, key }): Asked<Which>,
) -> Result<Json<Vec<Seen>>, Error> {
    Ok(Json(shared.node.graph_get(space.as_deref(), &soul, key.as_deref()).await?))
}

/// `POST /graph`.
pub(super) async fn put(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Seen>, Error> {
    let put: GraphPut = read(&body?)?;
    Ok(Json(shared.node.graph_put(put).await?))
}

/// `GET /graph/watch?space=…&soul=…&key=…`: lines of JSON, each a [`WatchLine`]: what stands now,
/// then what does from then on.
pub(super) async fn watch(
    State(shared): State<Shared>,
    Asked(Which { space, soul, key }): Asked<Which>,
) -> Result<Response, Error> {
    let watch = shared.node.graph_watch(space.as_deref(), &soul, key.as_deref()).await?;
    let lines = stream::unfold(Some(watch), async |watch| {
        let mut watch = watch?;
        match watch.next().await? {
            Ok(seen) => Some((line(&WatchLine::Seen(Box::new(seen))), Some(watch))),
            Err(failure) => {
                let record = ErrorRecord::from(Error::from(failure));
                Some((line(&WatchLine::Error(Box::new(record))), None))
            }
        }
    });
    let body = Body::from_stream(lines.map(Ok::<_, Infallible>));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// `GET /graph/spaces`.
pub(super) async fn spaces(State(shared): State<Shared>) -> Result<Json<Vec<SpaceView>>, Error> {
    Ok(Json(shared.node.graph_spaces().await?))
}

/// `POST /graph/spaces`: founds a closed space.
pub(super) async fn found(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<SpaceView>, Error> {
    let SpaceAsk { name, readers } = read(&body?)?;
    Ok(Json(shared.node.graph_found(&name, &readers).await?))
}

/// `POST /graph/readers`: lets a member read a closed space, or no longer.
pub(super) async fn share(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<SpaceView>, Error> {
    let ShareAsk { space, node, withhold } = read(&body?)?;
    Ok(Json(shared.node.graph_share(&space, &node, withhold).await?))
}

/// `GET /graph/links`: how good the links to the members are, and how what is sent is made smaller.
pub(super) async fn links(State(shared): State<Shared>) -> Json<Vec<LinkSeen>> {
    Json(shared.node.graph_links())
}

fn line(line: &WatchLine) -> String {
    // A record that cannot be written would be a fault of ours; an empty line says nothing wrong.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}
