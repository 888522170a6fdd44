//! A hundred and a thousand members in one process, over real sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::future::select_all;
use sedge_base::NodeId;
use sedge_net::{
    Heed, Local, LocalOptions, PeerAddr, Standing, Swarm, SwarmMetrics, Times, USUAL_HOPS,
};
use tokio::time::{Duration, Instant, timeout, timeout_at};

use super::{Agent, keys};
use crate::peers::Guests;

/// Nothing waits that long when it works, not even beside other tests and compilers.
const WITHIN: Duration = Duration::from_secs(150);
/// How long links and a broadcast may take, which need a second even then.
const SOON: Duration = Duration::from_secs(30);

/// Each agent has a socket of its own and some ten connections: more descriptors than usual.
fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(60_000, |it| it.min(60_000));
    if current.is_some_and(|it| it < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).unwrap();
    }
}

/// Returns the memory that this process has in use, in MiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Opens an end on a Unix socket; the first agents are asked by many others at once.
async fn end(id: u32, dir: &Path) -> Local {
    let mut options =
        LocalOptions { max_accepted: 400, ..LocalOptions::new(keys(id), dir.join("nodes")) };
    options.liveness.keep_alive = Duration::from_secs(10);
    options.liveness.silent_after = Duration::from_secs(60);
    Local::bind(options, Guests::everybody()).await.unwrap()
}

fn knows_all(swarm: &Swarm, agents: u32) -> bool {
    swarm.alive() == agents as usize
        && swarm.members().iter().filter(|it| it.standing == Standing::Up).count()
            == agents as usize
}

/// Tells what members do not know yet, and what they did meanwhile.
fn ignorance(all: &[Agent]) -> String {
    let mut told = String::new();
    let agents = u32::try_from(all.len()).unwrap();
    let ignorant: Vec<_> = all.iter().filter(|it| !knows_all(&it.swarm, agents)).collect();
    for agent in ignorant.iter().take(20) {
        let members = agent.swarm.members();
        let not_up: Vec<_> = members.iter().filter(|it| it.standing != Standing::Up).collect();
        let known: BTreeSet<_> = members.iter().map(|it| it.node).collect();
        let unknown: Vec<_> =
            all.iter().map(|it| it.node).filter(|it| !known.contains(it)).collect();
        write!(
            told,
            "\n{}: {} near, {} known, {} not up {:?}, {} unknown {:?}",
            agent.node.short(),
            agent.swarm.neighbours().len(),
            members.len(),
            not_up.len(),
            not_up.iter().take(3).collect::<Vec<_>>(),
            unknown.len(),
            unknown.iter().take(3).collect::<Vec<_>>(),
        )
        .unwrap();
    }
    let sum = |count: fn(&SwarmMetrics) -> &AtomicU64| -> u64 {
        all.iter().map(|it| count(it.swarm.metrics()).load(Relaxed)).sum()
    };
    write!(
        told,
        "\n{} of {agents} know less than all; {} messages, {} bytes, {} dropped, {} suspected",
        ignorant.len(),
        sum(|it| &it.sent_messages),
        sum(|it| &it.sent_bytes),
        sum(|it| &it.dropped),
        sum(|it| &it.suspected),
    )
    .unwrap();
    told
}

