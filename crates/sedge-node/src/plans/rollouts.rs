//! New versions of functions on their way to nodes, and back.
//!
//! Invariants: where a rollout stands is on disk before each step, so that a node that was killed in
//! the middle goes on, or back, at its next start. What a node had before stays on that node, by its
//! content, and with its options in the record.

mod drive;
mod record;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sedge_base::{ContentId, ErrorKind, NodeId};
use sedge_capability::{Failure, Name};
use sedge_plans::{Gate, Measured};
use sedge_routing::canary_count;
use sedge_store::StoredPlan;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::deploy::refused;
use crate::node::{Node, internal, unwritten};
use crate::view::DeployOptions;

pub use record::{Before, Phase, Rollout, RolloutState, RolloutStrategy, Step, StepState};

/// The version of a function that lies on a node, and how it fares there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionHeld {
    /// The component.
    pub content: ContentId,
    /// How it runs.
    pub options: DeployOptions,
    /// How it fared since it was offered.
    pub measured: Measured,
}

/// How the store calls these plans.
const KIND: &str = "rollout";

/// Rollouts that are remembered; of those that have ended, the oldest go first.
const KEPT: usize = 100;

/// The most probes of one rollout.
const MAX_PROBES: usize = 32;

/// The longest probe, in bytes.
const MAX_PROBE: usize = 4096;

/// A rollout to be planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutAsk {
    /// In which order.
    pub strategy: RolloutStrategy,
    /// The share of nodes that are canaries, in percent, 1 to 100; one node at least.
    #[serde(default = "ten")]
    pub percent: u8,
    /// What a canary has to show.
    #[serde(default)]
    pub gate: Gate,
    /// The nodes, by name, id or the beginning of an id, in order. When left out: those that have the
    /// function; when none has it, all that are healthy and do not drain.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// Inputs that the new version is asked on each node.
    #[serde(default)]
    pub probes: Vec<String>,
    /// How it runs; on each node as before when left out.
    #[serde(default)]
    pub options: Option<DeployOptions>,
    /// Whether it begins now.
    #[serde(default)]
    pub start: bool,
}

const fn ten() -> u8 {
    10
}

/// The rollouts that a node leads.
#[derive(Debug, Default)]
pub(crate) struct Rollouts(Mutex<BTreeMap<String, Rollout>>);

impl Rollouts {
    fn list(&self) -> MutexGuard<'_, BTreeMap<String, Rollout>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Plans a rollout of a new version, and begins it when it is asked to; on disk by then.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when a node, a probe or the gate cannot be used, or there is no node to go to.
    pub async fn plan_rollout(
        self: &Arc<Self>,
        function: Name,
        wasm: Bytes,
        ask: RolloutAsk,
    ) -> Result<Rollout, Failure> {
        let RolloutAsk { strategy, percent, gate, nodes, probes, options, start } = ask;
        let invalid = |text: &str| Failure::new(ErrorKind::Invalid, "invalid_rollout", text);
        if let Some(why) = gate.wrong() {
            return Err(invalid(why));
        }
        if !(1..=100).contains(&percent) {
            return Err(invalid("`percent` is 1 to 100"));
        }
        if probes.len() > MAX_PROBES || probes.iter().any(|it| it.len() > MAX_PROBE) {
            return Err(invalid("there are at most 32 probes of 4 KiB each"));
        }
        let nodes = self.rollout_nodes(&function, &nodes)?;
        let canaries = match strategy {
            RolloutStrategy::Canary => canary_count(nodes.len(), percent),
            RolloutStrategy::Rolling | RolloutStrategy::BlueGreen => 0,
        };
        let steps = nodes.into_iter().enumerate().map(|(index, node)| Step {
            node,
            node_name: self.members.name_of(&node),
            canary: index < canaries,
            known: false,
            before: None,
            state: StepState::Pending,
            failure: None,
        });
        let wasm = self.functions.component_of(wasm).await.map_err(refused)?;
        let content = ContentId::of(&wasm);
        let now = self.clock.now();
        let rollout = Rollout {
            id: uuid::Uuid::new_v4().simple().to_string()[..8].to_owned(),
            function,
            content,
            options,
            strategy,
            percent,
            gate,
            probes,
            state: RolloutState::Pending,
            phase: Phase::Forward,
            stop: false,
            reason: None,
            steps: steps.collect(),
            created: now,
            updated: now,
        };
        if strategy == RolloutStrategy::BlueGreen && rollout.green().is_none() {
            return Err(invalid("the function's name leaves no room for `.green`"));
        }
        let put = self.store.blobs().put(wasm.into(), Some(content)).await;
        put.map_err(|it| unwritten(it.kind(), it))?;
        self.keep_rollout(&rollout).await?;
        let id = rollout.id.clone();
        self.plans.rollouts.list().insert(id.clone(), rollout);
        self.forget_old_rollouts().await;
        if start { self.start_rollout(&id).await } else { self.rollout(&id) }
    }

