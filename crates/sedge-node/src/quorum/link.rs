//! How quorum messages travel: one request per stream, over connections that are there.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use sedge_base::NodeId;
use sedge_members::Members;
use sedge_net::{Conn, FrameReader, FrameWriter};
use sedge_quorum::{Answer, Coordinator, Link, LinkError, Message};
use sedge_trust::swarm::{Role, may_coordinate};

use crate::mesh::Mesh;
use crate::remote::OPEN_WITHIN;
use crate::wire::{self, WireError};

/// The quorum's way to other members. Heartbeats keep the voters connected, and a voter that has to be
/// dialled first would miss its time anyway; so nobody is dialled, except in a large swarm, where others
/// than voters are not connected with them.
pub(crate) struct QuorumLink {
    me: NodeId,
    members: Arc<Members>,
    mesh: Arc<Mesh>,
}

impl QuorumLink {
    pub(crate) const fn new(me: NodeId, members: Arc<Members>, mesh: Arc<Mesh>) -> Self {
        Self { me, members, mesh }
    }

    pub(crate) const fn me(&self) -> NodeId {
        self.me
    }
}

impl fmt::Debug for QuorumLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuorumLink").field("me", &self.me).finish_non_exhaustive()
    }
}

#[async_trait]
impl Link for QuorumLink {
    async fn send(&self, to: NodeId, message: Message) -> Result<Answer, LinkError> {
        let conn = match self.mesh.live(&to) {
            None if self.members.are_many() => {
                let address = self.members.address(&to).ok_or(LinkError::NotConnected)?;
                self.mesh.reach(&address).await
            }
            live => live,
        };
        let conn = conn.ok_or(LinkError::NotConnected)?;
        let broken = |reason: String| LinkError::Broken { reason };
        let bytes = message.encode().map_err(|it| broken(it.to_string()))?;
        ask(&conn, bytes).await.map_err(|it| broken(it.to_string()))
    }

    fn roles(&self, node: &NodeId) -> Vec<Role> {
        self.members.roles(node)
    }

    fn rumour(&self) -> Option<Coordinator> {
        let others = self.members.all().into_iter().filter(|(id, _)| *id != self.me);
        let said = others.filter_map(|(_, known)| {
            let may = may_coordinate(&known.membership.member.roles);
            known.advert.filter(|_| may)?.coordinator
        });
        let first = said.max_by_key(|it| it.fence)?;
        Some(Coordinator { node: first.node, fence: first.fence, term: first.term })
    }
}

async fn ask(conn: &Conn, message: Vec<u8>) -> Result<Answer, WireError> {
    let stream = conn.open(OPEN_WITHIN).await.map_err(WireError::Conn)?;
    let mut writer = FrameWriter::new(stream.send);
    let mut reader = FrameReader::new(stream.recv);
    wire::send_quorum(&mut writer, message).await?;
    let answer = wire::read_reply(&mut reader).await?;
    drop(writer.into_inner().finish().await);
    Ok(answer)
}
