//! What somebody may have to answer for.

use axum::Json;
use axum::extract::State;
use sedge_node::AuditTrail;
use serde::Deserialize;

use super::error::Error;
use super::query::{Asked, invalid};
use crate::server::Shared;

/// How many entries a list has when nobody says.
const USUAL_COUNT: usize = 50;

/// The most entries in one list.
const MOST: usize = 10_000;

/// The query of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Count {
    /// How many of the newest, 1 to 10,000; 50 when left out.
    limit: Option<usize>,
}

/// `GET /audit`: the newest first.
pub(super) async fn list(
    State(shared): State<Shared>,
    Asked(count): Asked<Count>,
) -> Result<Json<AuditTrail>, Error> {
    let limit = count.limit.unwrap_or(USUAL_COUNT);
    if !(1..=MOST).contains(&limit) {
        return Err(invalid("invalid_limit", "`limit` is 1 to 10000"));
    }
    Ok(Json(shared.node.audit_trail(limit).await?))
}
