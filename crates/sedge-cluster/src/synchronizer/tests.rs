//! Vectors of the older API, and what holds for any order of acts.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn now() -> Timestamp {
    Timestamp::from_millis(1_000_000)
}

fn data(value: Value) -> Map<String, Value> {
    let Value::Object(data) = value else { panic!("no object") };
    data
}

fn remote(value: Value, version: u64) -> SyncState {
    SyncState::from_data(data(value), version, now())
}

#[test]
fn row_084_remote_local_and_latest_win_as_listed() {
    // Vector 000-7.
    let mut sync = EdgeSynchronizer::default();
    assert_eq!(sync.update_local(data(json!({"readings": [1, 2, 3]})), now()).version, 1);
    assert_eq!(sync.apply_remote(remote(json!({"readings": [4, 5]}), 5), now()), Ok(true));
    assert_eq!((sync.local_version(), sync.remote_version(), sync.pending_count()), (5, 5, 1));
    assert!(!sync.is_synced());
    assert_eq!(sync.confirm_sync(3, now()), 1);
    assert!(sync.is_synced());
    // Vector 000-8.
    assert_eq!(sync.apply_remote(remote(json!({"readings": [6]}), 5), now()), Ok(false));

    let mut local = EdgeSynchronizer::new(ConflictStrategy::LocalWins, 100);
    assert_eq!(local.apply_remote(remote(json!({"a": 1}), 1), now()), Ok(true), "nothing was here");
    assert_eq!(local.apply_remote(remote(json!({"a": 2}), 9), now()), Ok(false));

    let mut latest = EdgeSynchronizer::new(ConflictStrategy::LatestWins, 100);
    latest.update_local(data(json!({"a": 1})), now());
    assert_eq!(latest.apply_remote(remote(json!({"a": 2}), 9), now()), Ok(false), "not later");
    let later = now().plus(std::time::Duration::from_millis(1));
    let state = SyncState::from_data(data(json!({"a": 2})), 1, later);
    assert_eq!(latest.apply_remote(state, now()), Ok(true));
}

#[test]
fn row_085_a_state_with_a_wrong_checksum_is_refused() {
    let mut sync = EdgeSynchronizer::default();
    let bad = SyncState { checksum: "0".repeat(32), ..remote(json!({"a": 1}), 7) };
    let refused = sync.apply_remote(bad, now()).unwrap_err();
    assert_eq!(refused, ApplyError::Checksum { version: 7 });
    assert_eq!((sync.get_local_state(), refused.kind()), (None, ErrorKind::Invalid));
    assert!(!sync.sync_history(20)[0].success);
}

#[test]
fn row_086_confirmed_changes_go_and_what_overflows_is_counted() {
    // Vector 000-9.
    let mut sync = EdgeSynchronizer::default();
    for number in 1..=3 {
        assert_eq!(sync.update_local(data(json!({ "n": number })), now()).version, number);
    }
    assert_eq!(sync.confirm_sync(2, now()), 2);
    let pending = sync.get_pending_changes();
    assert_eq!((pending.len(), pending[0].version), (1, 3));

    let mut full = EdgeSynchronizer::default();
    for number in 0..101 {
        full.update_local(data(json!({ "n": number })), now());
    }
    assert_eq!((full.pending_count(), full.dropped_changes()), (100, 1));
    assert_eq!(full.get_pending_changes()[0].version, 2, "the oldest went");
}

#[test]
fn row_088_of_two_writers_from_the_same_base_both_are_kept_and_told() {
    let mut sync = EdgeSynchronizer::default();
    sync.apply_remote(remote(json!({"a": 0}), 1), now()).unwrap();
    sync.update_local(data(json!({"a": "mine"})), now());
    // The other one moved from 1 to 2, too.
    assert_eq!(sync.apply_remote(remote(json!({"a": "theirs"}), 2), now()), Ok(false));
    let conflicts = sync.conflicts();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].local.data["a"], "mine");
    assert_eq!(
        (&conflicts[0].remote.data["a"], conflicts[0].remote_won),
        (&json!("theirs"), false)
    );
}

#[test]
fn row_091_a_push_and_a_refused_pull_are_told_with_the_reason() {
    let mut sync = EdgeSynchronizer::default();
    sync.update_local(data(json!({"a": 1})), now());
    sync.confirm_sync(1, now());
    sync.apply_remote(remote(json!({"a": 2}), 1), now()).unwrap();
    let history = sync.sync_history(20);
    assert_eq!((history[0].direction, history[0].success), (Direction::Push, true));
    assert_eq!((history[1].direction, history[1].success), (Direction::Pull, false));
    assert_eq!(history[1].error, "Conflict: local state preferred");
    assert_eq!(
        serde_json::to_value(sync.summary()).unwrap(),
        json!({
            "local_version": 1, "remote_version": 1, "pending_changes": 0, "is_synced": true,
            "sync_events": 2, "conflict_strategy": "remote_wins",
        })
    );
}

#[test]
fn keys_are_merged_one_level_deep() {
    // Vector 000-10.
    let mut sync = EdgeSynchronizer::default();
    sync.update_keys(data(json!({"a": 1, "b": 2})), now());
    let state = sync.update_keys(data(json!({"b": 3, "c": 4})), now());
    assert_eq!((state.version, state.data), (2, data(json!({"a": 1, "b": 3, "c": 4}))));
}

#[derive(Debug, Clone)]
enum Act {
    Update(u8),
    Apply(u8, u64),
    Confirm(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        any::<u8>().prop_map(Act::Update),
        (any::<u8>(), 0..40_u64).prop_map(|it| Act::Apply(it.0, it.1)),
        (0..40_u64).prop_map(Act::Confirm),
    ];
    proptest::collection::vec(act, 0..60)
}

proptest! {
    #[test]
    fn versions_only_grow_and_everything_is_bounded(acts in acts(), most in 0..5_usize) {
        let mut sync = EdgeSynchronizer::new(ConflictStrategy::RemoteWins, most);
        let (mut updates, mut gone) = (0_u64, 0);
        for act in acts {
            let before = (sync.local_version(), sync.get_local_state().is_none());
            match act {
                Act::Update(it) => {
                    sync.update_local(data(json!({ "it": it })), now());
                    updates += 1;
                }
                Act::Apply(it, version) => {
                    let won = sync.apply_remote(remote(json!({ "it": it }), version), now());
                    prop_assert_eq!(won, Ok(before.1 || version > before.0));
                }
                Act::Confirm(version) => gone += sync.confirm_sync(version, now()),
            }
            prop_assert!(sync.local_version() >= before.0);
            prop_assert!(sync.pending_count() <= most);
            let kept = sync.pending_count() + gone;
            prop_assert_eq!(kept as u64 + sync.dropped_changes(), updates);
            prop_assert!(sync.get_local_state().is_none_or(SyncState::verify));
        }
        let text = serde_json::to_string(&sync).unwrap();
        prop_assert_eq!(serde_json::from_str::<EdgeSynchronizer>(&text).unwrap(), sync);
    }
}
