//! Why a quorum, or its coordinator, says no.

use sedge_base::{ErrorKind, NodeId};
use serde::{Deserialize, Serialize};

use crate::state::Claim;

/// Why something was not decided. Nothing has changed, unless it is [`Refusal::Unsure`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// The swarm has no quorum yet, as far as this node knows.
    #[error("this swarm has no quorum that this node knows of")]
    NotFounded,
    /// The swarm has a quorum already.
    #[error("this swarm has a quorum already")]
    AlreadyFounded,
    /// Too few voters can be reached: nothing is decided, so that no two halves decide differently.
    #[error("no majority: fewer than {needed} of {voters} voters can be reached")]
    NoMajority {
        /// How many vote.
        voters: usize,
        /// How many make a majority.
        needed: usize,
    },
    /// Only the coordinator does this, and the node that was asked is none.
    #[error("only the coordinator does this; {}", who(.coordinator.as_ref(), *.may))]
    NotCoordinator {
        /// Who is, as far as the node that was asked knows.
        coordinator: Option<NodeId>,
        /// Whether the owner has allowed the node that was asked to become one.
        may: bool,
    },
    /// The owner has not allowed a node to become coordinator.
    #[error("node {} may not be coordinator: its role does not allow it", .node.short())]
    NoCandidate {
        /// The node.
        node: NodeId,
    },
    /// A message says that it comes from another node than the connection has proven.
    #[error("the message claims to come from node {}", .claimed.short())]
    Forged {
        /// The node that it names.
        claimed: NodeId,
    },
    /// Only the swarm's owner does this.
    #[error("only the node of the swarm's owner does this")]
    OwnerOnly,
    /// The claim is somebody else's.
    #[error("`{}` is held by node {} under fence {} until {}", .0.key, .0.holder.short(), .0.fence, .0.until)]
    Held(Claim),
    /// There are as many claims as there may be.
    #[error("there are as many claims as there may be")]
    TooManyClaims,
    /// There would be too many voters, or none.
    #[error("a quorum has 1 to {most} voters")]
    VoterCount {
        /// The most that there may be.
        most: usize,
    },
    /// The node does not vote.
    #[error("node {} does not vote", .node.short())]
    NoVoter {
        /// The node.
        node: NodeId,
    },
    /// Another change of voters is not finished.
    #[error("another change of voters is not finished")]
    Changing,
    /// A node did not answer; what it was asked for may or may not have been done.
    #[error("node {} does not answer: {reason}", .node.short())]
    Silent {
        /// The node.
        node: NodeId,
        /// What happened.
        reason: String,
    },
    /// No majority confirmed it in time: it may still be decided later, or never.
    #[error("no majority confirmed it within {within_ms} ms; it may still be decided, or never")]
    Unsure {
        /// How long was waited, in milliseconds.
        within_ms: u64,
    },
    /// The node that was asked has stopped taking part: its disk failed, or it is shutting down.
    #[error("the node takes no part now: {reason}")]
    Stopped {
        /// What happened.
        reason: String,
    },
    /// The message makes no sense.
    #[error("{what}")]
    Senseless {
        /// What is wrong with it.
        what: String,
    },
}

impl Refusal {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFounded | Self::NoVoter { .. } => ErrorKind::NotFound,
            Self::AlreadyFounded | Self::Held(_) | Self::Changing => ErrorKind::Conflict,
            Self::NoMajority { .. } | Self::Silent { .. } | Self::Stopped { .. } => {
                ErrorKind::Unavailable
            }
            Self::NotCoordinator { .. }
            | Self::NoCandidate { .. }
            | Self::Forged { .. }
            | Self::OwnerOnly => ErrorKind::Denied,
            Self::TooManyClaims => ErrorKind::Exhausted,
            Self::VoterCount { .. } | Self::Senseless { .. } => ErrorKind::Invalid,
            Self::Unsure { .. } => ErrorKind::Timeout,
        }
    }

    /// Returns the stable name of the refusal.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFounded => "no_quorum",
            Self::AlreadyFounded => "quorum_exists",
            Self::NoMajority { .. } => "no_majority",
            Self::NotCoordinator { .. } => "not_coordinator",
            Self::NoCandidate { .. } => "not_a_candidate",
            Self::Forged { .. } => "forged_sender",
            Self::OwnerOnly => "not_owner",
            Self::Held(_) => "claim_held",
            Self::TooManyClaims => "too_many_claims",
            Self::VoterCount { .. } => "voter_count",
            Self::NoVoter { .. } => "not_a_voter",
            Self::Changing => "voters_changing",
            Self::Silent { .. } => "node_silent",
            Self::Unsure { .. } => "unsure",
            Self::Stopped { .. } => "quorum_stopped",
            Self::Senseless { .. } => "senseless",
        }
    }
}

fn who(coordinator: Option<&NodeId>, may: bool) -> String {
    let asked = if may { "this node is not it now" } else { "this node may not be one" };
    match coordinator {
        Some(node) => format!("{asked}, node {} is", node.short()),
        None => format!("{asked}, and who is, is unknown"),
    }
}
