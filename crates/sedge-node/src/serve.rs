//! Answering other members: one stream, one request, one answer.

use std::sync::Arc;
use std::time::Duration;

use sedge_base::{ErrorKind, NodeId};
use sedge_capability::{Event, Failure, Outcome, Task};
use sedge_net::{Admission, Conn, FrameReader, FrameWriter, Protocol};
use serde::Serialize;
use tokio::sync::Semaphore;
use tracing::debug;

use crate::node::Node;
use crate::swarm::NOTICES_AT_ONCE;
use crate::wire::{self, DeployHead, Reader, Request, RunHead, WireError, Writer};

/// How long a member may take to send its request and body, or the countersigned receipt.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// Answers one connection until it ends.
pub(crate) async fn serve_conn(node: Arc<Node>, conn: Conn) {
    match conn.protocol() {
        Protocol::Pair => node.pairing().serve(&node, conn).await,
        Protocol::Mesh => {
            let places = Arc::new(Semaphore::new(node.config.mesh.max_streams as usize));
            let peer = conn.peer();
            // A place is taken before the stream, so that a flood waits at the transport.
            while let Ok(place) = Arc::clone(&places).acquire_owned().await {
                let Ok(stream) = conn.accept().await else { break };
                let (serving, conn) = (Arc::clone(&node), conn.clone());
                node.scope().spawn("stream", async move |cancel| {
                    let stopped = stream.send.stopped();
                    let mut writer = FrameWriter::new(stream.send);
                    let mut reader = FrameReader::new(stream.recv);
                    let answered = tokio::select! {
                        biased;
                        () = cancel.cancelled() => Ok(()),
                        it = answer(&serving, &conn, (&mut reader, &mut writer), stopped) => it,
                    };
                    match answered {
                        Ok(()) => drop(writer.into_inner().finish().await),
                        Err(error) => {
                            debug!(target: "sedge::events::stream_failed", %peer, %error);
                        }
                    }
                    drop(place);
                });
            }
        }
    }
}

type Both<'a> = (&'a mut Reader, &'a mut Writer);

async fn answer(
    node: &Arc<Node>,
    conn: &Conn,
    (reader, writer): Both<'_>,
    stopped: impl Future<Output = ()>,
) -> Result<(), WireError> {
    let peer = conn.peer();
    let request = within(wire::read_request(reader)).await?;
    // A member may be revoked while its connection stands.
    if !node.members().admits(peer, Protocol::Mesh) {
        let failure = Failure::new(ErrorKind::Denied, "not_a_member", "you are no member any more");
        return wire::send_refusal(writer, &failure).await;
    }
    if let Err(failure) = node.turns.take(peer, &request) {
        return wire::send_refusal(writer, &failure).await;
    }
    match request {
        Request::Advert(theirs) => {
            node.hear(peer, *theirs).await;
            wire::send_reply(writer, &node.whole_advert()).await
        }
        Request::Notices { held } => {
            wire::send_reply(writer, &node.members().notices_beyond(&held, NOTICES_AT_ONCE)).await
        }
        Request::Swarm(first) => {
            node.serve_swarm(peer, first, reader).await;
            Ok(())
        }
        Request::Rest => node.mesh.answer_rest(conn, writer).await,
        Request::Roster(theirs) => {
            // Only what the owner signed is taken in; a stale or foreign roster changes nothing.
            match node.take_roster(theirs).await {
                Ok(()) => wire::send_reply(writer, &node.members().roster()).await,
                Err(failure) => wire::send_refusal(writer, &failure).await,
            }
        }
        Request::Run(head) => run(node, peer, head, (reader, writer), stopped).await,
        Request::Deploy(head) => {
            let DeployHead { name, content, options, length } = head;
            let wasm = within(wire::read_body(reader, length)).await?;
            give(writer, node.deploy_here(name, wasm, Some(content), options).await).await
        }
        Request::Where { of } => wire::send_reply(writer, &node.whereabouts(&of)).await,
        Request::Chain { counts } => give(writer, node.show_chain(&counts).await).await,
        Request::Artifact(ask) => Ok(node.depot.server.answer(ask, writer).await?),
        Request::Graph(ask) => {
            node.graph.answer(peer, ask, (reader, writer)).await;
            Ok(())
        }
        Request::Version { name } => give(writer, node.version_here(&name).await).await,
        Request::Restore { name, content, options } => {
            give(writer, node.restore(name, content, options).await).await
        }
        Request::Drain { draining } => {
            let drained = match node.may_drain(&peer) {
                Ok(()) => node.drain_here(draining).await,
                Err(failure) => Err(failure),
            };
            give(writer, drained).await
        }
        Request::Hand { name, to } => give(writer, node.hand(&name, to).await).await,
        Request::Quorum(message) => {
            wire::send_reply(writer, &node.answer_quorum(peer, &message).await).await
        }
        Request::Undeploy { name } => give(writer, node.undeploy(&name).await).await,
    }
}

/// Sends what was asked for, or why it is not given.
async fn give<T: Serialize>(
    writer: &mut Writer,
    asked: Result<T, Failure>,
) -> Result<(), WireError> {
    match asked {
        Ok(given) => wire::send_reply(writer, &given).await,
        Err(failure) => wire::send_refusal(writer, &failure).await,
    }
}

async fn run(
    node: &Arc<Node>,
    requester: NodeId,
    head: RunHead,
    (reader, writer): Both<'_>,
    stopped: impl Future<Output = ()>,
) -> Result<(), WireError> {
    let RunHead { task, capability, media, budgets, deadline, priority, length, token } = head;
    let input = within(wire::read_body(reader, length)).await?;
    let task = Task { id: task, capability, input, media, budgets, deadline, priority, requester };
    let outcome = match execute(node, task, token).await {
        Ok(outcome) => outcome,
        Err(failure) => return wire::send_refusal(writer, &failure).await,
    };
    let sent = tokio::select! {
        biased;
        sent = send_outcome(writer, outcome) => sent?,
        // The requester is gone: the outcome is dropped, and with it the task.
        () = stopped => false,
    };
    if sent {
        let receipt = within(wire::read_receipt(reader)).await?;
        if let Err(error) = node.ledger().confirm(receipt, requester).await {
            debug!(target: "sedge::events::receipt_unconfirmed", %requester, %error);
        }
    }
    Ok(())
}

/// Runs a task here, if the token that it came with allows it.
async fn execute(node: &Arc<Node>, task: Task, token: Option<String>) -> Result<Outcome, Failure> {
    if let Some(token) = token {
        let access = node.access();
        let pass = access.open(&token)?;
        access.check(&pass, &task, node.id()).await?;
        access.count(&pass).await?;
    }
    node.executor().run(task).await
}

/// Returns whether the end carried a receipt that the requester will send back.
async fn send_outcome(writer: &mut Writer, mut outcome: Outcome) -> Result<bool, WireError> {
    while let Some(event) = outcome.next().await {
        match event {
            Event::Chunk(chunk) => wire::send_chunk(writer, chunk).await?,
            Event::End(end) => {
                wire::send_end(writer, &end).await?;
                return Ok(end.receipt.is_some());
            }
        }
    }
    Ok(false)
}

async fn within<T>(work: impl Future<Output = Result<T, WireError>>) -> Result<T, WireError> {
    tokio::time::timeout(REQUEST_WITHIN, work).await.map_err(|_| {
        WireError::Refused(Failure::new(
            ErrorKind::Timeout,
            "too_slow",
            format!("the request did not arrive within {REQUEST_WITHIN:?}"),
        ))
    })?
}
