//! New versions of functions on their way to nodes (seed 000, `DeploymentManager`), over the node's rollouts.

use std::collections::BTreeMap;

use sedge_base::NodeId;
use sedge_capability::Failure;
use sedge_node::{Gate, Phase, Rollout, RolloutAsk, RolloutState, RolloutStrategy, StepState};
use serde::{Deserialize, Serialize};

use crate::cluster::{EdgeCluster, useless};
use crate::function::EdgeFunction;
use crate::node::EdgeNodeStatus;

/// How a plan is to be carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanAsk {
    /// In which order.
    pub strategy: RolloutStrategy,
    /// The nodes, in order; those that are online when left out.
    pub target_nodes: Vec<String>,
    /// The share of nodes that are canaries, in percent; one node at least.
    pub canary_percent: u8,
    /// What a canary has to show.
    pub gate: Gate,
    /// Inputs that the new version is asked on each node.
    pub probes: Vec<String>,
}

impl Default for PlanAsk {
    /// Returns the seed's defaults: rolling, over every node that is online, 10 % canaries.
    fn default() -> Self {
        Self {
            strategy: RolloutStrategy::Rolling,
            target_nodes: Vec::new(),
            canary_percent: 10,
            gate: Gate::default(),
            probes: Vec::new(),
        }
    }
}

/// A plan, and how far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeploymentPlan {
    /// Its id.
    pub id: String,
    /// The function.
    pub function: String,
    /// In which order.
    pub strategy: RolloutStrategy,
    /// The nodes, in order.
    pub target_nodes: Vec<String>,
    /// The share of nodes that are canaries, in percent.
    pub canary_percent: u8,
    /// Whether everything goes back when one node fails: always.
    pub rollback_on_error: bool,
    /// Where it stands.
    pub state: RolloutState,
    /// Nodes that have the new version.
    pub deployed_nodes: Vec<String>,
    /// Nodes where something went wrong.
    pub failed_nodes: Vec<String>,
    /// What else is told.
    pub metadata: PlanNotes,
}

/// What else is told of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanNotes {
    /// The canaries; of a plan with canaries alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_nodes: Option<Vec<String>>,
    /// Whether they have shown what they had to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_complete: Option<bool>,
    /// Why it went back, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The plans of a cluster: the rollouts of its node, which leads them.
#[derive(Debug, Clone)]
pub struct DeploymentManager(EdgeCluster);

impl EdgeCluster {
    /// Returns the plans.
    pub fn deployments(&self) -> DeploymentManager {
        DeploymentManager(self.clone())
    }
}

impl DeploymentManager {
    /// Plans to bring a new version to nodes; on disk by then, and not begun.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the function, a node or the gate cannot be used.
    pub async fn create_plan(
        &self,
        function: &EdgeFunction,
        ask: PlanAsk,
    ) -> Result<DeploymentPlan, Failure> {
        let PlanAsk { strategy, mut target_nodes, canary_percent, gate, probes } = ask;
        let options = function.limits.options().map_err(useless)?;
        if target_nodes.is_empty() {
            let online = self.0.list_nodes(Some(EdgeNodeStatus::Online)).await?;
            target_nodes = online.into_iter().map(|it| it.id).collect();
        }
        let mut nodes = Vec::new();
        for id in target_nodes {
            // What is no node is refused in the mesh's words.
            let member = self.0.get_node(&id).await?.and_then(|it| it.member);
            nodes.push(member.map_or(id, |it| it.to_string()));
        }
        let ask = RolloutAsk {
            strategy,
            percent: canary_percent,
            gate,
            nodes,
            probes,
            options: Some(options),
            start: false,
        };
        let (name, handler) = (function.id.clone(), function.handler.clone());
        let rollout = self.0.node.plan_rollout(name, handler, ask).await?;
        self.told(&rollout).await
    }

    /// Begins a plan. It goes on by itself, and back by itself when a node fails, or a canary does not show what it has
    /// to.
    ///
    /// # Errors
    ///
    /// See [`sedge_node::Node::start_rollout`].
    pub async fn execute(&self, id: &str) -> Result<DeploymentPlan, Failure> {
        let rollout = self.0.node.start_rollout(id).await?;
        self.told(&rollout).await
    }

    /// Lets a plan go back; returns how many nodes had the new version.
    ///
    /// # Errors
    ///
    /// See [`sedge_node::Node::roll_back`].
    pub async fn rollback(&self, id: &str) -> Result<usize, Failure> {
        let before = self.0.node.rollout(id)?;
        self.0.node.roll_back(id).await?;
        Ok(before.steps.iter().filter(|it| it.state == StepState::Done).count())
    }

    /// Returns every plan, the newest last.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when what is kept cannot be read.
    pub async fn list_deployments(&self) -> Result<Vec<DeploymentPlan>, Failure> {
        let names = self.names().await?;
        Ok(self.0.node.rollouts().iter().map(|it| plan(it, &names)).collect())
    }

    /// Returns one plan.
    ///
    /// # Errors
    ///
    /// [`sedge_base::ErrorKind::NotFound`] when there is none.
    pub async fn get_deployment_status(&self, id: &str) -> Result<DeploymentPlan, Failure> {
        let rollout = self.0.node.rollout(id)?;
        self.told(&rollout).await
    }

    async fn told(&self, rollout: &Rollout) -> Result<DeploymentPlan, Failure> {
        Ok(plan(rollout, &self.names().await?))
    }

    async fn names(&self) -> Result<BTreeMap<NodeId, String>, Failure> {
        Ok(self.0.seen().await?.into_iter().map(|it| (it.view.id, it.node.id)).collect())
    }
}

fn plan(rollout: &Rollout, names: &BTreeMap<NodeId, String>) -> DeploymentPlan {
    let named = |which: &dyn Fn(&sedge_node::Step) -> bool| -> Vec<String> {
        let steps = rollout.steps.iter().filter(|it| which(it));
        steps.map(|it| names.get(&it.node).unwrap_or(&it.node_name).clone()).collect()
    };
    let canary = rollout.strategy == RolloutStrategy::Canary;
    let complete = rollout.phase == Phase::Promote || rollout.state == RolloutState::Completed;
    DeploymentPlan {
        id: rollout.id.clone(),
        function: rollout.function.to_string(),
        strategy: rollout.strategy,
        target_nodes: named(&|_| true),
        canary_percent: rollout.percent,
        rollback_on_error: true,
        state: rollout.state,
        deployed_nodes: named(&|it| it.state == StepState::Done),
        failed_nodes: named(&|it| it.failure.is_some()),
        metadata: PlanNotes {
            canary_nodes: canary.then(|| named(&|it| it.canary)),
            canary_complete: canary.then_some(complete),
            reason: rollout.reason.clone(),
        },
    }
}
