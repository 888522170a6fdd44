//! This node's part in the quorum of its swarm: raft messages over its connections, and what doors
//! ask of it.

mod link;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{Clock, ErrorKind, NodeId, SwarmId, TaskScope};
use sedge_capability::Failure;
use sedge_members::Presence;
use sedge_quorum::{
    Agreed, Answer, Ask, Claim, Granted, Key, Message, Parts, Quorum, QuorumConfig, Record,
    Refusal, SwarmDisk, Text,
};
use sedge_trust::swarm::{Role, duties, may_coordinate};
use tracing::{debug, info, warn};

use crate::node::Node;

pub(crate) use link::QuorumLink;
pub use view::{LedBy, QuorumNode, QuorumView};

/// How long founding waits for the first coordinator.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);

/// Takes up what this node promised to the quorum of its swarm.
///
/// # Errors
///
/// A [`Failure`] when that cannot be read.
pub(crate) async fn open(
    link: QuorumLink,
    config: &QuorumConfig,
    clock: &Clock,
    scope: &TaskScope,
    disk: SwarmDisk,
) -> Result<Quorum, Failure> {
    let parts = Parts {
        me: link.me(),
        config: config.clone(),
        clock: clock.clone(),
        link: Arc::new(link),
        scope: scope.clone(),
    };
    let opened = Quorum::open(parts, Arc::new(disk)).await;
    opened.map_err(|it| Failure::new(it.kind(), it.code(), it))
}

impl Node {
    /// Leaves the quorum of another swarm for that of this one.
    pub(crate) async fn turn_to_quorum(&self, swarm: SwarmId) -> Result<(), Failure> {
        let disk = SwarmDisk { store: self.store.clone(), swarm };
        let turned = self.quorum.turn_to(Arc::new(disk)).await;
        turned.map_err(|it| Failure::new(it.kind(), it.code(), it))
    }

    /// Answers a quorum message of another member; the connection has proven who it is.
    pub(crate) async fn answer_quorum(&self, from: NodeId, message: &[u8]) -> Answer {
        match Message::decode(message) {
            Ok(message) => self.quorum.answer(from, message).await,
            Err(error) => {
                debug!(target: "sedge::events::quorum_message_refused", %from, %error);
                Answer::Refused(Refusal::Senseless { what: error.to_string() })
            }
        }
    }

    /// Founds the quorum of the swarm: this node and those that are named vote from now on. The
    /// owner's node lets each of them become coordinator.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] on a node that does not own the swarm, [`ErrorKind::NotFound`] when
    /// nobody fits a name, [`ErrorKind::Conflict`] when there is a quorum already.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave the roles given and the quorum not founded; asking again goes on.
    pub async fn found_quorum(self: &Arc<Self>, others: &[String]) -> Result<QuorumView, Failure> {
        let standing = self.quorum.standing();
        if !standing.voters.is_empty() || standing.coordinator.is_some() {
            return Err(self.refused(&Refusal::AlreadyFounded));
        }
        let mut voters = BTreeSet::from([self.id()]);
        for name in others {
            voters.insert(self.members.find(name)?);
        }
        for node in &voters {
            self.let_coordinate(*node).await?;
        }
        self.quorum.found(voters).await.map_err(|it| self.refused(&it))?;
        // A majority that is not there yet is told by the view.
        self.quorum.settled(SETTLE_WITHIN).await;
        info!(target: "sedge::events::quorum_founded", voters = others.len() + 1);
        Ok(self.quorum_view())
    }

    /// Lets one more node vote, after it has shown that it keeps up.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] on a node that does not own the swarm, [`ErrorKind::Unavailable`] when
    /// the node does not answer or there is no majority.
    pub async fn add_voter(self: &Arc<Self>, node: &str) -> Result<QuorumView, Failure> {
        let node = self.members.find(node)?;
        self.let_coordinate(node).await?;
        self.ask_quorum(Ask::Add { node }, None).await?;
        Ok(self.quorum_view())
    }

    /// Lets a node vote no more; its role stays.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] on a node that does not own the swarm, [`ErrorKind::NotFound`] when the
    /// node does not vote, [`ErrorKind::Unavailable`] when there is no majority.
    pub async fn remove_voter(self: &Arc<Self>, node: &str) -> Result<QuorumView, Failure> {
        // Somebody who was revoked still votes until taken out: found by the voters, too.
        let by_id = |it: &&NodeId| node.len() >= 4 && it.to_string().starts_with(node);
        let voters = self.quorum.standing().voters;
        let found = self.members.find(node);
        let node = found.or_else(|error| voters.iter().find(by_id).copied().ok_or(error))?;
        self.ask_quorum(Ask::Remove { node }, None).await?;
        Ok(self.quorum_view())
    }

