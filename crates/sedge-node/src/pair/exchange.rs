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
use std::sync::Arc;

use sedge_base::{ErrorKind, NodeId};
use sedge_capability::Failure;
use sedge_net::{Conn, Frame};
use sedge_trust::pairing::{Channel, Code, Exchange, PairError, Parties, Party, Side};
use sedge_trust::{Sealed, SessionPublicKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::enroll::{Newcomer, Welcome, enroll};
use super::frames::{Line, MESSAGE, SEALED, TAG};
use crate::config::{NAME_RULE, check_name};
use crate::node::{Node, internal};

/// What the joiner says of itself, sealed. Its node id is what the transport has proven.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hello {
    pub(super) name: String,
    pub(super) session_key: SessionPublicKey,
    pub(super) addresses: Vec<SocketAddr>,
}

/// One side of a pairing after the codes were found equal.
pub(super) struct Paired {
    channel: Channel,
    line: Line,
}

fn party(node: NodeId) -> Party {
    Party { node_id: node, transport_key: *node.as_bytes() }
}

fn wrong(error: PairError) -> Failure {
    let code = match error {
        PairError::WrongCode => "wrong_code",
        _ => "pairing_failed",
    };
    Failure::new(error.kind(), code, error)
}

impl Paired {
    async fn send<T: Serialize + Sync>(&mut self, message: &T) -> Result<(), Failure> {
        let text = serde_json::to_vec(message).map_err(internal)?;
        let sealed = self.channel.seal(&text).map_err(wrong)?;
        self.line.write(Frame::json(SEALED, &sealed).map_err(internal)?).await
    }

    async fn receive<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let frame = self.line.read(SEALED).await?;
        let sealed: Sealed = frame.parse().map_err(|_| wrong(PairError::Malformed))?;
        let text = self.channel.open(&sealed).map_err(wrong)?;
        serde_json::from_slice(&text).map_err(|_| wrong(PairError::Malformed))
    }
}

/// The inviter's side up to the tags. The joiner's tag is checked before ours is sent, so that a
/// wrong guess learns nothing.
async fn accept(
    conn: &Conn,
    me: NodeId,
    mut line: Line,
    (code, first): (&Code, &[u8]),
) -> Result<Paired, Failure> {
    let done = async {
        let parties = Parties { inviter: party(me), joiner: party(conn.peer()) };
        let (exchange, ours) = Exchange::start(Side::Inviter, code, parties);
        let (confirming, tag) = exchange.answer(first).map_err(wrong)?;
        line.write(Frame::new(MESSAGE, ours)).await?;
        let their_tag = line.read(TAG).await?;
        let channel = confirming.confirm(&their_tag.payload).map_err(wrong)?;
        line.write(Frame::new(TAG, tag.to_vec())).await?;
        Ok(channel)
    }
    .await;
    match done {
        Ok(channel) => Ok(Paired { channel, line }),
        Err(failure) => {
            line.refuse(&failure).await;
            Err(failure)
        }
    }
}

/// The inviter's side, from the joiner's first message on: admits whoever knows the code. Returns the
/// new member's name.
pub(super) async fn admit(
    node: &Arc<Node>,
    conn: &Conn,
    line: Line,
    begun: (&Code, &[u8]),
) -> Result<String, Failure> {
    let peer = conn.peer();
    let mut paired = accept(conn, node.id(), line, begun).await?;
    let hello: Hello = paired.receive().await?;
    let name = check_name(&hello.name).ok_or_else(|| {
        Failure::new(ErrorKind::Invalid, "bad_name", format!("a node's name must be {NAME_RULE}"))
    })?;
    let taken = node.members.is_name_of_another(&name, &peer);
    let name = if taken { format!("{name}-{}", &peer.short()[..4]) } else { name };
    let newcomer = Newcomer {
        node: peer,
        name: name.clone(),
        session_key: hello.session_key,
        addresses: hello.addresses,
        ends: None,
    };
    let welcome = enroll(node, newcomer).await?;
    paired.send(&welcome).await?;
    paired.line.finish().await;
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
    let mut line = Line::open(conn).await?;
    let parties = Parties { inviter: party(conn.peer()), joiner: party(me) };
    let (exchange, ours) = Exchange::start(Side::Joiner, code, parties);
    line.write(Frame::new(MESSAGE, ours)).await?;
    let theirs = line.read(MESSAGE).await?;
    let (confirming, tag) = exchange.answer(&theirs.payload).map_err(wrong)?;
    line.write(Frame::new(TAG, tag.to_vec())).await?;
    let their_tag = line.read(TAG).await?;
    let channel = confirming.confirm(&their_tag.payload).map_err(wrong)?;
    let mut paired = Paired { channel, line };
    paired.send(hello).await?;
    let welcome = paired.receive().await?;
    conn.close(sedge_net::CloseReason::Done);
    Ok(welcome)
}

/// Feeds what comes under a code to its readers, sealed or opened; returns whether one took it.
#[cfg(any(test, fuzzing))]
pub(super) fn feed(frame: &Frame) -> bool {
    frame.parse::<Sealed>().is_ok()
        || frame.parse::<Hello>().is_ok()
        || frame.parse::<Welcome>().is_ok()
}