/// Lets so many join at once, and waits until each of them knows each other one as up; returns them and
/// what is to be printed.
async fn join_all(agents: u32, dir: &Path) -> (Vec<Agent>, String) {
    let (before, began) = (memory(), Instant::now());
    let mut all = Vec::new();
    for id in 0..agents {
        let transport = Arc::new(end(id, dir).await);
        // Three who started before: one alone would turn away most of them at once.
        let seeds = [0, id / 2, id.saturating_sub(1)].map(|it| PeerAddr::new(keys(it).node_id()));
        all.push(Agent::join(id, transport, seeds.to_vec(), |it| {
            // They share the processor: silence means less than between machines of one site.
            it.times = Times::wan();
            it.dial_within = Duration::from_secs(10);
        }));
    }
    let started = began.elapsed();
    let joined = async {
        for agent in &all {
            agent.until(WITHIN * 2, |it| knows_all(it, agents)).await;
        }
    };
    let in_time = timeout(WITHIN, joined).await.is_ok();
    assert!(in_time, "after {WITHIN:?}:{}", ignorance(&all));
    let (converged, used) = (began.elapsed(), memory() - before);
    for agent in &all {
        let members = agent.swarm.members();
        assert_eq!(members.len(), agents as usize);
        assert!(members.iter().all(|it| it.standing != Standing::Down));
        assert!(!agent.swarm.neighbours().is_empty());
    }
    let figures = format!(
        "{agents} agents over Unix sockets: started in {started:?}, every one knew every other one \
         after {converged:?}, {used} MiB in all",
    );
    (all, figures)
}

/// Returns those to whom a chain of neighbours leads from the first one.
fn in_reach(agents: &[Agent]) -> BTreeSet<NodeId> {
    let by_node: BTreeMap<_, _> = agents.iter().map(|it| (it.node, it)).collect();
    let mut reached = BTreeSet::from([agents[0].node]);
    let mut next = vec![&agents[0]];
    while let Some(agent) = next.pop() {
        let near = agent.swarm.neighbours().into_iter().filter(|it| reached.insert(*it));
        next.extend(near.map(|it| by_node[&it]));
    }
    reached
}

/// Waits until neighbours lead from everybody to everybody.
async fn linked(agents: &[Agent]) {
    let mut events: Vec<_> = agents.iter().map(|it| it.swarm.events()).collect();
    let linked = async {
        while in_reach(agents).len() < agents.len() {
            select_all(events.iter_mut().map(|it| Box::pin(it.next()))).await;
        }
    };
    let in_time = timeout(SOON, linked).await.is_ok();
    assert!(in_time, "{} of {} are linked", in_reach(agents).len(), agents.len());
}

/// What the membership is for: one message reaches everybody; returns what is to be printed.
async fn tell_all(agents: &[Agent]) -> String {
    let topic = "all".parse().unwrap();
    let ready = Instant::now();
    linked(agents).await;
    let (ready, told) = (ready.elapsed(), Instant::now());
    let mut heard: Vec<_> = agents.iter().map(|it| it.swarm.subscribe(&topic).unwrap()).collect();
    agents[50].swarm.publish(&topic, "hello".into(), USUAL_HOPS * 2).unwrap();
    let (mut deaf, mut hops) = (Vec::new(), 0);
    for (agent, subscription) in agents.iter().zip(&mut heard) {
        match timeout_at(told + SOON, subscription.next()).await {
            Ok(Some(Heed::Message(it))) => hops = hops.max(it.hops),
            other => deaf.push((agent.node.short(), other, agent.swarm.posts())),
        }
    }
    assert!(deaf.is_empty(), "{} did not get it: {deaf:?}", deaf.len());
    let took = told.elapsed();
    format!("linked {ready:?} later, a broadcast reached all in {took:?} over {hops} hops at most")
}

/// Runs beside other tests, whose peers must not seem silent meanwhile: its threads step back.
fn step_back(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(|| {
            rustix::process::nice(5).unwrap();
        })
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

#[test]
fn a_hundred_agents_over_real_sockets_know_each_other() {
    step_back(async {
        allow_descriptors();
        let dir = tempfile::tempdir().unwrap();
        let (all, figures) = join_all(100, dir.path()).await;
        println!("{figures}\n{}", tell_all(&all).await);
    });
}

#[test]
fn row_050_a_thousand_agents_over_real_sockets_join_and_all_know_all() {
    step_back(async {
        allow_descriptors();
        let dir = tempfile::tempdir().unwrap();
        let (all, figures) = join_all(1000, dir.path()).await;
        println!("{figures}\n{}", tell_all(&all).await);
    });
}
