//! Leading a rollout: forward, watching, and back; each step is on disk before it is taken.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use sedge_base::{ContentId, ErrorKind, NodeId};
use sedge_capability::{Budgets, Failure, Name};
use sedge_plans::{Measured, Verdict, Wish};
use tokio::time::Instant;
use tracing::{info, warn};

use super::record::{Before, Phase, Rollout, RolloutState, RolloutStrategy, Step, StepState};
use crate::node::{Node, internal};
use crate::plans::VersionHeld;
use crate::view::DeployOptions;
use crate::wire::Request;

/// How long a node that cannot be reached is tried again.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait before it is tried again, or looked at again.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What is done on one node.
#[derive(Debug)]
enum Act {
    /// Bring the component there.
    Bring(Name, ContentId, DeployOptions),
    /// Offer a component that is there.
    Restore(Name, ContentId, DeployOptions),
    /// Offer nothing of that name.
    Forget(Name),
}

impl Node {
    /// Leads a rollout until it has ended, or the node stops.
    pub(super) fn drive_rollout(self: &Arc<Self>, id: String) {
        let node = Arc::clone(self);
        self.scope.spawn("rollout", async move |cancel| {
            let led = tokio::select! {
                biased;
                // What is on disk says how to go on at the next start.
                () = cancel.cancelled() => return,
                led = node.lead(&id) => led,
            };
            if let Err(failure) = led {
                warn!(target: "sedge::events::rollout_stalled", id, %failure);
            }
        });
    }

    async fn lead(self: &Arc<Self>, id: &str) -> Result<(), Failure> {
        if self.rollout(id)?.phase != Phase::Back {
            match self.forward(id).await {
                Ok(()) => return self.end_rollout(id, RolloutState::Completed).await,
                Err(why) => {
                    let reason = why.message.clone();
                    info!(target: "sedge::events::rollout_goes_back", id, reason);
                    let going_back = |it: &mut Rollout| {
                        it.phase = Phase::Back;
                        it.reason = Some(reason);
                    };
                    self.change_rollout(id, going_back).await?;
                }
            }
        }
        let state = match self.back(id).await? {
            true => RolloutState::RolledBack,
            false => RolloutState::Failed,
        };
        self.end_rollout(id, state).await
    }

    async fn end_rollout(&self, id: &str, state: RolloutState) -> Result<(), Failure> {
        self.change_rollout(id, |it| it.state = state).await?;
        info!(target: "sedge::events::rollout_ended", id, state = state.name());
        Ok(())
    }

    async fn forward(self: &Arc<Self>, id: &str) -> Result<(), Failure> {
        let rollout = self.survey(id).await?;
        match rollout.strategy {
            RolloutStrategy::Rolling => self.bring_to(id, |_| true).await,
            RolloutStrategy::BlueGreen => self.switch(id).await,
            RolloutStrategy::Canary => {
                if rollout.phase != Phase::Promote {
                    self.bring_to(id, |it| it.canary).await?;
                    self.watch(id).await?;
                    self.change_rollout(id, |it| it.phase = Phase::Promote).await?;
                }
                self.bring_to(id, |it| !it.canary).await
            }
        }
    }

    /// Asks every node what it has now, before anything is changed.
    async fn survey(self: &Arc<Self>, id: &str) -> Result<Rollout, Failure> {
        let rollout = self.rollout(id)?;
        for (index, step) in rollout.steps.iter().enumerate().filter(|it| !it.1.known) {
            let held = self.version_patiently(step.node, &rollout.function).await?;
            let known = |it: &mut Rollout| {
                if let Some(step) = it.steps.get_mut(index) {
                    step.known = true;
                    step.before =
                        held.map(|it| Before { content: it.content, options: it.options });
                }
            };
            self.change_rollout(id, known).await?;
        }
        self.rollout(id)
    }

    /// Brings the new version to nodes, one after the other.
    async fn bring_to(
        self: &Arc<Self>,
        id: &str,
        which: impl Fn(&Step) -> bool,
    ) -> Result<(), Failure> {
        for index in 0..self.rollout(id)?.steps.len() {
            let rollout = self.unless_stopped(id)?;
            let Some(step) = rollout.steps.get(index).filter(|it| which(it)) else { continue };
            if step.state == StepState::Done {
                continue;
            }
            self.note_step(id, index, StepState::Begun, None).await?;
            let name = rollout.function.clone();
            let act = Act::Bring(name.clone(), rollout.content, rollout.options_for(step));
            let mut done = self.act_patiently(step.node, &act).await;
            // A canary is asked while it is watched, where its answers count.
            if done.is_ok() && rollout.strategy != RolloutStrategy::Canary {
                done = self.probe(&rollout, &name, step.node).await;
            }
            self.note_done(id, index, step, done).await?;
        }
        Ok(())
    }

