//! The other end of `Connect`: a program of ours that is an edge, and stays connected.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http;
use futures_util::stream::poll_fn;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use sedge_base::{Cancel, ErrorKind, TaskScope};
use sedge_edges::{Program, Ticket};
use sedge_net::tls::{DialError, dial};
use tokio::sync::mpsc;
use tokio::time::{interval, sleep, timeout};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codegen::Service;
use tonic::{Request, Status, Streaming};

use super::LARGEST;
use super::codec::Codec;
use super::messages::{
    CoreEvent, CoreMessage, Down, EdgeMessage, Heartbeat, Metrics, Register, Up,
};

/// How long the node may take to say whether it takes the edge in.
const PATIENCE: Duration = Duration::from_secs(30);

/// Messages that wait for the connection.
const WAITING: usize = 64;

/// How often the connection is asked for a sign of life, and how long that may take.
const ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// The first and the longest time before the next try.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The most runs of one link at once, asked for and not answered.
const MOST_RUNS: usize = 64;

/// Why an edge does not go on trying.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttendError {
    /// The node does not take it in.
    #[error("the node does not take this edge in: {reason}")]
    Refused {
        /// What the node says.
        reason: String,
    },
    /// What it was told at enrolment leads nowhere.
    #[error(transparent)]
    Ticket(DialError),
}

impl AttendError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { .. } => ErrorKind::Denied,
            Self::Ticket(it) => it.kind(),
        }
    }
}

/// What happens to an edge's link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attending {
    /// The node has taken the edge in.
    Connected,
    /// The link is over, or there was none.
    Lost {
        /// Why.
        reason: String,
        /// When it is tried again.
        again_in: Duration,
    },
}

/// Why one link is over.
enum Over {
    For(AttendError),
    Again(String),
}

impl From<Status> for Over {
    fn from(status: Status) -> Self {
        Self::Again(status.message().to_owned())
    }
}

/// Is an edge until `cancel` says stop: connects, runs what is asked for, and connects again when
/// the link is lost.
///
/// # Errors
///
/// [`AttendError`] when trying again is of no use.
///
/// # Cancel safety
///
/// Dropping the future ends the link and kills what runs.
pub async fn attend(
    (ticket, program): (&Ticket, &Arc<Program>),
    version: &str,
    scope: &TaskScope,
    cancel: &Cancel,
    mut told: impl FnMut(Attending),
) -> Result<(), AttendError> {
    let mut pause = AGAIN.0;
    loop {
        let runs = scope.child();
        let edge = Edge { ticket, program, version, runs: &runs };
        let over = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            over = edge.link(|| {
                pause = AGAIN.0;
                told(Attending::Connected);
            }) => Some(over),
        };
        // What the link was asked for ends with it: the node has given it up.
        runs.stop();
        let reason = match over {
            None => return Ok(()),
            Some(Over::For(error)) => return Err(error),
            Some(Over::Again(reason)) => reason,
        };
        told(Attending::Lost { reason, again_in: pause });
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            () = sleep(pause) => {}
        }
        pause = pause.saturating_mul(2).min(AGAIN.1);
    }
}

struct Edge<'a> {
    ticket: &'a Ticket,
    program: &'a Arc<Program>,
    version: &'a str,
    /// What belongs to this link.
    runs: &'a TaskScope,
}

