//! How machines come together.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use sedge_node::{Invitation, InviteState, Joined, Whereabouts};
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::query::{invalid, json};
use crate::server::Shared;

/// The longest life of an invitation, in seconds; also the usual one.
const LONGEST_S: u64 = 600;

/// The body of `POST /invites`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InviteAsk {
    /// How long the code holds, in seconds: 1 to 600; 600 when left out.
    pub ttl_s: Option<u64>,
}

/// The body of `POST /join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinAsk {
    /// What the other side said.
    pub code: String,
    /// `HOST:PORT` of the other side, where the local network has no discovery.
    #[serde(default)]
    pub at: Option<String>,
    /// A way through a relay, as the invitation says.
    #[serde(default)]
    pub relay: Option<String>,
}

/// `POST /invites`: opens an invitation, ends the one before.
pub(super) async fn invite(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Invitation>, Error> {
    let body = body?;
    let ask = if body.is_empty() { InviteAsk::default() } else { json(&body)? };
    let ttl_s = ask.ttl_s.unwrap_or(LONGEST_S);
    if !(1..=LONGEST_S).contains(&ttl_s) {
        return Err(invalid("invalid_ttl", "`ttl_s` is 1 to 600"));
    }
    Ok(Json(shared.node.invite(Duration::from_secs(ttl_s)).await?))
}

/// `GET /invites`: what became of the invitation.
pub(super) async fn invite_state(State(shared): State<Shared>) -> Json<InviteState> {
    Json(shared.node.invite_state())
}

/// `POST /join`.
pub(super) async fn join(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Joined>, Error> {
    let JoinAsk { code, at, relay } = json(&body?)?;
    match shared.node.join(&code, Whereabouts { at, relay }).await {
        Ok(joined) => Ok(Json(joined)),
        Err(failed) => Err(Error::from(failed.failure).with_ways(failed.ways)),
    }
}
