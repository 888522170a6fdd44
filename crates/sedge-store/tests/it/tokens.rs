//! Counts of calls, and what was taken back.

use sedge_base::Timestamp;
use sedge_store::{CallLimit, Member, PutMemberError, StoredRevocation, Subject, TakeCallError};

use crate::areas::{NODE, new_store};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn limit(token: &str, most: u64) -> CallLimit {
    CallLimit { token: token.to_owned(), most, ends: None }
}

#[tokio::test]
async fn a_call_counts_against_every_limit_or_against_none() {
    let (home, store) = new_store().await;
    let calls = store.calls();
    for _ in 0..2 {
        calls.take(vec![limit("a", 3), limit("b", 2)], NOW).await.unwrap();
    }
    let refused = calls.take(vec![limit("a", 3), limit("b", 2)], NOW).await.unwrap_err();
    assert!(matches!(refused, TakeCallError::UsedUp { most: 2, used: 2 }), "{refused}");
    assert_eq!(calls.used("a".to_owned()).await.unwrap(), 2, "the refused call counts for none");
    calls.take(vec![limit("a", 3)], NOW).await.unwrap();
    assert!(calls.take(vec![limit("a", 3)], NOW).await.is_err());
    assert!(calls.take(vec![limit("c", 0)], NOW).await.is_err());
    assert_eq!(calls.used("c".to_owned()).await.unwrap(), 0);

    store.close().await.unwrap();
    drop(store);
    let store = sedge_store::Store::open(&home.path().join("sedge.db")).await.unwrap();
    assert_eq!(store.calls().used("a".to_owned()).await.unwrap(), 3);
}

#[tokio::test]
async fn the_last_call_is_had_once() {
    let (_home, store) = new_store().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        tasks.spawn(async move { store.calls().take(vec![limit("a", 7)], NOW).await.is_ok() });
    }
    let mut taken = 0;
    while let Some(task) = tasks.join_next().await {
        taken += usize::from(task.unwrap());
    }
    assert_eq!(taken, 7);
}

#[tokio::test]
async fn a_revoked_member_stays_away_until_a_higher_epoch() {
    let (_home, store) = new_store().await;
    let member =
        |epoch| Member { node: NODE, epoch, revoked: false, at: NOW, json: "{}".to_owned() };
    store.members().put(member(1)).await.unwrap();
    let revocation =
        |subject, json: &str| StoredRevocation { subject, at: NOW, json: json.to_owned() };
    let revocations = store.revocations();
    let of_node = Subject::Node { node: NODE, epoch: 1 };
    revocations.put(revocation(of_node.clone(), "1")).await.unwrap();
    revocations.put(revocation(of_node, "2")).await.unwrap();
    revocations.put(revocation(Subject::Token("t".to_owned()), "3")).await.unwrap();
    assert_eq!(revocations.list().await.unwrap(), ["2", "3"]);
    assert!(store.members().get(NODE).await.unwrap().unwrap().revoked);
    let refused = store.members().put(member(1)).await;
    assert!(matches!(refused, Err(PutMemberError::Stale { .. })));
    store.members().put(member(2)).await.unwrap();
    assert!(!store.members().get(NODE).await.unwrap().unwrap().revoked);
}
