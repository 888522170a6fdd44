//! Decisions by literals, and what holds for all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use expect_test::{Expect, expect};
use proptest::prelude::{Strategy as _, any, prop_assert, prop_assert_eq, proptest};
use sedge_capability::Kind;

use super::*;
use crate::{Path, Reason, Strategy};

fn node(number: u8) -> Candidate {
    Candidate {
        node: NodeId::from_bytes([number; 32]),
        name: format!("n{number}"),
        here: false,
        healthy: true,
        draining: false,
        load: Load { limit: 4, ..Load::default() },
        node_load: Load { limit: 10, ..Load::default() },
        free_memory: ByteSize::from_mib(1024),
        cpu_percent: 0.0,
        rtt: Some(Duration::from_millis(1)),
        path: None,
        late_by: None,
        tokens_per_second: None,
        ready: true,
        labels: BTreeMap::new(),
    }
}

fn request() -> Request {
    Request::new("fn-1".parse().unwrap())
}

fn busy(number: u8, running: u32) -> Candidate {
    let load = Load { running, waiting: 0, limit: 10 };
    Candidate { load, node_load: load, ..node(number) }
}

fn order(candidates: &[Candidate], strategy: Strategy, seed: u64) -> Vec<String> {
    let ranked = decide(&request(), candidates, strategy, seed).ranked;
    ranked.into_iter().map(|it| it.name).collect()
}

#[track_caller]
fn check_words(request: &Request, candidates: &[Candidate], expected: Expect) {
    expected.assert_eq(&decide(request, candidates, Strategy::Best, 0).words());
}

