//! Figures of a swarm: simulated from 10 to 10,000 members, and as many as asked for over QUIC.
//!
//! `cargo bench -p sedge-net --bench swarm`; `-- --quic 1000` joins a thousand over UDP sockets on
//! loopback in this process (some 4 GB), `-- --members 10000` simulates one size only.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{NodeId, Secret, SwarmId, TaskScope};
use sedge_net::{
    Admission, FrameReader, Pool, PoolOptions, Protocol, Quic, QuicOptions, Simulation, Swarm,
    SwarmOptions, Times, Topic, Transport, USUAL_HOPS, simulate,
};
use sedge_trust::Identity;
use tokio::time::{Instant, timeout};

type Failure = Box<dyn std::error::Error>;

const LONG: Duration = Duration::from_secs(300);

#[derive(Debug)]
struct Everybody;

impl Admission for Everybody {
    fn admits(&self, _: NodeId, _: Protocol) -> bool {
        true
    }
}

fn simulated(members: u32) -> Result<(), Failure> {
    let began = Instant::now();
    let simulation = Simulation {
        members,
        seed: 1,
        times: Times::lan(),
        delay: (Duration::from_millis(1), Duration::from_millis(20)),
        loss: 0.0,
        repeats: 0.0,
        slow: 0.0,
        lateness: Duration::ZERO,
        // Ten thousand joins at once are a hundred million entries of tables to tell.
        joined: members > 2000,
    };
    let shown = simulate(&simulation);
    writeln!(
        std::io::stdout(),
        "{members} members simulated in {:?}: {shown:#?}",
        began.elapsed()
    )?;
    Ok(())
}

/// Returns this process's memory in MiB, where the system tells (Linux).
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? / 1024)
}

/// One member over QUIC, and everything that serves it.
async fn join(
    id: u32,
    seeds: &[sedge_net::PeerAddr],
    scope: &TaskScope,
) -> Result<(Swarm, sedge_net::PeerAddr), Failure> {
    let mut bytes = [4; 64];
    bytes[..4].copy_from_slice(&id.to_le_bytes());
    let identity = Arc::new(Identity::from_bytes(&bytes));
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let mut quic = QuicOptions::new(Secret::new(*identity.signing_seed()), listen);
    quic.max_accepted = 2048;
    // A thousand nodes share two cores here: the usual 150 ms are for nodes that have their own.
    quic.liveness.keep_alive = Duration::from_secs(2);
    quic.liveness.silent_after = Duration::from_secs(10);
    let quic = Arc::new(Quic::bind(quic, Arc::new(Everybody)).await?);
    let (addr, transport) = (quic.place().peer_addr(), Arc::clone(&quic) as Arc<dyn Transport>);
    let pooled = PoolOptions {
        idle_after: Duration::from_secs(3),
        seed: id.into(),
        ..PoolOptions::default()
    };
    let (pool, mut served) = Pool::new(transport, pooled, scope);
    let swarm_id = SwarmId::from_bytes([1; 8]);
    let mut options = SwarmOptions::new(swarm_id, identity, Arc::new(Everybody));
    options.direct = addr.direct.clone();
    options.seed = id.into();
    let swarm = Swarm::start(pool.clone(), seeds.to_vec(), options, scope);
    scope.spawn("acceptor", |_| async move {
        while let Some(conn) = quic.accept().await {
            drop(pool.adopt(conn).await);
        }
    });
    let (serving, inner) = (swarm.clone(), scope.clone());
    scope.spawn("server", |_| async move {
        while let Some(conn) = served.recv().await {
            let (serving, streams) = (serving.clone(), inner.clone());
            inner.spawn("connection", |_| async move {
                while let Ok(stream) = conn.accept().await {
                    let (serving, peer) = (serving.clone(), conn.peer());
                    streams.spawn("stream", move |_| async move {
                        let mut reader = FrameReader::new(stream.recv);
                        if let Ok(Some(first)) = reader.next().await {
                            drop(serving.serve(peer, first, &mut reader).await);
                        }
                    });
                }
            });
        }
    });
    Ok((swarm, addr))
}

async fn over_quic(members: u32) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let (scope, before, began) = (TaskScope::new(), memory(), Instant::now());
    let mut swarms = Vec::new();
    let mut addrs = Vec::<sedge_net::PeerAddr>::new();
    for id in 0..members {
        let seeds: Vec<_> = match id {
            0 => Vec::new(),
            _ => [0, id / 2, id - 1].map(|it: u32| addrs[it as usize].clone()).to_vec(),
        };
        let (swarm, addr) = join(id, &seeds, &scope).await?;
        swarms.push(swarm);
        addrs.push(addr);
    }
    writeln!(out, "{members} QUIC endpoints opened in {:?}", began.elapsed())?;
    for swarm in &swarms {
        let mut events = swarm.events();
        let known =
            async { while swarm.alive() < members as usize && events.next().await.is_some() {} };
        timeout(LONG, known).await?;
    }
    let converged = began.elapsed();
    let used = memory().zip(before).map(|(now, before)| now - before);
    writeln!(out, "every one knew every other one after {converged:?}, {used:?} MiB")?;
    let topic: Topic = "all".parse()?;
    for round in 0..5 {
        let mut heard = Vec::new();
        for swarm in &swarms {
            heard.push(swarm.subscribe(&topic)?);
        }
        let told = Instant::now();
        swarms[round].publish(&topic, vec![7; 256].into(), USUAL_HOPS)?;
        let mut reached = 0;
        for subscription in &mut heard {
            let left = Duration::from_secs(20).saturating_sub(told.elapsed());
            reached += usize::from(matches!(timeout(left, subscription.next()).await, Ok(Some(_))));
        }
        writeln!(
            out,
            "a broadcast of 256 B reached {reached} of {members} in {:?}",
            told.elapsed()
        )?;
    }
    scope.stop();
    Ok(())
}

fn run() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let at = args.iter().position(|it| it == name)?;
        args.get(at + 1)?.parse::<u32>().ok()
    };
    let threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match (value("--quic"), value("--members")) {
        (Some(members), _) => threads.block_on(over_quic(members)),
        (None, Some(members)) => simulated(members),
        (None, None) => {
            for members in [10, 100, 1000, 10_000] {
                simulated(members)?;
            }
            threads.block_on(over_quic(100))
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            drop(writeln!(std::io::stderr(), "{err}"));
            ExitCode::FAILURE
        }
    }
}
