//! A network in memory that can be cut, and the nodes on it; a test double.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sedge_base::{Clock, NodeId, TaskScope, Timestamp};
use sedge_trust::swarm::Role;

use super::super::{Parts, Quorum};
use crate::config::{QuorumConfig, QuorumSection};
use crate::disk::double::DiskDouble;
use crate::link::{Link, LinkError};
use crate::message::{Answer, Message};
use crate::state::Coordinator;
use crate::voter::Voter;

/// How long a message takes, one way.
const WAY: Duration = Duration::from_millis(2);

/// How long anything may take, on the paused clock.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
pub(super) struct NetDouble {
    members: Mutex<BTreeMap<NodeId, Member>>,
    /// Those that are cut off from the others, among themselves connected.
    cut: Mutex<BTreeSet<NodeId>>,
}

#[derive(Debug)]
struct Member {
    roles: Vec<Role>,
    disk: Arc<DiskDouble>,
    running: Option<(Quorum, TaskScope)>,
}

#[derive(Debug)]
struct LinkDouble {
    net: Arc<NetDouble>,
    me: NodeId,
}

impl NetDouble {
    fn members(&self) -> MutexGuard<'_, BTreeMap<NodeId, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self, from: NodeId, to: NodeId) -> Result<Quorum, LinkError> {
        let cut = self.cut.lock().unwrap();
        let members = self.members();
        let there = members.get(&to).and_then(|it| it.running.as_ref());
        let there = there.filter(|_| cut.contains(&from) == cut.contains(&to));
        there.map(|it| it.0.clone()).ok_or(LinkError::NotConnected)
    }
}

#[async_trait]
impl Link for LinkDouble {
    async fn send(&self, to: NodeId, message: Message) -> Result<Answer, LinkError> {
        let broken = |reason: &str| LinkError::Broken { reason: reason.to_owned() };
        let bytes = message.encode().map_err(|it| broken(&it.to_string()))?;
        tokio::time::sleep(WAY).await;
        let there = self.net.reach(self.me, to)?;
        let message = Message::decode(&bytes).map_err(|it| broken(&it.to_string()))?;
        let answer = there.answer(self.me, message).await;
        tokio::time::sleep(WAY).await;
        self.net.reach(self.me, to)?;
        let json = serde_json::to_vec(&answer).unwrap();
        Ok(serde_json::from_slice(&json).unwrap())
    }

    fn roles(&self, node: &NodeId) -> Vec<Role> {
        self.net.members().get(node).map(|it| it.roles.clone()).unwrap_or_default()
    }

    fn rumour(&self) -> Option<Coordinator> {
        let others: Vec<_> = self.net.members().keys().copied().collect();
        let heard = others.into_iter().filter(|it| *it != self.me);
        let heard = heard.filter_map(|it| self.net.reach(self.me, it).ok()?.witnessed());
        heard.max_by_key(|it| it.fence)
    }
}

/// Nodes 1 to n, all of them voters; node 1 is the owner's.
#[derive(Debug)]
pub(super) struct Cluster {
    net: Arc<NetDouble>,
    clock: Clock,
}

pub(super) fn node(number: u64) -> NodeId {
    Voter::from(number).0
}

impl Cluster {
    pub(super) async fn of(count: u64) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
        let cluster = Self { net: Arc::default(), clock };
        for number in 1..=count {
            cluster.idle(number).await;
        }
        let voters = cluster.up().into_iter().collect();
        cluster.quorum(node(1)).found(voters).await.unwrap();
        cluster
    }

    /// Adds a node that may become coordinator and does not vote yet.
    pub(super) async fn idle(&self, number: u64) -> NodeId {
        let owner = (number == 1).then_some(Role::Owner);
        let roles: Vec<_> = owner.into_iter().chain([Role::Coordinator]).collect();
        self.join(number, &roles).await
    }

    /// Adds a member.
    pub(super) async fn join(&self, number: u64, roles: &[Role]) -> NodeId {
        let member = Member { roles: roles.to_vec(), disk: Arc::default(), running: None };
        self.net.members().insert(node(number), member);
        self.restart(node(number)).await;
        node(number)
    }

    pub(super) async fn restart(&self, me: NodeId) {
        let disk = Arc::clone(&self.net.members()[&me].disk);
        let scope = TaskScope::new();
        let parts = Parts {
            me,
            config: QuorumConfig::try_from(QuorumSection::default()).unwrap(),
            clock: self.clock.clone(),
            link: Arc::new(LinkDouble { net: Arc::clone(&self.net), me }),
            scope: scope.clone(),
        };
        let quorum = Quorum::open(parts, disk).await.unwrap();
        self.net.members().get_mut(&me).unwrap().running = Some((quorum, scope));
    }

    /// Ends a node; its disk stays.
    pub(super) async fn kill(&self, me: NodeId) {
        let running = self.net.members().get_mut(&me).unwrap().running.take();
        if let Some((quorum, scope)) = running {
            scope.stop();
            quorum.close().await;
        }
    }

    pub(super) fn disk(&self, me: NodeId) -> Arc<DiskDouble> {
        Arc::clone(&self.net.members()[&me].disk)
    }

    pub(super) fn fill_disk(&self, me: NodeId, full: bool) {
        self.disk(me).full.store(full, Ordering::SeqCst);
    }

    /// Cuts these off from the others.
    pub(super) fn cut(&self, these: &[NodeId]) {
        *self.net.cut.lock().unwrap() = these.iter().copied().collect();
    }

    pub(super) fn heal(&self) {
        self.cut(&[]);
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Nodes that run.
    pub(super) fn up(&self) -> Vec<NodeId> {
        let members = self.net.members();
        members.iter().filter(|(_, it)| it.running.is_some()).map(|(id, _)| *id).collect()
    }

    pub(super) fn quorum(&self, node: NodeId) -> Quorum {
        self.net.members()[&node].running.as_ref().unwrap().0.clone()
    }

    pub(super) fn records(&self, node: NodeId) -> Vec<String> {
        let Some(engine) = self.quorum(node).running() else { return Vec::new() };
        engine.machine.look(|it| it.records.iter().map(|it| it.text.to_string()).collect())
    }

    /// Waits until something is true, on the paused clock.
    pub(super) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut every = tokio::time::interval(Duration::from_millis(20));
        let waiting = async {
            while !holds(self) {
                every.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// Waits until every voter that runs names the same coordinator, which runs.
    pub(super) async fn settled(&self) -> Coordinator {
        let agreed = |it: &Self| {
            let voters = it.up().into_iter().map(|node| it.quorum(node));
            let voters: Vec<_> = voters.filter(|it| it.standing().votes).collect();
            let first = voters.first()?.coordinator()?;
            let all = voters.iter().all(|it| it.coordinator() == Some(first));
            (all && it.up().contains(&first.node)).then_some(first)
        };
        self.until("one coordinator", |it| agreed(it).is_some()).await;
        agreed(self).unwrap()
    }

    /// Checks that no two nodes ever led under the same fence, whoever is asked.
    pub(super) fn check_history(&self) {
        let mut by_fence: BTreeMap<u64, Coordinator> = BTreeMap::new();
        for node in self.up() {
            let mut last = 0;
            for led in self.quorum(node).standing().history {
                assert!(led.fence > last, "fence {} after {last}", led.fence);
                last = led.fence;
                let known = *by_fence.entry(led.fence).or_insert(led);
                assert_eq!(known, led, "two coordinators under one fence");
            }
        }
    }
}
