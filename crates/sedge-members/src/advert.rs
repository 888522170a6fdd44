//! What a node says of itself, and who belongs: the records that members exchange.

use std::net::SocketAddr;

use sedge_base::{ContentId, NodeId, Timestamp};
use sedge_capability::Descriptor;
use sedge_net::RelayAddr;
use sedge_trust::{Membership, Revocation};
use serde::{Deserialize, Serialize};

use crate::{About, Gauges};

/// The node that leads the quorum, as a voter says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leader {
    /// Which node.
    pub node: NodeId,
    /// Greater than every fence before.
    pub fence: u64,
    /// The term in which it was elected.
    pub term: u64,
}

/// What a node offers and has left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advert {
    /// What people call it.
    pub name: String,
    /// What it offers.
    pub offers: Vec<Offered>,
    /// What it has left.
    pub gauges: Gauges,
    /// Tasks that run there.
    pub running: u32,
    /// The most tasks that run there at a time.
    pub limit: u32,
    /// Where it may be found.
    pub addresses: Vec<SocketAddr>,
    /// The hash of the roster that it knows: another hash means that the rosters differ.
    pub roster: ContentId,
    /// The id of its newest checkpoint: another id means that its chain has grown.
    #[serde(default)]
    pub checkpoint: Option<ContentId>,
    /// Whether it takes no new work.
    #[serde(default)]
    pub draining: bool,
    /// Tasks that it finished well since it started.
    #[serde(default)]
    pub invocations: u64,
    /// What its owner says about it, and what it is.
    #[serde(default)]
    pub about: About,
    /// What its clock shows.
    #[serde(default)]
    pub now: Option<Timestamp>,
    /// Whether it has an invitation open.
    #[serde(default)]
    pub inviting: bool,
    /// Where the relay is that it runs, if it runs one.
    #[serde(default)]
    pub relays: Vec<RelayAddr>,
    /// Who is coordinator, if it votes and knows; for those that do not vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<Leader>,
    /// The number of the newest notice that it has signed; 0 when it never signed one.
    #[serde(default)]
    pub serial: u64,
    /// The hash of the notices that it keeps, if its swarm is large: another hash means that they
    /// differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notices: Option<ContentId>,
}

/// One capability in an advert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offered {
    /// What it is.
    pub descriptor: Descriptor,
    /// Whether it is ready now: a model that must be loaded first is not.
    pub ready: bool,
    /// Tasks of this capability that run.
    pub running: u32,
    /// The most of them at a time.
    pub limit: u32,
    /// How fast a model writes, once that was measured.
    pub tokens_per_second: Option<f64>,
}

/// Members of the swarm and where each was last reached, and what the owner took back; each record is
/// signed by the owner.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Roster {
    /// The members, in the order of their ids.
    pub members: Vec<Listed>,
    #[serde(default)]
    /// What the owner took back.
    pub revocations: Vec<Revocation>,
}

/// One member and a hint where it may be found; the hint is not signed and proves nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// What the owner signed.
    pub membership: Membership,
    /// Where it was last reached.
    pub addresses: Vec<SocketAddr>,
}
