//! Figures of the QUIC transport between two processes on loopback, next to a bare UDP socket.
//!
//! `cargo bench -p sedge-net`; prints round trips, throughput, the time until the death of a peer
//! is noticed, and the processor time of an idle connection.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{ByteSize, NodeId, Secret};
use sedge_net::{
    Admission, Conn, PING, PeerAddr, Protocol, Quic, QuicOptions, Transport, answer, ping,
    ping_bare, pour,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

type Failure = Box<dyn std::error::Error>;

const LONG: Duration = Duration::from_secs(60);
const SERVE: &str = "--serve";

#[derive(Debug)]
struct Everybody;

impl Admission for Everybody {
    fn admits(&self, _: NodeId, _: Protocol) -> bool {
        true
    }
}

async fn end(seed: u8) -> Result<Quic, Failure> {
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    Ok(Quic::bind(QuicOptions::new(Secret::new([seed; 32]), listen), Arc::new(Everybody)).await?)
}

/// The other process: says where it is, and answers until it is killed.
async fn serve(seed: u8) -> Result<(), Failure> {
    let end = end(seed).await?;
    let place = serde_json::to_string(&end.place().peer_addr())?;
    writeln!(std::io::stdout(), "{place}")?;
    while let Some(conn) = end.accept().await {
        answer(&conn).await;
    }
    Ok(())
}

fn start(seed: u8) -> Result<(Child, PeerAddr), Failure> {
    let mut child = Command::new(std::env::current_exe()?)
        .args([SERVE, &seed.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = child.stdout.take().ok_or("no output")?;
    BufReader::new(stdout).read_line(&mut line)?;
    Ok((child, serde_json::from_str(&line)?))
}

/// Kills a peer in the middle of a stream and returns how long the waiting reader did not know.
async fn death(here: &Quic, seed: u8) -> Result<Duration, Failure> {
    let (mut child, place) = start(seed)?;
    let conn = here.dial(&place, Protocol::Mesh, LONG).await?;
    let mut stream = conn.open(LONG).await?;
    // The first byte asks for an echo of what follows in pieces of this size.
    stream.send.write_all(b"p").await?;
    stream.send.write_u32(PING as u32).await?;
    let mut bytes = [7; PING];
    stream.send.write_all(&bytes).await?;
    stream.recv.read_exact(&mut bytes).await?;
    child.kill()?;
    let killed = Instant::now();
    let read = tokio::time::timeout(LONG, stream.recv.read_u8()).await?;
    let noticed = killed.elapsed();
    child.wait()?;
    if read.is_ok() { Err("a dead peer has answered".into()) } else { Ok(noticed) }
}

/// Returns this process's processor time, where the system tells (Linux).
fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let behind_name = stat.rsplit_once(')')?.1;
    let mut fields = behind_name.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

async fn idle(conn: &Conn) -> Option<f64> {
    let seconds = 10;
    let before = processor_time()?;
    let waited = tokio::time::timeout(Duration::from_secs(seconds), conn.closed()).await;
    let used = processor_time()?.checked_sub(before)?;
    waited.is_err().then(|| used.as_secs_f64() / seconds as f64)
}

async fn measure() -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let bare = ping_bare(SocketAddr::from(([127, 0, 0, 1], 0)), 20_000, LONG).await?;
    writeln!(out, "bare UDP, 64 B there and back, one process: {bare:?}")?;
    let (mut child, place) = start(2)?;
    let here = end(1).await?;
    let dialled = Instant::now();
    let conn = here.dial(&place, Protocol::Mesh, LONG).await?;
    writeln!(out, "dial, both ends admitted: {:?}", dialled.elapsed())?;
    ping(&conn, PING, 2_000, LONG).await?;
    let trips = ping(&conn, PING, 20_000, LONG).await?;
    writeln!(out, "QUIC, 64 B there and back, two processes: {trips:?}")?;
    let amount = ByteSize::from_mib(100);
    for _ in 0..3 {
        let took = pour(&conn, amount, LONG).await?;
        let rate = amount.as_bytes() as f64 / 1e6 / took.as_secs_f64();
        writeln!(out, "QUIC, {amount} on one stream: {took:?}, {rate:.0} MB/s")?;
    }
    if let Some(share) = idle(&conn).await {
        writeln!(out, "idle connection: {:.2} % of one core", share * 100.0)?;
    }
    child.kill()?;
    child.wait()?;
    for seed in 10..15 {
        writeln!(
            out,
            "peer killed in the middle of a stream, noticed after {:?}",
            death(&here, seed).await?
        )?;
    }
    here.close(LONG).await;
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let serving =
        args.iter().position(|it| it == SERVE).and_then(|at| args.get(at + 1)?.parse().ok());
    let threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = threads.map_err(Failure::from).and_then(|runtime| match serving {
        Some(seed) => runtime.block_on(serve(seed)),
        None => runtime.block_on(measure()),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            drop(writeln!(std::io::stderr(), "{err}"));
            ExitCode::FAILURE
        }
    }
}
