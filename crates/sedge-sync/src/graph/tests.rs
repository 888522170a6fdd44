//! The graph keeps its rules, in whatever order entries come.

use proptest::prelude::*;
use sedge_base::{SwarmId, Timestamp};
use sedge_trust::Identity;

use super::*;

const NOW: u64 = 1_795_225_335_000;

fn now() -> State {
    State::at(Timestamp::from_millis(NOW))
}

fn entry(author: u8, key: u8, value: u8, back: u64) -> Checked {
    let identity = Identity::from_bytes(&[author; 64]);
    let fact = Fact {
        swarm: SwarmId::of_key(&[1; 32]),
        space: Space::Open,
        soul: "a".to_owned(),
        key: key.to_string(),
        value: Value::Text(value.to_string()),
        state: State::from_thousandths(now().as_thousandths() - back).unwrap(),
        author: identity.node_id(),
    };
    fact.sign(&identity).unwrap().check().unwrap()
}

fn give(graph: &mut Graph, entries: Vec<Checked>) {
    let judged = graph.judge(entries, now(), false);
    graph.apply(&judged.take.into_values().map(Arc::new).collect::<Vec<_>>());
}

/// What `asker` gets from `holder` in one round of buckets that differ.
fn pull(asker: &mut Graph, holder: &mut Graph) {
    let (mine, theirs) = (asker.digests(), holder.digests());
    let differ = (0..=255_u8).filter(|it| mine[usize::from(*it)] != theirs[usize::from(*it)]);
    let listed: Vec<_> = differ.flat_map(|it| holder.list(it)).collect();
    let wanted = listed.iter().filter(|it| asker.wants(it));
    let got = wanted.map(|it| Checked::clone(holder.by_id(&it.id).unwrap())).collect();
    give(asker, got);
}

fn shown(graph: &Graph) -> Vec<(String, ContentId)> {
    graph.all().map(|it| (it.entry.fact.key.clone(), it.id)).collect()
}

/// Few keys, states and values, so that they meet.
fn history() -> impl Strategy<Value = Vec<(u8, u8, u8, u64)>> {
    prop::collection::vec((1_u8..4, 0_u8..6, 0_u8..3, 0_u64..4), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_with_duplicates_gives_the_same_graph(
        history in history(),
        shuffle in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
    ) {
        let entries: Vec<_> = history.iter().map(|(a, k, v, b)| entry(*a, *k, *v, *b)).collect();
        let (mut one, mut other) = (Graph::default(), Graph::default());
        give(&mut one, entries.clone());
        for at in shuffle {
            give(&mut other, vec![at.get(&entries).clone()]);
        }
        for entry in entries.into_iter().rev() {
            give(&mut other, vec![entry]);
        }
        prop_assert_eq!(shown(&one), shown(&other));
        prop_assert_eq!(root_of(&one.digests()), root_of(&other.digests()));
    }

    #[test]
    fn partitions_that_heal_in_any_order_are_equal_on_all(
        history in prop::collection::vec((history(), 0_usize..4), 1..4),
        meetings in prop::collection::vec((0_usize..4, 0_usize..4), 0..12),
    ) {
        let mut nodes: Vec<_> = std::iter::repeat_with(Graph::default).take(4).collect();
        for (written, at) in &history {
            let entries = written.iter().map(|(a, k, v, b)| entry(*a, *k, *v, *b)).collect();
            give(&mut nodes[*at], entries);
        }
        // Whoever meets first, then everybody over a chain and back.
        let chain = [(1, 0), (2, 1), (3, 2), (2, 3), (1, 2), (0, 1)];
        for (asker, holder) in meetings.into_iter().chain(chain).filter(|it| it.0 != it.1) {
            let mut taken = std::mem::take(&mut nodes[holder]);
            pull(&mut nodes[asker], &mut taken);
            nodes[holder] = taken;
        }
        let roots: Vec<_> = nodes.iter_mut().map(|it| root_of(&it.digests())).collect();
        prop_assert!(roots.iter().all(|it| *it == roots[0]));
        prop_assert!(nodes.iter().all(|it| shown(it) == shown(&nodes[0])));
    }
}

#[test]
fn what_lies_ahead_waits_in_bounded_memory() {
    let mut graph = Graph::default();
    let ahead = |millis: u64, key: u8| {
        let mut checked = entry(1, key, 0, 0);
        checked.entry.fact.state = now().plus_millis(millis);
        checked.id = ContentId::of(&[&[key][..], &millis.to_be_bytes()].concat());
        checked
    };
    let judged = graph.judge(vec![ahead(3000, 1), ahead(300_001, 2)], now(), false);
    assert_eq!((judged.take.len(), judged.defer.len(), judged.refused), (0, 1, 1));
    assert_eq!(graph.defer(judged.defer), 0);
    let flood = (0..2000).map(|it| ahead(4000 + it, 3)).collect();
    assert_eq!(graph.defer(flood), 2001 - MAX_DEFERRED, "the latest give way");
    assert!(graph.due(now().plus_millis(2999)).is_empty());
    let due = graph.due(now().plus_millis(3000));
    assert_eq!(due.len(), 1);
    let judged = graph.judge(due, now().plus_millis(3000), false);
    assert_eq!(judged.take.len(), 1);
    assert_eq!(graph.waiting(), MAX_DEFERRED - 1);
}

#[test]
fn one_value_by_two_authors_has_one_author_everywhere() {
    let both = [entry(1, 1, 1, 0), entry(2, 1, 1, 0)];
    let (mut one, mut other) = (Graph::default(), Graph::default());
    give(&mut one, both.to_vec());
    give(&mut other, both.into_iter().rev().collect());
    assert_eq!(shown(&one), shown(&other));
}
