//! A node's part in the quorum: answers other voters, asks the coordinator, knows who it is.

mod decide;
mod engine;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use openraft::EmptyNode;
use openraft::error::{InitializeError, RaftError};
use sedge_base::{Clock, NodeId, TaskScope};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::engine::Engine;
use crate::config::QuorumConfig;
use crate::disk::Disk;
use crate::gate::{Sides, candidate};
use crate::link::Link;
use crate::message::{Answer, Ask, Entries, Followed, Granted, MAX_VOTERS, Message};
use crate::refusal::Refusal;
use crate::state::Coordinator;
use crate::voter::Voter;

/// How long an engine that stopped by itself is left alone, so that a full disk is not tried all the
/// time.
const START_AFTER: Duration = Duration::from_secs(1);

/// How long the coordinator waits for a majority before it says that it is unsure.
const DECIDE_WITHIN: Duration = Duration::from_secs(5);

/// How long a member waits for the coordinator: longer than the coordinator itself.
const ASK_WITHIN: Duration = Duration::from_secs(6);

/// What a quorum is made of.
#[derive(Debug)]
pub struct Parts {
    /// This node.
    pub me: NodeId,
    /// Timing.
    pub config: QuorumConfig,
    /// The dates that go into the log.
    pub clock: Clock,
    /// The way to the others.
    pub link: Arc<dyn Link>,
    /// What the engine's watcher belongs to; the engine stops when it does.
    pub scope: TaskScope,
}

/// A node's part in the quorum of its swarm; cheap to clone, every clone is the same.
///
/// A node that never had to do with a quorum runs nothing for it.
#[derive(Debug, Clone)]
pub struct Quorum {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    parts: Parts,
    disk: RwLock<Arc<dyn Disk>>,
    engine: RwLock<Option<Engine>>,
    /// Held while the engine starts.
    gate: tokio::sync::Mutex<()>,
    watched: Mutex<Watched>,
}

/// What this node saw of coordinators, for people and for [`Quorum::coordinator`].
#[derive(Debug, Default)]
struct Watched {
    /// When each was last heard of.
    heard: BTreeMap<NodeId, Instant>,
    last: Option<Coordinator>,
    /// When the engine was last started.
    started: Option<Instant>,
    handover: Option<Handover>,
}

/// A change of coordinators, as one node saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// Who led before.
    pub from: NodeId,
    /// Who leads since.
    pub to: NodeId,
    /// The new one's fence.
    pub fence: u64,
    /// From the last sign of life of the one before until the new one was known, in milliseconds;
    /// `None` on the node that led before.
    pub took_ms: Option<u64>,
}

/// How the quorum looks from one node, right now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Who votes; empty when this node knows of no quorum.
    pub voters: Vec<NodeId>,
    /// How many of them make a majority.
    pub majority: usize,
    /// Whether this node votes.
    pub votes: bool,
    /// Who is coordinator; `None` when that is unknown, as it is on a side without a majority.
    pub coordinator: Option<Coordinator>,
    /// The last change of coordinators that this node saw since it started.
    pub handover: Option<Handover>,
    /// Who was coordinator, as far as this node knows the log; the last one last.
    pub history: Vec<Coordinator>,
    /// How many entries of the log are applied here.
    pub applied: u64,
    /// Why this node takes no part, when it should.
    pub stopped: Option<String>,
}

/// Returns how many of so many voters make a majority.
pub const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

impl Quorum {
    /// Takes up the promises that this node made before it was last stopped.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stopped`] when they cannot be read.
    pub async fn open(parts: Parts, disk: Arc<dyn Disk>) -> Result<Self, Refusal> {
        let inner = Inner {
            parts,
            disk: RwLock::new(disk),
            engine: RwLock::default(),
            gate: tokio::sync::Mutex::new(()),
            watched: Mutex::default(),
        };
        let quorum = Self { inner: Arc::new(inner) };
        quorum.take_up().await?;
        Ok(quorum)
    }

    /// Leaves the quorum of one swarm for that of another, or none: what was promised to the one
    /// stays on its disk, what was promised to the other is taken up from `disk`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stopped`] when that cannot be read.
    pub async fn turn_to(&self, disk: Arc<dyn Disk>) -> Result<(), Refusal> {
        {
            let _gate = self.inner.gate.lock().await;
            let engine = self.inner.engine.write().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(engine) = engine {
                engine.stop().await;
            }
            *self.inner.disk.write().unwrap_or_else(PoisonError::into_inner) = disk;
            self.watched(|it| *it = Watched::default());
        }
        self.take_up().await
    }

