//! Who may say what: the one place where a message is let in or refused, before anything is done.
//!
//! The roles are those that the swarm's owner signed. A worker, a scout or a specialist refuses what
//! only a coordinator does, and names who is.

use sedge_base::NodeId;
use sedge_trust::swarm::{Role, may_coordinate};

use crate::message::{Ask, Message};
use crate::refusal::Refusal;
use crate::state::Coordinator;

/// What is known of both sides of a message.
#[derive(Debug)]
pub(crate) struct Sides {
    /// Who sent it, as the connection has proven.
    pub(crate) from: NodeId,
    /// What the owner allows the sender to be.
    pub(crate) from_roles: Vec<Role>,
    /// What the owner allows this node to be.
    pub(crate) own_roles: Vec<Role>,
    /// Who is coordinator, as far as this node knows.
    pub(crate) coordinator: Option<Coordinator>,
}

impl Sides {
    /// Lets a message in.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; nothing was done then.
    pub(crate) fn admit(&self, message: &Message) -> Result<(), Refusal> {
        match message {
            Message::Ask(ask) => self.admit_ask(ask),
            Message::Vote(_) | Message::Append(_) | Message::Snapshot(_) => {
                let claimed = message.claimed_sender().filter(|it| *it != self.from);
                if let Some(claimed) = claimed {
                    return Err(Refusal::Forged { claimed });
                }
                candidate(self.from, &self.from_roles)
            }
        }
    }

    fn admit_ask(&self, ask: &Ask) -> Result<(), Refusal> {
        if !may_coordinate(&self.own_roles) {
            let coordinator = self.coordinator.map(|it| it.node);
            return Err(Refusal::NotCoordinator { coordinator, may: false });
        }
        match ask {
            Ask::Add { .. } | Ask::Remove { .. } if !self.from_roles.contains(&Role::Owner) => {
                Err(Refusal::OwnerOnly)
            }
            _ => Ok(()),
        }
    }
}

/// Refuses a node that the owner does not allow to become coordinator.
pub(crate) fn candidate(node: NodeId, roles: &[Role]) -> Result<(), Refusal> {
    if may_coordinate(roles) { Ok(()) } else { Err(Refusal::NoCandidate { node }) }
}

#[cfg(test)]
mod tests;
