//! Content by its id.

use std::fs;

use sedge_base::{ContentId, ErrorKind};
use sedge_store::{GetBlobError, PutBlobError, Store};

use crate::areas::new_store;

#[tokio::test]
async fn content_comes_back_under_its_id() {
    let (_home, store) = new_store().await;
    let id = store.blobs().put(b"wasm".to_vec(), None).await.unwrap();
    assert_eq!(id, ContentId::of(b"wasm"));
    assert_eq!(store.blobs().put(b"wasm".to_vec(), Some(id)).await.unwrap(), id);
    assert_eq!(store.blobs().get(id).await.unwrap(), b"wasm");
    assert!(store.blobs().has(id).await);
    assert!(store.blobs().remove(id).await.unwrap());
    assert!(!store.blobs().remove(id).await.unwrap());
    assert!(!store.blobs().has(id).await);
    let missing = store.blobs().get(id).await;
    assert!(matches!(missing, Err(GetBlobError::Missing { .. })), "{missing:?}");
}

#[tokio::test]
async fn content_of_another_id_is_refused_and_not_stored() {
    let (_home, store) = new_store().await;
    let expected = ContentId::of(b"this");
    let refused = store.blobs().put(b"that".to_vec(), Some(expected)).await.unwrap_err();
    assert!(matches!(refused, PutBlobError::WrongContent { .. }), "{refused:?}");
    assert!(!store.blobs().has(expected).await);
    assert!(!store.blobs().has(ContentId::of(b"that")).await);
}

#[tokio::test]
async fn damage_is_noticed_on_reading_and_healed_by_the_same_content() {
    let (home, store) = new_store().await;
    let id = store.blobs().put(b"wasm".to_vec(), None).await.unwrap();
    fs::write(home.path().join("blobs").join(id.to_string()), b"wasn").unwrap();
    let damaged = store.blobs().get(id).await.unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::Corrupt);
    store.blobs().put(b"wasm".to_vec(), None).await.unwrap();
    assert_eq!(store.blobs().get(id).await.unwrap(), b"wasm");
}

#[tokio::test]
async fn an_unfinished_file_is_removed_at_the_next_start() {
    let (home, store) = new_store().await;
    store.close().await.unwrap();
    drop(store);
    let left = home.path().join("blobs/.new-0");
    fs::write(&left, b"half").unwrap();
    let store = Store::open(&home.path().join("sedge.db")).await.unwrap();
    assert!(!left.exists());
    store.close().await.unwrap();
}
