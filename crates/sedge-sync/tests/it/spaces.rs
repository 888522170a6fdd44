//! Closed spaces: who reads, who writes, and who only carries.

use sedge_base::TaskScope;
use sedge_sync::{Put, Space, Tensor, Value, WriteError};

use crate::peers::{Peer, TestRoll, exchange};

async fn three() -> (TaskScope, Peer, Peer, Peer, Space) {
    let (scope, roll) = (TaskScope::new(), TestRoll::of(&[1, 2, 3]));
    let one = Peer::new(1, &roll).await;
    let two = Peer::new(2, &roll).await;
    let relay = Peer::new(3, &roll).await;
    let space = one.replica.found("family", &[two.id()]).await.unwrap().space;
    (scope, one, two, relay, space)
}

#[tokio::test]
async fn one_that_cannot_read_carries_between_two_that_can() {
    let (scope, one, two, relay, space) = three().await;
    one.put_in(&space, "code", "opensesame").await;
    exchange(&scope, &one, &relay).await;
    exchange(&scope, &relay, &two).await;
    assert_eq!(relay.sees_in(&space).await, "code=sealed");
    assert_eq!(two.sees_in(&space).await, "code=opensesame");
    two.put_in(&space, "answer", "yes").await;
    exchange(&scope, &two, &relay).await;
    exchange(&scope, &relay, &one).await;
    assert_eq!(one.sees_in(&space).await, "answer=yes code=opensesame");
    let relay = relay.restart(3).await;
    assert_eq!(relay.sees_in(&space).await, "answer=sealed code=sealed");
    let views = relay.replica.spaces().await.unwrap();
    assert_eq!(views.len(), 2);
    assert!(!views[1].readable && views[1].entries == 2 && views[1].readers.len() == 2);
}

#[tokio::test]
async fn one_that_was_not_given_the_key_overwrites_nothing() {
    let (scope, one, _two, relay, space) = three().await;
    one.put_in(&space, "code", "opensesame").await;
    exchange(&scope, &one, &relay).await;
    let text = || Put::Value(Value::Text("x".to_owned()));
    let denied = relay.replica.put(&space, "lamp", "code", text()).await;
    assert!(matches!(denied, Err(WriteError::NoKey(_))));
    let deleted = relay.replica.put(&space, "lamp", "code", Put::Value(Value::Null)).await;
    assert!(matches!(deleted, Err(WriteError::NoKey(_))));
    let shared = relay.replica.share(&space, &relay.id()).await;
    assert!(matches!(shared, Err(WriteError::NotFounder(_))));

    // A relay that signs one all the same is refused by the others.
    let mut fact = relay.signed("code", "x", sedge_sync::State::at(relay.clock.now())).fact;
    fact.space = space.clone();
    fact.value = Value::Null;
    fact.state = fact.state.plus_millis(0).next().next();
    let entry = fact.sign(&relay.identity).unwrap();
    one.clock.advance(std::time::Duration::from_secs(1));
    let taken = one.replica.take_in(vec![entry], relay.id()).await.unwrap();
    assert_eq!((taken.taken, taken.refused), (0, 1));
    assert_eq!(one.sees_in(&space).await, "code=opensesame");
}

#[tokio::test]
async fn a_new_reader_reads_what_was_and_one_taken_out_not_what_comes() {
    let (scope, one, two, third, space) = three().await;
    one.put_in(&space, "code", "first").await;
    one.replica.share(&space, &third.id()).await.unwrap();
    let view = one.replica.withhold(&space, &two.id()).await.unwrap();
    assert_eq!(view.key, Some(2));
    assert!(!view.readers.contains(&two.id()) && view.readers.contains(&third.id()));
    one.put_in(&space, "new-code", "second").await;
    exchange(&scope, &one, &third).await;
    exchange(&scope, &one, &two).await;
    assert_eq!(third.sees_in(&space).await, "code=first new-code=second");
    assert_eq!(two.sees_in(&space).await, "code=first new-code=sealed");
    third.put_in(&space, "by-third", "x").await;
    exchange(&scope, &third, &one).await;
    assert_eq!(one.sees_in(&space).await, "by-third=x code=first new-code=second");
}

#[tokio::test]
async fn a_space_is_founded_once_and_takes_no_tensors() {
    let (_scope, one, _two, _relay, space) = three().await;
    assert!(matches!(one.replica.found("family", &[]).await, Err(WriteError::Exists(_))));
    assert!(matches!(one.replica.found("Family", &[]).await, Err(WriteError::Space(_))));
    let tensor = Put::Tensor(Tensor::new(vec![1.0]).unwrap());
    let refused = one.replica.put(&space, "lamp", "t", tensor).await;
    assert!(matches!(refused, Err(WriteError::TensorInClosed)));
}
