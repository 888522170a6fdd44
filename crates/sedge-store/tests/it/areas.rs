//! What each area keeps, and what it refuses.

use sedge_base::{ContentId, NodeId, TaskId, Timestamp};
use sedge_store::{
    AppendError, AuditEntry, CountersignError, Deployment, Fault, Member, PutMemberError, Role,
    Store, StoredDecision, StoredPlan, StoredReceipt,
};
use tempfile::TempDir;

pub(crate) const NODE: NodeId = NodeId::from_bytes([7; 32]);

pub(crate) async fn new_store() -> (TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("sedge.db")).await.unwrap();
    (home, store)
}

pub(crate) fn receipt(sequence: u64, text: &str) -> StoredReceipt {
    let json = format!("{{\"sequence\":{sequence},\"text\":\"{text}\"}}");
    StoredReceipt {
        id: ContentId::of(json.as_bytes()),
        executor: NODE,
        sequence,
        task: format!("task-{sequence}").parse().unwrap(),
        role: Role::Executed,
        countersigned: false,
        at: Timestamp::from_millis(1_700_000_000_000 + sequence),
        json,
    }
}

#[tokio::test]
async fn receipts_are_unique_by_id_and_by_place() {
    let (_home, store) = new_store().await;
    let receipts = store.receipts();
    for sequence in 0..3 {
        receipts.append(receipt(sequence, "a")).await.unwrap();
    }
    let again = receipts.append(receipt(1, "a")).await;
    assert!(matches!(again, Err(AppendError::Known { .. })), "{again:?}");
    let other = receipts.append(receipt(1, "b")).await;
    assert!(matches!(other, Err(AppendError::Taken { sequence: 1, .. })), "{other:?}");
    assert_eq!(receipts.count().await.unwrap(), 3);
    assert_eq!(receipts.head(NODE).await.unwrap(), Some(receipt(2, "a")));
    let chain = receipts.chain(NODE, 1, 10).await.unwrap();
    assert_eq!(chain, [receipt(1, "a"), receipt(2, "a")]);
    let newest = receipts.list(2).await.unwrap();
    assert_eq!(newest, [receipt(2, "a"), receipt(1, "a")]);
    let of_task = receipts.of_task(&"task-1".parse().unwrap()).await.unwrap();
    assert_eq!(of_task, Some(receipt(1, "a")));
    let id = receipt(1, "a").id;
    assert_eq!(receipts.find(&id.to_string()[..12], 5).await.unwrap(), [receipt(1, "a")]);
    assert_eq!(receipts.find("*", 5).await.unwrap(), []);
    assert_eq!(receipts.head(NodeId::from_bytes([8; 32])).await.unwrap(), None);
}

#[tokio::test]
async fn a_receipt_is_countersigned_once() {
    let (_home, store) = new_store().await;
    let mut expected = receipt(0, "a");
    store.receipts().append(expected.clone()).await.unwrap();
    store.receipts().countersign(expected.id, "{}".to_owned()).await.unwrap();
    let again = store.receipts().countersign(expected.id, "[]".to_owned()).await;
    assert!(matches!(again, Err(CountersignError::Done { .. })), "{again:?}");
    let unknown = store.receipts().countersign(receipt(1, "a").id, "[]".to_owned()).await;
    assert!(matches!(unknown, Err(CountersignError::Unknown { .. })), "{unknown:?}");
    expected.json = "{}".to_owned();
    expected.countersigned = true;
    assert_eq!(store.receipts().get(expected.id).await.unwrap(), Some(expected));
}

#[tokio::test]
async fn an_older_or_revoked_membership_does_not_come_back() {
    let (_home, store) = new_store().await;
    let member = |epoch, revoked| Member {
        node: NODE,
        epoch,
        revoked,
        at: Timestamp::from_millis(epoch),
        json: format!("{{\"epoch\":{epoch}}}"),
    };
    store.members().put(member(2, false)).await.unwrap();
    store.members().put(member(2, false)).await.unwrap();
    let stale = store.members().put(member(1, false)).await;
    assert!(matches!(stale, Err(PutMemberError::Stale { got: 1, known: 2, .. })), "{stale:?}");
    store.members().put(member(2, true)).await.unwrap();
    assert!(store.members().put(member(2, false)).await.is_err());
    assert_eq!(store.members().list().await.unwrap(), [member(2, true)]);
    store.members().put(member(3, false)).await.unwrap();
    assert_eq!(store.members().get(NODE).await.unwrap(), Some(member(3, false)));
}

#[tokio::test]
async fn deployments_are_replaced_by_name() {
    let (_home, store) = new_store().await;
    let deployment = |text: &str| Deployment {
        name: "fn-1".to_owned(),
        content: ContentId::of(text.as_bytes()),
        options: "{}".to_owned(),
        deployed_at: Timestamp::from_millis(5),
    };
    store.deployments().put(deployment("one")).await.unwrap();
    store.deployments().put(deployment("two")).await.unwrap();
    assert_eq!(store.deployments().list().await.unwrap(), [deployment("two")]);
    assert_eq!(store.deployments().get("fn-1").await.unwrap(), Some(deployment("two")));
    assert!(store.deployments().remove("fn-1").await.unwrap());
    assert!(!store.deployments().remove("fn-1").await.unwrap());
}

