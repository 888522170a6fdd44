//! What holds for members whatever their network does.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::network::Number;
use super::*;
use crate::swarm::machine::Draft;
use crate::swarm::wire::{Message, News, Post};

const MS: Duration = Duration::from_millis(1);

fn members(members: u32, seed: u64) -> Simulation {
    Simulation {
        members,
        seed,
        times: Times::lan(),
        delay: (MS, 20 * MS),
        loss: 0.0,
        repeats: 0.0,
        slow: 0.0,
        lateness: Duration::ZERO,
        joined: false,
    }
}

/// Runs until every member knows exactly the others.
#[track_caller]
fn converge(net: &mut Network, within: Duration) -> Duration {
    let begun = net.now();
    while !net.converged() {
        net.run_for(100 * MS);
        assert!(net.now() - begun < within, "not converged after {within:?}");
    }
    net.now() - begun
}

fn joined(simulation: Simulation) -> Network {
    let mut net = Network::new(simulation);
    net.start_all();
    net.run_for(Duration::from_secs(2));
    converge(&mut net, Duration::from_secs(30));
    net
}

/// Who has counted a member as down.
fn buried_by(net: &Network, about: Number) -> usize {
    let down = net.changes().iter().filter(|it| it.about == about && it.standing == Standing::Down);
    down.map(|it| it.by).collect::<BTreeSet<_>>().len()
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| simulate(&members(20, seed));
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_hundred_members_find_each_other_and_notice_a_death() {
    let shown = simulate(&members(100, 7));
    assert!(shown.converged.unwrap() < Duration::from_secs(5), "{shown:?}");
    assert_eq!(shown.reached, 99, "{shown:?}");
    assert!(shown.broadcast.unwrap() < Duration::from_secs(1), "{shown:?}");
    let (first, last) = shown.suspected.unwrap();
    assert!(first < Duration::from_secs(1) && last < Duration::from_secs(2), "{shown:?}");
    assert!(shown.down.unwrap().1 < Duration::from_secs(4), "{shown:?}");
    assert_eq!(shown.wrongly_down, 0, "{shown:?}");
    let (known, knows) = shown.newcomer.unwrap();
    assert!(known <= knows && knows < Duration::from_secs(5), "{shown:?}");
}

#[test]
fn loss_and_repetition_only_delay() {
    let mut net = joined(Simulation { loss: 0.05, repeats: 0.1, ..members(60, 3) });
    net.forget_observations();
    net.run_for(Duration::from_secs(60));
    let down: Vec<_> = net.changes().iter().filter(|it| it.standing == Standing::Down).collect();
    assert!(down.is_empty(), "{down:?}");
    assert!(net.post(Number(5), 100));
    net.run_for(Duration::from_secs(5));
    let reached: BTreeSet<_> = net.delivered().iter().map(|it| it.to).collect();
    assert_eq!(reached.len(), net.delivered().len(), "nobody got it twice");
    assert!(reached.len() >= 57, "{}", reached.len());
}

#[test]
fn two_halves_grow_together_again() {
    let mut net = joined(members(40, 11));
    net.cut(Some(|it| u8::from(it.0 % 2 == 0)));
    net.run_for(Duration::from_secs(60));
    assert!(!net.converged());
    assert_eq!(net.machine(Number(3)).unwrap().swim().table.alive(), 20);
    assert_eq!(net.machine(Number(4)).unwrap().swim().table.alive(), 20);
    net.cut(None);
    converge(&mut net, Duration::from_secs(30));
    // The overlay has grown together too: a post reaches everybody.
    net.run_for(Duration::from_secs(5));
    net.forget_observations();
    assert!(net.post(Number(3), 100));
    net.run_for(Duration::from_secs(5));
    assert_eq!(net.delivered().len(), 39);
}

#[test]
fn a_member_that_dies_and_comes_back_is_known_again() {
    let mut net = joined(members(30, 5));
    let victim = Number(17);
    net.kill(victim);
    net.run_for(Duration::from_secs(10));
    assert_eq!(buried_by(&net, victim), 29);
    net.restart(victim);
    converge(&mut net, Duration::from_secs(30));
}

#[test]
fn a_member_and_all_its_neighbours_die_at_once_and_are_noticed() {
    let mut net = joined(members(60, 9));
    let victim = Number(30);
    let mut dead = net.machine(victim).unwrap().neighbours().to_vec();
    dead.push(victim);
    net.forget_observations();
    for member in &dead {
        net.kill(*member);
    }
    net.run_for(Duration::from_secs(20));
    assert_eq!(buried_by(&net, victim), net.running());
    converge(&mut net, Duration::from_secs(1));
}

#[test]
fn the_accused_objects_and_stays() {
    let mut net = joined(members(20, 13));
    net.forget_observations();
    let (liar, accused) = (Number(3), Number(12));
    let record = net.machine(Number(0)).unwrap().swim().table.get(&accused).unwrap();
    for round in 0..20 {
        for standing in [Standing::Suspect, Standing::Down] {
            let news = News {
                node: accused,
                incarnation: record.incarnation + round * 1000,
                standing,
                direct: Vec::new(),
            };
            for to in (0..20).filter(|it| *it != accused.0).map(Number) {
                net.inject(to, liar, Message::News(vec![news.clone()]));
            }
        }
        net.run_for(500 * MS);
    }
    assert_eq!(buried_by(&net, accused), 0, "what others say makes nobody down");
    converge(&mut net, Duration::from_secs(10));
}

#[test]
fn an_incarnation_from_the_future_is_not_believed() {
    let mut net = joined(members(10, 17));
    let news = News {
        node: Number(4),
        incarnation: u64::MAX,
        standing: Standing::Up,
        direct: vec!["192.0.2.1:1".parse().unwrap()],
    };
    for to in (0..10).map(Number) {
        net.inject(to, Number(3), Message::News(vec![news.clone()]));
    }
    net.run_for(Duration::from_secs(5));
    let table = &net.machine(Number(0)).unwrap().swim().table;
    assert!(table.get(&Number(4)).unwrap().incarnation < u64::MAX);
    assert!(table.place(&Number(4)).is_empty());
    converge(&mut net, Duration::from_secs(1));
}

#[test]
fn strangers_do_not_fill_the_table() {
    let mut net = joined(members(10, 19));
    let news = |node| News {
        node: Number(node),
        incarnation: 1,
        standing: Standing::Up,
        direct: Vec::new(),
    };
    for page in 0..50 {
        let news = (0..100).map(|it| news(1000 + page * 100 + it)).collect();
        net.inject(Number(0), Number(3), Message::News(news));
    }
    assert_eq!(net.machine(Number(0)).unwrap().swim().table.iter().count(), 10);
}

#[test]
fn a_forged_or_repeated_post_is_not_delivered() {
    let mut net = joined(members(10, 23));
    let before = net.delivered().len();
    let post = Post {
        author: Number(5),
        serial: u64::MAX,
        to: None,
        topic: "test".to_owned(),
        limit: 10,
        body: Bytes::from_static(b"not mine"),
        proof: [[9; 32]; 2],
        hops: 1,
    };
    net.inject(Number(0), Number(3), Message::Post(post));
    net.run_for(Duration::from_secs(1));
    assert_eq!(net.delivered().len(), before);
    assert_eq!(net.counts(Number(0)).unwrap().forged, 1);
    assert!(net.post(Number(5), 10), "the true author is not shut out by it");
    net.run_for(Duration::from_secs(1));
    assert_eq!(net.delivered().len(), before + 9);
}

#[test]
fn who_posts_too_much_is_held_back() {
    let mut net = joined(members(10, 29));
    let posted = (0..300).filter(|_| net.post(Number(2), 10)).count();
    assert_eq!(posted, 200, "a burst, and then so many a second");
    net.run_for(Duration::from_secs(1));
    assert!(net.post(Number(2), 10));
}

#[test]
fn a_post_to_one_member_is_for_it_alone() {
    let mut net = joined(members(30, 31));
    net.forget_observations();
    let to = Some(Number(22));
    let draft =
        Draft { to, topic: "test".to_owned(), limit: 10, body: Bytes::from_static(b"hello") };
    assert!(net.draft(Number(2), draft));
    net.run_for(Duration::from_secs(1));
    let got: Vec<_> = net.delivered().iter().map(|it| (it.to, it.hops)).collect();
    assert_eq!(got, [(Number(22), 1)]);
}

fn any_message() -> impl Strategy<Value = Message<Number>> {
    let member = (0_u32..20).prop_map(Number);
    let standing = prop_oneof![Just(Standing::Up), Just(Standing::Suspect), Just(Standing::Down)];
    let news =
        (member.clone(), any::<u64>(), standing).prop_map(|(node, incarnation, standing)| News {
            node,
            incarnation,
            standing,
            direct: Vec::new(),
        });
    let id = (member.clone(), any::<u64>());
    let post =
        (id.clone(), any::<bool>(), 1_u8..64).prop_map(|((author, serial), signed, limit)| {
            let proof =
                if signed { [crate::swarm::wire::Peer::bytes(&author); 2] } else { [[0; 32]; 2] };
            let (topic, body) = ("t".to_owned(), Bytes::new());
            Post { author, serial, to: None, topic, limit, body, proof, hops: 1 }
        });
    prop_oneof![
        news.clone().prop_map(|us| Message::Neighbour { urgent: true, us }),
        news.clone().prop_map(|us| Message::Accepted { us }),
        proptest::collection::vec(news, 0..20).prop_map(Message::News),
        proptest::collection::vec(id.clone(), 0..100).prop_map(Message::Have),
        id.prop_map(Message::Want),
        post.prop_map(Message::Post),
        any::<u32>().prop_map(|nonce| Message::Ping { nonce }),
        (any::<u32>(), any::<u64>()).prop_map(|(nonce, digest)| Message::Ack { nonce, digest }),
        (any::<u32>(), member).prop_map(|(nonce, target)| Message::PingFor { nonce, target }),
        any::<[u8; 8]>().prop_map(|it| Message::Compare { buckets: vec![it; 64], answer: false }),
        Just(Message::Apart),
        Just(Message::Prune),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// One member says whatever it likes to all others; they stay, and know each other afterwards.
    #[test]
    fn a_mad_member_does_no_lasting_harm(
        said in proptest::collection::vec((0_u32..9, any_message()), 0..200),
    ) {
        let mut net = joined(members(10, 37));
        for (to, message) in said {
            net.inject(Number(to), Number(9), message);
            net.run_for(10 * MS);
        }
        net.run_for(Duration::from_secs(40));
        for member in 0..9 {
            let table = &net.machine(Number(member)).unwrap().swim().table;
            prop_assert!(table.iter().count() <= 10);
            for other in 0..9 {
                prop_assert!(table.is_up(&Number(other)), "{other} at {member}");
            }
        }
    }

    /// Up to a tenth of all messages gets lost, and up to a quarter of the members answers late: nobody
    /// is given up.
    #[test]
    fn nobody_is_given_up_for_loss_or_slowness(
        seed in any::<u64>(),
        loss in 0.0_f64..0.1,
        slow in 0.0_f64..0.25,
        lateness in 0_u32..1000,
    ) {
        let simulation = Simulation { loss, slow, lateness: lateness * MS, ..members(24, seed) };
        let mut net = Network::new(simulation);
        net.start_all();
        net.run_for(Duration::from_secs(20));
        net.forget_observations();
        net.run_for(Duration::from_secs(60));
        let down: Vec<_> = net.changes().iter().filter(|it| it.standing == Standing::Down).collect();
        prop_assert!(down.is_empty(), "{down:?}");
        for member in 0..24 {
            prop_assert_eq!(net.machine(Number(member)).unwrap().swim().table.alive(), 24);
        }
    }
}
