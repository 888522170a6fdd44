//! The same on all, whatever happened in between.

use sedge_base::{SwarmId, TaskScope};
use sedge_sync::{MAX_AHEAD_MS, Put, Space, State, SyncError, Value};

use crate::peers::{Peer, START, TestRoll, exchange, meet};

fn ahead(millis: u64) -> State {
    State::at(START).plus_millis(millis)
}

#[tokio::test]
async fn three_that_wrote_apart_are_equal_after_they_met() {
    let (scope, roll) = (TaskScope::new(), TestRoll::of(&[1, 2, 3]));
    let one = Peer::new(1, &roll).await;
    let two = Peer::new(2, &roll).await;
    let three = Peer::new(3, &roll).await;
    one.put("colour", "red").await;
    two.clock.advance(std::time::Duration::from_millis(1));
    two.put("colour", "green").await;
    three.put("level", "3").await;
    for at in 0..60 {
        one.put(&format!("many-{at:02}"), "x").await;
    }
    exchange(&scope, &one, &three).await;
    exchange(&scope, &three, &two).await;
    // What the others' clocks do not reach yet waits.
    assert!(one.sees().await.starts_with("colour=red"));
    for peer in [&one, &three] {
        peer.clock.set(two.clock.now());
    }
    exchange(&scope, &three, &two).await;
    exchange(&scope, &one, &three).await;
    let sees = two.sees().await;
    assert!(sees.starts_with("colour=green level=3 many-00=x"), "{sees}");
    assert_eq!((one.sees().await, three.sees().await), (sees.clone(), sees));
    let conn = meet(&scope, &one, &two).await;
    assert!(one.replica.pull(&conn).await.unwrap().equal, "nothing is left to bring");
}

#[tokio::test]
async fn what_is_acknowledged_is_there_after_a_restart() {
    let roll = TestRoll::of(&[1]);
    let peer = Peer::new(1, &roll).await;
    peer.put("colour", "red").await;
    peer.put("colour", "green").await;
    let peer = peer.restart(1).await;
    assert_eq!(peer.sees().await, "colour=green");

    // Another swarm has another graph, and the old one is not lost by looking away.
    *roll.swarm.lock().unwrap() = SwarmId::of_key(&[2; 32]);
    assert_eq!(peer.sees().await, "");
    *roll.swarm.lock().unwrap() = SwarmId::of_key(&[1; 32]);
    assert_eq!(peer.sees().await, "colour=green");
}

#[tokio::test]
async fn what_is_pushed_stands_at_once_and_goes_on_to_others() {
    let (scope, roll) = (TaskScope::new(), TestRoll::of(&[1, 2]));
    let (one, two) = (Peer::new(1, &roll).await, Peer::new(2, &roll).await);
    let mut told = two.replica.watch();
    let entry = one.signed("colour", "red", ahead(0));
    let conn = meet(&scope, &one, &two).await;
    let taken = one.replica.push(&conn, &[&entry]).await.unwrap();
    assert_eq!((taken.taken, taken.refused), (1, 0));
    let change = told.recv().await.unwrap();
    assert_eq!((change.from, &*change.entry), (Some(one.id()), &entry));
    let again = one.replica.push(&conn, &[&entry]).await.unwrap();
    assert_eq!((again.taken, again.refused), (0, 0), "once is enough");
    assert!(told.is_empty());
}

