//! What doors see of the quorum.

use sedge_base::NodeId;
use sedge_members::Presence;
use sedge_quorum::{Coordinator, Handover};
use sedge_trust::swarm::{Role, duties};
use serde::{Deserialize, Serialize};

use crate::node::Node;

/// The quorum, as one node sees it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumView {
    /// Who decides for the swarm; `None` when that is unknown, as on a side without a majority.
    pub coordinator: Option<LedBy>,
    /// How many nodes vote; 0 when this node takes no part in a quorum.
    pub voters: usize,
    /// How many of them make a majority.
    pub majority: usize,
    /// Every member of the swarm, and what it may be; voters that are no members any more, too.
    pub nodes: Vec<QuorumNode>,
    /// The last change of coordinators that this node saw since it started.
    pub handover: Option<Handover>,
    /// Who was coordinator, the last one last, as far as this node has the log.
    pub history: Vec<Coordinator>,
    /// How many entries of the log are applied here.
    pub applied: u64,
    /// Why this node takes no part, when it should.
    pub stopped: Option<String>,
    /// What the person should know and do.
    pub warning: Option<String>,
}

/// Who is coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedBy {
    /// Its name.
    pub name: String,
    /// Its id, and the fence under which it leads.
    #[serde(flatten)]
    pub coordinator: Coordinator,
}

/// A member's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumNode {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Whether it is the node that was asked.
    pub here: bool,
    /// Whether it can be reached; `None` when it is no member any more.
    pub status: Option<Presence>,
    /// Whether it votes.
    pub votes: bool,
    /// What the owner has made it, a worker unless told otherwise.
    pub roles: Vec<Role>,
}

impl Node {
    /// Returns how the quorum looks from here.
    pub fn quorum_view(&self) -> QuorumView {
        let standing = self.quorum.standing();
        let me = self.id();
        let mut nodes: Vec<QuorumNode> = self
            .members
            .all()
            .into_iter()
            .map(|(node, known)| QuorumNode {
                node,
                name: known.name().to_owned(),
                here: node == me,
                status: Some(if node == me { Presence::Online } else { known.presence() }),
                votes: standing.voters.contains(&node),
                roles: duties(&known.membership.member.roles),
            })
            .collect();
        let gone = standing.voters.iter().filter(|it| nodes.iter().all(|node| node.node != **it));
        let gone: Vec<_> = gone.copied().collect();
        nodes.extend(gone.into_iter().map(|node| QuorumNode {
            node,
            name: node.short(),
            here: false,
            status: None,
            votes: true,
            roles: Vec::new(),
        }));
        nodes.sort_by_key(|it| (!it.votes, it.name.clone()));
        let coordinator = standing.coordinator;
        QuorumView {
            warning: warning(standing.voters.len(), standing.majority, coordinator.is_some()),
            coordinator: coordinator
                .map(|it| LedBy { name: self.members.name_of(&it.node), coordinator: it }),
            voters: standing.voters.len(),
            majority: standing.majority,
            nodes,
            handover: standing.handover,
            history: standing.history,
            applied: standing.applied,
            stopped: standing.stopped,
        }
    }

    /// Returns the coordinator's name, if it is known.
    pub(crate) fn coordinator_name(&self) -> Option<String> {
        self.quorum.coordinator().map(|it| self.members.name_of(&it.node))
    }
}

fn warning(voters: usize, majority: usize, led: bool) -> Option<String> {
    match (voters, led) {
        (0, true) => None,
        (0, false) => Some(
            "no quorum that this node knows of: `sedge quorum init NODE NODE` on the owner's node \
             founds one of three"
                .to_owned(),
        ),
        (_, false) => Some(format!(
            "who is coordinator is unknown here, and nothing is decided: {majority} of {voters} \
             voters are needed; bring voters back, or wait a moment"
        )),
        (1 | 2, true) => Some(format!(
            "with {voters} voters no majority survives the loss of one, and every decision stops \
             then; three do: `sedge quorum add NODE`"
        )),
        (_, true) => None,
    }
}
