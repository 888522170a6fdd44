//! The messages of a pairing, both sides.
//!
//! ```text
//! joiner                                inviter
//!   first message        →
//!                        ←   first message        (the code is burnt from here on)
//!   tag                  →
//!                        ←   tag, or a refusal
//!   sealed: name, key    →
//!                        ←   sealed: owner's key, roster with the new membership
//! ```

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use sedge_base::{ErrorKind, NodeId};
use sedge_capability::Failure;
use sedge_net::{Conn, Frame, FrameError, FrameReader, FrameWriter};
use sedge_trust::pairing::{Channel, Code, Exchange, PairError, Parties, Party, Side};
use sedge_trust::swarm::{Member, Role, Version};
use sedge_trust::{Sealed, SessionPublicKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::{NAME_RULE, check_name};
use crate::node::{Node, internal};
use crate::remote::OPEN_WITHIN;
use crate::wire::{Listed, Reader, Roster, Writer};

const MESSAGE: u8 = 10;
const TAG: u8 = 11;
const SEALED: u8 = 12;
const REFUSED: u8 = 13;

/// What the joiner says of itself, sealed. Its node id is what the transport has proven.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hello {
    pub(super) name: String,
    pub(super) session_key: SessionPublicKey,
    pub(super) addresses: Vec<SocketAddr>,
}

/// What the inviter answers, sealed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Welcome {
    pub(super) owner: NodeId,
    pub(super) name: String,
    pub(super) roster: Roster,
}

/// One side of a pairing after the codes were found equal.
pub(super) struct Paired {
    channel: Channel,
    reader: Reader,
    writer: Writer,
}

fn party(node: NodeId) -> Party {
    Party { node_id: node, transport_key: *node.as_bytes() }
}

fn broken(error: &FrameError) -> Failure {
    Failure::new(
        ErrorKind::Unavailable,
        "pairing_broken",
        format!("the pairing broke off: {error}"),
    )
}

fn wrong(error: PairError) -> Failure {
    let code = match error {
        PairError::WrongCode => "wrong_code",
        _ => "pairing_failed",
    };
    Failure::new(error.kind(), code, error)
}

async fn read(reader: &mut Reader, due: u8) -> Result<Frame, Failure> {
    let frame = reader.next().await.map_err(|it| broken(&it))?.ok_or_else(|| {
        Failure::new(
            ErrorKind::Unavailable,
            "pairing_broken",
            "the other side broke the pairing off",
        )
    })?;
    match frame.kind {
        kind if kind == due => Ok(frame),
        REFUSED => Err(frame.parse().unwrap_or_else(|_| wrong(PairError::Malformed))),
        _ => Err(wrong(PairError::Malformed)),
    }
}

async fn write(writer: &mut Writer, kind: u8, bytes: Vec<u8>) -> Result<(), Failure> {
    writer.write(&Frame::new(kind, bytes)).await.map_err(|it| broken(&it))
}

/// Says why there is no pairing, and parts.
pub(super) async fn refuse(conn: &Conn, why: &Failure) {
    let said = async {
        let stream = conn.accept().await.ok()?;
        let mut writer = FrameWriter::new(stream.send);
        writer.write(&Frame::json(REFUSED, why).ok()?).await.ok()?;
        writer.into_inner().finish().await.ok()
    };
    // A stranger who opens no stream is told nothing.
    drop(tokio::time::timeout(OPEN_WITHIN, said).await);
    super::part(conn).await;
}

impl Paired {
    async fn send<T: Serialize + Sync>(&mut self, message: &T) -> Result<(), Failure> {
        let text = serde_json::to_vec(message).map_err(internal)?;
        let sealed = self.channel.seal(&text).map_err(wrong)?;
        let frame = Frame::json(SEALED, &sealed).map_err(internal)?;
        self.writer.write(&frame).await.map_err(|it| broken(&it))
    }

    async fn receive<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let frame = read(&mut self.reader, SEALED).await?;
        let sealed: Sealed = frame.parse().map_err(|_| wrong(PairError::Malformed))?;
        let text = self.channel.open(&sealed).map_err(wrong)?;
        serde_json::from_slice(&text).map_err(|_| wrong(PairError::Malformed))
    }
}

