//! Promises to a quorum: all or none, per swarm, and there after a restart.

use sedge_base::SwarmId;
use sedge_store::{Fault, QuorumChange, Store, StoredQuorum};

use crate::areas::new_store;

fn entry(position: u64) -> QuorumChange {
    QuorumChange::Entry { position, json: format!("{{\"position\":{position}}}") }
}

fn texts(positions: impl IntoIterator<Item = u64>) -> Vec<String> {
    positions.into_iter().map(|it| format!("{{\"position\":{it}}}")).collect()
}

#[tokio::test]
async fn changes_are_made_in_their_order_and_survive() {
    let (home, store) = new_store().await;
    let [swarm, other] = [[1; 32], [2; 32]].map(|it| SwarmId::of_key(&it));
    let quorum = store.quorum(swarm);
    assert_eq!(quorum.load().await.unwrap(), StoredQuorum::default());
    let mut changes: Vec<_> = (0..10).map(entry).collect();
    changes.push(QuorumChange::CutFrom(8));
    changes.push(QuorumChange::Purge { upto: 2, json: "2".to_owned() });
    changes.push(QuorumChange::Vote("1".to_owned()));
    changes.push(QuorumChange::Vote("2".to_owned()));
    changes.push(QuorumChange::Snapshot("{}".to_owned()));
    quorum.change(changes).await.unwrap();
    store.quorum(other).change(vec![entry(5)]).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let store = Store::open(&home.path().join("sedge.db")).await.unwrap();
    let expected = StoredQuorum {
        vote: Some("2".to_owned()),
        purged: Some("2".to_owned()),
        snapshot: Some("{}".to_owned()),
        entries: texts(3..8),
    };
    assert_eq!(store.quorum(swarm).load().await.unwrap(), expected);
    assert_eq!(store.quorum(other).load().await.unwrap().entries, texts([5]));
}

#[tokio::test]
async fn a_change_that_is_too_large_leaves_the_others_undone() {
    let (_home, store) = new_store().await;
    let quorum = store.quorum(SwarmId::of_key(&[1; 32]));
    let large = QuorumChange::Vote("x".repeat((1 << 20) + 1));
    let refused = quorum.change(vec![entry(1), large]).await;
    assert!(matches!(refused, Err(Fault::TooLarge { .. })), "{refused:?}");
    let far = QuorumChange::CutFrom(u64::MAX);
    let refused = quorum.change(vec![entry(1), far]).await;
    assert!(matches!(refused, Err(Fault::Value { .. })), "{refused:?}");
    assert_eq!(quorum.load().await.unwrap(), StoredQuorum::default());
}
