//! A disk in memory that survives the node that writes to it, and fails when it is told to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use sedge_store::{Fault, QuorumChange, StoredQuorum};

use super::Disk;

/// A test double of the store.
#[derive(Debug, Default)]
pub(crate) struct DiskDouble {
    kept: Mutex<Kept>,
    pub(crate) full: AtomicBool,
}

#[derive(Debug, Default)]
struct Kept {
    vote: Option<String>,
    purged: Option<String>,
    snapshot: Option<String>,
    entries: BTreeMap<u64, String>,
}

#[async_trait]
impl Disk for DiskDouble {
    async fn load(&self) -> Result<StoredQuorum, Fault> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(StoredQuorum {
            vote: kept.vote.clone(),
            purged: kept.purged.clone(),
            snapshot: kept.snapshot.clone(),
            entries: kept.entries.values().cloned().collect(),
        })
    }

    async fn change(&self, changes: Vec<QuorumChange>) -> Result<(), Fault> {
        if self.full.load(Ordering::SeqCst) {
            return Err(Fault::Undone { reason: "the disk double is full".to_owned() });
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            match change {
                QuorumChange::Vote(json) => kept.vote = Some(json),
                QuorumChange::Snapshot(json) => kept.snapshot = Some(json),
                QuorumChange::Entry { position, json } => {
                    kept.entries.insert(position, json);
                }
                QuorumChange::CutFrom(position) => kept.entries.retain(|it, _| *it < position),
                QuorumChange::Purge { upto, json } => {
                    kept.entries.retain(|it, _| *it > upto);
                    kept.purged = Some(json);
                }
            }
        }
        Ok(())
    }
}
