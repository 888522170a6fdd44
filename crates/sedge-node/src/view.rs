//! What doors see of a node: plain records, ready to be written as JSON.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use sedge_base::{ByteSize, ContentId, NodeId, TaskId, Timestamp};
use sedge_capability::{Budgets, Descriptor, Failure, Kind, Media, Name, Outcome};
use sedge_functions::{Outbound, Share};
use sedge_ledger::Witnessed;
use sedge_members::{About, Health, Presence};
use sedge_net::PathClass;
use sedge_routing::Need;
use sedge_trust::receipt::Checkpoint;
use serde::{Deserialize, Serialize};

use crate::access::Pass;
use crate::admission::Admitted;

/// What a door asks a node to run.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The capability's name.
    pub capability: Name,
    /// The sort of capability that the door needs, if it does not serve every sort.
    pub kind: Option<Kind>,
    /// The input, as the capability's schema says.
    pub input: Bytes,
    /// What the input is.
    pub media: Media,
    /// The most it may use.
    pub budgets: Budgets,
    /// The one node to run it on, by name, id or the beginning of an id; `None` lets routing pick.
    pub on: Option<String>,
    /// The token that it is asked for with; `None` when it is asked for with the node's key.
    pub pass: Option<Arc<Pass>>,
}

/// A task that runs: where, why there, and what it yields.
#[derive(Debug)]
pub struct Answer {
    /// The task's id; `sedge why` and the receipt know it by this.
    pub task: TaskId,
    /// The node that runs it.
    pub node: NodeId,
    /// That node's name.
    pub node_name: String,
    /// Chunks, then the end with its receipt.
    pub outcome: Outcome,
}

/// How a member of the mesh is reached and what it has left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its id, the public key.
    pub id: NodeId,
    /// Its name, for people.
    pub name: String,
    /// Whether it is the node that was asked.
    pub here: bool,
    /// `online`, `offline` or `connecting`.
    pub status: Presence,
    /// Whether its owner key leads the swarm.
    pub owner: bool,
    /// How far away: the round trip in microseconds; 0 for the node itself.
    pub rtt_us: Option<u64>,
    /// Which way leads to it now: `local`, `lan`, `direct` or `relayed`; `None` without a connection.
    pub path: Option<PathClass>,
    /// Tasks in flight now.
    pub running: u32,
    /// Tasks it takes at once.
    pub limit: u32,
    /// Busy share of all its processors, in percent.
    pub cpu_percent: Option<f32>,
    /// Memory that programs can still get.
    pub free_memory: Option<ByteSize>,
    /// Memory in all.
    pub total_memory: Option<ByteSize>,
    /// Resident memory of the node's own process.
    pub resident: Option<ByteSize>,
    /// Where it listens for the mesh.
    pub addresses: Vec<SocketAddr>,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
    /// How many capabilities it offers.
    pub capabilities: usize,
    /// The functions among them.
    pub functions: Vec<Name>,
    /// Whether it takes no new work.
    pub draining: bool,
    /// Tasks that it finished well since it started; 0 while it is away.
    pub invocations: u64,
    /// How it fares.
    #[serde(flatten)]
    pub health: Health,
    /// What it is, and what its owner says about it.
    #[serde(flatten)]
    pub about: About,
    /// Why it is not connected, if it is not.
    pub reason: Option<String>,
}

/// What became of a wish that a node take no new work, or again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub node_name: String,
    /// Whether it takes no new work now.
    pub draining: bool,
    /// Whether that is new.
    pub changed: bool,
}

/// A function that moved, or was to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// Its name.
    pub function: Name,
    /// Where it was.
    pub from: NodeId,
    /// That node's name.
    pub from_name: String,
    /// Where it goes.
    pub to: NodeId,
    /// That node's name.
    pub to_name: String,
    /// Why it did not move.
    pub failure: Option<Failure>,
}

