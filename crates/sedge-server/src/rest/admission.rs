//! The door for strangers: who waits, who may come in, who is kept out; and knocking elsewhere.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use sedge_base::Secret;
use sedge_node::{AdmissionView, AskWaits, Asking, JoinFailed, Joined, PairTokenMade, Settled};
use sedge_trust::admission::{PAIR_TOKEN_TTL, Typed};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::error::{Error, ErrorRecord};
use super::query::{invalid, json};
use crate::server::Shared;

/// The longest wait for a person on the other side, in seconds; also the usual one.
const LONGEST_WAIT_S: u64 = 600;

/// How long a ban lasts when nobody says, in seconds: a day.
const USUAL_BAN_S: u64 = 24 * 60 * 60;

/// The body of `POST /join/ask`; what is secret in it is not printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnockAsk {
    /// `HOST:PORT` of the other side.
    pub at: String,
    /// A secret that the other side's configuration has under this node's name.
    #[serde(default)]
    pub token: Option<String>,
    /// A pairing token that the other side made.
    #[serde(default)]
    pub pair_token: Option<String>,
    /// How long to wait for a person there, in seconds: 0 to 600; 600 when left out.
    #[serde(default)]
    pub wait_s: Option<u64>,
}

impl fmt::Debug for KnockAsk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnockAsk").field("at", &self.at).finish_non_exhaustive()
    }
}

/// The body of `POST /admission/nodes/{node}/ban`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BanAsk {
    /// How long, in seconds; a day when left out.
    pub time_s: Option<u64>,
    /// Why, for whoever is banned to read.
    pub reason: Option<String>,
}

/// The body of `POST /admission/pair-tokens`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairTokenAsk {
    /// How long it holds, in seconds: 1 to 86,400; a day when left out.
    pub ttl_s: Option<u64>,
}

/// One line of the answer to a knock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskLine {
    /// A person on the other side has to decide.
    Waiting(AskWaits),
    /// This node was let in; the last line.
    Done(Box<Joined>),
    /// It was not; the last line.
    Error(Box<ErrorRecord>),
}

/// `GET /admission`.
pub(super) async fn show(State(shared): State<Shared>) -> Json<AdmissionView> {
    Json(shared.node.admission().await)
}

/// `POST /admission/nodes/{node}/approve`, the node by its key, the beginning of it, or its name.
pub(super) async fn approve(
    State(shared): State<Shared>,
    Path(node): Path<String>,
) -> Result<Json<Settled>, Error> {
    Ok(Json(shared.node.approve(&node).await?))
}

/// `POST /admission/nodes/{node}/reject`.
pub(super) async fn reject(
    State(shared): State<Shared>,
    Path(node): Path<String>,
) -> Result<Json<Settled>, Error> {
    Ok(Json(shared.node.reject(&node).await?))
}

/// `POST /admission/nodes/{node}/ban`.
pub(super) async fn ban(
    State(shared): State<Shared>,
    Path(node): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Settled>, Error> {
    let body = body?;
    let ask = if body.is_empty() { BanAsk::default() } else { json(&body)? };
    let time_s = ask.time_s.unwrap_or(USUAL_BAN_S);
    if time_s == 0 {
        return Err(invalid("invalid_time", "`time_s` is at least 1"));
    }
    let reason = ask.reason.as_deref().unwrap_or("the owner of the swarm said so");
    Ok(Json(shared.node.ban(&node, Duration::from_secs(time_s), reason).await?))
}

/// `POST /admission/nodes/{node}/unban`.
pub(super) async fn unban(
    State(shared): State<Shared>,
    Path(node): Path<String>,
) -> Result<Json<Settled>, Error> {
    Ok(Json(shared.node.unban(&node).await?))
}

/// `POST /admission/pair-tokens`: the one time that the token is shown.
pub(super) async fn pair_token(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<PairTokenMade>, Error> {
    let body = body?;
    let ask = if body.is_empty() { PairTokenAsk::default() } else { json(&body)? };
    let ttl_s = ask.ttl_s.unwrap_or(PAIR_TOKEN_TTL.as_secs());
    if !(1..=PAIR_TOKEN_TTL.as_secs()).contains(&ttl_s) {
        return Err(invalid("invalid_ttl", "`ttl_s` is 1 to 86400"));
    }
    Ok(Json(shared.node.make_pair_token(Duration::from_secs(ttl_s)).await?))
}

/// `POST /join/ask`: lines of JSON, each an [`AskLine`], until this node is let in or not. A client
/// that goes away ends the wait; the request stays on the list on the other side.
pub(super) async fn ask(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    let asking = asking(json(&body?)?)?;
    let (sender, mut waits) = watch::channel(None);
    let mut work = Box::pin(async move { shared.node.ask_to_join(asking, &sender).await });
    // What fails before a person is asked is refused as everywhere; later the status is sent already.
    let first = tokio::select! {
        biased;
        done = &mut work => {
            let lines = line(&AskLine::Done(Box::new(done.map_err(refused)?)));
            return Ok(lines_of_json(Body::from(lines)));
        }
        Ok(()) = waits.changed() => waits.borrow().clone(),
    };
    let first = first.map_or_else(String::new, |it| line(&AskLine::Waiting(it)));
    let rest = stream::once(async move {
        match work.await {
            Ok(joined) => line(&AskLine::Done(Box::new(joined))),
            Err(failed) => line(&AskLine::Error(Box::new(refused(failed).into()))),
        }
    });
    let lines = stream::iter([first]).chain(rest).map(Ok::<_, Infallible>);
    Ok(lines_of_json(Body::from_stream(lines)))
}

fn asking(ask: KnockAsk) -> Result<Asking, Error> {
    let KnockAsk { at, token, pair_token, wait_s } = ask;
    let typed = match (token, pair_token) {
        (None, None) => None,
        (Some(token), None) => Some(Typed::Token(Secret::new(token))),
        (None, Some(text)) => {
            let token = text.parse().map_err(|err| invalid("invalid_pair_token", err))?;
            Some(Typed::PairToken(token))
        }
        (Some(_), Some(_)) => {
            return Err(invalid("two_tokens", "give `token` or `pair_token`, not both"));
        }
    };
    let wait_s = wait_s.unwrap_or(LONGEST_WAIT_S);
    if wait_s > LONGEST_WAIT_S {
        return Err(invalid("invalid_wait", "`wait_s` is 0 to 600"));
    }
    Ok(Asking { at, typed, wait: Duration::from_secs(wait_s) })
}

fn refused(failed: JoinFailed) -> Error {
    Error::from(failed.failure).with_ways(failed.ways)
}

fn lines_of_json(body: Body) -> Response {
    ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn line(line: &AskLine) -> String {
    // A record that cannot be written would be a fault of ours; an empty line says nothing wrong.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}
