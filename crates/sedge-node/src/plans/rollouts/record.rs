//! One rollout: what goes where, and how far it is; on disk before each step.

use sedge_base::{ContentId, NodeId, Timestamp};
use sedge_capability::{Failure, Name};
use sedge_plans::Gate;
use serde::{Deserialize, Serialize};

use crate::view::DeployOptions;

/// In which order a new version takes the place of the old one (seed 000, `DeploymentManager`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutStrategy {
    /// Node by node.
    Rolling,
    /// Beside the old one on every node first, then all at once.
    BlueGreen,
    /// On a share of the nodes first; on the others when it fares well there.
    Canary,
}

/// Where a rollout stands (seed 000, the states of a `DeploymentPlan`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// Planned, and not begun.
    Pending,
    /// Under way, forward or back.
    InProgress,
    /// The new version is on every node.
    Completed,
    /// The old version is back on every node.
    RolledBack,
    /// The old version could not be brought back everywhere.
    Failed,
}

impl RolloutState {
    /// Returns whether nothing happens any more by itself.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::RolledBack | Self::Failed)
    }

    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
        }
    }
}

/// What a rollout under way does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Brings the new version to nodes.
    Forward,
    /// Watches how the new version fares on the canary nodes.
    Watch {
        /// Since when.
        since: Timestamp,
    },
    /// Brings the new version to the other nodes.
    Promote,
    /// Brings the old version back.
    Back,
}

/// The version that a node had before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The component, which the node keeps.
    pub content: ContentId,
    /// How it ran.
    pub options: DeployOptions,
}

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Nothing was done there.
    Pending,
    /// The new version is on its way; it may be there or not.
    Begun,
    /// The new version is there.
    Done,
    /// The old version is there again.
    RolledBack,
}

/// What happens on one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub node_name: String,
    /// Whether it gets the new version first.
    pub canary: bool,
    /// Whether the node was asked what it had before.
    pub known: bool,
    /// What it had before; `None` when it had nothing of that name.
    pub before: Option<Before>,
    /// Where it stands.
    pub state: StepState,
    /// What went wrong there last.
    pub failure: Option<Failure>,
}

/// A new version of a function on its way to nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Its id.
    pub id: String,
    /// The function.
    pub function: Name,
    /// The new component, which the node that leads the rollout keeps.
    pub content: ContentId,
    /// How it runs; `None`: on each node as before.
    pub options: Option<DeployOptions>,
    /// In which order.
    pub strategy: RolloutStrategy,
    /// The share of nodes that are canaries, in percent.
    pub percent: u8,
    /// What a canary has to show.
    pub gate: Gate,
    /// Inputs that the new version is asked on each node that gets it.
    pub probes: Vec<String>,
    /// Where it stands.
    pub state: RolloutState,
    /// What it does.
    pub phase: Phase,
    /// Whether somebody asked to go back.
    pub stop: bool,
    /// Why it went back, or failed, in words.
    pub reason: Option<String>,
    /// The nodes, in order.
    pub steps: Vec<Step>,
    /// When it was planned.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

impl Rollout {
    /// Returns the name under which the new version waits beside the old one.
    pub(crate) fn green(&self) -> Option<Name> {
        format!("{}.green", self.function).parse().ok()
    }

    /// Returns the options on a node.
    pub(crate) fn options_for(&self, step: &Step) -> DeployOptions {
        let before = step.before.as_ref().map(|it| it.options.clone());
        self.options.clone().or(before).unwrap_or_default()
    }
}
