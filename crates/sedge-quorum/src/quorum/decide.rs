//! The coordinator's side: what it does when it is asked.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use openraft::error::{ChangeMembershipError, CheckIsLeaderError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, EmptyNode};
use sedge_base::NodeId;

use super::engine::Engine;
use super::{DECIDE_WITHIN, Parts, Quorum, majority};
use crate::gate::candidate;
use crate::message::{Agreed, Ask, Granted, MAX_VOTERS};
use crate::refusal::Refusal;
use crate::state::{Command, Outcome};
use crate::voter::Voter;

/// How long a new voter may take to show that it keeps up.
const KEEP_UP_WITHIN: Duration = Duration::from_secs(3);

/// How long a node that votes no more may take to hear of it.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

type Written = openraft::raft::ClientWriteResponse<crate::voter::Types>;
type Unwritten = RaftError<Voter, ClientWriteError<Voter, EmptyNode>>;

impl Quorum {
    /// Does what only the coordinator does, if this node is it.
    pub(super) async fn decide(&self, by: NodeId, ask: Ask) -> Result<Granted, Refusal> {
        let engine = self.leading()?;
        let now = self.parts().clock.now();
        let command = match ask {
            Ask::Claim { key, ttl_ms } => Command::Claim { key, holder: by, ttl_ms, at: now },
            Ask::Release { key, fence } => Command::Release { key, holder: by, fence },
            Ask::Append { text } => Command::Append { text, by, at: now },
            Ask::Show => return in_time(self.show(&engine)).await,
            Ask::Add { node } => return in_time(self.add(&engine, node)).await,
            Ask::Remove { node } => return in_time(self.remove(&engine, node)).await,
        };
        let written = in_time(async {
            let written = engine.raft.client_write(command).await;
            written.map_err(|it| self.unwritten(it))
        });
        match written.await?.data {
            Outcome::Claimed(claim) => Ok(Granted::Claimed(claim)),
            Outcome::Held(claim) => Err(Refusal::Held(claim)),
            Outcome::Full => Err(Refusal::TooManyClaims),
            Outcome::Released(was) => Ok(Granted::Released(was)),
            Outcome::Appended(record) => Ok(Granted::Appended(record)),
            Outcome::Nothing => Err(Refusal::Senseless { what: "nothing was asked".to_owned() }),
        }
    }

    /// Returns the engine, if this node leads and a majority has confirmed it a moment ago. Without
    /// one nothing is even tried: it would wait in the log, and might be decided much later.
    fn leading(&self) -> Result<Engine, Refusal> {
        let Parts { me, .. } = self.parts();
        let engine = self.running().ok_or_else(|| self.nobody_leads())?;
        let voters = engine.voters().len();
        if voters == 0 {
            return Err(Refusal::NotFounded);
        }
        let coordinator = self.coordinator();
        if coordinator.is_some_and(|it| it.node == *me) {
            return Ok(engine);
        }
        match coordinator {
            Some(it) => Err(Refusal::NotCoordinator { coordinator: Some(it.node), may: true }),
            None => Err(Refusal::NoMajority { voters, needed: majority(voters) }),
        }
    }

