//! The consensus engine: started when it is needed, watched while it runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use openraft::Raft;
use sedge_base::NodeId;
use sedge_trust::swarm::may_coordinate;
use tokio::time::{Instant, timeout};

use super::{Handover, Parts, Quorum, START_AFTER};
use crate::disk::Disk;
use crate::events::{CoordinatorChanged, EngineStopped};
use crate::link::Network;
use crate::log::Log;
use crate::machine::Machine;
use crate::refusal::Refusal;
use crate::state::Coordinator;
use crate::voter::{Types, Voter};

/// A running engine; clones are the same one.
#[derive(Clone)]
pub(super) struct Engine {
    pub(super) raft: Raft<Types>,
    pub(super) machine: Machine,
    /// Whether a majority has confirmed this node as leader a moment ago.
    confirmed: Arc<AtomicBool>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("voters", &self.voters()).finish_non_exhaustive()
    }
}

impl Engine {
    async fn start(parts: &Parts, disk: Arc<dyn Disk>) -> Result<Self, Refusal> {
        let Parts { me, config, link, .. } = parts;
        let stored = disk.load().await.map_err(|it| Refusal::stopped(&it))?;
        let log = Log::new(Arc::clone(&disk), &stored).map_err(|it| Refusal::stopped(&it))?;
        let machine = Machine::new(disk, &stored);
        let machine = machine.map_err(|it| Refusal::stopped(&it))?;
        let config = config.engine().validate().map_err(|it| Refusal::stopped(&it))?;
        let confirmed = Arc::new(AtomicBool::new(false));
        let network = Network { link: Arc::clone(link), confirmed: Arc::clone(&confirmed) };
        let raft = Raft::new(Voter(*me), Arc::new(config), network, log, machine.clone()).await;
        Ok(Self { raft: raft.map_err(|it| Refusal::stopped(&it))?, machine, confirmed })
    }

    /// Returns why it does not run any more; `None` while it runs.
    fn fault(&self) -> Option<String> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.running_state.as_ref().err().map(ToString::to_string)
    }

    /// Returns who votes, as far as this node has the log.
    pub(super) fn voters(&self) -> Vec<NodeId> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let mut voters: Vec<_> = metrics.membership_config.voter_ids().map(|it| it.0).collect();
        voters.sort_unstable();
        voters.dedup();
        voters
    }

    pub(super) fn votes(&self, node: &NodeId) -> bool {
        self.voters().contains(node)
    }

    /// Returns who leads, in which term, and how long ago a majority confirmed it, if that is known.
    pub(super) fn led(&self) -> (Option<NodeId>, u64, Option<Duration>) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let leader = metrics.current_leader.map(|it| it.0);
        (leader, metrics.current_term, metrics.millis_since_quorum_ack.map(Duration::from_millis))
    }

    pub(super) async fn stop(&self) {
        // What hinders it is a fault that was told already.
        drop(self.raft.shutdown().await);
    }
}

impl Quorum {
    /// Returns the engine, if it runs.
    pub(super) fn running(&self) -> Option<Engine> {
        let engine = self.inner.engine.read().unwrap_or_else(PoisonError::into_inner);
        engine.clone().filter(|it| it.fault().is_none())
    }

    /// Returns why the engine does not run, if it did once.
    pub(super) fn stopped_engine(&self) -> Option<String> {
        let engine = self.inner.engine.read().unwrap_or_else(PoisonError::into_inner);
        engine.as_ref().and_then(Engine::fault)
    }

    /// Returns the engine; starts it if it does not run, from what is on disk.
    pub(super) async fn engine(&self) -> Result<Engine, Refusal> {
        if let Some(engine) = self.running() {
            return Ok(engine);
        }
        let _gate = self.inner.gate.lock().await;
        if let Some(engine) = self.running() {
            return Ok(engine);
        }
        let lately = self.watched(|it| it.started).is_some_and(|it| it.elapsed() < START_AFTER);
        if let Some(reason) = self.stopped_engine().filter(|_| lately) {
            return Err(Refusal::Stopped { reason });
        }
        let scope = &self.parts().scope;
        if scope.cancel().is_cancelled() {
            return Err(Refusal::Stopped { reason: "it is shutting down".to_owned() });
        }
        let engine = Engine::start(self.parts(), self.disk()).await?;
        self.watched(|it| it.started = Some(Instant::now()));
        let started = engine.clone();
        *self.inner.engine.write().unwrap_or_else(PoisonError::into_inner) = Some(started);
        let (quorum, watched) = (self.clone(), engine.clone());
        scope.spawn("quorum", async move |cancel| {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = quorum.watch(&watched) => {}
            }
            watched.stop().await;
        });
        Ok(engine)
    }

    /// Notes who leads until the engine stops.
    async fn watch(&self, engine: &Engine) {
        let mut metrics = engine.raft.metrics();
        loop {
            if let Some(reason) = engine.fault() {
                return EngineStopped { reason: &reason }.emit();
            }
            let coordinator = self.led_by(engine);
            let leads = coordinator.is_some_and(|it| it.node == self.parts().me);
            engine.confirmed.store(leads, Ordering::SeqCst);
            if let Some(coordinator) = coordinator {
                self.note_coordinator(coordinator);
            }
            // A voter that may not lead would only raise the term again and again: nobody elects it, and
            // whoever leads steps down before a higher term.
            let Parts { me, config, link, .. } = self.parts();
            engine.raft.runtime_config().elect(may_coordinate(&link.roles(me)));
            if let Ok(Err(_)) = timeout(config.heartbeat, metrics.changed()).await {
                return;
            }
        }
    }

    fn note_coordinator(&self, to: Coordinator) {
        let changed = self.watched(|watched| {
            let before = watched.last.replace(to);
            if before.is_some_and(|it| it.fence == to.fence) {
                return None;
            }
            let from = before.map(|it| it.node);
            let heard = from.and_then(|it| watched.heard.get(&it));
            let took = heard.map(Instant::elapsed);
            if let Some(from) = from {
                let took_ms = took.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
                let Coordinator { node, fence, .. } = to;
                watched.handover = Some(Handover { from, to: node, fence, took_ms });
            }
            Some(CoordinatorChanged { to, from, took })
        });
        if let Some(changed) = changed {
            changed.emit();
        }
    }
}
