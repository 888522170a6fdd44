//! What a majority has agreed on: a pure function of the log.
//!
//! Invariants: a fence is given out once and only grows, over coordinators and claims together.
//! Dates come with the commands and never go back; they decide when a claim may be taken over, and
//! nothing else: who holds a resource safely is decided by comparing fences.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use openraft::{EntryPayload, RaftLogId};
use sedge_base::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::text::{Key, Text};
use crate::voter::{Entry, LogId, Voters};

/// The most claims at once.
pub const MAX_CLAIMS: usize = 1024;

/// How many records are kept; the oldest go first.
pub const MAX_RECORDS: usize = 256;

/// How many coordinators are remembered; the oldest go first.
pub const MAX_COORDINATORS: usize = 64;

/// What a coordinator puts into the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Give somebody a claim, if it is free.
    Claim {
        /// On what.
        key: Key,
        /// For whom.
        holder: NodeId,
        /// For how long, in milliseconds.
        ttl_ms: u64,
        /// When it was asked for, by the coordinator's clock.
        at: Timestamp,
    },
    /// Take a claim back that its holder has no use for any more.
    Release {
        /// On what.
        key: Key,
        /// Who holds it.
        holder: NodeId,
        /// Under which fence.
        fence: u64,
    },
    /// Write a record.
    Append {
        /// What it says.
        text: Text,
        /// Who asked for it.
        by: NodeId,
        /// When, by the coordinator's clock.
        at: Timestamp,
    },
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was none: a change of voters, or the first entry of a term.
    Nothing,
    /// The claim is the asker's.
    Claimed(Claim),
    /// The claim is somebody else's.
    Held(Claim),
    /// There are as many claims as there may be.
    Full,
    /// Whether there was such a claim.
    Released(bool),
    /// The record stands.
    Appended(Record),
}

/// The node that leads, and its fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coordinator {
    /// Which node.
    pub node: NodeId,
    /// Greater than every fence before.
    pub fence: u64,
    /// The term in which it was elected.
    pub term: u64,
}

/// Something that one node holds at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// On what.
    pub key: Key,
    /// Who holds it.
    pub holder: NodeId,
    /// Greater than every fence before: whatever is protected refuses a smaller one than it has seen.
    pub fence: u64,
    /// From when on somebody else may take it over.
    pub until: Timestamp,
}

/// A line of the log that everybody reads in the same order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its number, from 1, without gaps.
    pub number: u64,
    /// What it says.
    pub text: Text,
    /// Who asked for it.
    pub by: NodeId,
    /// When, by the clock of the coordinator of that time.
    pub at: Timestamp,
}

/// All that was agreed on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) applied: Option<LogId>,
    pub(crate) voters: Voters,
    /// The last fence that was given out.
    pub(crate) fence: u64,
    /// Who led, the present one last.
    pub(crate) coordinators: VecDeque<Coordinator>,
    pub(crate) claims: BTreeMap<Key, Claim>,
    pub(crate) records: VecDeque<Record>,
    /// How many records there ever were.
    pub(crate) written: u64,
    /// The latest date that any command had.
    pub(crate) latest: Timestamp,
}

impl Default for State {
    fn default() -> Self {
        Self {
            applied: None,
            voters: Voters::default(),
            fence: 0,
            coordinators: VecDeque::new(),
            claims: BTreeMap::new(),
            records: VecDeque::new(),
            written: 0,
            latest: Timestamp::from_millis(0),
        }
    }
}

impl State {
    /// Applies the next entry of the log.
    pub(crate) fn apply(&mut self, entry: Entry) -> Outcome {
        let id = *entry.get_log_id();
        self.applied = Some(id);
        self.note_leader(&id);
        match entry.payload {
            EntryPayload::Blank => Outcome::Nothing,
            EntryPayload::Membership(voters) => {
                self.voters = Voters::new(Some(id), voters);
                Outcome::Nothing
            }
            EntryPayload::Normal(command) => self.obey(command),
        }
    }

    /// Returns the node that was elected last.
    pub(crate) fn coordinator(&self) -> Option<Coordinator> {
        self.coordinators.back().copied()
    }

    /// The first entry of a term makes its leader the coordinator. Term 0 is the founding.
    fn note_leader(&mut self, id: &LogId) {
        let (term, node) = (id.leader_id.term, id.leader_id.node_id.0);
        if term == 0 || self.coordinator().is_some_and(|it| it.term == term && it.node == node) {
            return;
        }
        let fence = self.next_fence();
        if self.coordinators.len() == MAX_COORDINATORS {
            self.coordinators.pop_front();
        }
        self.coordinators.push_back(Coordinator { node, fence, term });
    }

    fn next_fence(&mut self) -> u64 {
        self.fence = self.fence.saturating_add(1);
        self.fence
    }

    /// Returns the date of a command; no later one is ever before it.
    fn date(&mut self, at: Timestamp) -> Timestamp {
        self.latest = self.latest.max(at);
        self.latest
    }

    fn obey(&mut self, command: Command) -> Outcome {
        match command {
            Command::Claim { key, holder, ttl_ms, at } => {
                let now = self.date(at);
                self.claim(key, holder, now.plus(Duration::from_millis(ttl_ms)), now)
            }
            Command::Release { key, holder, fence } => {
                let fits = |it: &Claim| it.holder == holder && it.fence == fence;
                let was = self.claims.get(&key).is_some_and(fits);
                if was {
                    self.claims.remove(&key);
                }
                Outcome::Released(was)
            }
            Command::Append { text, by, at } => {
                let at = self.date(at);
                self.written += 1;
                let record = Record { number: self.written, text, by, at };
                if self.records.len() == MAX_RECORDS {
                    self.records.pop_front();
                }
                self.records.push_back(record.clone());
                Outcome::Appended(record)
            }
        }
    }

    fn claim(&mut self, key: Key, holder: NodeId, until: Timestamp, now: Timestamp) -> Outcome {
        match self.claims.get_mut(&key).filter(|it| it.until > now) {
            // Its holder again: the same fence for longer.
            Some(claim) if claim.holder == holder => {
                claim.until = claim.until.max(until);
                return Outcome::Claimed(claim.clone());
            }
            Some(claim) => return Outcome::Held(claim.clone()),
            None => {}
        }
        if self.claims.len() >= MAX_CLAIMS {
            self.claims.retain(|_, it| it.until > now);
            if self.claims.len() >= MAX_CLAIMS {
                return Outcome::Full;
            }
        }
        let claim = Claim { key: key.clone(), holder, fence: self.next_fence(), until };
        self.claims.insert(key, claim.clone());
        Outcome::Claimed(claim)
    }
}

#[cfg(test)]
mod tests;
