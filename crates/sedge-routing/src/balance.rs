//! Spreading functions evenly: from the fullest node to the emptiest, one at a time.

use std::collections::BTreeSet;

use sedge_base::NodeId;
use sedge_capability::Name;
use serde::{Deserialize, Serialize};

/// What a node holds that could lie elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The node.
    pub node: NodeId,
    /// Its functions.
    pub functions: BTreeSet<Name>,
    /// Whether it may get more: it answers and does not drain.
    pub takes: bool,
    /// Whether its functions shall go, all of them: it drains.
    pub leaves: bool,
}

/// One function that goes from one node to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Which.
    pub function: Name,
    /// Where it is.
    pub from: NodeId,
    /// Where it goes.
    pub to: NodeId,
}

/// Returns the moves after which no two nodes that take functions differ by more than one, as far as
/// a node that has a function already lets that be (seed 000, `rebalance_cluster`). Nodes that leave
/// give everything away for which there is a place.
///
/// The same holdings give the same moves in whatever order they come.
pub fn rebalance(holdings: &[Holding]) -> Vec<Move> {
    let mut nodes = holdings.to_vec();
    nodes.sort_by_key(|it| it.node);
    let mut moves = Vec::new();
    while let Some(next) = next_move(&nodes) {
        for node in &mut nodes {
            if node.node == next.from {
                node.functions.remove(&next.function);
            } else if node.node == next.to {
                node.functions.insert(next.function.clone());
            }
        }
        moves.push(next);
    }
    moves
}

/// Each move brings the counts nearer to each other or empties a node that leaves, so they end.
fn next_move(nodes: &[Holding]) -> Option<Move> {
    let mut givers: Vec<_> = nodes.iter().filter(|it| it.leaves || it.takes).collect();
    givers.sort_by_key(|it| (!it.leaves, usize::MAX - it.functions.len()));
    let mut takers: Vec<_> = nodes.iter().filter(|it| it.takes && !it.leaves).collect();
    takers.sort_by_key(|it| it.functions.len());
    for from in givers {
        for to in &takers {
            let uneven = from.functions.len() > to.functions.len() + 1;
            if from.node == to.node || !(from.leaves || uneven) {
                continue;
            }
            if let Some(function) = from.functions.difference(&to.functions).next() {
                return Some(Move { function: function.clone(), from: from.node, to: to.node });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(number: u8, functions: &[&str]) -> Holding {
        Holding {
            node: NodeId::from_bytes([number; 32]),
            functions: functions.iter().map(|it| it.parse().unwrap()).collect(),
            takes: true,
            leaves: false,
        }
    }

    fn words(moves: &[Move]) -> Vec<String> {
        let digit = |it: &NodeId| it.as_bytes()[0];
        moves
            .iter()
            .map(|it| format!("{} {}>{}", it.function, digit(&it.from), digit(&it.to)))
            .collect()
    }

    #[test]
    fn the_fullest_gives_to_the_emptiest() {
        assert_eq!(words(&rebalance(&[node(1, &["a", "b"]), node(2, &[])])), ["a 1>2"]);
        assert_eq!(
            words(&rebalance(&[node(1, &["a", "b", "c", "d"]), node(2, &[]), node(3, &["a"])])),
            ["a 1>2", "b 1>2"]
        );
        assert!(rebalance(&[node(1, &["a"]), node(2, &[])]).is_empty());
        assert!(rebalance(&[]).is_empty());
    }

    #[test]
    fn nobody_gets_what_it_has_or_what_it_does_not_take() {
        let same = [node(1, &["a", "b", "c"]), node(2, &["a"])];
        assert_eq!(words(&rebalance(&same)), ["b 1>2"]);
        let away = Holding { takes: false, ..node(2, &[]) };
        assert!(rebalance(&[node(1, &["a", "b"]), away]).is_empty());
    }

    #[test]
    fn who_leaves_gives_everything() {
        let leaving = Holding { leaves: true, takes: false, ..node(1, &["a", "b"]) };
        assert_eq!(
            words(&rebalance(&[leaving, node(2, &["a"]), node(3, &[])])),
            ["a 1>3", "b 1>2"]
        );
    }

    fn any_node() -> impl Strategy<Value = Holding> {
        let functions = prop::collection::btree_set("[a-h]", 0..8);
        (0..6_u8, functions, any::<bool>(), any::<bool>()).prop_map(
            |(number, names, takes, leaves)| {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                Holding { takes, leaves, ..node(number, &names) }
            },
        )
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_end_is_even(nodes in prop::collection::vec(any_node(), 0..6)) {
            let mut nodes = nodes;
            nodes.sort_by_key(|it| it.node);
            nodes.dedup_by_key(|it| it.node);
            let total = |nodes: &[Holding]| nodes.iter().map(|it| it.functions.len()).sum::<usize>();
            let before = total(&nodes);
            let mut reversed = nodes.clone();
            reversed.reverse();
            let moves = rebalance(&nodes);
            prop_assert_eq!(&moves, &rebalance(&reversed));
            for it in &moves {
                let from = nodes.iter_mut().find(|n| n.node == it.from).unwrap();
                prop_assert!(from.functions.remove(&it.function));
                let to = nodes.iter_mut().find(|n| n.node == it.to).unwrap();
                prop_assert!(to.takes && !to.leaves);
                prop_assert!(to.functions.insert(it.function.clone()));
            }
            prop_assert_eq!(total(&nodes), before);
            prop_assert!(rebalance(&nodes).is_empty());
        }
    }
}
