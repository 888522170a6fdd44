//! Artifacts: large content in and out, and the members' copies of it.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use sedge_base::{ArtifactId, ErrorKind};
use sedge_capability::Failure;
use sedge_node::{ArtifactList, ArtifactView, Digest, Fetched, Keep, Point, Progress};
use sedge_trust::seed::{ArtifactPointer, Signed};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::io::ReaderStream;

use super::error::{Error, ErrorRecord};
use super::query::{Asked, invalid, json as read};
use crate::server::Shared;

/// How often a fetch tells how far it is.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// How much of an artifact is read at once, in bytes.
const PIECE: usize = 256 << 10;

/// One line of the answer to a fetch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FetchLine {
    /// How far it is.
    Progress(Progress),
    /// It is here; the last line.
    Done(Box<Fetched>),
    /// It is not here; the last line.
    Error(Box<ErrorRecord>),
}

/// The query of a fetch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    /// Whether the copy stays until it is removed by hand; `false` when left out.
    #[serde(default)]
    pin: bool,
}

/// `GET /artifacts`.
pub(super) async fn list(State(shared): State<Shared>) -> Result<Json<ArtifactList>, Error> {
    Ok(Json(shared.node.artifacts().await?))
}

/// `POST /artifacts`, the bytes as body. With `Expect: 100-continue` and a length, one that is too
/// large is refused before it is sent.
pub(super) async fn put(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ArtifactView>, Error> {
    let length = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    Ok(Json(shared.node.put_artifact(length, body.into_data_stream()).await?))
}

/// `DELETE /artifacts/{id}`: this node's copy.
pub(super) async fn remove(
    State(shared): State<Shared>,
    Path(artifact): Path<String>,
) -> Result<Json<Value>, Error> {
    let id = id(&artifact)?;
    if shared.node.remove_artifact(id).await? {
        return Ok(Json(json!({ "removed": id })));
    }
    let message = format!("this node does not have artifact {id}");
    Err(Failure::new(ErrorKind::NotFound, "unknown_artifact", message).into())
}

/// `GET /artifacts/{id}/content`: the bytes of one that is here.
pub(super) async fn content(
    State(shared): State<Shared>,
    Path(artifact): Path<String>,
) -> Result<Response, Error> {
    let (view, file) = shared.node.open_artifact(id(&artifact)?).await?;
    let bytes = ReaderStream::with_capacity(tokio::fs::File::from_std(file), PIECE);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CONTENT_LENGTH, HeaderValue::from(view.size.as_bytes())),
    ];
    Ok((headers, Body::from_stream(bytes)).into_response())
}

/// `POST /artifacts/{id}/pointer`: a signed word about one that is here.
pub(super) async fn point(
    State(shared): State<Shared>,
    Path(artifact): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Signed<ArtifactPointer>>, Error> {
    let point: Point = read(&body?)?;
    Ok(Json(shared.node.point_at(id(&artifact)?, point).await?))
}

/// `POST /artifacts/{id}/digest`: the other names of one that is here; reads all of it once.
pub(super) async fn digest(
    State(shared): State<Shared>,
    Path(artifact): Path<String>,
) -> Result<Json<Digest>, Error> {
    Ok(Json(shared.node.digest(id(&artifact)?).await?))
}

/// `POST /pointers/check`: whether the artifact, which is here, is what the pointer says.
pub(super) async fn fits(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Error> {
    let pointer: Signed<ArtifactPointer> = read(&body?)?;
    Ok(Json(json!({ "fits": shared.node.fits(&pointer).await? })))
}

/// `POST /pointers`: where a pointer leads, if it holds.
pub(super) async fn follow(
    State(shared): State<Shared>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Error> {
    let pointer: Signed<ArtifactPointer> = read(&body?)?;
    let id = shared.node.follow(&pointer)?;
    Ok(Json(json!({ "id": id, "signer": pointer.record.agent_id })))
}

/// `POST /artifacts/{id}/fetch?pin=…`: lines of JSON, each a [`FetchLine`], until it is here. A
/// client that goes away ends the transfer; what came stays.
pub(super) async fn fetch(
    State(shared): State<Shared>,
    Path(artifact): Path<String>,
    Asked(How { pin }): Asked<How>,
) -> Result<Response, Error> {
    let id = id(&artifact)?;
    let keep = if pin { Keep::Pinned } else { Keep::WhileThereIsRoom };
    let (sender, told) = watch::channel(Progress::default());
    let work = async move { shared.node.fetch_artifact(id, keep, &sender).await };
    let mut every = interval(TELL_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every.reset();
    let mut transfer = Transfer { work: Box::pin(work), told, every };
    // What fails at once is refused as everywhere; later the status is sent already.
    let lines = match transfer.next().await {
        Step::Over(done) => Body::from(line(&FetchLine::Done(Box::new(done?)))),
        Step::On(progress) => {
            let first = line(&FetchLine::Progress(progress));
            let rest = stream::unfold(Some(transfer), async |transfer| {
                let mut transfer = transfer?;
                match transfer.next().await {
                    Step::On(it) => Some((line(&FetchLine::Progress(it)), Some(transfer))),
                    Step::Over(Ok(it)) => Some((line(&FetchLine::Done(Box::new(it))), None)),
                    Step::Over(Err(it)) => {
                        let record = ErrorRecord::from(Error::from(it));
                        Some((line(&FetchLine::Error(Box::new(record))), None))
                    }
                }
            });
            Body::from_stream(stream::iter([first]).chain(rest).map(Ok::<_, Infallible>))
        }
    };
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

/// A fetch that is under way.
struct Transfer {
    work: Pin<Box<dyn Future<Output = Result<Fetched, Failure>> + Send>>,
    told: watch::Receiver<Progress>,
    every: Interval,
}

/// What a fetch has to say.
enum Step {
    On(Progress),
    Over(Result<Fetched, Failure>),
}

impl Transfer {
    async fn next(&mut self) -> Step {
        tokio::select! {
            biased;
            done = &mut self.work => Step::Over(done),
            _ = self.every.tick() => Step::On(*self.told.borrow_and_update()),
        }
    }
}

fn line(line: &FetchLine) -> String {
    // A record that cannot be written would be a fault of ours; an empty line says nothing wrong.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}

fn id(text: &str) -> Result<ArtifactId, Error> {
    text.parse().map_err(|err| invalid("invalid_artifact_id", err))
}
