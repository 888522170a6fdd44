//! A hundred members in one process, over real sockets.

use std::path::Path;
use std::sync::Arc;

use sedge_net::{Local, LocalOptions, PeerAddr, Standing, Times, USUAL_HOPS};
use tokio::time::{Duration, Instant, timeout};

use super::{Agent, keys};
use crate::peers::Guests;

const AGENTS: u32 = 100;
const WITHIN: Duration = Duration::from_secs(60);

/// Each agent has a socket of its own and some five connections: more descriptors than usual.
fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(20_000, |it| it.min(20_000));
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

/// Opens an end on a Unix socket; the first agent is asked by all others at once.
async fn end(id: u32, dir: &Path) -> Local {
    let options =
        LocalOptions { max_accepted: 200, ..LocalOptions::new(keys(id), dir.join("nodes")) };
    Local::bind(options, Guests::everybody()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_agents_over_real_sockets_know_each_other() {
    allow_descriptors();
    let dir = tempfile::tempdir().unwrap();
    let before = memory();
    let began = Instant::now();
    let mut agents = Vec::new();
    for id in 0..AGENTS {
        let transport = Arc::new(end(id, dir.path()).await);
        // Three who started before: one alone would turn away most of them at once.
        let seeds = [0, id / 2, id.saturating_sub(1)].map(|it| PeerAddr::new(keys(it).node_id()));
        // They share the processor: silence means less than between machines of one site.
        agents.push(Agent::join(id, transport, seeds.to_vec(), |it| it.times = Times::wan()));
    }
    let started = began.elapsed();
    for agent in &agents {
        agent.until(WITHIN, |it| it.alive() == AGENTS as usize).await;
    }
    let converged = began.elapsed();
    for agent in &agents {
        agent.until(WITHIN, |it| !it.neighbours().is_empty()).await;
        let members = agent.swarm.members();
        assert_eq!(members.len(), AGENTS as usize);
        assert!(members.iter().all(|it| it.standing != Standing::Down));
    }
    println!(
        "{AGENTS} agents over Unix sockets: started in {started:?}, every one knew every other one \
         after {converged:?}, {} MiB in all",
        memory() - before
    );
    // What the membership is for: one message reaches everybody.
    let topic = "all".parse().unwrap();
    let mut heard: Vec<_> = agents.iter().map(|it| it.swarm.subscribe(&topic).unwrap()).collect();
    let told = Instant::now();
    agents[50].swarm.publish(&topic, "hello".into(), USUAL_HOPS).unwrap();
    for subscription in &mut heard {
        let message = timeout(WITHIN, subscription.next()).await.expect("it reaches everybody");
        assert!(message.is_some());
    }
    println!("a broadcast reached all of them in {:?}", told.elapsed());
}
