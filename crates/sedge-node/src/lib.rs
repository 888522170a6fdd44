//! Puts the parts together and keeps them alive: a [`Node`] is a struct of its parts.
//!
//! Doors (layer 6) turn requests into [`Ask`]s; the node checks them, lets routing pick a machine,
//! runs them here or sends them there, and keeps the receipts.
//!
//! Invariants: nothing listens beyond loopback before an invitation is opened, a code or an address is
//! typed, or the configuration says how strangers are admitted;
//! who asks is what the connection has proven, never what a message says; a deployment is on disk
//! before it is acknowledged; what was asked for with a token is checked against it by the node that
//! was asked and by the one that runs it, in one place (`access`); a tool that asks for a person's
//! approval is asked for with a person's signature only (`approvals`); an answer from another node without
//! a receipt that holds is no answer.

mod access;
mod addresses;
mod admission;
mod approvals;
mod artifacts;
mod ask;
mod audit;
mod balance;
mod beat;
mod bulk;
mod chains;
mod config;
mod deploy;
mod doctor;
mod doors;
mod edge;
mod execute;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod gossip;
mod graph;
mod home;
mod load;
mod mesh;
mod node;
mod pair;
mod placing;
mod plans;
mod plugins;
mod quorum;
mod registry;
mod relays;
mod remote;
mod replay;
mod revoke;
mod roles;
mod secrets;
mod serve;
mod start;
mod swarm;
mod view;
mod wire;
mod world;

pub use access::Pass;
pub use admission::{
    AdmissionConfig, AdmissionSection, AdmissionView, Admitted, BannedView, DeviceSection,
    PairTokenMade, PairTokenView, Settled, WaitingView,
};
pub use approvals::ApprovalView;
pub use artifacts::{
    ArtifactList, ArtifactView, ArtifactsConfig, ArtifactsSection, Digest, DrawnFrom, Fetched,
    Point,
};
pub use ask::Routed;
pub use audit::{AuditLine, AuditTrail};
pub use config::{Config, ConfigError, ConfigFile, NodeConfig, NodeSection};
pub use doctor::{Finding, examine_home};
pub use doors::{ServerConfig, ServerSection};
pub use edge::EdgeLink;
pub use graph::{GraphPut, GraphWatch, LinkSeen};
pub use home::{Home, HomeError, Running};
pub use mesh::{MeshConfig, MeshSection, Network};
pub use node::Node;
pub use pair::{AskWaits, Asking, JoinFailed};
pub use plans::*;
pub use quorum::{LedBy, QuorumNode, QuorumView};
pub use relays::{RelaysView, Serving};
pub use secrets::SecretView;
pub use sedge_functions::Place;
pub use sedge_members::{About, Advice, Gauges, Health, NodeHealth, Presence, SwarmHealth};
pub use sedge_net::PathClass;
pub use sedge_net::artifact::Progress;
pub use sedge_plugins::{Agreement, Emitted, PluginList, PluginView, State as PluginState};
pub use sedge_quorum::{Agreed, Claim, Handover, Key, Record, Text};
pub use sedge_routing::Need;
pub use sedge_store::Keep;
pub use sedge_sync::{Form, Seen, SpaceView, Value as GraphValue};
pub use start::{SandboxParts, StartError, StartOptions};
pub use view::*;
pub use world::{Engine, World};
