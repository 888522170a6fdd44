//! From a door's wish to a running task: candidates, the routing decision, here or there.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sedge_base::{ErrorKind, NodeId, TaskId};
use sedge_capability::{Budgets, Capability, Descriptor, Failure, Idempotence, Outcome, Task};
use sedge_members::Offered;
use sedge_net::PathClass;
use sedge_routing::{Candidate, Decision, Load, Path, Reason, Rejected, Request, Strategy, decide};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use crate::access::Pass;
use crate::bulk::BULK_OVER_RELAY;
use crate::mesh::NODE_FULL;
use crate::node::{Node, internal, unwritten};
use crate::remote::{NODE_LOST, Remote};
use crate::view::{Answer, Ask};

/// How much longer than its time budget a task is waited for: the way there and back.
const DISTANCE: Duration = Duration::from_secs(2);

/// The code of a task that did not end in time.
const DEADLINE: &str = "deadline";

/// A routing decision and the task that it was made for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Routed {
    /// The task.
    pub task: TaskId,
    /// Which node was picked, the losers with their numbers, the refused with their reasons.
    pub decision: Decision,
    /// The same in words, with names.
    pub words: String,
}

impl Node {
    /// Runs a task on the best node for it, or on the one that the caller names.
    ///
    /// A node that turns out to be gone before it sent anything is replaced by the next best,
    /// unless the caller named it. A task that may have begun there is repeated only if its
    /// capability is [`Idempotence::Idempotent`]; otherwise the loss is the answer. All of it ends
    /// by the deadline, whatever another node does.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when nobody can run it, or the picked node refused it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the outcome later, asks the engine to stop.
    pub async fn run(self: &Arc<Self>, ask: Ask) -> Result<Answer, Failure> {
        let me = self.id();
        let pinned = ask.on.as_deref().map(|it| self.members.find(it)).transpose()?;
        let limits =
            Budgets { time_ms: Some(millis(self.config.node.task_time)), ..Budgets::default() };
        let allowed = ask.pass.as_ref().map(|it| it.budgets()).unwrap_or_default();
        let budgets = ask.budgets.within(limits).within(allowed);
        let time = budgets.time().unwrap_or(self.config.node.task_time);
        let id = uuid::Uuid::new_v4().to_string();
        let task = Task {
            id: id.parse().map_err(internal)?,
            capability: ask.capability.clone(),
            input: ask.input.clone(),
            media: ask.media,
            budgets,
            deadline: self.clock.now().plus(time),
            priority: Task::USUAL_PRIORITY,
            requester: me,
        };
        let deadline = Instant::now() + time + DISTANCE;
        let place = Running::take(self)?;
        let mut candidates = self.candidates(&ask);
        if let Some(pass) = &ask.pass {
            self.narrow(pass, &task, pinned, &mut candidates).await?;
        }
        let mut uncounted = ask.pass.as_ref();
        let mut last = None;
        loop {
            let decision = self.decide(&ask, pinned, &candidates);
            let Some(winner) = decision.winner else {
                self.remember(&task.id, &decision).await?;
                return Err(last.unwrap_or_else(|| nobody(&ask, &decision)));
            };
            // A call counts once, however many nodes it is tried on.
            if let Some(pass) = uncounted.take() {
                self.access.count(pass).await?;
            }
            let starting = self.start_on(winner, task.clone(), &candidates, ask.pass.clone());
            let starting = timeout_at(deadline, starting);
            let watch = self.learned.watch((winner, ask.capability.clone()), expected(&decision));
            // The decision goes to disk with the next write, which is the task's receipt if it is quick.
            let (remembered, started) = tokio::join!(self.remember(&task.id, &decision), starting);
            remembered?;
            match started.unwrap_or_else(|_| Err(late())) {
                Ok(outcome) => {
                    let outcome = outcome.until(deadline).keeping(place).until_first(watch);
                    let node_name = self.members.name_of(&winner);
                    return Ok(Answer { task: task.id, node: winner, node_name, outcome });
                }
                Err(failure) => {
                    // Who took the task and said nothing was late; who did not take it was not.
                    if failure.code != DEADLINE {
                        watch.forget();
                    }
                    if pinned.is_some() || !may_repeat(&failure, winner, &candidates) {
                        return Err(failure);
                    }
                    candidates.retain(|it| it.candidate.node != winner);
                    last = Some(failure);
                }
            }
        }
    }

