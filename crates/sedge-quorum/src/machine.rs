//! The state behind the log, its snapshots, and those who watch it.

use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EmptyNode, OptionalSend, RaftSnapshotBuilder, Snapshot, StorageIOError};
use sedge_store::{Fault, QuorumChange, StoredQuorum};
use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::log::{parse, write};
use crate::state::{Coordinator, Outcome, State};
use crate::voter::{Entry, LogId, StorageError, Types, Voter, Voters};

type Meta = openraft::SnapshotMeta<Voter, EmptyNode>;

/// The state machine of one node; clones are the same machine.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    disk: Arc<dyn Disk>,
    state: Arc<RwLock<State>>,
    snapshot: Arc<Mutex<Option<Shot>>>,
}

/// A snapshot as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Shot {
    meta: Meta,
    state: State,
}

impl Machine {
    /// Makes the machine out of the snapshot that was kept; the log brings it further.
    ///
    /// # Errors
    ///
    /// [`Fault::Value`] when it is not what this program writes.
    pub(crate) fn new(disk: Arc<dyn Disk>, stored: &StoredQuorum) -> Result<Self, Fault> {
        let shot = stored.snapshot.as_deref().map(|it| parse::<Shot>(it, "snapshot"));
        let shot = shot.transpose()?;
        let state = shot.as_ref().map(|it| it.state.clone()).unwrap_or_default();
        let state = Arc::new(RwLock::new(state));
        Ok(Self { disk, state, snapshot: Arc::new(Mutex::new(shot)) })
    }

    /// Looks at the state; `look` must be short.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the node that was elected last, as far as this node knows the log.
    pub(crate) fn coordinator(&self) -> Option<Coordinator> {
        self.look(State::coordinator)
    }

    async fn keep(&self, shot: Shot) -> Result<(), Fault> {
        let json = write(&shot, "snapshot")?;
        self.disk.change(vec![QuorumChange::Snapshot(json)]).await?;
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(shot);
        Ok(())
    }
}

fn shown(shot: &Shot) -> Result<Snapshot<Types>, serde_json::Error> {
    let bytes = serde_json::to_vec(&shot.state)?;
    Ok(Snapshot { meta: shot.meta.clone(), snapshot: Box::new(Cursor::new(bytes)) })
}

impl RaftSnapshotBuilder<Types> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        let state = self.look(State::clone);
        let place = state.applied.map_or_else(|| "0".to_owned(), |it| it.to_string());
        let meta = Meta {
            last_log_id: state.applied,
            last_membership: state.voters.clone(),
            snapshot_id: place,
        };
        let signature = meta.signature();
        let shot = Shot { meta, state };
        let failed = |it: AnyError| StorageIOError::write_snapshot(Some(signature.clone()), it);
        let snapshot = shown(&shot).map_err(|it| failed(AnyError::new(&it)))?;
        self.keep(shot).await.map_err(|it| failed(AnyError::new(&it)))?;
        Ok(snapshot)
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Voters), StorageError> {
        Ok(self.look(|it| (it.applied, it.voters.clone())))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcome>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        Ok(entries.into_iter().map(|it| state.apply(it)).collect())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let failed = |it: AnyError| StorageIOError::write_snapshot(Some(meta.signature()), it);
        let state: State =
            serde_json::from_slice(snapshot.get_ref()).map_err(|it| failed(AnyError::new(&it)))?;
        let shot = Shot { meta: meta.clone(), state: state.clone() };
        self.keep(shot).await.map_err(|it| failed(AnyError::new(&it)))?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let shot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let snapshot = shot.as_ref().map(shown).transpose();
        snapshot.map_err(|it| StorageIOError::read_snapshot(None, AnyError::new(&it)).into())
    }
}