impl Edge<'_> {
    /// Speaks with the node over one connection; returns why that is over.
    async fn link(&self, connected: impl FnOnce()) -> Over {
        let (sender, receiver) = mpsc::channel(WAITING);
        match self.open(&sender, receiver).await {
            Err(over) => over,
            Ok((inbound, beat)) => {
                connected();
                self.serve(inbound, sender, beat)
                    .await
                    .err()
                    .unwrap_or_else(|| Over::Again("the node ended the link".to_owned()))
            }
        }
    }

    /// Connects and registers; returns what comes down, and how often to be heard.
    async fn open(
        &self,
        sender: &mpsc::Sender<EdgeMessage>,
        mut receiver: mpsc::Receiver<EdgeMessage>,
    ) -> Result<(Streaming<CoreMessage>, Duration), Over> {
        let Ticket { core, authority, token, .. } = self.ticket;
        let io = dial(core, authority, &["h2"]).await.map_err(|error| match error.kind() {
            ErrorKind::Invalid => Over::For(AttendError::Ticket(error)),
            _ => Over::Again(words(&error)),
        })?;
        let again = |error: hyper::Error| Over::Again(words(&error));
        let mut http = Builder::new(Scoped(self.runs.clone()));
        http.timer(TokioTimer::new()).keep_alive_interval(ALIVE.0).keep_alive_timeout(ALIVE.1);
        let (requests, connection) = http.handshake(TokioIo::new(io)).await.map_err(again)?;
        self.runs.spawn("edge connection", async move |cancel| {
            tokio::select! {
                () = cancel.cancelled() => {}
                // How it ends is told by the stream in it.
                _ = connection => {}
            }
        });
        let origin = format!("https://{core}").parse().map_err(|_| {
            Over::For(AttendError::Ticket(DialError::Address { address: core.clone() }))
        })?;
        let register = Register::of(self.program.announced(self.version), token.clone());
        // The channel is new: there is room.
        drop(sender.try_send(EdgeMessage { message: Some(Up::Register(register)) }));
        let outbound = poll_fn(move |cx| receiver.poll_recv(cx));
        let path = http::uri::PathAndQuery::from_static("/nexus.v1.EdgeService/Connect");
        let mut grpc =
            Grpc::with_origin(Requests(requests), origin).max_decoding_message_size(LARGEST);
        let codec = Codec::<EdgeMessage, CoreMessage>::default();
        let talk = async {
            grpc.ready().await.map_err(again)?;
            let answer = grpc.streaming(Request::new(outbound), path, codec).await?;
            let mut inbound = answer.into_inner();
            let first = inbound.message().await?;
            Ok::<_, Over>((inbound, first))
        };
        let late = || Over::Again("the node does not answer".to_owned());
        let (inbound, first) = timeout(PATIENCE, talk).await.unwrap_or_else(|_| Err(late()))?;
        let Some(Down::Registered(registered)) = first.and_then(|it| it.message) else {
            return Err(Over::Again("the node does not speak as nodes do".to_owned()));
        };
        if !registered.success {
            return Err(Over::For(AttendError::Refused { reason: registered.error }));
        }
        let seconds = u64::try_from(registered.heartbeat_interval_seconds).unwrap_or(0);
        Ok((inbound, Duration::from_secs(seconds.clamp(1, 3600))))
    }

    /// Runs what is asked for until the link is over.
    async fn serve(
        &self,
        mut inbound: Streaming<CoreMessage>,
        sender: mpsc::Sender<EdgeMessage>,
        beat: Duration,
    ) -> Result<(), Over> {
        let (done, mut ended) = mpsc::channel::<String>(MOST_RUNS);
        let mut running: HashMap<String, Cancel> = HashMap::new();
        let mut beats = interval(beat);
        loop {
            tokio::select! {
                message = inbound.message() => match message?.map(|it| it.message) {
                    None => return Ok(()),
                    Some(Some(Down::ToolRequest(request))) => {
                        let id = request.execution_id.clone();
                        if running.len() >= MOST_RUNS || running.contains_key(&id) {
                            continue;
                        }
                        let stop = Cancel::new();
                        running.insert(id.clone(), stop.clone());
                        let (program, sender) = (Arc::clone(self.program), sender.clone());
                        let done = done.clone();
                        self.runs.spawn("tool", async move |cancel| {
                            let result = tokio::select! {
                                biased;
                                () = cancel.cancelled() => return,
                                result = program.run(request.into(), &stop) => result,
                            };
                            let message = Some(Up::ToolResult(result.into()));
                            // Without a link nobody waits for it.
                            drop(sender.send(EdgeMessage { message }).await);
                            drop(done.send(id).await);
                        });
                    }
                    Some(Some(Down::ToolCancel(cancel))) => {
                        if let Some(stop) = running.get(&cancel.execution_id) {
                            stop.cancel();
                        }
                    }
                    Some(Some(Down::Event(CoreEvent { kind: CoreEvent::SHUTDOWN }))) => {
                        return Err(Over::Again("the node stops".to_owned()));
                    }
                    Some(Some(Down::Registered(_) | Down::Event(_)) | None) => {}
                },
                Some(id) = ended.recv() => drop(running.remove(&id)),
                _ = beats.tick() => {
                    let count = i32::try_from(running.len()).unwrap_or(i32::MAX);
                    let metrics = Metrics { active_tool_count: count, ..Metrics::default() };
                    let heartbeat = Heartbeat { metrics: Some(metrics) };
                    let message = EdgeMessage { message: Some(Up::Heartbeat(heartbeat)) };
                    // A full channel means that the node is told enough already.
                    drop(sender.try_send(message));
                }
            }
        }
    }
}

/// Writes an error and what it came from on one line.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    text
}

/// One HTTP/2 connection, as gRPC asks over it.
struct Requests(SendRequest<Body>);

impl Service<http::Request<Body>> for Requests {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future =
        Pin<Box<dyn Future<Output = Result<http::Response<Incoming>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Lets the connection's own work belong to a scope.
#[derive(Clone)]
struct Scoped(TaskScope);

impl<F> Executor<F> for Scoped
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, work: F) {
        self.0.spawn("edge stream", async move |cancel| {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = work => {}
            }
        });
    }
}