    /// Puts the new version beside the old one everywhere, and then in its place.
    async fn switch(self: &Arc<Self>, id: &str) -> Result<(), Failure> {
        let rollout = self.rollout(id)?;
        let green = green_of(&rollout)?;
        for (index, step) in rollout.steps.iter().enumerate() {
            self.unless_stopped(id)?;
            if step.state == StepState::Done {
                continue;
            }
            self.note_step(id, index, StepState::Begun, None).await?;
            let options = DeployOptions { replicas: None, ..rollout.options_for(step) };
            let act = Act::Bring(green.clone(), rollout.content, options);
            let mut done = self.act_patiently(step.node, &act).await;
            if done.is_ok() {
                done = self.probe(&rollout, &green, step.node).await;
            }
            if let Err(failure) = done {
                self.note_step(id, index, StepState::Begun, Some(failure.clone())).await?;
                return Err(on_node(step, &failure));
            }
        }
        self.unless_stopped(id)?;
        let switching = rollout.steps.iter().map(|step| {
            let (name, options) = (rollout.function.clone(), rollout.options_for(step));
            let act = Act::Restore(name, rollout.content, options);
            async move { self.act_patiently(step.node, &act).await }
        });
        let switched = join_all(switching).await;
        for (index, (step, done)) in rollout.steps.iter().zip(switched).enumerate() {
            self.note_done(id, index, step, done).await?;
        }
        self.forget_green(&rollout, &green).await;
        Ok(())
    }