    fn rollout_nodes(&self, function: &Name, asked: &[String]) -> Result<Vec<NodeId>, Failure> {
        let mut nodes = Vec::new();
        for text in asked {
            let node = self.members.find(text)?;
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        if !nodes.is_empty() {
            return Ok(nodes);
        }
        let mut sites = self.sites(function);
        sites.sort_by(|a, b| (&a.name, a.node).cmp(&(&b.name, b.node)));
        let having: Vec<_> = sites.iter().filter(|it| it.has).map(|it| it.node).collect();
        if !having.is_empty() {
            return Ok(having);
        }
        let free = sites.iter().filter(|it| it.healthy && !it.draining);
        let free: Vec<_> = free.map(|it| it.node).collect();
        if free.is_empty() {
            let text = "no node takes anything new";
            return Err(Failure::new(ErrorKind::Unavailable, "no_node", text));
        }
        Ok(free)
    }

    /// Begins a rollout that was planned.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is none, [`ErrorKind::Conflict`] when it has begun, or
    /// another one of the same function is under way here.
    pub async fn start_rollout(self: &Arc<Self>, id: &str) -> Result<Rollout, Failure> {
        {
            let mut list = self.plans.rollouts.list();
            let planned = list.get(id).ok_or_else(|| unknown(id))?;
            let conflict = |text: String| Failure::new(ErrorKind::Conflict, "rollout_state", text);
            if planned.state != RolloutState::Pending {
                let text = format!("rollout {id} is {}", planned.state.name());
                return Err(conflict(text));
            }
            let other = list
                .values()
                .find(|it| it.state == RolloutState::InProgress && it.function == planned.function);
            if let Some(other) = other {
                let text = format!("rollout {} of `{}` is under way", other.id, other.function);
                return Err(conflict(text));
            }
            if let Some(it) = list.get_mut(id) {
                it.state = RolloutState::InProgress;
            }
        }
        if let Err(failure) = self.change_rollout(id, |_| {}).await {
            // What is not on disk as begun does not begin.
            if let Some(it) = self.plans.rollouts.list().get_mut(id) {
                it.state = RolloutState::Pending;
            }
            return Err(failure);
        }
        self.drive_rollout(id.to_owned());
        self.rollout(id)
    }

    /// Lets a rollout go back: one that is under way at its next step, one that was completed now, one
    /// that failed to go back once more. It has not ended when this returns.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is none, [`ErrorKind::Conflict`] when it is back already.
    pub async fn roll_back(self: &Arc<Self>, id: &str) -> Result<Rollout, Failure> {
        let before = self.rollout(id)?.state;
        let asked = |it: &mut Rollout| {
            it.stop = true;
            match before {
                RolloutState::Pending => {
                    it.state = RolloutState::RolledBack;
                    it.reason = Some("it was called off before it began".to_owned());
                }
                RolloutState::Completed | RolloutState::Failed => {
                    it.state = RolloutState::InProgress;
                    it.phase = Phase::Back;
                    it.reason.get_or_insert_with(|| "it was asked to go back".to_owned());
                }
                RolloutState::InProgress | RolloutState::RolledBack => {}
            }
        };
        if before == RolloutState::RolledBack {
            let text = format!("rollout {id} is back already");
            return Err(Failure::new(ErrorKind::Conflict, "rollout_state", text));
        }
        self.change_rollout(id, asked).await?;
        if matches!(before, RolloutState::Completed | RolloutState::Failed) {
            self.drive_rollout(id.to_owned());
        }
        self.rollout(id)
    }

    /// Returns every rollout that this node leads or has led, the newest last; 100 at most.
    pub fn rollouts(&self) -> Vec<Rollout> {
        let mut all: Vec<_> = self.plans.rollouts.list().values().cloned().collect();
        all.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        all
    }

    /// Returns one rollout.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when this node leads none of that id.
    pub fn rollout(&self, id: &str) -> Result<Rollout, Failure> {
        self.plans.rollouts.list().get(id).cloned().ok_or_else(|| unknown(id))
    }

    /// Takes up the rollouts that were there before the last stop; those under way go on.
    pub(crate) async fn remember_rollouts(self: &Arc<Self>) -> Result<(), Failure> {
        for stored in self.store.plans().list(KIND).await.map_err(internal)? {
            match serde_json::from_str::<Rollout>(&stored.json) {
                Ok(rollout) => {
                    let goes_on = rollout.state == RolloutState::InProgress;
                    self.plans.rollouts.list().insert(stored.id.clone(), rollout);
                    if goes_on {
                        self.drive_rollout(stored.id);
                    }
                }
                Err(error) => {
                    warn!(target: "sedge::events::rollout_unreadable", id = stored.id, %error);
                }
            }
        }
        Ok(())
    }

    /// Changes a rollout; on disk by then.
    async fn change_rollout(
        &self,
        id: &str,
        change: impl FnOnce(&mut Rollout),
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        let changed = {
            let mut list = self.plans.rollouts.list();
            let rollout = list.get_mut(id).ok_or_else(|| unknown(id))?;
            change(rollout);
            rollout.updated = now;
            rollout.clone()
        };
        self.keep_rollout(&changed).await
    }

    async fn keep_rollout(&self, rollout: &Rollout) -> Result<(), Failure> {
        let stored = StoredPlan {
            kind: KIND.to_owned(),
            id: rollout.id.clone(),
            at: rollout.created,
            json: serde_json::to_string(rollout).map_err(internal)?,
        };
        let put = self.store.plans().put(vec![stored]).await;
        put.map_err(|it| unwritten(it.kind(), it))
    }

    async fn forget_old_rollouts(&self) {
        let all = self.rollouts();
        let too_many = all.len().saturating_sub(KEPT);
        for old in all.iter().filter(|it| it.state.has_ended()).take(too_many) {
            self.plans.rollouts.list().remove(&old.id);
            if let Err(error) = self.store.plans().remove(KIND, &old.id).await {
                warn!(target: "sedge::events::rollout_not_forgotten", id = old.id, %error);
            }
        }
    }

    /// Returns the version of a function that lies here, and how it fares; `None` when none does.
    pub(crate) async fn version_here(&self, name: &Name) -> Result<Option<VersionHeld>, Failure> {
        let stored = self.store.deployments().get(name.as_str()).await.map_err(internal)?;
        let Some(stored) = stored else { return Ok(None) };
        let options = serde_json::from_str(&stored.options).map_err(internal)?;
        let measured = self.registry.get(name).map(|it| it.measured()).unwrap_or_default();
        Ok(Some(VersionHeld { content: stored.content, options, measured }))
    }

    /// Offers a component that lies here already, in place of what has the name now.
    pub(crate) async fn restore(
        &self,
        name: Name,
        content: ContentId,
        options: DeployOptions,
    ) -> Result<ContentId, Failure> {
        let wasm = self.store.blobs().get(content).await.map_err(|error| {
            let text = format!("the version {} is not here any more: {error}", content.short());
            Failure::new(ErrorKind::NotFound, "unknown_version", text)
        })?;
        self.deploy_here(name, wasm.into(), Some(content), options).await
    }
}

fn unknown(id: &str) -> Failure {
    let text = format!("this node leads no rollout `{id}`");
    Failure::new(ErrorKind::NotFound, "unknown_rollout", text)
}
