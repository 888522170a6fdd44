//! The engine's own check of what keeps its promises, on the real store and on the double; and what
//! a power cut leaves.

use std::sync::Arc;

use openraft::storage::{RaftLogStorageExt, RaftStateMachine};
use openraft::testing::{StoreBuilder, Suite, blank_ent, log_id};
use openraft::{RaftLogReader, RaftSnapshotBuilder};
use sedge_base::SwarmId;
use sedge_store::{OpenError, Store};
use tempfile::TempDir;

use super::*;
use crate::disk::SwarmDisk;
use crate::disk::double::DiskDouble;
use crate::machine::Machine;
use crate::state::Command;
use crate::voter::Voter;

struct OnDouble;

impl StoreBuilder<Types, Log, Machine> for OnDouble {
    async fn build(&self) -> Result<((), Log, Machine), StorageError> {
        let disk = Arc::new(DiskDouble::default());
        Ok(((), Log::new(disk.clone(), &StoredQuorum::default()).unwrap(), machine(disk)))
    }
}

struct OnStore;

impl StoreBuilder<Types, Log, Machine, TempDir> for OnStore {
    async fn build(&self) -> Result<(TempDir, Log, Machine), StorageError> {
        let home = tempfile::tempdir().unwrap();
        let (log, machine) = open(&home).await;
        Ok((home, log, machine))
    }
}

fn machine(disk: Arc<dyn Disk>) -> Machine {
    Machine::new(disk, &StoredQuorum::default()).unwrap()
}

/// Opens the home as soon as the one before has let go of it.
async fn open(home: &TempDir) -> (Log, Machine) {
    let path = home.path().join("sedge.db");
    let store = loop {
        match Store::open(&path).await {
            Ok(store) => break store,
            Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    let disk = SwarmDisk { store, swarm: SwarmId::of_key(&[1; 32]) };
    let stored = disk.load().await.unwrap();
    let disk: Arc<dyn Disk> = Arc::new(disk);
    (Log::new(Arc::clone(&disk), &stored).unwrap(), Machine::new(disk, &stored).unwrap())
}

#[test]
fn the_engines_suite_holds_on_the_double() {
    Suite::test_all(OnDouble).unwrap();
}

#[test]
fn the_engines_suite_holds_on_the_store() {
    Suite::test_all(OnStore).unwrap();
}

fn entry(index: u64, text: &str) -> Entry {
    let at = sedge_base::Timestamp::from_millis(index);
    let by = Voter::from(7).0;
    let command = Command::Append { text: text.parse().unwrap(), by, at };
    let mut entry = blank_ent::<Types>(1, Voter::from(1), index);
    entry.payload = openraft::EntryPayload::Normal(command);
    entry
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let vote = Vote::new(3, Voter::from(2));
    {
        let (mut log, mut machine) = open(&home).await;
        log.save_vote(&vote).await.unwrap();
        log.blocking_append((1..=6).map(|it| entry(it, "a"))).await.unwrap();
        log.truncate(log_id(1, Voter::from(1), 5)).await.unwrap();
        machine.apply((1..=3).map(|it| entry(it, "a"))).await.unwrap();
        machine.build_snapshot().await.unwrap();
        log.purge(log_id(1, Voter::from(1), 2)).await.unwrap();
        // Dropped without a farewell: nothing is written late.
    }
    let (mut log, mut machine) = open(&home).await;
    assert_eq!(log.read_vote().await.unwrap(), Some(vote));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(1, Voter::from(1), 2)));
    assert_eq!(state.last_log_id, Some(log_id(1, Voter::from(1), 4)));
    assert_eq!(log.try_get_log_entries(..).await.unwrap(), [entry(3, "a"), entry(4, "a")]);
    assert_eq!(machine.look(|it| it.written), 3, "the snapshot");
    let (applied, _) = machine.applied_state().await.unwrap();
    assert_eq!(applied, Some(log_id(1, Voter::from(1), 3)));
}

#[tokio::test]
async fn what_the_disk_refuses_was_never_promised() {
    let disk = Arc::new(DiskDouble::default());
    let mut log = Log::new(disk.clone(), &StoredQuorum::default()).unwrap();
    log.blocking_append([entry(1, "a")]).await.unwrap();
    disk.full.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(log.save_vote(&Vote::new(1, Voter::from(1))).await.is_err());
    assert!(log.blocking_append([entry(2, "b")]).await.is_err());
    assert!(log.truncate(log_id(1, Voter::from(1), 1)).await.is_err());
    assert!(log.purge(log_id(1, Voter::from(1), 1)).await.is_err());
    assert_eq!(log.read_vote().await.unwrap(), None);
    assert_eq!(log.try_get_log_entries(..).await.unwrap(), [entry(1, "a")]);
}

#[tokio::test]
async fn what_this_program_did_not_write_is_refused() {
    for change in [
        QuorumChange::Vote("{}".to_owned()),
        QuorumChange::Entry { position: 1, json: "[]".to_owned() },
        QuorumChange::Snapshot("1".to_owned()),
    ] {
        let disk = Arc::new(DiskDouble::default());
        disk.change(vec![change.clone()]).await.unwrap();
        let stored = disk.load().await.unwrap();
        let opened = Log::new(disk.clone(), &stored).map(drop);
        let opened = opened.and_then(|()| Machine::new(disk, &stored).map(drop));
        assert!(matches!(opened, Err(Fault::Value { .. })), "{change:?}");
    }
}