    /// Watches the canaries until the gate says what is to be done.
    async fn watch(self: &Arc<Self>, id: &str) -> Result<(), Failure> {
        let now = self.clock.now();
        let rollout = self.rollout(id)?;
        let since = match rollout.phase {
            Phase::Watch { since } => since,
            _ => now,
        };
        self.change_rollout(id, |it| it.phase = Phase::Watch { since }).await?;
        loop {
            let rollout = self.unless_stopped(id)?;
            let (new, old) = self.compare(&rollout).await?;
            let watched = self.clock.now().since(since);
            match rollout.gate.judge(&new, &old, watched) {
                Verdict::Pass => return Ok(()),
                Verdict::Fail(why) => {
                    return Err(Failure::new(ErrorKind::Failed, "canary_failed", why));
                }
                Verdict::Wait => {}
            }
            if new.calls < rollout.gate.calls && !rollout.probes.is_empty() {
                for step in rollout.steps.iter().filter(|it| it.canary) {
                    for input in &rollout.probes {
                        // What it answers is counted on the node that ran it.
                        drop(self.run_wish(&asked(&rollout.function, input, step.node)).await);
                    }
                }
            } else {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }

    /// Returns how the new version fares on the canaries, and the old one on the others. A node that
    /// is away tells nothing.
    async fn compare(self: &Arc<Self>, rollout: &Rollout) -> Result<(Measured, Measured), Failure> {
        let (mut new, mut old) = (Measured::default(), Measured::default());
        for step in &rollout.steps {
            let held = match self.version_on(step.node, &rollout.function).await {
                Ok(held) => held,
                Err(failure) if failure.kind.is_retryable() => continue,
                Err(failure) => return Err(on_node(step, &failure)),
            };
            let content = held.as_ref().map(|it| it.content);
            if step.canary && content != Some(rollout.content) {
                let text = format!("node {} has another version now", step.node_name);
                return Err(Failure::new(ErrorKind::Conflict, "other_version", text));
            }
            let Some(held) = held else { continue };
            if step.canary {
                new.add(&held.measured);
            } else if step.before.as_ref().is_some_and(|it| it.content == held.content) {
                old.add(&held.measured);
            }
        }
        Ok((new, old))
    }

    /// Brings the old version back wherever the new one may be; returns whether it is back everywhere.
    async fn back(self: &Arc<Self>, id: &str) -> Result<bool, Failure> {
        let rollout = self.rollout(id)?;
        let mut everywhere = true;
        for (index, step) in rollout.steps.iter().enumerate() {
            if matches!(step.state, StepState::Pending | StepState::RolledBack) {
                continue;
            }
            match self.back_on(&rollout, step).await {
                Ok(()) => self.note_step(id, index, StepState::RolledBack, None).await?,
                Err(failure) => {
                    everywhere = false;
                    self.note_step(id, index, step.state, Some(failure)).await?;
                }
            }
        }
        if rollout.strategy == RolloutStrategy::BlueGreen {
            let green = green_of(&rollout)?;
            self.forget_green(&rollout, &green).await;
        }
        Ok(everywhere)
    }

    async fn back_on(self: &Arc<Self>, rollout: &Rollout, step: &Step) -> Result<(), Failure> {
        let name = rollout.function.clone();
        let held = self.version_patiently(step.node, &name).await?;
        // It never came there, or somebody has put another version in its place: that one stays.
        if held.is_none_or(|it| it.content != rollout.content) {
            return Ok(());
        }
        let act = match step.before.clone() {
            Some(Before { content, options }) => Act::Restore(name, content, options),
            None => Act::Forget(name),
        };
        self.act_patiently(step.node, &act).await
    }

    /// What waits beside the old version is needed no more; a node that is away keeps it.
    async fn forget_green(self: &Arc<Self>, rollout: &Rollout, green: &Name) {
        for step in &rollout.steps {
            let act = Act::Forget(green.clone());
            if let Err(failure) = self.act_patiently(step.node, &act).await {
                let node = &step.node_name;
                warn!(target: "sedge::events::green_stays", id = rollout.id, node, %failure);
            }
        }
    }

    /// Asks the new version on one node every probe.
    async fn probe(
        self: &Arc<Self>,
        rollout: &Rollout,
        name: &Name,
        node: NodeId,
    ) -> Result<(), Failure> {
        for input in &rollout.probes {
            if let Some(failure) = self.run_wish(&asked(name, input, node)).await.failure {
                let text = format!("the new version failed a probe: {failure}");
                return Err(Failure::new(ErrorKind::Failed, "probe_failed", text));
            }
        }
        Ok(())
    }

    fn unless_stopped(&self, id: &str) -> Result<Rollout, Failure> {
        let rollout = self.rollout(id)?;
        if rollout.stop {
            let text = "it was asked to go back";
            return Err(Failure::new(ErrorKind::Cancelled, "stopped", text));
        }
        Ok(rollout)
    }

    async fn note_done(
        &self,
        id: &str,
        index: usize,
        step: &Step,
        done: Result<(), Failure>,
    ) -> Result<(), Failure> {
        match done {
            Ok(()) => self.note_step(id, index, StepState::Done, None).await,
            Err(failure) => {
                self.note_step(id, index, StepState::Begun, Some(failure.clone())).await?;
                Err(on_node(step, &failure))
            }
        }
    }

    async fn note_step(
        &self,
        id: &str,
        index: usize,
        state: StepState,
        failure: Option<Failure>,
    ) -> Result<(), Failure> {
        let note = |it: &mut Rollout| {
            if let Some(step) = it.steps.get_mut(index) {
                step.state = state;
                step.failure = failure;
            }
        };
        self.change_rollout(id, note).await
    }

    async fn act_patiently(self: &Arc<Self>, node: NodeId, act: &Act) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.act(node, act).await {
                Err(failure) if failure.kind.is_retryable() && Instant::now() < end => {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                done => return done,
            }
        }
    }

    async fn act(self: &Arc<Self>, node: NodeId, act: &Act) -> Result<(), Failure> {
        match act {
            Act::Bring(name, content, options) => {
                let wasm: Bytes = self.store.blobs().get(*content).await.map_err(internal)?.into();
                let (name, options) = (name.clone(), options.clone());
                if node == self.id() {
                    self.deploy_here(name, wasm, Some(*content), options).await.map(drop)
                } else {
                    self.deploy_there(node, name, wasm, options).await.map(drop)
                }
            }
            Act::Restore(name, content, options) => {
                let (name, options) = (name.clone(), options.clone());
                if node == self.id() {
                    return self.restore(name, *content, options).await.map(drop);
                }
                let request = Request::Restore { name, content: *content, options };
                let _: ContentId = self.ask_member(node, &request).await?;
                self.beat(node).await;
                Ok(())
            }
            Act::Forget(name) => self.undeploy_on(node, name).await.map(drop),
        }
    }

    async fn version_patiently(
        self: &Arc<Self>,
        node: NodeId,
        name: &Name,
    ) -> Result<Option<VersionHeld>, Failure> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.version_on(node, name).await {
                Err(failure) if failure.kind.is_retryable() && Instant::now() < end => {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                held => return held,
            }
        }
    }

    /// Returns the version of a function that lies on a member, and how it fares there.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the member cannot be reached, or its store failed.
    pub async fn version_on(
        self: &Arc<Self>,
        node: NodeId,
        name: &Name,
    ) -> Result<Option<VersionHeld>, Failure> {
        if node == self.id() {
            return self.version_here(name).await;
        }
        self.ask_member(node, &Request::Version { name: name.clone() }).await
    }
}

fn green_of(rollout: &Rollout) -> Result<Name, Failure> {
    rollout.green().ok_or_else(|| internal("the function's name leaves no room for `.green`"))
}

fn asked(function: &Name, input: &str, node: NodeId) -> Wish {
    Wish {
        function: function.clone(),
        input: input.to_owned(),
        input_hex: None,
        on: Some(node.to_string()),
        budgets: Budgets::default(),
    }
}

/// Says on which node something went wrong.
fn on_node(step: &Step, failure: &Failure) -> Failure {
    let text = format!("on node {}: {}", step.node_name, failure.message);
    Failure { message: text, ..failure.clone() }
}
