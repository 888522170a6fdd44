//! From a connection to a member: both say hello, then messages flow both ways.

use std::sync::Arc;

use bytes::Bytes;
use sedge_base::{ByteSize, Cancel, TaskScope};
use sedge_net::{
    CloseReason, Conn, Frame, FrameReader, FrameWriter, PathClass, SendStream, Stream,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::hello::{self, Ends, MAX_HELLO_BYTES};
use super::super::identity::{RegisteredMember, RegistrationError};
use super::super::node::{Link, Node, QUEUE};
use super::{GREETING, JoinError, artifacts, receive};

/// A registration under the swarm's key.
const HELLO: u8 = 1;
/// A signed envelope.
const ENVELOPE: u8 = 2;
/// The largest envelope that is read: 4 MiB of payload as a list of numbers.
const MAX_ENVELOPE: ByteSize = ByteSize::from_mib(16);

type Reader = FrameReader<sedge_net::RecvStream>;
type Writer = FrameWriter<SendStream>;

/// Signs this agent's registration.
pub(super) fn own_registration(node: &Node) -> Result<RegisteredMember, RegistrationError> {
    let joined = node.state().registry.member(&node.agent_id).map(|it| it.joined_at);
    let joined = joined.unwrap_or_else(|| node.clock.now());
    let capabilities = node.capabilities.clone();
    Ok(RegisteredMember::sign(&node.identity, &node.agent_id, capabilities, joined)?)
}

/// Says hello on a connection that we dialled.
pub(super) async fn greet(
    node: &Arc<Node>,
    scope: &TaskScope,
    conn: Conn,
) -> Result<(), JoinError> {
    let said = timeout(GREETING, async {
        let stream = conn.open(GREETING).await.map_err(|_| JoinError::Cut)?;
        let (mut reader, mut writer) = frames(stream);
        say(node, &conn, &mut writer).await?;
        let agent_id = hear(node, &conn, &mut reader).await?;
        Ok((reader, writer, agent_id))
    });
    let said = said.await.unwrap_or(Err(JoinError::Cut));
    finish(node, scope, conn, said)
}

/// Answers the hello of whoever dialled us, in the background.
pub(super) fn welcome(node: &Arc<Node>, scope: &TaskScope, conn: Conn) {
    let (node, inner) = (Arc::clone(node), scope.clone());
    scope.spawn("swarm welcome", |cancel| async move {
        let said = timeout(GREETING, async {
            let stream = conn.accept().await.map_err(|_| JoinError::Cut)?;
            let (mut reader, mut writer) = frames(stream);
            // Whoever dialled shows first that it belongs here.
            let agent_id = hear(&node, &conn, &mut reader).await?;
            say(&node, &conn, &mut writer).await?;
            Ok((reader, writer, agent_id))
        });
        let said = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            said = said => said.unwrap_or(Err(JoinError::Cut)),
        };
        let peer = conn.peer();
        if let Err(err) = finish(&node, &inner, conn, said) {
            node.refuse(&peer, &err);
        }
    });
}

fn frames(stream: Stream) -> (Reader, Writer) {
    let limit = ByteSize::from_bytes(MAX_HELLO_BYTES);
    let writer = FrameWriter::with_limit(stream.send, MAX_ENVELOPE);
    (FrameReader::with_limit(stream.recv, limit), writer)
}

async fn say(node: &Node, conn: &Conn, writer: &mut Writer) -> Result<(), JoinError> {
    let ends = Ends { swarm: node.swarm, from: node.identity.node_id(), to: conn.peer() };
    let bytes = hello::write(&node.key, ends, &own_registration(node)?)?;
    writer.write(&Frame::new(HELLO, bytes)).await.map_err(|_| JoinError::Cut)
}

async fn hear(node: &Node, conn: &Conn, reader: &mut Reader) -> Result<String, JoinError> {
    if node.this_machine_only && conn.path() != PathClass::Local {
        return Err(JoinError::OtherMachine);
    }
    let frame = reader.next().await.ok().flatten().filter(|it| it.kind == HELLO);
    let frame = frame.ok_or(JoinError::Cut)?;
    let ends = Ends { swarm: node.swarm, from: conn.peer(), to: node.identity.node_id() };
    let registration = hello::read(&node.key, ends, &frame.payload)?;
    node.state().registry.register_older(&registration, node.clock.now())?;
    Ok(registration.agent_id)
}

/// Puts the link in and starts its two directions, or closes the connection.
fn finish(
    node: &Arc<Node>,
    scope: &TaskScope,
    conn: Conn,
    said: Result<(Reader, Writer, String), JoinError>,
) -> Result<(), JoinError> {
    let (reader, writer, agent_id) = match said {
        Ok(said) => said,
        Err(err) => {
            conn.close(CloseReason::NotAdmitted);
            return Err(err);
        }
    };
    let (queue, waiting) = mpsc::channel(QUEUE);
    if !node.put_link(Link { conn: conn.clone(), agent_id, queue }) {
        conn.close(CloseReason::Duplicate);
        return Ok(());
    }
    let reader = FrameReader::with_limit(reader.into_inner(), MAX_ENVELOPE);
    let (sender, sent) = (conn.clone(), Arc::clone(node));
    node.state().writers += 1;
    scope.spawn("swarm writer", |cancel| async move {
        write(writer, waiting, cancel).await;
        sent.drop_link(&sender);
        sender.close(CloseReason::Done);
        sent.state().writers -= 1;
        sent.tell_change();
    });
    let (here, streams) = (Arc::clone(node), conn.clone());
    scope.spawn("swarm artifacts", |cancel| artifacts::serve(here, streams, cancel));
    let node = Arc::clone(node);
    scope.spawn("swarm reader", |cancel| async move {
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            () = read(&node, &conn, reader) => {}
        }
        node.drop_link(&conn);
        conn.close(CloseReason::Done);
    });
    Ok(())
}

async fn write(mut writer: Writer, mut waiting: mpsc::Receiver<Bytes>, cancel: Cancel) {
    loop {
        let next = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            next = waiting.recv() => next,
        };
        let Some(bytes) = next else { break };
        if writer.write(&Frame::new(ENVELOPE, bytes)).await.is_err() {
            return;
        }
    }
    // The peer has everything before the connection ends.
    let sent = writer.into_inner();
    let read = sent.stopped();
    if sent.finish().await.is_ok() {
        drop(timeout(GREETING, read).await);
    }
}

async fn read(node: &Arc<Node>, conn: &Conn, mut reader: Reader) {
    while let Ok(Some(frame)) = reader.next().await {
        if frame.kind != ENVELOPE {
            node.refuse(&conn.peer(), &"a frame of an unknown kind");
            break;
        }
        receive::receive(node, conn, &frame.payload).await;
    }
}
