//! Records of admissions, and the end of the audit.

use sedge_base::Timestamp;
use sedge_store::{AuditEntry, MAX_AUDIT, Store, StoredAdmission};

use crate::areas::new_store;

fn record(kind: &str, subject: &str, json: &str) -> StoredAdmission {
    StoredAdmission {
        kind: kind.to_owned(),
        subject: subject.to_owned(),
        at: Timestamp::from_millis(1_700_000_000_000),
        ends: (kind == "ban").then_some(Timestamp::from_millis(1_700_000_900_000)),
        json: json.to_owned(),
    }
}

#[tokio::test]
async fn records_are_replaced_removed_and_survive_a_restart() {
    let (home, store) = new_store().await;
    let area = store.admissions();
    area.put(vec![record("approval", "a", "1"), record("ban", "a", "2")]).await.unwrap();
    area.put(vec![record("approval", "a", "3"), record("approval", "b", "4")]).await.unwrap();
    assert!(area.remove("approval", "b").await.unwrap());
    assert!(!area.remove("approval", "b").await.unwrap());
    store.close().await.unwrap();
    drop(store);

    let store = Store::open(&home.path().join("sedge.db")).await.unwrap();
    let kept = store.admissions().list().await.unwrap();
    assert_eq!(kept, [record("approval", "a", "3"), record("ban", "a", "2")]);
}

#[tokio::test]
async fn a_group_with_one_record_too_large_is_not_kept_at_all() {
    let (_home, store) = new_store().await;
    let large = "x".repeat((1 << 20) + 1);
    let both = vec![record("ban", "a", "1"), record("ban", "b", &large)];
    store.admissions().put(both).await.unwrap_err();
    assert!(store.admissions().list().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_oldest_entries_of_the_audit_go_and_are_counted() {
    let (_home, store) = new_store().await;
    let entry = |number: u64| AuditEntry {
        at: Timestamp::from_millis(number),
        kind: "test".to_owned(),
        subject: number.to_string(),
        detail: "{}".to_owned(),
    };
    let mut tasks = tokio::task::JoinSet::new();
    for part in 0..200 {
        let store = store.clone();
        tasks.spawn(async move {
            for number in 0..=MAX_AUDIT / 200 {
                store.audit().append(entry(part * 1000 + number)).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let written = (MAX_AUDIT / 200 + 1) * 200;
    let trail = store.audit().trail(3).await.unwrap();
    assert_eq!(trail.gone, written - MAX_AUDIT);
    let numbers: Vec<u64> = trail.entries.iter().map(|it| it.0).collect();
    assert_eq!(numbers, [written, written - 1, written - 2]);
}
