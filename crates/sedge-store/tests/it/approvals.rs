//! What people are asked to approve.

use sedge_base::{ErrorKind, Timestamp};
use sedge_store::{AskError, Store, StoredApproval};

use crate::areas::new_store;

fn asked(id: &str, ends: u64) -> StoredApproval {
    StoredApproval {
        id: id.to_owned(),
        state: "pending".to_owned(),
        at: Timestamp::from_millis(1_000),
        ends: Timestamp::from_millis(ends),
        json: "{}".to_owned(),
    }
}

#[tokio::test]
async fn what_was_asked_survives_a_restart_changes_once_and_ends() {
    let (home, store) = new_store().await;
    store.approvals().ask(asked("a", 2_000), 2).await.unwrap();
    store.approvals().ask(asked("b", 3_000), 2).await.unwrap();
    let full = store.approvals().ask(asked("c", 3_000), 2).await.unwrap_err();
    assert!(matches!(full, AskError::Full { most: 2 }));
    assert_eq!(full.kind(), ErrorKind::Exhausted);
    store.close().await.unwrap();
    drop(store);

    let store = Store::open(&home.path().join("sedge.db")).await.unwrap();
    let area = store.approvals();
    assert_eq!(area.list().await.unwrap(), [asked("a", 2_000), asked("b", 3_000)]);
    let granted = StoredApproval { state: "granted".to_owned(), ..asked("b", 4_000) };
    assert!(area.change("pending", granted.clone()).await.unwrap());
    assert!(!area.change("pending", granted.clone()).await.unwrap(), "it is not pending any more");
    assert_eq!(area.get("b").await.unwrap(), Some(granted.clone()));
    assert_eq!(area.get("x").await.unwrap(), None);
    let over = area.sweep(Timestamp::from_millis(2_000)).await.unwrap();
    assert_eq!((over, area.list().await.unwrap()), (vec![asked("a", 2_000)], vec![granted]));
}
