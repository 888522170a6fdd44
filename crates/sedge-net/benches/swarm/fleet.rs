//! Members that have really joined: each with its own keys, end and pool, all in this process.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use sedge_base::{NodeId, Secret, SwarmId, TaskScope};
use sedge_net::{
    Admission, Heed, Local, LocalOptions, PeerAddr, Pool, PoolOptions, Protocol, Quic, QuicOptions,
    Standing, Swarm, SwarmOptions, Times, Topic, Transport, USUAL_HOPS,
};
use sedge_trust::Identity;
use tokio::time::{Instant, timeout};

use crate::Failure;

/// How a member that is to be killed is started: this, its number, and the folder of the others.
pub(crate) const VICTIM: &str = "--victim";
const LONG: Duration = Duration::from_secs(240);
const SOON: Duration = Duration::from_secs(10);
/// How long joins may echo before memory and rest are measured, and how long rest is watched.
const SETTLE: Duration = Duration::from_secs(12);
const REST: Duration = Duration::from_secs(6);

#[derive(Debug)]
struct Everybody;

impl Admission for Everybody {
    fn admits(&self, _: NodeId, _: Protocol) -> bool {
        true
    }
}

/// The keys of member `id`.
fn keys(id: u32) -> Arc<Identity> {
    let mut bytes = [4; 64];
    bytes[..4].copy_from_slice(&id.to_le_bytes());
    Arc::new(Identity::from_bytes(&bytes))
}

/// Opens an end on a Unix socket.
async fn local(id: u32, dir: &Path) -> Result<Local, Failure> {
    let mut options =
        LocalOptions { max_accepted: 256, ..LocalOptions::new(keys(id), dir.join("nodes")) };
    options.liveness.keep_alive = Duration::from_secs(10);
    options.liveness.silent_after = Duration::from_secs(60);
    Ok(Local::bind(options, Arc::new(Everybody)).await?)
}

/// Opens an end on a UDP socket.
async fn quic(id: u32) -> Result<Arc<dyn Transport>, Failure> {
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let mut options = QuicOptions::new(Secret::new(*keys(id).signing_seed()), listen);
    options.max_accepted = 2048;
    // Many nodes share the processor here: the usual 150 ms are for nodes that have their own.
    options.liveness.keep_alive = Duration::from_secs(2);
    options.liveness.silent_after = Duration::from_secs(10);
    Ok(Arc::new(Quic::bind(options, Arc::new(Everybody)).await?))
}

/// Many share the processor: silence means less than between machines of one site.
const fn times(members: u32) -> Times {
    if members > 200 { Times::wan() } else { Times::lan() }
}

/// Lets a node join, and serves everything that others send it.
fn join(
    (id, members): (u32, u32),
    transport: Arc<dyn Transport>,
    seeds: Vec<PeerAddr>,
    scope: &TaskScope,
) -> Swarm {
    let pooled = PoolOptions {
        idle_after: Duration::from_secs(10),
        seed: id.into(),
        ..PoolOptions::default()
    };
    let (pool, served) = Pool::new(Arc::clone(&transport), pooled, scope);
    let swarm_id = SwarmId::from_bytes([1; 8]);
    let mut options = SwarmOptions::new(swarm_id, keys(id), Arc::new(Everybody));
    options.direct = transport.place().direct;
    options.seed = id.into();
    options.times = times(members);
    options.dial_within = Duration::from_secs(10);
    let swarm = Swarm::start(pool.clone(), seeds, options, scope);
    pool.adopt_accepted();
    swarm.serve_pool(&pool, served, scope);
    swarm
}

/// Returns this process's memory in KiB, where the system tells (Linux).
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    line.and_then(|it| it.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Lets this process open as many files as it may: each member has a socket and some connections.
pub(crate) fn allow_descriptors() -> Result<(), Failure> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(60_000, |it| it.min(60_000));
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })?)
}

/// Three who started before: one alone would turn away most of those who come at once.
fn seeds(id: u32, addrs: &[PeerAddr]) -> Vec<PeerAddr> {
    let before = [0, id / 2, id.saturating_sub(1)].map(|it| addrs.get(it as usize).cloned());
    before.into_iter().flatten().filter(|it| it.node != keys(id).node_id()).collect()
}

/// Waits until every member knows so many others as up.
async fn all_know(swarms: &[Swarm], members: usize) -> Result<(), Failure> {
    let up = |it: &Swarm| {
        it.alive() == members
            && it.members().iter().filter(|it| it.standing == Standing::Up).count() == members
    };
    let each = swarms.iter().map(|swarm| async move {
        let mut events = swarm.events();
        while !up(swarm) && events.next().await.is_some() {}
    });
    timeout(LONG, futures_util::future::join_all(each)).await?;
    Ok(())
}

/// Joins so many over Unix sockets, and measures them.
pub(crate) async fn joined(members: u32) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let (scope, before, began) = (TaskScope::new(), memory(), Instant::now());
    let (mut swarms, mut addrs) = (Vec::new(), Vec::new());
    for id in 0..members {
        let end: Arc<dyn Transport> = Arc::new(local(id, dir.path()).await?);
        let seeds = seeds(id, &addrs);
        addrs.push(end.place().peer_addr());
        swarms.push(join((id, members), end, seeds, &scope));
    }
    let out = &mut std::io::stdout();
    writeln!(out, "{members} members joined over Unix sockets, in one process:")?;
    measure(&swarms, began, before).await?;
    death(&swarms, members, dir.path()).await?;
    scope.stop();
    drop(timeout(LONG, scope.shutdown(SOON)).await);
    Ok(())
}

