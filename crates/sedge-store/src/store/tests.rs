//! What only the inside can bring about: groups, a full disk, a file that may not be written.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc as std_mpsc;

use rusqlite::types::Value;
use tempfile::TempDir;

use super::*;
use crate::disk::DiskDouble;
use crate::writer::QUEUE;

async fn new_store() -> (TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("sedge.db")).await.unwrap();
    (home, store)
}

#[tokio::test]
async fn writes_that_wait_together_are_one_commit_and_a_refused_one_harms_nobody() {
    let (_home, store) = new_store().await;
    let (release, released) = std_mpsc::channel::<()>();
    let (started, at_work) = tokio::sync::oneshot::channel();
    let blocked = store.clone();
    let mut writes = tokio::task::JoinSet::new();
    writes.spawn(async move {
        let work = move |_: &Connection| {
            let _ = started.send(());
            let _ = released.recv();
            Ok(())
        };
        blocked.write::<(), Fault>(work).await
    });
    at_work.await.unwrap();
    for number in 0..50 {
        let store = store.clone();
        writes.spawn(async move {
            if number == 25 {
                let work = |database: &Connection| {
                    database.execute("INSERT INTO settings VALUES ('25', 'undone')", [])?;
                    Err::<(), _>(Fault::Value { what: "test value" })
                };
                return match store.write(work).await {
                    Err(Fault::Value { what: "test value" }) => Ok(()),
                    other => panic!("{other:?}"),
                };
            }
            store.settings().set(&number.to_string(), "kept").await
        });
    }
    while store.inner.writer.capacity() != QUEUE - 50 {
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    while let Some(written) = writes.join_next().await {
        written.unwrap().unwrap();
    }
    // The blocked one, then everything that queued up behind it.
    assert_eq!(store.metrics().commits.load(Relaxed), 2);
    assert_eq!(store.metrics().writes.load(Relaxed), 50);
    assert_eq!(store.settings().get("25").await.unwrap(), None);
    assert_eq!(store.settings().get("49").await.unwrap().as_deref(), Some("kept"));
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing_and_the_store_goes_on_when_there_is_room() {
    let (_home, store) = new_store().await;
    store.settings().set("before", "1").await.unwrap();
    let set_limit = |pages: i64| {
        let work = move |database: &Connection| {
            let sql = format!("PRAGMA max_page_count = {pages}");
            Ok::<i64, Fault>(database.query_row(&sql, [], |row| row.get(0))?)
        };
        store.write(work)
    };
    // SQLite does not go below what is in use: the limit is exactly the present size.
    set_limit(1).await.unwrap();
    let large = "x".repeat(1 << 16);
    let refused = store.settings().set("large", &large).await.unwrap_err();
    assert!(matches!(refused, Fault::DiskFull(_)), "{refused:?}");
    assert_eq!(refused.kind(), sedge_base::ErrorKind::Exhausted);
    assert_eq!(store.settings().get("large").await.unwrap(), None);
    set_limit(1 << 20).await.unwrap();
    store.settings().set("large", &large).await.unwrap();
    assert_eq!(store.settings().get("before").await.unwrap().as_deref(), Some("1"));
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_told_by_type() {
    let (_home, store) = new_store().await;
    let read_only = |database: &Connection| {
        Ok::<(), Fault>(database.pragma_update(None, "query_only", true)?)
    };
    store.write(read_only).await.unwrap();
    let refused = store.settings().set("a", "b").await.unwrap_err();
    assert!(matches!(refused, Fault::ReadOnly(_)), "{refused:?}");
    assert_eq!(store.settings().get("a").await.unwrap(), None);
}

#[tokio::test]
async fn the_file_is_set_up_for_safety() {
    let (_home, store) = new_store().await;
    let ask = |sql: &'static str| {
        store.write(move |database: &Connection| {
            Ok::<_, Fault>(database.query_row(sql, [], |row| row.get::<_, Value>(0))?)
        })
    };
    assert_eq!(ask("PRAGMA journal_mode").await.unwrap(), Value::Text("wal".to_owned()));
    assert_eq!(ask("PRAGMA synchronous").await.unwrap(), Value::Integer(2));
    assert_eq!(ask("PRAGMA foreign_keys").await.unwrap(), Value::Integer(1));
}

fn on_a_double() -> (TempDir, Arc<DiskDouble>) {
    (tempfile::tempdir().unwrap(), Arc::new(DiskDouble::new(sedge_base::Dice::new(1))))
}

#[tokio::test(flavor = "current_thread")]
async fn on_the_double_of_a_disk_a_store_keeps_what_it_acknowledged() {
    let (home, disk) = on_a_double();
    let path = home.path().join("sedge.db");
    let open = || Store::open_on(&path, Disk::Double(Arc::clone(&disk)));
    let store = open().await.unwrap();
    disk.set_slowest(std::time::Duration::from_micros(50));
    store.settings().set("a", "1").await.unwrap();
    let id = store.blobs().put(b"blob".to_vec(), None).await.unwrap();
    // Dropped, not closed: a crash.
    drop(store);
    let store = open().await.unwrap();
    assert_eq!(store.settings().get("a").await.unwrap().as_deref(), Some("1"));
    assert_eq!(store.blobs().get(id).await.unwrap(), b"blob");
    store.close().await.unwrap();
    assert!(matches!(store.settings().set("a", "2").await, Err(Fault::Closed)));
}

#[tokio::test(flavor = "current_thread")]
async fn the_double_of_a_disk_can_be_full() {
    let (home, disk) = on_a_double();
    let path = home.path().join("sedge.db");
    let store = Store::open_on(&path, Disk::Double(Arc::clone(&disk))).await.unwrap();
    disk.set_full(true);
    let refused = store.settings().set("a", "1").await.unwrap_err();
    assert!(matches!(refused, Fault::DiskFull(_)), "{refused:?}");
    let refused = store.blobs().put(b"blob".to_vec(), None).await.unwrap_err();
    assert_eq!(refused.kind(), sedge_base::ErrorKind::Exhausted);
    disk.set_full(false);
    assert_eq!(store.settings().get("a").await.unwrap(), None);
    store.settings().set("a", "1").await.unwrap();
}