/// The inviter's side up to the tags. The joiner's tag is checked before ours is sent, so that a
/// wrong guess learns nothing.
async fn accept(conn: &Conn, me: NodeId, code: &Code) -> Result<Paired, Failure> {
    let stream = conn.accept().await.map_err(|it| {
        Failure::new(it.kind(), "pairing_broken", format!("no pairing stream: {it}"))
    })?;
    let mut writer = FrameWriter::new(stream.send);
    let mut reader = FrameReader::new(stream.recv);
    let done = async {
        let parties = Parties { inviter: party(me), joiner: party(conn.peer()) };
        let (exchange, ours) = Exchange::start(Side::Inviter, code, parties);
        let theirs = read(&mut reader, MESSAGE).await?;
        let (confirming, tag) = exchange.answer(&theirs.payload).map_err(wrong)?;
        write(&mut writer, MESSAGE, ours).await?;
        let their_tag = read(&mut reader, TAG).await?;
        let channel = confirming.confirm(&their_tag.payload).map_err(wrong)?;
        write(&mut writer, TAG, tag.to_vec()).await?;
        Ok(channel)
    }
    .await;
    match done {
        Ok(channel) => Ok(Paired { channel, reader, writer }),
        Err(failure) => {
            if let Ok(frame) = Frame::json(REFUSED, &failure) {
                drop(writer.write(&frame).await);
                drop(writer.into_inner().finish().await);
            }
            Err(failure)
        }
    }
}

/// The inviter's side: admits whoever knows the code. Returns the new member's name.
pub(super) async fn admit(node: &Arc<Node>, conn: &Conn, code: &Code) -> Result<String, Failure> {
    let peer = conn.peer();
    let mut paired = accept(conn, node.id(), code).await?;
    let hello: Hello = paired.receive().await?;
    let name = check_name(&hello.name).ok_or_else(|| {
        Failure::new(ErrorKind::Invalid, "bad_name", format!("a node's name must be {NAME_RULE}"))
    })?;
    let taken = node.members.all().into_iter().any(|(id, it)| id != peer && it.name() == name);
    let name = if taken { format!("{name}-{}", &peer.short()[..4]) } else { name };
    let epoch = node.members.next_epoch(&peer);
    let member = Member {
        version: Version::default(),
        swarm_id: node.members.swarm(),
        node_id: peer,
        name: name.clone(),
        session_key: hello.session_key,
        capabilities: vec!["*".to_owned()],
        joined_at: node.clock.now(),
        roles: vec![Role::Executor, Role::Requester],
        epoch,
        expires_at: None,
    };
    let membership = {
        let owner = node.owner.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = owner.as_ref().ok_or_else(|| internal("this node lost the owner's key"))?;
        owner.admit(member).map_err(|it| Failure::new(it.kind(), "bad_member", it))?
    };
    let listed = Listed { membership, addresses: hello.addresses };
    // On disk first: whoever is told to be a member is one after a crash, too.
    node.store_member(&listed).await?;
    node.members.merge(Roster { members: vec![listed], ..Roster::default() })?;
    let mut roster = node.members.roster();
    let me = node.id();
    for mine in roster.members.iter_mut().filter(|it| it.membership.member.node_id == me) {
        mine.addresses = node.mesh.addresses();
    }
    let welcome = Welcome { owner: node.members.owner(), name: node.name.clone(), roster };
    paired.send(&welcome).await?;
    drop(paired.writer.into_inner().finish().await);
    super::part(conn).await;
    Ok(name)
}

/// The joiner's side: proves the code, says who it is, returns the welcome.
pub(super) async fn ask(
    conn: &Conn,
    me: NodeId,
    code: &Code,
    hello: &Hello,
) -> Result<Welcome, Failure> {
    let stream = conn.open(OPEN_WITHIN).await.map_err(|it| {
        Failure::new(it.kind(), "pairing_broken", format!("the pairing broke off: {it}"))
    })?;
    let mut writer = FrameWriter::new(stream.send);
    let mut reader = FrameReader::new(stream.recv);
    let parties = Parties { inviter: party(conn.peer()), joiner: party(me) };
    let (exchange, ours) = Exchange::start(Side::Joiner, code, parties);
    write(&mut writer, MESSAGE, ours).await?;
    let theirs = read(&mut reader, MESSAGE).await?;
    let (confirming, tag) = exchange.answer(&theirs.payload).map_err(wrong)?;
    write(&mut writer, TAG, tag.to_vec()).await?;
    let their_tag = read(&mut reader, TAG).await?;
    let channel = confirming.confirm(&their_tag.payload).map_err(wrong)?;
    let mut paired = Paired { channel, reader, writer };
    paired.send(hello).await?;
    let welcome = paired.receive().await?;
    conn.close(sedge_net::CloseReason::Done);
    Ok(welcome)
}
