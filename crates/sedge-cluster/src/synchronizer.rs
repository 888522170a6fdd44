//! Two sides of one state, by version (seed 000, `EdgeSynchronizer`).
//!
//! The seed's rules stand: who wins, what stays pending, what is confirmed. Beyond them a state whose checksum
//! is wrong is refused, changes that no longer find room are counted, and of two states that do not know of each
//! other both are kept.

use std::collections::VecDeque;

use sedge_base::{ErrorKind, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::seconds;
use crate::state::SyncState;

/// Events that are kept.
const MAX_EVENTS: usize = 1000;

/// Conflicts that are kept.
const MAX_CONFLICTS: usize = 16;

/// Pending changes that are kept when nobody says otherwise (seed 000).
const MAX_PENDING: usize = 100;

/// Which of two states stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictStrategy {
    /// The remote one when its version is larger.
    #[default]
    RemoteWins,
    /// The local one, once there is one.
    LocalWins,
    /// The remote one when it was made later.
    LatestWins,
}

/// A local change that was not confirmed yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PendingChange {
    /// `update`.
    #[serde(rename = "type")]
    pub kind: ChangeKind,
    /// The version that it made.
    pub version: u64,
    /// What was given.
    pub data: Map<String, Value>,
    /// When; written as seconds since 1970.
    #[serde(with = "seconds")]
    pub timestamp: Timestamp,
}

/// What a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// New data.
    Update,
}

/// Which way a state went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From here.
    Push,
    /// To here.
    Pull,
}

/// One confirmation or one remote state, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncEvent {
    /// Which way.
    pub direction: Direction,
    /// Which version.
    pub version: u64,
    /// Whether it was taken.
    pub success: bool,
    /// When; written as seconds since 1970.
    #[serde(with = "seconds")]
    pub timestamp: Timestamp,
    /// Why not; empty when it was.
    pub error: String,
}

/// Two states that were made without knowing of each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conflict {
    /// The one that was here.
    pub local: SyncState,
    /// The one that came.
    pub remote: SyncState,
    /// Whether the remote one stands now.
    pub remote_won: bool,
}

/// Where the two sides stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncSummary {
    /// The version here; 0 when there is none.
    pub local_version: u64,
    /// The newest version that the other side is known to have.
    pub remote_version: u64,
    /// Changes that were not confirmed.
    pub pending_changes: usize,
    /// Whether nothing is pending and both sides have the same version.
    pub is_synced: bool,
    /// Events so far.
    pub sync_events: u64,
    /// Which of two states stands.
    pub conflict_strategy: ConflictStrategy,
}

/// Why a remote state was not even looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// Its checksum is not that of its data.
    #[error("the checksum of version {version} is not that of its data")]
    Checksum {
        /// The version.
        version: u64,
    },
}

impl ApplyError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Checksum { .. } => ErrorKind::Invalid,
        }
    }
}

/// Holds the local side, and what is known of the remote one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeSynchronizer {
    strategy: ConflictStrategy,
    max_pending: usize,
    local: Option<SyncState>,
    remote_version: u64,
    pending: VecDeque<PendingChange>,
    dropped: u64,
    events: VecDeque<SyncEvent>,
    event_count: u64,
    conflicts: VecDeque<Conflict>,
}

impl Default for EdgeSynchronizer {
    /// Makes one where the remote side wins and 100 changes may be pending.
    fn default() -> Self {
        Self::new(ConflictStrategy::default(), MAX_PENDING)
    }
}

impl EdgeSynchronizer {
    /// Makes one without any state.
    pub fn new(strategy: ConflictStrategy, max_pending: usize) -> Self {
        Self {
            strategy,
            max_pending,
            local: None,
            remote_version: 0,
            pending: VecDeque::new(),
            dropped: 0,
            events: VecDeque::new(),
            event_count: 0,
            conflicts: VecDeque::new(),
        }
    }