    /// Returns everybody who offers something of that name, as known now.
    fn candidates(&self, ask: &Ask) -> Vec<Offering> {
        let me = self.id();
        let fits = |it: &Offered| {
            it.descriptor.name == ask.capability
                && ask.kind.is_none_or(|kind| kind == it.descriptor.kind)
        };
        // Every task passes here: nothing is copied of those that do not offer it.
        let mut found = self.members.pick(|node, known| {
            let here = node == me;
            let (offered, gauges, running, limit, draining) = if here {
                let offered = self.registry.get(&ask.capability)?.offered();
                let gauges = *self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
                // The task at hand has its place already and is not in its own way.
                let running = self.running.load(Ordering::SeqCst).saturating_sub(1);
                let draining = self.draining.load(Ordering::SeqCst);
                (offered, gauges, running, self.config.node.max_tasks.get(), draining)
            } else {
                let it = known.advert.as_ref()?;
                let offered = it.offers.iter().find(|it| fits(it))?.clone();
                (offered, it.gauges, it.running, it.limit, it.draining)
            };
            if !fits(&offered) {
                return None;
            }
            let candidate = Candidate {
                node,
                name: known.name().to_owned(),
                here,
                healthy: here || known.reason.is_none(),
                draining,
                load: Load { running: offered.running, waiting: 0, limit: offered.limit },
                node_load: Load { running, waiting: 0, limit },
                free_memory: gauges.free_memory,
                cpu_percent: gauges.cpu_percent,
                rtt: if here { Some(Duration::ZERO) } else { known.rtt },
                path: self.mesh.path(&node).map(path),
                late_by: self.learned.late_by(node, &ask.capability),
                tokens_per_second: offered.tokens_per_second,
                ready: offered.ready,
                labels: offered.descriptor.labels.clone(),
            };
            Some(Offering { candidate, descriptor: Arc::new(offered.descriptor) })
        });
        // Who drains still works for those who name it, or find nobody else.
        let free = |it: &Offering| it.candidate.healthy && !it.candidate.draining;
        if ask.on.is_some() || !found.iter().any(free) {
            found.iter_mut().for_each(|it| it.candidate.draining = false);
        }
        found
    }

    /// Leaves the nodes that a token allows, and refuses the task if it does not allow that.
    async fn narrow(
        &self,
        pass: &Pass,
        task: &Task,
        pinned: Option<NodeId>,
        offerings: &mut Vec<Offering>,
    ) -> Result<(), Failure> {
        let first = |offerings: &[Offering]| offerings.first().map(|it| it.candidate.node);
        let anybody = first(offerings);
        offerings.retain(|it| pass.runs_on(&it.candidate.node));
        let node = pinned.or_else(|| first(offerings)).or(anybody).unwrap_or_else(|| self.id());
        self.access.check(pass, task, node).await
    }

    fn decide(&self, ask: &Ask, pinned: Option<NodeId>, offerings: &[Offering]) -> Decision {
        let request = Request {
            kind: ask.kind,
            pinned,
            input_bytes: ask.input.len() as u64,
            relay_limit: self.relay_limit(),
            ..Request::new(ask.capability.clone())
        };
        let candidates: Vec<_> = offerings.iter().map(|it| it.candidate.clone()).collect();
        decide(&request, &candidates, Strategy::default(), 0)
    }

    /// Keeps the decision for `sedge why`.
    async fn remember(&self, task: &TaskId, decision: &Decision) -> Result<(), Failure> {
        let words = decision.words();
        let routed = Routed { task: task.clone(), decision: decision.clone(), words };
        let text = serde_json::to_string(&routed).map_err(internal)?;
        let stored =
            sedge_store::StoredDecision { task: task.clone(), at: self.clock.now(), json: text };
        self.store.decisions().put(stored).await.map_err(|it| unwritten(it.kind(), it))
    }

    /// Returns the routing decision of a task, or the last one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is none.
    pub async fn decision(&self, task: Option<&TaskId>) -> Result<Routed, Failure> {
        let found = match task {
            Some(task) => self.store.decisions().get(task).await,
            None => self.store.decisions().list(1).await.map(|it| it.into_iter().next()),
        };
        let stored = found.map_err(internal)?.ok_or_else(|| {
            Failure::new(
                ErrorKind::NotFound,
                "no_decision",
                "no such routing decision is kept here",
            )
        })?;
        serde_json::from_str(&stored.json).map_err(internal)
    }