#[test]
fn the_words_name_winner_losers_and_rejected() {
    let far = Candidate { rtt: Some(Duration::from_millis(80)), ..node(2) };
    let gone = Candidate { healthy: false, ..node(3) };
    let full = Candidate { load: Load { running: 4, waiting: 0, limit: 4 }, ..node(4) };
    check_words(
        &request(),
        &[far, gone, full, node(1)],
        expect![[r"
            `fn-1` runs on n1, first of 2 by best
              1. n1: expected 6.0 ms = queue 0.0 ms + distance 1.0 ms + start 0.0 ms + work 5.0 ms; 0 of 4 tasks here, 0 of 10 in all, CPU 0 %, 1 GiB free, ready
              2. n2: expected 85.0 ms = queue 0.0 ms + distance 80.0 ms + start 0.0 ms + work 5.0 ms; 0 of 4 tasks here, 0 of 10 in all, CPU 0 %, 1 GiB free, ready
              -  n3: not heard of lately
              -  n4: has 4 tasks of this capability, 4 is its limit"]],
    );
    check_words(&request(), &[], expect!["nobody offers `fn-1`"]);
}

#[test]
fn each_filter_gives_its_reason() {
    let mut wanted = request();
    wanted.labels.insert("gpu".to_owned(), "yes".to_owned());
    let labelled = Candidate { labels: wanted.labels.clone(), ..node(1) };
    let drained = Candidate { draining: true, ..node(2) };
    let full =
        Candidate { node_load: Load { running: 1, waiting: 1, limit: 2 }, ..labelled.clone() };
    let got = decide(
        &wanted,
        &[drained, node(3), Candidate { node: NodeId::from_bytes([4; 32]), ..full }, labelled],
        Strategy::Best,
        0,
    );
    assert_eq!(got.winner, Some(NodeId::from_bytes([1; 32])));
    let reasons: Vec<_> = got.rejected.into_iter().map(|it| it.reason).collect();
    let label = Reason::Label { key: "gpu".to_owned(), wanted: "yes".to_owned() };
    assert_eq!(reasons, [Reason::Draining, label, Reason::NodeFull { in_flight: 2, limit: 2 }]);
}

#[test]
fn a_pinned_node_is_the_only_one() {
    let pinned = Request { pinned: Some(NodeId::from_bytes([2; 32])), ..request() };
    let got = decide(&pinned, &[node(1), busy(2, 9)], Strategy::Best, 0);
    assert_eq!(got.winner, pinned.pinned);
    assert_eq!(got.rejected[0].reason, Reason::NotPinned);
    assert_eq!(decide(&pinned, &[node(1)], Strategy::Best, 0).winner, None);
}

#[test]
fn the_near_one_is_preferred_until_it_is_busy() {
    let near = |running| Candidate { rtt: Some(Duration::from_millis(5)), ..busy(2, running) };
    let far = Candidate { rtt: Some(Duration::from_millis(20)), ..busy(1, 0) };
    assert_eq!(order(&[near(0), far.clone()], Strategy::Best, 0)[0], "n2");
    assert_eq!(order(&[near(4), far], Strategy::Best, 0)[0], "n1");
}

#[test]
fn a_fast_loaded_model_beats_a_slow_or_sleeping_one() {
    let chat = Request { kind: Some(Kind::Chat), ..request() };
    let with =
        |number, speed, ready| Candidate { tokens_per_second: Some(speed), ready, ..node(number) };
    let all = [with(1, 10.0, true), with(2, 100.0, true), with(3, 100.0, false)];
    let got = decide(&chat, &all, Strategy::Best, 0);
    let names: Vec<_> = got.ranked.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["n2", "n3", "n1"]);
}

#[test]
fn the_path_is_told_and_counts_where_nothing_was_measured() {
    let by = |number, path| Candidate { rtt: None, path: Some(path), ..node(number) };
    check_words(
        &request(),
        &[by(1, Path::Relayed), by(2, Path::Direct), by(3, Path::Lan), by(4, Path::Local)],
        expect![[r"
            `fn-1` runs on n4, first of 4 by best
              1. n4: expected 6.0 ms = queue 0.0 ms + distance 1.0 ms + start 0.0 ms + work 5.0 ms; 0 of 4 tasks here, 0 of 10 in all, CPU 0 %, 1 GiB free, path local, ready
              2. n3: expected 10.0 ms = queue 0.0 ms + distance 5.0 ms + start 0.0 ms + work 5.0 ms; 0 of 4 tasks here, 0 of 10 in all, CPU 0 %, 1 GiB free, path lan, ready
              3. n2: expected 55.0 ms = queue 0.0 ms + distance 50.0 ms + start 0.0 ms + work 5.0 ms; 0 of 4 tasks here, 0 of 10 in all, CPU 0 %, 1 GiB free, path direct, ready
              4. n1: expected 105.0 ms = queue 0.0 ms + distance 100.0 ms + start 0.0 ms + work 5.0 ms; 0 of 4 tasks here, 0 of 10 in all, CPU 0 %, 1 GiB free, path relayed, ready"]],
    );
}

#[test]
fn bulk_does_not_go_through_a_relay_unless_it_may() {
    let relayed = Candidate { path: Some(Path::Relayed), ..node(1) };
    let far = Candidate { rtt: Some(Duration::from_secs(5)), ..node(2) };
    let limit = 1 << 20;
    let bulk = Request { input_bytes: limit + 1, relay_limit: Some(limit), ..request() };
    let got = decide(&bulk, &[relayed.clone(), far.clone()], Strategy::Best, 0);
    assert_eq!(got.winner, Some(far.node));
    assert_eq!(got.rejected[0].reason, Reason::OverRelay { bytes: limit + 1, limit });
    let told = got.rejected[0].reason.to_string();
    assert!(told.contains("relay") && told.contains("1 MiB"), "{told}");
    let small = Request { input_bytes: limit, ..bulk.clone() };
    let got = decide(&small, std::slice::from_ref(&relayed), Strategy::Best, 0);
    assert_eq!(got.winner, Some(relayed.node));
    let allowed = Request { relay_limit: None, ..bulk };
    assert_eq!(
        decide(&allowed, &[relayed.clone(), far], Strategy::Best, 0).winner,
        Some(relayed.node)
    );
}

#[test]
fn what_was_measured_outweighs_what_a_node_says_of_itself() {
    let liar = Candidate { late_by: Some(Duration::from_secs(2)), ..busy(1, 0) };
    let honest = Candidate { cpu_percent: 90.0, ..busy(2, 8) };
    check_words(
        &request(),
        &[liar.clone(), honest.clone()],
        expect![[r"
        `fn-1` runs on n2, first of 2 by best
          1. n2: expected 451.0 ms = queue 400.0 ms + distance 1.0 ms + start 0.0 ms + work 50.0 ms; 8 of 10 tasks here, 8 of 10 in all, CPU 90 %, 1 GiB free, ready
          2. n1: expected 2006.0 ms = queue 0.0 ms + distance 1.0 ms + start 0.0 ms + work 5.0 ms + late 2000.0 ms as measured; 0 of 10 tasks here, 0 of 10 in all, CPU 0 %, 1 GiB free, ready"]],
    );
    let believed = Candidate { late_by: None, ..liar };
    assert_eq!(order(&[believed, honest], Strategy::Best, 0)[0], "n1");
}

#[test]
fn the_other_strategies() {
    let all = [busy(1, 7), busy(2, 2), busy(3, 5)];
    assert_eq!(order(&all, Strategy::LeastBusy, 0), ["n2", "n3", "n1"]);
    assert_eq!(order(&all, Strategy::RoundRobin, 0), ["n1", "n2", "n3"]);
    assert_eq!(order(&all, Strategy::RoundRobin, 1), ["n2", "n3", "n1"]);
    assert_eq!(order(&all, Strategy::RoundRobin, u64::MAX), ["n1", "n2", "n3"]);
    let winners: std::collections::BTreeSet<_> =
        (0..64).map(|seed| order(&all, Strategy::Random, seed)[0].clone()).collect();
    assert_eq!(winners.len(), 3);
}

fn any_candidate(number: u8) -> impl proptest::strategy::Strategy<Value = Candidate> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let numbers = (any::<u32>(), 0..3_u32, any::<u64>(), any::<f32>());
    let options = (any::<Option<Duration>>(), any::<Option<f64>>(), any::<Option<Duration>>());
    (flags, numbers, options).prop_map(
        move |(flags, numbers, (rtt, tokens_per_second, late_by))| {
            let (here, healthy, draining, ready) = flags;
            let (running, limit, memory, cpu_percent) = numbers;
            let load = Load { running, waiting: running, limit };
            let free_memory = ByteSize::from_bytes(memory);
            let fixed =
                Candidate { here, healthy, draining, ready, load, free_memory, ..node(number) };
            Candidate { cpu_percent, rtt, tokens_per_second, late_by, ..fixed }
        },
    )
}

proptest! {
    #[test]
    fn any_facts_give_one_decision(
        one in any_candidate(1), two in any_candidate(2), three in any_candidate(3),
        seed in any::<u64>(), strategy in 0..4_usize, input_bytes in any::<u64>(),
    ) {
        let strategy = Strategy::ALL[strategy].1;
        let request = Request { input_bytes, ..request() };
        let got = decide(&request, &[one.clone(), two.clone(), three.clone()], strategy, seed);
        prop_assert_eq!(&got, &decide(&request, &[three, one, two], strategy, seed));
        prop_assert_eq!(got.ranked.len() + got.rejected.len(), 3);
        prop_assert_eq!(got.winner.is_none(), got.ranked.is_empty());
        prop_assert!(got.rejected.iter().all(|it| Some(it.node) != got.winner));
        prop_assert!(got.words().lines().count() == 4);
        let text = serde_json::to_string(&got).unwrap();
        prop_assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), got);
    }
}
