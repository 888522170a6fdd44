//! The older protocol's numbers, and a merge that repetition does not change.

use proptest::prelude::*;

use super::*;

fn agent(id: &str) -> IntelligenceSync {
    IntelligenceSync::with_clock(id, Clock::manual(Timestamp::from_millis(1_700_000_000_000)))
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-9
}

#[tokio::test]
async fn vectors_003_18_and_003_19() {
    let one = agent("a");
    assert!(one.update_pattern("s", "x", 0.8).await);
    assert!(close(one.pattern("s", "x").unwrap().q_value, 0.08));
    assert!(one.update_pattern("s", "x", 0.9).await);
    let pattern = one.pattern("s", "x").unwrap();
    assert!(close(pattern.q_value, 0.162));
    assert_eq!(pattern.visits, 2);
    assert!(close(pattern.confidence, 2.0 / 3.0));
    for _ in 0..10 {
        assert!(one.update_pattern("s", "y", 1.0).await);
    }
    let pattern = one.pattern("s", "y").unwrap();
    assert!(close(pattern.q_value, 0.651_321_559_9));
    assert!(close(pattern.confidence, 10.0 / 11.0));
    let actions = ["x", "y", "z"].map(str::to_owned);
    assert_eq!(one.get_best_action("s", &actions).await.unwrap().0, "y");
    assert_eq!(one.get_best_action("t", &actions).await, None);
}

#[tokio::test]
async fn repeated_merges_change_nothing() {
    let (one, other) = (agent("a"), agent("b"));
    for _ in 0..3 {
        assert!(one.update_pattern("s", "x", 1.0).await);
    }
    assert!(other.update_pattern("s", "x", 5.0).await);
    let state = other.serialize_state().await.unwrap();
    let first = one.merge_peer_state("b", &state).await.unwrap();
    assert_eq!((first.merged_patterns, first.new_patterns), (1, 0));
    let merged = one.pattern("s", "x").unwrap();
    assert!(close(merged.q_value, (0.271 * 3.0 + 0.5) / 4.0));
    assert_eq!(merged.visits, 4);
    for _ in 0..3 {
        let again = one.merge_peer_state("b", &state).await.unwrap();
        assert_eq!((again.merged_patterns, again.new_patterns), (0, 0));
    }
    assert_eq!(one.pattern("s", "x").unwrap(), merged);
    let stats = one.get_swarm_stats().await;
    assert_eq!((stats.total_agents, stats.total_patterns, stats.total_visits), (2, 1, 4));
}

#[tokio::test]
async fn a_delta_holds_what_changed_since() {
    let one = agent("a");
    for action in ["x", "y", "z"] {
        assert!(one.update_pattern("s", action, 1.0).await);
    }
    assert_eq!(one.get_delta(0, 10).patterns.len(), 3);
    let last = one.get_delta(2, 10);
    assert_eq!((last.patterns.len(), last.version), (1, 3));
    let begin = one.get_delta(0, 2);
    assert_eq!((begin.patterns.len(), begin.version), (2, 2), "where to go on");
    assert!(one.get_delta(3, 10).patterns.is_empty());
}

#[tokio::test]
async fn states_of_others_and_wild_values_are_refused_or_clipped() {
    let (one, other) = (agent("a"), agent("b"));
    assert!(other.update_pattern("s", "x", 1.0).await);
    let state = other.serialize_state().await.unwrap();
    let refused = one.merge_peer_state("c", &state).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    assert!(matches!(other.merge_peer_state("b", &state).await, Err(MergeError::Own)));
    let mut wild = other.get_delta(0, 10);
    wild.patterns.values_mut().for_each(|it| (it.q_value, it.visits) = (1e300, u64::MAX));
    let merged = one.merge("b", wild).unwrap();
    assert_eq!((merged.clipped, merged.new_patterns), (1, 1));
    assert!(close(one.pattern("s", "x").unwrap().q_value, MAX_VALUE));
    assert!(!one.update_pattern("s", "x", f64::NAN).await);
}

fn state(figures: &[(u8, f64, u64)]) -> LearningState {
    let patterns = figures.iter().map(|(action, value, visits)| {
        let action = action.to_string();
        let figures = Figures { value: *value, visits: *visits, ..Figures::NONE };
        (format!("s|{action}"), pattern("s", &action, std::iter::once(&figures)))
    });
    let patterns = patterns.collect();
    LearningState {
        agent_id: "b".to_owned(),
        patterns,
        version: 1,
        timestamp: Timestamp::default(),
    }
}

proptest! {
    #[test]
    fn order_and_repetition_do_not_matter(
        states in prop::collection::vec(
            prop::collection::vec((0_u8..3, -1.0..1.0, 1_u64..5), 0..4), 1..5),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let (straight, mixed) = (agent("a"), agent("a"));
        let all = |it: &IntelligenceSync| ["0", "1", "2"].map(|action| it.pattern("s", action));
        for it in &states {
            straight.merge("b", state(it)).unwrap();
        }
        let order = order.iter().map(|it| it.index(states.len())).chain((0..states.len()).rev());
        for at in order {
            mixed.merge("b", state(&states[at])).unwrap();
        }
        prop_assert_eq!(all(&straight), all(&mixed));
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(decode(&bytes, true).is_err());
        prop_assert!(decode(&bytes, false).is_err());
        prop_assert!(decode(&pack(&bytes), true).is_err());
    }
}