/// One capability and the node that offers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// What it is.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// The node that offers it.
    pub node: NodeId,
    /// That node's name.
    pub node_name: String,
    /// Whether it is ready now: a model that must be loaded first is not.
    pub ready: bool,
}

/// The state of the node itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its id, the public key.
    pub id: NodeId,
    /// Its name, for people.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// The swarm it belongs to.
    pub swarm: sedge_base::SwarmId,
    /// The public key of the swarm's owner: what tokens are checked against.
    pub swarm_key: NodeId,
    /// Whether this node owns the swarm.
    pub owner: bool,
    /// Where its folder is.
    pub home: String,
    /// When it started.
    pub started: Timestamp,
    /// Where it listens for the mesh; empty until it is paired.
    pub mesh: Vec<SocketAddr>,
    /// Members of the swarm, itself included.
    pub members: usize,
    /// Names of what it offers itself.
    pub offers: Vec<String>,
    /// Busy share of the machine's processors since the last look, in percent.
    pub cpu_percent: f32,
    /// Memory that programs can still get.
    pub free_memory: ByteSize,
    /// The machine's memory in all.
    pub total_memory: ByteSize,
    /// Resident memory of the process.
    pub resident: Option<ByteSize>,
    /// Receipts in its chain.
    pub receipts: u64,
    /// Names of members that told two histories of their chains; see [`Witness`].
    pub two_histories: Vec<String>,
    /// Tasks in flight now.
    pub running: u32,
    /// The name of the node that decides for the swarm, if this node knows it.
    pub coordinator: Option<String>,
    /// Ways to become a member besides a spoken code, in the order in which they are asked.
    #[serde(default)]
    pub admission: Vec<String>,
}

/// What a node knows of chains of receipts: its own and other members'.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chains {
    /// This node's newest checkpoint; its chain may have grown since.
    pub own: Option<Checkpoint>,
    /// What it keeps of others, by their ids.
    pub members: Vec<Witness>,
}

/// What a node keeps of another member's chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// The member's name.
    pub node_name: String,
    /// What is kept.
    #[serde(flatten)]
    pub kept: Witnessed,
}

/// What running a proven task again gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// The receipt of the first run.
    pub receipt: ContentId,
    /// The receipt of the second run.
    pub again: ContentId,
    /// The node that ran it again.
    pub node: NodeId,
    /// That node's name.
    pub node_name: String,
    /// Whether output, fuel, status and profile are equal.
    pub equal: bool,
    /// SHA-256 of the outputs.
    pub output: Compared<ContentId>,
    /// Fuel that was used.
    pub fuel: Compared<u64>,
    /// How both ended.
    pub status: Compared<sedge_trust::Status>,
    /// What the bits of a model's answer depend on besides model and input; `None` of components.
    /// Where they differ, different outputs prove nothing.
    pub profile: Compared<Option<String>>,
}

/// One fact of two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared<T> {
    /// In the receipt.
    pub first: T,
    /// The second time.
    pub again: T,
}

impl<T: PartialEq> Compared<T> {
    /// Returns whether both are the same.
    pub fn equal(&self) -> bool {
        self.first == self.again
    }
}

/// Where a component shall go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// To the node that was asked.
    Here,
    /// To every member that can be reached.
    All,
    /// To one node, by name, id or the beginning of an id.
    Node(String),
    /// To those that fit and have the least to do, as many as
    /// [`replicas`](DeployOptions::replicas) says.
    Auto,
}

/// What to deploy.
#[derive(Debug, Clone)]
pub struct Deploy {
    /// The name it gets.
    pub name: Name,
    /// The component's bytes.
    pub wasm: Bytes,
    /// Where it shall go.
    pub target: Target,
    /// How it runs.
    pub options: DeployOptions,
}