    /// Puts new data in place of the local one; the change is pending. The oldest change beyond the limit is
    /// dropped and [counted](Self::dropped_changes).
    pub fn update_local(&mut self, data: Map<String, Value>, now: Timestamp) -> SyncState {
        let version = self.local_version().saturating_add(1);
        let timestamp = now;
        let kind = ChangeKind::Update;
        self.pending.push_back(PendingChange { kind, version, data: data.clone(), timestamp });
        while self.pending.len() > self.max_pending {
            self.pending.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        let state = SyncState::from_data(data, version, now);
        self.local = Some(state.clone());
        state
    }

    /// Puts these keys in place of those of the same names, and keeps the others (vector 000-10).
    pub fn update_keys(&mut self, keys: Map<String, Value>, now: Timestamp) -> SyncState {
        let mut data = self.local.as_ref().map_or_else(Map::new, |it| it.data.clone());
        data.extend(keys);
        self.update_local(data, now)
    }

    /// Takes a remote state if the strategy lets it win; returns whether it did. Pending changes stay pending.
    ///
    /// # Errors
    ///
    /// [`ApplyError`] when its checksum is wrong; nothing but the history changes then.
    pub fn apply_remote(&mut self, state: SyncState, now: Timestamp) -> Result<bool, ApplyError> {
        let version = state.version;
        if !state.verify() {
            let error = ApplyError::Checksum { version };
            self.note(Direction::Pull, version, now, error.to_string());
            return Err(error);
        }
        let wins = match (&self.local, self.strategy) {
            (None, _) => true,
            (Some(local), ConflictStrategy::RemoteWins) => version > local.version,
            (Some(_), ConflictStrategy::LocalWins) => false,
            (Some(local), ConflictStrategy::LatestWins) => state.updated_at > local.updated_at,
        };
        if let Some(local) = &self.local
            && local.checksum != state.checksum
            && !self.pending.is_empty()
            && version > self.remote_version
        {
            if self.conflicts.len() == MAX_CONFLICTS {
                self.conflicts.pop_front();
            }
            let (local, remote) = (local.clone(), state.clone());
            self.conflicts.push_back(Conflict { local, remote, remote_won: wins });
        }
        if wins {
            self.remote_version = version;
            self.local = Some(state);
            self.note(Direction::Pull, version, now, String::new());
        } else {
            self.note(Direction::Pull, version, now, "Conflict: local state preferred".to_owned());
        }
        Ok(wins)
    }

    /// Forgets pending changes up to a version, which the other side has; returns how many there were.
    pub fn confirm_sync(&mut self, up_to_version: u64, now: Timestamp) -> usize {
        let before = self.pending.len();
        self.pending.retain(|it| it.version > up_to_version);
        self.remote_version = self.remote_version.max(up_to_version);
        self.note(Direction::Push, up_to_version, now, String::new());
        before - self.pending.len()
    }

    /// Returns the changes that were not confirmed, the oldest first.
    pub fn get_pending_changes(&self) -> Vec<PendingChange> {
        self.pending.iter().cloned().collect()
    }

    /// Returns the local state, if there is one.
    pub const fn get_local_state(&self) -> Option<&SyncState> {
        self.local.as_ref()
    }

    /// Returns the version here; 0 when there is none.
    pub fn local_version(&self) -> u64 {
        self.local.as_ref().map_or(0, |it| it.version)
    }

    /// Returns the newest version that the other side is known to have.
    pub const fn remote_version(&self) -> u64 {
        self.remote_version
    }

    /// Returns how many changes were not confirmed.
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Returns how many pending changes found no room and were dropped.
    pub const fn dropped_changes(&self) -> u64 {
        self.dropped
    }

    /// Returns the last conflicts, the newest last; 16 at most.
    pub fn conflicts(&self) -> Vec<Conflict> {
        self.conflicts.iter().cloned().collect()
    }

    /// Returns whether nothing is pending and both sides have the same version.
    pub fn is_synced(&self) -> bool {
        self.pending.is_empty() && self.local_version() == self.remote_version
    }

    /// Returns the last events, the newest last; the seed's usual limit is 20, 1,000 are kept.
    pub fn sync_history(&self, limit: usize) -> Vec<SyncEvent> {
        let from = self.events.len().saturating_sub(limit);
        self.events.range(from..).cloned().collect()
    }

    /// Returns where the two sides stand.
    pub fn summary(&self) -> SyncSummary {
        SyncSummary {
            local_version: self.local_version(),
            remote_version: self.remote_version,
            pending_changes: self.pending.len(),
            is_synced: self.is_synced(),
            sync_events: self.event_count,
            conflict_strategy: self.strategy,
        }
    }

    fn note(&mut self, direction: Direction, version: u64, timestamp: Timestamp, error: String) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        let success = error.is_empty();
        self.events.push_back(SyncEvent { direction, version, success, timestamp, error });
        self.event_count = self.event_count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests;