#[tokio::test]
async fn plans_of_a_kind_are_kept_apart_from_others() {
    let (_home, store) = new_store().await;
    let plan = |kind: &str, id: &str, json: &str| StoredPlan {
        kind: kind.to_owned(),
        id: id.to_owned(),
        at: Timestamp::from_millis(5),
        json: json.to_owned(),
    };
    let plans = store.plans();
    plans
        .put(vec![plan("a", "2", "{}"), plan("a", "1", "{}"), plan("b", "1", "[]")])
        .await
        .unwrap();
    plans.put(vec![plan("a", "1", "new")]).await.unwrap();
    let listed = plans.list("a").await.unwrap();
    assert_eq!(listed, [plan("a", "1", "new"), plan("a", "2", "{}")]);
    assert!(plans.remove("a", "2").await.unwrap());
    assert!(!plans.remove("a", "2").await.unwrap());
    assert_eq!(plans.clear("a").await.unwrap(), 1);
    assert!(plans.list("a").await.unwrap().is_empty());
    assert_eq!(plans.list("b").await.unwrap(), [plan("b", "1", "[]")]);
    let long = plan("a", &"x".repeat(257), "{}");
    assert!(plans.put(vec![plan("a", "3", "{}"), long]).await.is_err());
    assert!(plans.list("a").await.unwrap().is_empty(), "all of them or none");
}

#[tokio::test]
async fn the_last_thousand_decisions_are_kept() {
    let (_home, store) = new_store().await;
    let mut writes = tokio::task::JoinSet::new();
    for number in 0..1_010 {
        let store = store.clone();
        writes.spawn(async move {
            let task: TaskId = format!("task-{number}").parse().unwrap();
            let decision = StoredDecision { task, at: Timestamp::default(), json: "{}".to_owned() };
            store.decisions().put(decision).await
        });
    }
    while let Some(written) = writes.join_next().await {
        written.unwrap().unwrap();
    }
    assert_eq!(store.decisions().list(5_000).await.unwrap().len(), 1_000);
}

#[tokio::test]
async fn a_decision_shares_the_commit_of_the_next_write_and_every_reader_sees_it() {
    let (home, store) = new_store().await;
    let decision = |number: u32| StoredDecision {
        task: format!("along-{number}").parse().unwrap(),
        at: Timestamp::from_millis(1),
        json: "{}".to_owned(),
    };
    store.decisions().put(decision(0)).await.unwrap();
    let task = "along-0".parse().unwrap();
    assert_eq!(store.decisions().get(&task).await.unwrap(), Some(decision(0)));
    // More than one group of them, and nothing else to write.
    for number in 1..=600 {
        store.decisions().put(decision(number)).await.unwrap();
    }
    assert_eq!(store.decisions().list(1_000).await.unwrap().len(), 601);
    // What waits at the end is written before the file is closed.
    store.decisions().put(decision(601)).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let store = Store::open(&home.path().join("sedge.db")).await.unwrap();
    assert_eq!(store.decisions().list(1).await.unwrap(), [decision(601)]);
}

#[tokio::test]
async fn the_audit_is_only_added_to() {
    let (_home, store) = new_store().await;
    let entry = |kind: &str| AuditEntry {
        at: Timestamp::from_millis(1),
        kind: kind.to_owned(),
        subject: "node".to_owned(),
        detail: "{}".to_owned(),
    };
    assert_eq!(store.audit().append(entry("a")).await.unwrap(), 1);
    assert_eq!(store.audit().append(entry("b")).await.unwrap(), 2);
    assert_eq!(store.audit().list(9).await.unwrap(), [entry("b"), entry("a")]);
    let trail = store.audit().trail(1).await.unwrap();
    assert_eq!((trail.entries, trail.gone), (vec![(2, entry("b"))], 0));
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_both_numbers() {
    let (_home, store) = new_store().await;
    let refused = store.settings().set("key", &"x".repeat((1 << 20) + 1)).await.unwrap_err();
    assert_eq!(refused.to_string(), "the value has 1048577 bytes, 1048576 are the most");
    assert_eq!(store.settings().get("key").await.unwrap(), None);
    assert!(!store.settings().remove("key").await.unwrap());
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let (_home, store) = new_store().await;
    store.settings().set("a", "b").await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(store.settings().set("a", "c").await, Err(Fault::Closed)));
    assert!(matches!(store.settings().get("a").await, Err(Fault::Closed)));
    assert!(matches!(store.close().await, Err(Fault::Closed)));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]

    #[test]
    fn any_text_is_a_key_a_value_and_a_harmless_prefix(key in ".{0,60}", value in ".{0,200}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_home, store) = new_store().await;
            store.settings().set(&key, &value).await.unwrap();
            proptest::prop_assert_eq!(store.settings().get(&key).await.unwrap(), Some(value));
            proptest::prop_assert_eq!(store.receipts().find(&key, 5).await.unwrap(), []);
            Ok(())
        })?;
    }
}