    /// Takes a claim for this node, or keeps it longer. Whatever the claim protects must be told the
    /// fence, and refuse a smaller one than it has seen.
    ///
    /// `on` names the node to ask; by itself the node finds the coordinator.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] when somebody else holds it, [`ErrorKind::Denied`] when the node that
    /// was named is not the coordinator, [`ErrorKind::Unavailable`] when there is no majority.
    pub async fn claim(&self, key: Key, ttl: Duration, on: Option<&str>) -> Result<Claim, Failure> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        if !(1..=sedge_quorum::MAX_TTL_MS).contains(&ttl_ms) {
            let text = "a claim lasts from 1 ms to a day";
            return Err(Failure::new(ErrorKind::Invalid, "invalid_ttl", text));
        }
        match self.ask_quorum(Ask::Claim { key, ttl_ms }, on).await? {
            Granted::Claimed(claim) => Ok(claim),
            other => Err(odd(&other)),
        }
    }

    /// Gives a claim of this node back. Returns whether this node held it under this fence.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when there is no majority.
    pub async fn release(&self, key: Key, fence: u64) -> Result<bool, Failure> {
        match self.ask_quorum(Ask::Release { key, fence }, None).await? {
            Granted::Released(was) => Ok(was),
            other => Err(odd(&other)),
        }
    }

    /// Writes a record that every voter reads at the same place.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when there is no majority; [`ErrorKind::Timeout`] when it is open
    /// whether the record will stand.
    pub async fn record(&self, text: Text) -> Result<Record, Failure> {
        match self.ask_quorum(Ask::Append { text }, None).await? {
            Granted::Appended(record) => Ok(record),
            other => Err(odd(&other)),
        }
    }

    /// Returns the claims and the newest records, after a majority has confirmed them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when there is no majority.
    pub async fn agreed(&self) -> Result<Agreed, Failure> {
        match self.ask_quorum(Ask::Show, None).await? {
            Granted::Shown(agreed) => Ok(agreed),
            other => Err(odd(&other)),
        }
    }

    async fn ask_quorum(&self, ask: Ask, on: Option<&str>) -> Result<Granted, Failure> {
        let granted = match on {
            Some(node) => self.quorum.ask_of(self.members.find(node)?, ask).await,
            None => self.quorum.ask(ask).await,
        };
        granted.map_err(|it| self.refused(&it))
    }

    /// Says a refusal in words, with names in place of ids.
    fn refused(&self, refusal: &Refusal) -> Failure {
        let name = |node: &NodeId| self.members.name_of(node);
        let text = match refusal {
            Refusal::NotCoordinator { coordinator, may } => {
                let asked = if *may { "is not it now" } else { "may not be one by its role" };
                let who = coordinator.as_ref().map_or_else(
                    || "and who is, is unknown".to_owned(),
                    |it| format!("node {} is", name(it)),
                );
                format!("only the coordinator does this; the node that was asked {asked}, {who}")
            }
            Refusal::Held(claim) => format!(
                "`{}` is held by node {} under fence {} until {}",
                claim.key,
                name(&claim.holder),
                claim.fence,
                claim.until
            ),
            Refusal::NoCandidate { node } => {
                format!("node {} may not be coordinator: its role does not allow it", name(node))
            }
            Refusal::NoVoter { node } => format!("node {} does not vote", name(node)),
            Refusal::Silent { node, reason } => {
                format!("node {} does not answer: {reason}", name(node))
            }
            other => other.to_string(),
        };
        Failure::new(refusal.kind(), refusal.code(), text)
    }

    /// Gives a node the coordinator's role, if it has not got it.
    async fn let_coordinate(self: &Arc<Self>, node: NodeId) -> Result<(), Failure> {
        let roles = self.members.roles(&node);
        if may_coordinate(&roles) && self.is_owner() {
            return Ok(());
        }
        let mut new: Vec<Role> = duties(&roles);
        new.retain(|it| *it != Role::Worker);
        new.push(Role::Coordinator);
        self.sign_duties(node, &new).await.map(drop)
    }

    /// Founds the quorum that the configuration names, as soon as all of its nodes are there.
    pub(crate) async fn found_as_configured(self: &Arc<Self>) {
        let named = &self.config.quorum.voters;
        let mut every = tokio::time::interval(self.config.node.advert_period);
        loop {
            every.tick().await;
            let standing = self.quorum.standing();
            if !standing.voters.is_empty() {
                return;
            }
            let online = |name: &String| {
                let node = self.members.find(name).ok()?;
                let there =
                    node == self.id() || self.members.get(&node)?.presence() == Presence::Online;
                there.then_some(())
            };
            if named.iter().all(|it| online(it).is_some()) {
                match self.found_quorum(named).await {
                    Ok(_) => return,
                    Err(error) => warn!(target: "sedge::events::quorum_not_founded", %error),
                }
            }
        }
    }
}

fn odd(granted: &Granted) -> Failure {
    debug!(target: "sedge::events::quorum_odd_answer", ?granted);
    let text = "the coordinator answered something else than it was asked";
    Failure::new(ErrorKind::Corrupt, "odd_answer", text)
}