/// How a deployed function runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeployOptions {
    /// The most that one task may use.
    pub limits: Budgets,
    /// Environment that the guest sees.
    pub env: std::collections::BTreeMap<String, String>,
    /// Arguments that the guest sees.
    pub args: Vec<String>,
    /// Whether a broken-off task may be given to another node.
    pub idempotent: bool,
    /// What the function has from the application that it is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// Where the guest may send requests, and what the host adds to them.
    #[serde(skip_serializing_if = "Outbound::is_empty")]
    pub outbound: Outbound,
    /// What a node must have to get it: labels, or names of what it offers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Need>,
    /// On how many nodes it shall lie; `None` where nobody said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<NonZeroU32>,
}

/// What became of a deployment on one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployed {
    /// The node.
    pub node: NodeId,
    /// That node's name.
    pub node_name: String,
    /// The content id, when it is there now.
    pub content: Option<ContentId>,
    /// Why not, when it is not.
    pub failure: Option<Failure>,
    /// Whether the node was left out.
    #[serde(default)]
    pub skipped: bool,
    /// Why it was left out, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// An open invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// What to say to the other side.
    pub code: String,
    /// Until when it holds.
    pub expires: Timestamp,
    /// Addresses for `sedge join CODE --at ADDRESS`, where the local network has no discovery.
    pub addresses: Vec<SocketAddr>,
    /// Ways for `sedge join CODE --relay WAY`, where no network leads there directly.
    #[serde(default)]
    pub relays: Vec<String>,
}

/// How an invitation ended, for those who wait for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum InviteState {
    /// Nobody came yet.
    Open {
        /// Until when it holds.
        expires: Timestamp,
    },
    /// Somebody joined with the code.
    Joined {
        /// The new member.
        node: NodeId,
        /// Its name.
        name: String,
    },
    /// Somebody came with a wrong code, or broke off: the code is burnt.
    Burnt {
        /// What happened, in words.
        reason: String,
    },
    /// The time is over.
    Expired,
    /// There is no invitation.
    None,
}

/// Where to look for whoever invited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// `host:port`, where the local network has no discovery; on a network that was
    /// [given](crate::World::network), the inviter's id.
    pub at: Option<String>,
    /// A way through a relay, as the invitation says.
    pub relay: Option<String>,
}

/// What a node has joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Joined {
    /// The swarm.
    pub swarm: sedge_base::SwarmId,
    /// The node that invited.
    pub inviter: NodeId,
    /// Its name.
    pub inviter_name: String,
    /// Which way led to it: `lan`, `address` or `relay`.
    pub way: String,
    /// Members of the swarm now, this node included.
    pub members: usize,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// How this node was let in; `None`: by a spoken code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admitted: Option<Admitted>,
}

/// One way to the other side that was tried, and why it did not lead there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayFailed {
    /// `lan`, `address` or `relay`.
    pub way: String,
    /// What happened.
    pub reason: String,
    /// What to do about it.
    pub next_step: String,
}

/// What was taken back, and who knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedView {
    /// The node's id, or the token's.
    pub subject: String,
    /// The node's name, when it is a node.
    pub name: Option<String>,
    /// Names of the members that know it now, besides the one that was asked.
    pub told: Vec<String>,
    /// Names of those that could not be reached: any member tells them when they connect.
    pub not_yet: Vec<String>,
}

/// A channel that a function of this node hears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelView {
    /// The application.
    pub app: String,
    /// The function that its messages call.
    pub function: Name,
    /// Its name.
    pub channel: String,
    /// The server, without a login.
    pub server: String,
    /// Whether it is heard now.
    pub heard: bool,
    /// Why not.
    pub why: Option<String>,
    /// Since when that is so.
    pub since: Timestamp,
    /// How many messages came since it was deployed, or the node was started.
    pub messages: u64,
    /// How many of them the function failed on.
    pub failed: u64,
}

/// What was forgotten of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppForgotten {
    /// How many keys of its stores.
    pub keys: u64,
    /// How many of its databases.
    pub databases: u64,
}
