//! An edge's own connection: `Connect`.

use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::Stream;
use futures_util::stream::poll_fn;
use sedge_base::ErrorKind;
use sedge_edges::Given;
use sedge_node::EdgeLink;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::server::{Grpc, StreamingService};
use tonic::{Status, Streaming};

use super::codec::Codec;
use super::messages::{CoreEvent, CoreMessage, Down, EdgeMessage, Register, Registered, Up};
use super::{LARGEST, status};
use crate::access;
use crate::asker::Caller;
use crate::refusal::Refusal;
use crate::server::Shared;

/// How long an edge may take to say who it is, and to read a message.
const PATIENCE: Duration = Duration::from_secs(30);

/// Messages that wait for the edge's connection.
const WAITING: usize = 16;

/// The version of this protocol that edges are told.
const CORE_VERSION: &str = "1.0.0";

type Answers = Pin<Box<dyn Stream<Item = Result<CoreMessage, Status>> + Send>>;
type Sender = mpsc::Sender<Result<CoreMessage, Status>>;

/// `Connect`.
pub(super) async fn serve(State(shared): State<Shared>, request: Request) -> Response {
    let codec = Codec::<CoreMessage, EdgeMessage>::default();
    let mut grpc = Grpc::new(codec).max_decoding_message_size(LARGEST);
    grpc.streaming(Connect(shared), request).await.map(Body::new)
}

/// What gRPC calls with the stream of messages.
struct Connect(Shared);

impl StreamingService<EdgeMessage> for Connect {
    type Response = CoreMessage;
    type ResponseStream = Answers;
    type Future = std::future::Ready<Result<tonic::Response<Answers>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<EdgeMessage>>) -> Self::Future {
        let shared = self.0.clone();
        let (sender, mut receiver) = mpsc::channel(WAITING);
        let scope = shared.scope.clone();
        scope.spawn("edge", move |cancel| async move {
            let ended = tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    let event = CoreEvent { kind: CoreEvent::SHUTDOWN };
                    // An edge that is gone misses nothing.
                    drop(tell(&sender, Down::Event(event)).await);
                    return;
                }
                ended = talk(&shared, request.into_inner(), &sender) => ended,
            };
            if let Err(status) = ended {
                drop(timeout(PATIENCE, sender.send(Err(status))).await);
            }
        });
        let answers: Answers = Box::pin(poll_fn(move |cx| receiver.poll_recv(cx)));
        std::future::ready(Ok(tonic::Response::new(answers)))
    }
}

/// Speaks with one edge until one of both leaves.
async fn talk(
    shared: &Shared,
    mut inbound: Streaming<EdgeMessage>,
    sender: &Sender,
) -> Result<(), Status> {
    let first = timeout(PATIENCE, inbound.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no registration came"))??;
    let Some(Up::Register(register)) = first.and_then(|it| it.message) else {
        return Err(Status::invalid_argument("first message must be registration"));
    };
    let mut registered = Registered {
        edge_id: register.edge_id.clone(),
        core_version: CORE_VERSION.to_owned(),
        ..Registered::default()
    };
    let mut link = match admit(shared, register).await {
        Ok(link) => link,
        Err(refusal) => {
            registered.error = words(&refusal);
            tell(sender, Down::Registered(registered)).await?;
            return Err(status(&refusal));
        }
    };
    let interval = shared.node.edges().config().heartbeat_interval.as_secs();
    registered.success = true;
    registered.heartbeat_interval_seconds = i32::try_from(interval).unwrap_or(i32::MAX);
    tell(sender, Down::Registered(registered)).await?;
    loop {
        tokio::select! {
            message = inbound.message() => match message? {
                None => return Ok(()),
                Some(EdgeMessage { message }) => take(&link, message).await?,
            },
            down = link.next() => {
                let Some(down) = down else {
                    let text = "another connection has taken this one's place, or it was silent";
                    return Err(Status::aborted(text));
                };
                send(sender, down.into()).await?;
            }
        }
    }
}

/// Finds out whether somebody may be the edge that they say they are.
async fn admit(shared: &Shared, mut register: Register) -> Result<EdgeLink, Refusal> {
    let token = std::mem::take(&mut register.auth_token);
    let pass = match access::bearer_of(&token, shared)? {
        Caller::Key => None,
        Caller::Token(pass) => Some(pass),
    };
    Ok(shared.node.connect_edge(register.into(), pass).await?)
}

/// Returns what edges are told about a refusal.
fn words(refusal: &Refusal) -> String {
    match refusal.failure.kind {
        ErrorKind::Unauthenticated => "invalid authentication token".to_owned(),
        ErrorKind::Denied => "edge not in allowed list".to_owned(),
        _ => refusal.failure.message.clone(),
    }
}

/// Takes what a registered edge says.
async fn take(link: &EdgeLink, message: Option<Up>) -> Result<(), Status> {
    link.heard().map_err(|it| status(&it.into()))?;
    match message {
        Some(Up::Register(_)) => return Err(Status::invalid_argument("it is registered already")),
        Some(Up::Heartbeat(heartbeat)) => {
            if let Some(metrics) = heartbeat.metrics {
                link.measured(metrics.into());
            }
        }
        Some(Up::ToolResult(result)) => match link.result(result.into()).await {
            // That nobody waits for a result any more is not a fault of the edge.
            Given::Taken | Given::Unasked => {}
            Given::Foreign(_) => {
                return Err(Status::permission_denied("another edge was asked for that run"));
            }
        },
        // Nobody here asks for events or channels yet: they only show that the edge lives.
        Some(Up::Event(_) | Up::ChannelInbound(_) | Up::ChannelAck(_)) | None => {}
    }
    Ok(())
}

async fn tell(sender: &Sender, message: Down) -> Result<(), Status> {
    send(sender, CoreMessage { message: Some(message) }).await
}

async fn send(sender: &Sender, message: CoreMessage) -> Result<(), Status> {
    match timeout(PATIENCE, sender.send(Ok(message))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Status::cancelled("the edge is gone")),
        Err(_) => Err(Status::deadline_exceeded("the edge reads nothing")),
    }
}
