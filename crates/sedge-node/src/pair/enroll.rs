//! Making somebody a member: signed by the owner, on disk, then told.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use sedge_base::{ErrorKind, NodeId, Timestamp};
use sedge_capability::Failure;
use sedge_members::{Listed, Roster};
use sedge_trust::SessionPublicKey;
use sedge_trust::swarm::{Member, Role, Version};
use serde::{Deserialize, Serialize};

use crate::node::{Node, internal};
use crate::plugins::about;

/// Who is to be a member.
#[derive(Debug)]
pub(super) struct Newcomer {
    /// The key that its connection has proven.
    pub(super) node: NodeId,
    pub(super) name: String,
    pub(super) session_key: SessionPublicKey,
    pub(super) addresses: Vec<SocketAddr>,
    /// When the membership ends; `None`: when it is revoked.
    pub(super) ends: Option<Timestamp>,
}

/// What a new member is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Welcome {
    pub(super) owner: NodeId,
    pub(super) name: String,
    pub(super) roster: Roster,
}

/// Makes somebody a member, and returns what to tell them.
pub(super) async fn enroll(node: &Arc<Node>, newcomer: Newcomer) -> Result<Welcome, Failure> {
    let Newcomer { node: peer, name, session_key, addresses, ends } = newcomer;
    if !node.members.has_room_for(&peer) {
        let text = "the swarm has as many members as it can have; revoke some first";
        return Err(Failure::new(ErrorKind::Exhausted, "swarm_full", text));
    }
    let member = Member {
        version: Version::default(),
        swarm_id: node.members.swarm(),
        node_id: peer,
        name,
        session_key,
        capabilities: vec!["*".to_owned()],
        joined_at: node.clock.now(),
        roles: vec![Role::Executor, Role::Requester],
        epoch: node.members.next_epoch(&peer),
        expires_at: ends,
    };
    let membership = {
        let owner = node.owner.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = owner.as_ref().ok_or_else(|| internal("this node lost the owner's key"))?;
        owner.admit(member).map_err(|it| Failure::new(it.kind(), "bad_member", it))?
    };
    let listed = Listed { membership, addresses };
    let joined = about(&listed);
    // On disk first: whoever is told to be a member is one after a crash, too.
    node.store_member(&listed).await?;
    node.members.merge(Roster { members: vec![listed], ..Roster::default() })?;
    node.hooks().tell("member.joined", || joined.1);
    let mut roster = node.members.roster();
    let me = node.id();
    for mine in roster.members.iter_mut().filter(|it| it.membership.member.node_id == me) {
        mine.addresses = node.mesh.addresses();
    }
    Ok(Welcome { owner: node.members.owner(), name: node.name.clone(), roster })
}
