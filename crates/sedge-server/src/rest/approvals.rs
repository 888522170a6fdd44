//! What people are asked before a tool runs, and their signed answers.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use sedge_node::ApprovalView;
use sedge_trust::Approval;

use super::error::Error;
use super::query::json;
use crate::server::Shared;

/// `GET /approvals`: the oldest first.
pub(super) async fn list(State(shared): State<Shared>) -> Result<Json<Vec<ApprovalView>>, Error> {
    Ok(Json(shared.node.approvals().await?))
}

/// `POST /approvals`: a person's signed answer. The key of this API lets somebody bring it, and
/// answers nothing by itself.
pub(super) async fn decide(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ApprovalView>, Error> {
    let approval: Approval = json(&body?)?;
    Ok(Json(shared.node.decide_approval(approval).await?))
}
