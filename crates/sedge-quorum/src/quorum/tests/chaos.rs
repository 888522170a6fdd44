//! Cuts, deaths and a wild clock, by a seed: what was acknowledged stays, no fence is held twice.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use sedge_base::{NodeId, Timestamp};

use super::double::Cluster;
use super::{append, claim};
use crate::message::{Agreed, Ask, Granted};

/// A small generator, so that a seed names a whole run of what happens (the engine's own election
/// times are random).
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, most: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most as u64).unwrap()
    }

    fn pick(&mut self, nodes: &[NodeId]) -> NodeId {
        nodes[self.below(nodes.len())]
    }
}

/// Asks a node until it shows what was agreed: a voter may be elected between two questions.
async fn shown(cluster: &Cluster, node: NodeId, seed: u64) -> Agreed {
    let mut every = tokio::time::interval(Duration::from_millis(100));
    let mut said = None;
    for _ in 0..600 {
        every.tick().await;
        match cluster.quorum(node).ask(Ask::Show).await {
            Ok(Granted::Shown(agreed)) => return agreed,
            other => said = Some(other),
        }
    }
    panic!("seed {seed}: {said:?}");
}

async fn run(seed: u64) {
    let mut random = Seeded(seed);
    let cluster = Cluster::of(5).await;
    cluster.settled().await;
    let all = cluster.up();
    // Who was told that it holds what under which fence; and which records were acknowledged.
    let mut fences: BTreeMap<u64, (String, NodeId)> = BTreeMap::new();
    let mut written: BTreeMap<u64, String> = BTreeMap::new();
    for step in 0..40 {
        match random.below(8) {
            0 => cluster.cut(&[random.pick(&all), random.pick(&all)]),
            1 => {
                cluster.heal();
                if cluster.up().len() > 2 {
                    cluster.settled().await;
                }
            }
            2 if cluster.up().len() > 3 => cluster.kill(random.pick(&cluster.up())).await,
            3 => {
                for node in all.iter().filter(|it| !cluster.up().contains(it)) {
                    cluster.restart(*node).await;
                }
            }
            4 => cluster.clock().set(Timestamp::from_millis(random.below(4_000) as u64)),
            _ => tokio::time::advance(Duration::from_millis(random.below(3_000) as u64)).await,
        }
        let asker = random.pick(&cluster.up());
        let key = format!("k{}", random.below(3));
        if let Ok(Granted::Claimed(claim)) = cluster.quorum(asker).ask(claim(&key)).await {
            let told = (key, asker);
            let known = fences.entry(claim.fence).or_insert_with(|| told.clone());
            assert_eq!(*known, told, "seed {seed}: two holders of fence {}", claim.fence);
        }
        let text = format!("step {step}");
        let asker = random.pick(&cluster.up());
        if let Ok(Granted::Appended(record)) = cluster.quorum(asker).ask(append(&text)).await {
            let before = written.insert(record.number, text);
            assert_eq!(before, None, "seed {seed}: two records {}", record.number);
        }
        cluster.check_history();
    }
    cluster.heal();
    for node in all.iter().filter(|it| !cluster.up().contains(it)) {
        cluster.restart(*node).await;
    }
    cluster.settled().await;
    let agreed = shown(&cluster, random.pick(&all), seed).await;
    let there: BTreeMap<u64, String> =
        agreed.records.iter().map(|it| (it.number, it.text.to_string())).collect();
    for (number, text) in &written {
        assert_eq!(there.get(number), Some(text), "seed {seed}: an acknowledged record is lost");
    }
    assert!(!written.is_empty(), "seed {seed}: nothing was ever decided");
}

/// How many seeds every run of the tests plays.
const SEEDS: u64 = 200;

#[test]
fn what_was_acknowledged_survives_cuts_and_deaths_under_two_hundred_seeds() {
    let (next, failed) = (AtomicU64::new(1), Mutex::new(Vec::new()));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let play = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|it| *it <= SEEDS)
        {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().start_paused(true).build().unwrap();
            // What a panic says is printed; the others are played all the same.
            if catch_unwind(AssertUnwindSafe(|| runtime.block_on(run(seed)))).is_err() {
                failed.lock().unwrap().push(seed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(play);
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "failing seeds: {failed:?}; each says above what was lost");
}
