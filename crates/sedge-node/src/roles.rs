//! What the owner makes of a member: coordinator, worker, scout, specialist.

use std::sync::{Arc, PoisonError};

use sedge_base::{ErrorKind, NodeId};
use sedge_capability::Failure;
use sedge_members::{Listed, Roster};
use sedge_trust::swarm::{Role, may_coordinate};
use tracing::info;

use crate::node::{Node, internal};
use crate::quorum::QuorumView;

impl Node {
    /// Gives a member new roles: its membership is signed again under a higher epoch, and told to
    /// all who can be reached. What it may run or ask for stays.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] on a node that does not own the swarm; [`ErrorKind::Invalid`] for none
    /// or for what is no role of this kind; [`ErrorKind::Conflict`] for a voter that would not be
    /// allowed to coordinate.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave some members to learn it with their next heartbeat.
    pub async fn set_roles(
        self: &Arc<Self>,
        node: &str,
        roles: &[Role],
    ) -> Result<QuorumView, Failure> {
        let node = self.members.find(node)?;
        if roles.is_empty() || !roles.iter().all(|it| it.is_duty()) {
            let names = Role::DUTIES.map(Role::name).join(", ");
            let text = format!("roles are one or more of {names}");
            return Err(Failure::new(ErrorKind::Invalid, "invalid_role", text));
        }
        let votes = self.quorum.standing().voters.contains(&node);
        if votes && !may_coordinate(roles) {
            let text = format!(
                "node {} votes, and whoever votes may be coordinator",
                self.members.name_of(&node)
            );
            return Err(Failure::new(ErrorKind::Conflict, "is_voter", text));
        }
        self.sign_duties(node, roles).await?;
        Ok(self.quorum_view())
    }

    /// Signs a member's roles; its rights stay as they are.
    pub(crate) async fn sign_duties(
        self: &Arc<Self>,
        node: NodeId,
        duties: &[Role],
    ) -> Result<(), Failure> {
        let known = self.members.get(&node).ok_or_else(|| {
            Failure::new(ErrorKind::NotFound, "unknown_node", "this node is no member any more")
        })?;
        let mut member = known.membership.member;
        member.roles.retain(|it| !it.is_duty());
        member.roles.extend_from_slice(duties);
        member.roles.sort_unstable();
        member.roles.dedup();
        member.epoch = self.members.next_epoch(&node);
        let membership = {
            let owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
            let owner = owner.as_ref().ok_or_else(|| {
                let text = "only the node that owns the swarm gives roles";
                Failure::new(ErrorKind::Denied, "not_owner", text)
            })?;
            owner.admit(member).map_err(internal)?
        };
        let listed = Listed { membership, addresses: self.members.addresses(&node) };
        // On disk first: whoever is told of a role has it after a crash, too.
        self.store_member(&listed).await?;
        self.members.merge(Roster { members: vec![listed], ..Roster::default() })?;
        info!(target: "sedge::events::roles_given", %node, ?duties);
        self.publish_member(&node);
        self.spread().await;
        Ok(())
    }
}
