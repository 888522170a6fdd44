//! The replicated log and the vote: in memory to be read, on disk before they count.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LogState, OptionalSend, RaftLogId, RaftLogReader, StorageIOError};
use sedge_store::{Fault, QuorumChange, StoredQuorum};

use crate::disk::Disk;
use crate::voter::{Entry, LogId, StorageError, Types, Vote};

/// The log of one node; clones are the same log. It is short: what is in a snapshot is purged.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    vote: Option<Vote>,
    purged: Option<LogId>,
    entries: BTreeMap<u64, Entry>,
}

impl Log {
    /// Makes the log out of what was kept.
    ///
    /// # Errors
    ///
    /// [`Fault::Value`] when it is not what this program writes.
    pub(crate) fn new(disk: Arc<dyn Disk>, stored: &StoredQuorum) -> Result<Self, Fault> {
        let mut entries = BTreeMap::new();
        for json in &stored.entries {
            let entry: Entry = parse(json, "log entry")?;
            entries.insert(entry.get_log_id().index, entry);
        }
        let vote = stored.vote.as_deref().map(|it| parse(it, "vote")).transpose()?;
        let purged = stored.purged.as_deref().map(|it| parse(it, "purged entry")).transpose()?;
        Ok(Self { disk, kept: Arc::new(Mutex::new(Kept { vote, purged, entries })) })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    json: &str,
    what: &'static str,
) -> Result<T, Fault> {
    serde_json::from_str(json).map_err(|_| Fault::Value { what })
}

pub(crate) fn write<T: serde::Serialize>(value: &T, what: &'static str) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|_| Fault::Value { what })
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        Ok(self.kept().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let kept = self.kept();
        let last = kept.entries.values().next_back().map(|it| *it.get_log_id());
        Ok(LogState { last_purged_log_id: kept.purged, last_log_id: last.or(kept.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let saved = async {
            let change = QuorumChange::Vote(write(vote, "vote")?);
            self.disk.change(vec![change]).await
        };
        saved.await.map_err(|it| StorageIOError::write_vote(AnyError::new(&it)))?;
        self.kept().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.kept().vote)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        flushed: LogFlushed<Types>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let saved = async {
            let change = |entry: &Entry| {
                let position = entry.get_log_id().index;
                Ok(QuorumChange::Entry { position, json: write(entry, "log entry")? })
            };
            let changes = entries.iter().map(change).collect::<Result<_, Fault>>()?;
            self.disk.change(changes).await
        };
        match saved.await {
            Ok(()) => {
                let entries = entries.into_iter().map(|it| (it.get_log_id().index, it));
                self.kept().entries.extend(entries);
                flushed.log_io_completed(Ok(()));
                Ok(())
            }
            Err(fault) => Err(StorageIOError::write_logs(AnyError::new(&fault)).into()),
        }
    }

    async fn truncate(&mut self, from: LogId) -> Result<(), StorageError> {
        let saved = self.disk.change(vec![QuorumChange::CutFrom(from.index)]).await;
        saved.map_err(|it| StorageIOError::write_logs(AnyError::new(&it)))?;
        self.kept().entries.split_off(&from.index);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        let saved = async {
            let json = write(&upto, "purged entry")?;
            self.disk.change(vec![QuorumChange::Purge { upto: upto.index, json }]).await
        };
        saved.await.map_err(|it| StorageIOError::write_logs(AnyError::new(&it)))?;
        let mut kept = self.kept();
        kept.purged = Some(upto);
        kept.entries = kept.entries.split_off(&upto.index.saturating_add(1));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
