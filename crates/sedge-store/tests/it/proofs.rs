//! What proofs need: ids in order, checkpoints, inputs within their bound.

use bytes::Bytes;
use sedge_base::{ByteSize, ContentId, NodeId, Timestamp};
use sedge_store::{AppendError, Inputs, StoredCheckpoint, StoredInput};

use crate::areas::{NODE, new_store, receipt};

#[tokio::test]
async fn receipts_are_appended_all_or_none_and_their_ids_come_in_order() {
    let (_home, store) = new_store().await;
    let receipts = store.receipts();
    receipts.append_all((0..3).map(|it| receipt(it, "a")).collect()).await.unwrap();
    let taken = receipts.append_all(vec![receipt(3, "a"), receipt(1, "b")]).await;
    assert!(matches!(taken, Err(AppendError::Taken { sequence: 1, .. })), "{taken:?}");
    let ids = receipts.ids(NODE, 1, 10).await.unwrap();
    assert_eq!(ids, [receipt(1, "a").id, receipt(2, "a").id]);
    assert_eq!(receipts.ids(NodeId::from_bytes([8; 32]), 0, 10).await.unwrap(), []);
}

#[tokio::test]
async fn the_longest_checkpoint_stays_and_the_first_contradiction_too() {
    let (_home, store) = new_store().await;
    let checkpoints = store.checkpoints();
    let at = Timestamp::from_millis(5);
    assert!(!checkpoints.contradict(NODE, "{}".to_owned()).await.unwrap());
    for count in [3, 7, 5] {
        checkpoints.put(NODE, count, at, count.to_string()).await.unwrap();
    }
    assert!(checkpoints.contradict(NODE, "first".to_owned()).await.unwrap());
    assert!(!checkpoints.contradict(NODE, "second".to_owned()).await.unwrap());
    checkpoints.put(NODE, 9, at, "9".to_owned()).await.unwrap();
    let expected = StoredCheckpoint {
        node: NODE,
        count: 9,
        at,
        json: "9".to_owned(),
        contradiction: Some("first".to_owned()),
    };
    assert_eq!(checkpoints.get(NODE).await.unwrap(), Some(expected.clone()));
    assert_eq!(checkpoints.list().await.unwrap(), [expected]);
}

#[tokio::test]
async fn inputs_are_kept_within_a_bound_and_the_oldest_go_first() {
    let (_home, store) = new_store().await;
    let inputs = store.inputs();
    let most = ByteSize::from_bytes(100);
    let content = |number: u8| Bytes::from(vec![number; 40]);
    let id = |number: u8| ContentId::of(&content(number));
    let stored =
        |id: ContentId, content: Bytes| StoredInput { id, media: "plain".to_owned(), content };
    for number in [1, 2, 1, 3] {
        inputs.keep(vec![stored(id(number), content(number))], most).await.unwrap();
    }
    assert_eq!(inputs.get(id(1)).await.unwrap(), None);
    assert_eq!(inputs.get(id(3)).await.unwrap(), Some(stored(id(3), content(3))));
    assert_eq!(inputs.size().await.unwrap(), ByteSize::from_bytes(80));
    let large = Bytes::from(vec![9; 101]);
    let larger = Bytes::from(vec![9; Inputs::MAX.as_len() + 1]);
    for (input, most) in [(large, most), (larger, ByteSize::from_mib(9))] {
        let id = ContentId::of(&input);
        inputs.keep(vec![stored(id, input)], most).await.unwrap();
        assert_eq!(inputs.get(id).await.unwrap(), None);
    }
    assert_eq!(inputs.size().await.unwrap(), ByteSize::from_bytes(80));
    inputs.trim(ByteSize::from_bytes(0)).await.unwrap();
    assert_eq!(inputs.size().await.unwrap(), ByteSize::from_bytes(0));
    assert_eq!(inputs.get(id(3)).await.unwrap(), None);
    inputs.keep(vec![stored(id(4), content(5))], most).await.unwrap();
    assert!(inputs.get(id(4)).await.is_err(), "something else under that id");
}