    async fn show(&self, engine: &Engine) -> Result<Granted, Refusal> {
        let confirmed = engine.raft.ensure_linearizable().await;
        confirmed.map_err(|error| match error {
            RaftError::APIError(CheckIsLeaderError::ForwardToLeader(to)) => {
                Refusal::NotCoordinator { coordinator: to.leader_id.map(|it| it.0), may: true }
            }
            RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_)) => self.nobody_leads(),
            RaftError::Fatal(error) => Refusal::stopped(&error),
        })?;
        Ok(Granted::Shown(engine.machine.look(|it| Agreed {
            claims: it.claims.values().cloned().collect(),
            records: it.records.iter().cloned().collect(),
        })))
    }

    async fn add(&self, engine: &Engine, node: NodeId) -> Result<Granted, Refusal> {
        candidate(node, &self.parts().link.roles(&node))?;
        let voters = engine.voters();
        if voters.contains(&node) {
            return Ok(Granted::Voters(voters));
        }
        if voters.len() >= MAX_VOTERS {
            return Err(Refusal::VoterCount { most: MAX_VOTERS });
        }
        let learner = engine.raft.add_learner(Voter(node), EmptyNode {}, false).await;
        let place = learner.map_err(|it| self.unwritten(it))?.log_id.index;
        let ids = BTreeSet::from([Voter(node)]);
        // A voter that is not there only makes a majority harder to reach.
        if !keeps_up(engine, node, place, KEEP_UP_WITHIN).await {
            let gone = ChangeMembers::RemoveNodes(ids);
            drop(engine.raft.change_membership(gone, false).await);
            let reason = format!("it did not take over the log within {KEEP_UP_WITHIN:?}");
            return Err(Refusal::Silent { node, reason });
        }
        self.change(engine, ChangeMembers::AddVoterIds(ids)).await
    }

    async fn remove(&self, engine: &Engine, node: NodeId) -> Result<Granted, Refusal> {
        let voters = engine.voters();
        if !voters.contains(&node) {
            return Err(Refusal::NoVoter { node });
        }
        if voters.len() == 1 {
            return Err(Refusal::VoterCount { most: MAX_VOTERS });
        }
        let ids = BTreeSet::from([Voter(node)]);
        // First a learner: so it hears that it votes no more, if it can be reached.
        let demoted = engine.raft.change_membership(ChangeMembers::RemoveVoters(ids.clone()), true);
        let demoted = demoted.await.map_err(|it| self.unwritten(it))?;
        if node == self.parts().me
            || !keeps_up(engine, node, demoted.log_id.index, TOLD_WITHIN).await
        {
            // The coordinator stops leading by this; one that cannot be reached may hear it later.
            return Ok(voters_of(&demoted));
        }
        self.change(engine, ChangeMembers::RemoveNodes(ids)).await
    }

    async fn change(
        &self,
        engine: &Engine,
        change: ChangeMembers<Voter, EmptyNode>,
    ) -> Result<Granted, Refusal> {
        let changed: Result<Written, Unwritten> =
            engine.raft.change_membership(change, false).await;
        let written = changed.map_err(|it| self.unwritten(it))?;
        Ok(voters_of(&written))
    }

    fn unwritten(&self, error: Unwritten) -> Refusal {
        use ChangeMembershipError::{EmptyMembership, InProgress, LearnerNotFound};
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => match to.leader_id {
                Some(it) => Refusal::NotCoordinator { coordinator: Some(it.0), may: true },
                None => self.nobody_leads(),
            },
            RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => match error {
                InProgress(_) => Refusal::Changing,
                EmptyMembership(_) => Refusal::VoterCount { most: MAX_VOTERS },
                LearnerNotFound(it) => Refusal::NoVoter { node: it.node_id.0 },
            },
            RaftError::Fatal(error) => Refusal::stopped(&error),
        }
    }
}

fn voters_of(written: &Written) -> Granted {
    let voters = written.membership.iter().flat_map(|it| it.voter_ids()).map(|it| it.0);
    Granted::Voters(voters.collect())
}

/// Returns whether a node has the log up to a place before the time is over.
async fn keeps_up(engine: &Engine, node: NodeId, place: u64, within: Duration) -> bool {
    let waiting = engine.raft.wait(Some(within));
    let has = |it: &openraft::RaftMetrics<Voter, EmptyNode>| {
        let matched = it.replication.as_ref().and_then(|it| it.get(&Voter(node)).copied());
        matched.flatten().is_some_and(|it| it.index >= place)
    };
    waiting.metrics(has, "a node keeps up").await.is_ok()
}

async fn in_time<T>(work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let within_ms = u64::try_from(DECIDE_WITHIN.as_millis()).unwrap_or(u64::MAX);
    let done = tokio::time::timeout(DECIDE_WITHIN, work).await;
    done.unwrap_or(Err(Refusal::Unsure { within_ms }))
}