/// Joins so many over UDP sockets, and measures them.
pub(crate) async fn over_quic(members: u32) -> Result<(), Failure> {
    let (scope, before, began) = (TaskScope::new(), memory(), Instant::now());
    let (mut swarms, mut addrs) = (Vec::new(), Vec::new());
    for id in 0..members {
        let end = quic(id).await?;
        let seeds = seeds(id, &addrs);
        addrs.push(end.place().peer_addr());
        swarms.push(join((id, members), end, seeds, &scope));
    }
    writeln!(std::io::stdout(), "{members} members joined over QUIC, in one process:")?;
    measure(&swarms, began, before).await?;
    scope.stop();
    drop(timeout(LONG, scope.shutdown(SOON)).await);
    Ok(())
}

/// Waits until all have joined; measures memory, rest and broadcasts.
async fn measure(swarms: &[Swarm], began: Instant, before: u64) -> Result<(), Failure> {
    let (out, members) = (&mut std::io::stdout(), swarms.len() as u64);
    writeln!(out, "  all started after {:?}", began.elapsed())?;
    all_know(swarms, swarms.len()).await?;
    writeln!(out, "  every one knew every other one as up after {:?}", began.elapsed())?;
    let sent = || swarms.iter().map(|it| it.metrics().sent_bytes.load(Relaxed)).sum::<u64>();
    // Connections that were only needed to join end, and neighbours settle.
    tokio::time::sleep(SETTLE).await;
    writeln!(out, "  {} KiB of memory for each", memory().saturating_sub(before) / members)?;
    let (at, bytes) = (Instant::now(), sent());
    tokio::time::sleep(REST).await;
    let rest = (sent() - bytes) as f64 / members as f64 / at.elapsed().as_secs_f64();
    writeln!(out, "  at rest each sends {rest:.1} B/s")?;
    let topic: Topic = "all".parse()?;
    // The first one finds the tree, the others use it.
    for swarm in swarms.iter().take(3) {
        let heard: Result<Vec<_>, _> = swarms.iter().map(|it| it.subscribe(&topic)).collect();
        let told = Instant::now();
        swarm.publish(&topic, vec![7; 256].into(), USUAL_HOPS * 2)?;
        let heard = heard?.into_iter().map(|mut it| async move {
            let heard = timeout(SOON, it.next()).await;
            usize::from(matches!(heard, Ok(Some(Heed::Message(_)))))
        });
        let reached: usize = futures_util::future::join_all(heard).await.into_iter().sum();
        writeln!(out, "  a broadcast of 256 B reached {reached} in {:?}", told.elapsed())?;
    }
    Ok(())
}

/// Lets one more join from a process of its own, kills it, and waits until all have noticed.
async fn death(swarms: &[Swarm], members: u32, dir: &Path) -> Result<(), Failure> {
    let victim = keys(members).node_id();
    let mut other = std::process::Command::new(std::env::current_exe()?)
        .args([VICTIM, &members.to_string()])
        .arg(dir)
        .spawn()?;
    let known = all_know(swarms, swarms.len() + 1).await;
    other.kill()?;
    let killed = Instant::now();
    other.wait()?;
    known?;
    let each = swarms.iter().map(|swarm| async move {
        let mut events = swarm.events();
        let mut suspected = None;
        loop {
            match swarm.standing(victim) {
                Some(Standing::Down) => return (suspected, killed.elapsed()),
                Some(Standing::Suspect) if suspected.is_none() => {
                    suspected = Some(killed.elapsed());
                }
                _ => {}
            }
            if events.next().await.is_none() {
                return (suspected, killed.elapsed());
            }
        }
    });
    let noticed = timeout(LONG, futures_util::future::join_all(each)).await?;
    let suspected = noticed.iter().filter_map(|it| it.0).max().unwrap_or_default();
    let down = noticed.iter().map(|it| it.1).max().unwrap_or_default();
    writeln!(
        std::io::stdout(),
        "  a killed process was suspected by all after {suspected:?} and down for all after {down:?}"
    )?;
    Ok(())
}

/// Is a member until it is killed.
pub(crate) async fn victim(id: u32, dir: &Path) -> Result<(), Failure> {
    let end = Arc::new(local(id, dir).await?);
    let seeds = [0, id / 2].map(|it| PeerAddr::new(keys(it).node_id())).to_vec();
    let _swarm = join((id, id), end, seeds, &TaskScope::new());
    std::future::pending().await
}

/// Connects so many QUIC ends to one, and measures what a connection costs, both ends together.
pub(crate) async fn peers(count: u32) -> Result<(), Failure> {
    let hub = quic(0).await?;
    let to = hub.place().peer_addr();
    let mut ends = Vec::new();
    for id in 1..=count {
        ends.push(quic(id).await?);
    }
    let (before, began) = (memory(), Instant::now());
    let mut conns = Vec::new();
    for end in &ends {
        let (dialled, accepted) = tokio::join!(end.dial(&to, Protocol::Mesh, SOON), hub.accept());
        conns.push((dialled?, accepted.ok_or("the end was closed")?));
    }
    let (took, used) = (began.elapsed(), memory().saturating_sub(before));
    writeln!(
        std::io::stdout(),
        "{} QUIC connections to one node in {took:?}: {} KiB for each, both ends together",
        conns.len(),
        used / u64::from(count.max(1))
    )?;
    hub.close(SOON).await;
    Ok(())
}