    /// Starts the engine, if there is anything that was promised.
    async fn take_up(&self) -> Result<(), Refusal> {
        let kept = self.disk().load().await.map_err(|it| Refusal::stopped(&it))?;
        if kept.vote.is_some() || kept.snapshot.is_some() || !kept.entries.is_empty() {
            self.engine().await?;
        }
        Ok(())
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.inner.disk.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    fn watched<T>(&self, look: impl FnOnce(&mut Watched) -> T) -> T {
        look(&mut self.inner.watched.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers a message of another member. `from` is what the connection has proven.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves open whether something was done; the sender asks again.
    pub async fn answer(&self, from: NodeId, message: Message) -> Answer {
        self.take(from, message).await.unwrap_or_else(Answer::Refused)
    }

    async fn take(&self, from: NodeId, message: Message) -> Result<Answer, Refusal> {
        self.admit(from, &message)?;
        let leads = match &message {
            Message::Append(entries) => entries.confirmed,
            Message::Snapshot(_) => true,
            Message::Vote(_) | Message::Ask(_) => false,
        };
        let answer = match message {
            Message::Ask(ask) => return self.decide(from, ask).await.map(Answer::Granted),
            Message::Vote(request) => {
                let response = self.engine().await?.raft.vote(request).await;
                Answer::Vote(response.map_err(|it| Refusal::stopped(&it))?)
            }
            Message::Append(Entries { request, .. }) => {
                let response = self.engine().await?.raft.append_entries(request).await;
                Answer::Append(response.map_err(|it| Refusal::stopped(&it))?.into())
            }
            Message::Snapshot(part) => {
                let response = self.engine().await?.raft.install_snapshot(part.into()).await;
                Answer::Snapshot(response.map_err(|it| Refusal::stopped(&it))?.vote)
            }
        };
        if leads && !matches!(answer, Answer::Append(Followed::Other(_))) {
            self.note_heard(from);
        }
        Ok(answer)
    }

    fn admit(&self, from: NodeId, message: &Message) -> Result<(), Refusal> {
        let Parts { me, link, .. } = self.parts();
        let (from_roles, own_roles) = (link.roles(&from), link.roles(me));
        let coordinator = self.coordinator();
        Sides { from, from_roles, own_roles, coordinator }.admit(message)
    }

    fn note_heard(&self, leader: NodeId) {
        self.watched(|it| {
            if it.heard.len() > MAX_VOTERS {
                it.heard.clear();
            }
            it.heard.insert(leader, Instant::now());
        });
    }

    /// Founds the quorum: this node and others that the owner allows to be coordinator.
    ///
    /// # Errors
    ///
    /// [`Refusal::AlreadyFounded`], [`Refusal::NoCandidate`] and [`Refusal::VoterCount`].
    pub async fn found(&self, voters: BTreeSet<NodeId>) -> Result<(), Refusal> {
        let Parts { me, link, .. } = self.parts();
        if !voters.contains(me) || voters.len() > MAX_VOTERS {
            return Err(Refusal::VoterCount { most: MAX_VOTERS });
        }
        if self.coordinator().is_some() {
            return Err(Refusal::AlreadyFounded);
        }
        for node in &voters {
            candidate(*node, &link.roles(node))?;
        }
        let voters: BTreeMap<Voter, EmptyNode> =
            voters.into_iter().map(|it| (Voter(it), EmptyNode {})).collect();
        match self.engine().await?.raft.initialize(voters).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {
                Err(Refusal::AlreadyFounded)
            }
            Err(RaftError::APIError(InitializeError::NotInMembers(_))) => {
                Err(Refusal::VoterCount { most: MAX_VOTERS })
            }
            Err(RaftError::Fatal(error)) => Err(Refusal::stopped(&error)),
        }
    }

    /// Waits until this node knows who is coordinator, `within` long at most.
    pub async fn settled(&self, within: Duration) -> Option<Coordinator> {
        let Ok(engine) = self.engine().await else { return None };
        let mut metrics = engine.raft.metrics();
        let known = async {
            loop {
                if let Some(coordinator) = self.coordinator() {
                    return Some(coordinator);
                }
                metrics.changed().await.ok()?;
            }
        };
        tokio::time::timeout(within, known).await.ok().flatten()
    }

    /// Asks the coordinator, wherever it is, on behalf of this node.
    ///
    /// # Errors
    ///
    /// [`Refusal`], of the coordinator or because there is none to be found.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves open what becomes of it.
    pub async fn ask(&self, ask: Ask) -> Result<Granted, Refusal> {
        let Some(first) = self.coordinator().map(|it| it.node) else {
            return Err(self.nobody_leads());
        };
        match self.ask_of(first, ask.clone()).await {
            // It was, a moment ago, and knows who is now.
            Err(Refusal::NotCoordinator { coordinator: Some(now), .. }) if now != first => {
                self.ask_of(now, ask).await
            }
            answered => answered,
        }
    }

    /// Asks one node, which refuses when it is not the coordinator.
    ///
    /// # Errors
    ///
    /// [`Refusal`], of that node or because it does not answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves open what becomes of it.
    pub async fn ask_of(&self, node: NodeId, ask: Ask) -> Result<Granted, Refusal> {
        let Parts { me, link, .. } = self.parts();
        if node == *me {
            self.admit(*me, &Message::Ask(ask.clone()))?;
            return self.decide(*me, ask).await;
        }
        let silent = |reason: String| Refusal::Silent { node, reason };
        let sent = tokio::time::timeout(ASK_WITHIN, link.send(node, Message::Ask(ask))).await;
        let sent = sent.map_err(|_| silent(format!("no answer within {ASK_WITHIN:?}")))?;
        match sent.map_err(|it| silent(it.to_string()))? {
            Answer::Granted(granted) => Ok(granted),
            Answer::Refused(refusal) => Err(refusal),
            _ => Err(silent("it answered something else than it was asked".to_owned())),
        }
    }

    /// Returns who is coordinator, as far as this node knows now: a voter by its own part, others by
    /// what voters say. `None` is an honest answer.
    pub fn coordinator(&self) -> Option<Coordinator> {
        let engine = self.running();
        match engine.filter(|it| it.votes(&self.parts().me)) {
            Some(engine) => self.led_by(&engine),
            None => self.parts().link.rumour(),
        }
    }

    /// Returns what this voter itself knows of the coordinator, for members that do not vote.
    pub fn witnessed(&self) -> Option<Coordinator> {
        let engine = self.running().filter(|it| it.votes(&self.parts().me))?;
        self.led_by(&engine)
    }

    /// A coordinator counts while this node hears of it, and it of a majority.
    fn led_by(&self, engine: &Engine) -> Option<Coordinator> {
        let Parts { me, config, .. } = self.parts();
        let elected = engine.machine.coordinator()?;
        let (leader, term, acknowledged) = engine.led();
        if leader? != elected.node || term != elected.term {
            return None;
        }
        let silent = match elected.node == *me {
            true => acknowledged?,
            false => self.watched(|it| it.heard.get(&elected.node).copied())?.elapsed(),
        };
        (silent <= config.lease()).then_some(elected)
    }

    fn nobody_leads(&self) -> Refusal {
        match self.running().map(|it| it.voters().len()) {
            None | Some(0) => Refusal::NotFounded,
            Some(voters) => Refusal::NoMajority { voters, needed: majority(voters) },
        }
    }

    /// Returns how the quorum looks from here.
    pub fn standing(&self) -> Standing {
        let engine = self.running();
        let voters = engine.as_ref().map(Engine::voters).unwrap_or_default();
        let stopped = self.stopped_engine().filter(|_| engine.is_none());
        let state = engine.as_ref().map(|it| {
            it.machine.look(|it| (it.coordinators.iter().copied().collect(), it.applied))
        });
        let (history, applied): (Vec<_>, _) = state.unwrap_or_default();
        Standing {
            majority: majority(voters.len()),
            votes: voters.contains(&self.parts().me),
            coordinator: self.coordinator(),
            handover: self.watched(|it| it.handover.clone()),
            history,
            applied: applied.map_or(0, |it| it.index),
            stopped,
            voters,
        }
    }

    /// Stops taking part; what was promised is on disk.
    pub async fn close(&self) {
        if let Some(engine) = self.running() {
            engine.stop().await;
        }
    }
}

impl Refusal {
    pub(crate) fn stopped(error: &dyn std::error::Error) -> Self {
        Self::Stopped { reason: error.to_string() }
    }
}

#[cfg(test)]
mod tests;