#[tokio::test]
async fn nothing_changes_by_what_does_not_hold() {
    let roll = TestRoll::of(&[1, 2]);
    let (one, two) = (Peer::new(1, &roll).await, Peer::new(2, &roll).await);
    let stranger = Peer::new(9, &roll).await;
    one.put("colour", "red").await;
    let sign = |text| two.signed("colour", text, ahead(0));
    let mut forged = sign("forged");
    forged.fact.value = Value::Text("zzz".to_owned());
    let mut elsewhere = sign("elsewhere");
    elsewhere.fact.swarm = SwarmId::of_key(&[7; 32]);
    let mut renamed = sign("renamed");
    renamed.fact.author = one.id();
    let by_stranger = stranger.signed("colour", "zzz", ahead(0));
    let far = two.signed("colour", "zzz", ahead(MAX_AHEAD_MS + 1));
    let bad = vec![forged, elsewhere, renamed, by_stranger, far];
    let taken = one.replica.take_in(bad, two.id()).await.unwrap();
    assert_eq!((taken.taken, taken.deferred, taken.refused), (0, 0, 5));
    assert_eq!(one.sees().await, "colour=red");

    // One bad entry does not keep the others out.
    let taken = one.replica.take_in(
        vec![stranger.signed("a", "b", ahead(0)), two.signed("level", "1", ahead(0))],
        two.id(),
    );
    assert_eq!(taken.await.unwrap().taken, 1);
    assert_eq!(one.sees().await, "colour=red level=1");
}

#[tokio::test]
async fn who_was_a_member_is_believed_up_to_that_day() {
    let roll = TestRoll::of(&[1, 2]);
    let (one, two) = (Peer::new(1, &roll).await, Peer::new(2, &roll).await);
    one.clock.set(ahead(100).date());
    roll.members.lock().unwrap().get_mut(&two.id()).unwrap().0 = ahead(50).date();
    let entries = vec![two.signed("late", "1", ahead(51)), two.signed("early", "1", ahead(50))];
    let taken = one.replica.take_in(entries, two.id()).await.unwrap();
    assert_eq!((taken.taken, taken.refused), (1, 1));
    assert_eq!(one.sees().await, "early=1");
}

#[tokio::test]
async fn what_lies_ahead_stands_when_its_time_has_come() {
    let roll = TestRoll::of(&[1, 2]);
    let (one, two) = (Peer::new(1, &roll).await, Peer::new(2, &roll).await);
    let early = vec![two.signed("colour", "later", ahead(3000))];
    let taken = one.replica.take_in(early, two.id()).await.unwrap();
    assert_eq!((taken.taken, taken.deferred), (0, 1));
    one.put("colour", "now").await;
    one.clock.set(ahead(2999).date());
    assert_eq!(one.sees().await, "colour=now");
    one.clock.set(ahead(3000).date());
    assert_eq!(one.sees().await, "colour=later");
}

#[tokio::test]
async fn a_write_stands_although_the_clock_was_set_back() {
    let roll = TestRoll::of(&[1]);
    let peer = Peer::new(1, &roll).await;
    peer.clock.set(ahead(60_000).date());
    peer.put("colour", "red").await;
    peer.clock.set(START);
    peer.put("colour", "green").await;
    assert_eq!(peer.sees().await, "colour=green");
}

#[tokio::test]
async fn a_node_that_is_none_is_refused_and_a_full_question_too() {
    let (scope, roll) = (TaskScope::new(), TestRoll::of(&[1, 2]));
    let (one, two) = (Peer::new(1, &roll).await, Peer::new(2, &roll).await);
    let value = Put::Value(Value::Number(1.0));
    for (soul, key) in [("", "a"), ("a", ""), ("~keys", "a"), ("a\n", "a")] {
        assert!(one.replica.put(&Space::Open, soul, key, value.clone()).await.is_err());
    }
    let conn = meet(&scope, &one, &two).await;
    let entry = two.signed("colour", "red", ahead(0));
    let many: Vec<_> = std::iter::repeat_n(&entry, 600).collect();
    let taken = one.replica.push(&conn, &many).await.unwrap();
    assert_eq!(taken.taken, 1, "more than 512 are cut before they are sent");
    drop(conn);
    let gone = meet(&scope, &one, &two).await;
    gone.close(sedge_net::CloseReason::Done);
    assert!(matches!(one.replica.pull(&gone).await, Err(SyncError::Conn(_))));
}