    /// Starts a task on a node that was picked.
    async fn start_on(
        self: &Arc<Self>,
        node: NodeId,
        task: Task,
        offerings: &[Offering],
        pass: Option<Arc<Pass>>,
    ) -> Result<Outcome, Failure> {
        if node == self.id() {
            return self.executor.run(task).await;
        }
        let descriptor = offerings
            .iter()
            .find(|it| it.candidate.node == node)
            .map(|it| Arc::clone(&it.descriptor))
            .ok_or_else(|| internal("the picked node offers nothing"))?;
        let conn = match self.mesh.conn(self, node).await {
            Ok(conn) => conn,
            Err(failure) => {
                if failure.code != NODE_FULL {
                    self.lost(node, failure.to_string());
                }
                return Err(failure);
            }
        };
        self.may_carry(&conn, task.input.len() as u64).await?;
        let remote = Remote {
            conn,
            node_name: self.members.name_of(&node),
            descriptor,
            ledger: Arc::clone(&self.ledger),
            scope: self.scope.clone(),
            pass,
        };
        remote.run(task).await
    }
}

/// Somebody who could run the task.
struct Offering {
    candidate: Candidate,
    descriptor: Arc<Descriptor>,
}

/// A place among the tasks that were asked here; given back on drop.
struct Running(Arc<Node>);

impl Running {
    fn take(node: &Arc<Node>) -> Result<Self, Failure> {
        let limit = node.config.node.max_tasks.get();
        let taken = node.running.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |running| {
            (running < limit).then_some(running + 1)
        });
        match taken {
            Ok(_) => Ok(Self(Arc::clone(node))),
            Err(running) => {
                let text = format!("this node has {running} tasks in flight, which is its limit");
                Err(Failure::new(ErrorKind::Exhausted, "busy", text))
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a task that a node did not start may be given to the next one.
fn may_repeat(failure: &Failure, on: NodeId, offerings: &[Offering]) -> bool {
    let offering = offerings.iter().find(|it| it.candidate.node == on);
    let idempotent =
        offering.is_some_and(|it| it.descriptor.idempotence == Idempotence::Idempotent);
    // A node that was lost may have begun; one that refused, or was not reached, has not.
    let begun = failure.code == NODE_LOST;
    let elsewhere = failure.kind.is_retryable() || failure.code == NODE_FULL;
    elsewhere && failure.code != DEADLINE && (idempotent || !begun)
}

/// The answer when a node did not even begin to answer in time.
fn late() -> Failure {
    let text = "the task did not begin to answer by its deadline";
    Failure::new(ErrorKind::Timeout, DEADLINE, text)
}

/// What was expected of the node that was picked, by what it says of itself.
fn expected(decision: &Decision) -> Duration {
    let estimate = decision.ranked.first().map(|it| it.estimate).unwrap_or_default();
    Duration::from_micros(estimate.total_us().saturating_sub(estimate.late_us))
}

const fn path(of: PathClass) -> Path {
    match of {
        PathClass::Local => Path::Local,
        PathClass::Lan => Path::Lan,
        PathClass::Direct => Path::Direct,
        PathClass::Relayed => Path::Relayed,
    }
}

/// Why nobody runs it, from the decision.
fn nobody(ask: &Ask, decision: &Decision) -> Failure {
    let name = &ask.capability;
    let others = |it: &&Rejected| it.reason != Reason::NotPinned;
    let rejected: Vec<_> = decision.rejected.iter().filter(others).collect();
    if rejected.is_empty() {
        let text = match &ask.on {
            Some(on) => format!("node `{on}` does not offer `{name}`"),
            None => format!("no node of this swarm offers `{name}`"),
        };
        return Failure::new(ErrorKind::NotFound, "unknown_capability", text);
    }
    let relayed = rejected.iter().any(|it| matches!(it.reason, Reason::OverRelay { .. }));
    let code = if relayed { BULK_OVER_RELAY } else { "no_candidate" };
    let reasons: Vec<_> = rejected.iter().map(|it| format!("{}: {}", it.name, it.reason)).collect();
    let text = format!("nobody can run `{name}` now: {}", reasons.join("; "));
    Failure::new(ErrorKind::Unavailable, code, text)
}
