//! What happened, with proof.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use sedge_base::ErrorKind;
use sedge_capability::{End, Failure};
use sedge_node::{Chains, Replayed};
use sedge_trust::receipt::{Checkpoint, Form};
use sedge_trust::{Export, Receipt};
use serde::Deserialize;

use super::error::Error;
use super::query::{Asked, invalid};
use crate::asker::Asker;
use crate::server::Shared;

/// How many receipts a list has when nobody says.
const USUAL_COUNT: usize = 20;

/// The most receipts in one list or file.
const MOST: usize = 10_000;

/// The query of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Count {
    /// How many of the newest, 1 to 10,000; 20 when left out.
    limit: Option<usize>,
}

/// `GET /receipts`: the newest first.
pub(super) async fn list(
    State(shared): State<Shared>,
    Asked(count): Asked<Count>,
) -> Result<Json<Vec<Receipt>>, Error> {
    Ok(Json(newest(&shared, count, USUAL_COUNT).await?))
}

/// `GET /receipts/export`: the newest as one file, oldest first.
pub(super) async fn export_all(
    State(shared): State<Shared>,
    Asked(count): Asked<Count>,
) -> Result<Response, Error> {
    let mut receipts = newest(&shared, count, MOST).await?;
    receipts.reverse();
    file(receipts)
}

/// `GET /receipts/{id}`: by its id or the beginning of it, its task's id, or `last`.
pub(super) async fn show(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Receipt>, Error> {
    Ok(Json(one(&shared, &id).await?))
}

/// How one receipt is exported.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exported {
    /// Say how the chain goes on from its first so many receipts.
    since: Option<u64>,
    /// `cose` or `in-toto`: an envelope that other tools read, in place of this project's own file.
    format: Option<String>,
}

/// `GET /receipts/{id}/export`: one receipt as a file; with its place in the chain, if it is this
/// node's own.
pub(super) async fn export(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Asked(Exported { since, format }): Asked<Exported>,
) -> Result<Response, Error> {
    let receipt = one(&shared, &id).await?;
    if let Some(format) = format {
        let form: Form = format.parse().map_err(|err| invalid("invalid_format", err))?;
        let bytes = shared.node.attest(&receipt, form)?;
        return Ok(([(CONTENT_TYPE, form.media_type())], bytes).into_response());
    }
    let anchor = shared.node.ledger().anchor(&receipt, since).await;
    match anchor.map_err(|err| unreadable(err.kind(), &err))? {
        Some(anchor) => written(&Export::anchored(receipt, anchor)),
        None => file(vec![receipt]),
    }
}

/// The query of a chain's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    /// The place of the first receipt; 0 when left out.
    #[serde(default)]
    from: u64,
}

/// `GET /receipts/chain`: this node's own chain as a file, from a place to its end.
pub(super) async fn export_chain(
    State(shared): State<Shared>,
    Asked(From { from }): Asked<From>,
) -> Result<Response, Error> {
    let exported = shared.node.ledger().export_chain(from).await;
    let bytes = exported.map_err(|err| unreadable(err.kind(), &err))?;
    Ok(([(CONTENT_TYPE, "application/jsonl")], bytes).into_response())
}

/// `POST /receipts/{id}/replay`: runs its task again and compares.
pub(super) async fn replay(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    asker: Asker,
) -> Result<Json<Replayed>, Error> {
    let on = asker.on()?;
    let receipt = one(&shared, &id).await?;
    Ok(Json(shared.node.replay(&receipt, on.as_deref()).await?))
}

/// `GET /chains`: this node's newest checkpoint, and what it keeps of other nodes' chains.
pub(super) async fn chains(State(shared): State<Shared>) -> Result<Json<Chains>, Error> {
    Ok(Json(shared.node.chains().await?))
}

/// `POST /chains/checkpoint`: a checkpoint that counts every receipt of this node.
pub(super) async fn checkpoint(State(shared): State<Shared>) -> Result<Json<Checkpoint>, Error> {
    Ok(Json(shared.node.checkpoint().await?))
}

/// Returns the id of the receipt that ends a task, if it has one.
pub(crate) fn receipt_id(end: &End) -> Option<String> {
    let id = end.receipt.as_ref()?.id().ok()?;
    Some(id.to_string())
}

async fn newest(shared: &Shared, count: Count, usual: usize) -> Result<Vec<Receipt>, Error> {
    let limit = count.limit.unwrap_or(usual);
    if !(1..=MOST).contains(&limit) {
        return Err(invalid("invalid_limit", "`limit` is 1 to 10000"));
    }
    shared.node.ledger().list(limit).await.map_err(|err| unreadable(err.kind(), &err))
}

/// Finds a receipt by what a person calls it.
async fn one(shared: &Shared, name: &str) -> Result<Receipt, Error> {
    let ledger = shared.node.ledger();
    let found = if name == "last" {
        ledger.last().await
    } else if let Ok(id) = name.parse() {
        ledger.get(&id).await
    } else if let Ok(task) = name.parse() {
        match ledger.of_task(&task).await {
            Ok(None) => ledger.find(name).await.map(only),
            found => found,
        }
    } else {
        let message = "a receipt is named by its id, the beginning of its id, its task or `last`";
        return Err(invalid("invalid_receipt_id", message));
    };
    match found {
        Ok(Some(receipt)) => Ok(receipt),
        Ok(None) => {
            let message = "no such receipt is kept here";
            Err(Failure::new(ErrorKind::NotFound, "unknown_receipt", message).into())
        }
        Err(err) => Err(unreadable(err.kind(), &err)),
    }
}

/// Returns the receipt that a beginning stands for, if it stands for one alone.
fn only(mut receipts: Vec<Receipt>) -> Option<Receipt> {
    let first = receipts.pop();
    first.filter(|_| receipts.is_empty())
}

fn file(receipts: Vec<Receipt>) -> Result<Response, Error> {
    written(&Export::new(receipts))
}

fn written(export: &Export) -> Result<Response, Error> {
    let bytes = export.encode().map_err(|err| unreadable(err.kind(), &err))?;
    Ok(([(CONTENT_TYPE, "application/json")], bytes).into_response())
}

fn unreadable(kind: ErrorKind, err: &dyn std::error::Error) -> Error {
    Failure::new(kind, "ledger_unreadable", err).into()
}
