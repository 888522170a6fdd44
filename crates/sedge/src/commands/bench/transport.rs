//! The transport alone: what no call to another machine can be faster than.

use std::net::SocketAddr;
#[cfg(target_os = "linux")]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{ErrorKind, NodeId, Secret, TaskScope};
use sedge_net::{
    Admission, MeasureError, PING, Protocol, Quic, QuicOptions, RoundTrips, Transport, WebSocket,
    WebSocketOptions, answer, ping, ping_bare, ping_tcp,
};
#[cfg(target_os = "linux")]
use sedge_net::{Local, LocalOptions};
use sedge_trust::Identity;

use super::Figure;
use crate::failed::Failed;
use crate::ui::spoken;

/// How long one measurement may take.
const WITHIN: Duration = Duration::from_secs(60);

/// Lets everybody in: both ends are this very process.
#[derive(Debug)]
struct Everybody;

impl Admission for Everybody {
    fn admits(&self, _: NodeId, _: Protocol) -> bool {
        true
    }
}

/// The sizes that are sent there and back, in words and in bytes, and how many rounds of each
/// stand for one round of the smallest.
const SIZES: [(&str, usize, usize); 3] =
    [("64 B", PING, 1), ("64 KiB", 64 << 10, 4), ("1 MiB", 1 << 20, 16)];

/// What is measured for each of [`SIZES`].
const QUIC: [&str; 3] =
    ["round trip, QUIC, 64 B", "round trip, QUIC, 64 KiB", "round trip, QUIC, 1 MiB"];
const WEBSOCKET: [&str; 3] = [
    "round trip, WebSocket, 64 B",
    "round trip, WebSocket, 64 KiB",
    "round trip, WebSocket, 1 MiB",
];
#[cfg(target_os = "linux")]
const LOCAL: [&str; 3] =
    ["round trip, same host, 64 B", "round trip, same host, 64 KiB", "round trip, same host, 1 MiB"];

/// Measures two ends of each transport in this process.
pub(super) fn measure(rounds: u32) -> Result<Vec<Figure>, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|err| Failed::io("no runtime", &err))?;
    runtime.block_on(all(rounds as usize))
}

async fn all(rounds: usize) -> Result<Vec<Figure>, Failed> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut bare = Vec::new();
    for (_, size, share) in SIZES {
        let trips = ping_tcp(any, size, rounds.div_ceil(share), WITHIN).await;
        bare.push(format!("bare TCP socket {}", words(&trips.map_err(measured)?)));
    }
    let udp = ping_bare(any, rounds, WITHIN).await.map_err(measured)?;
    bare[0] = format!("bare UDP socket {}, {}", words(&udp), bare[0]);
    let mut figures = Vec::new();
    let ends = (quic(any).await?, quic(any).await?);
    figures.extend(transport(ends, QUIC, &bare, rounds).await?);
    let ends = (websocket(any).await?, websocket(any).await?);
    figures.extend(transport(ends, WEBSOCKET, &bare, rounds).await?);
    #[cfg(target_os = "linux")]
    {
        let dir = std::env::temp_dir().join(format!("sedge-bench-{}", std::process::id()));
        let ends = (local(&dir).await?, local(&dir).await?);
        let measured = transport(ends, LOCAL, &bare, rounds).await;
        // An empty folder that stays does no harm.
        drop(std::fs::remove_dir(&dir));
        figures.extend(measured?);
    }
    Ok(figures)
}

/// Measures every size between two ends of one transport.
async fn transport<T: Transport>(
    (near, far): (T, T),
    names: [&'static str; 3],
    bare: &[String],
    rounds: usize,
) -> Result<Vec<Figure>, Failed> {
    let far = Arc::new(far);
    let scope = TaskScope::new();
    let answering = Arc::clone(&far);
    scope.spawn("answers", async move |cancel| {
        let answers = async {
            while let Some(conn) = answering.accept().await {
                answer(&conn).await;
            }
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = answers => {}
        }
    });
    let place = far.place().peer_addr();
    let conn = near
        .dial(&place, Protocol::Mesh, WITHIN)
        .await
        .map_err(|err| Failed::of(err.kind(), &err))?;
    let mut figures = Vec::new();
    for (at, (size, bytes, share)) in SIZES.into_iter().enumerate() {
        let rounds = rounds.div_ceil(share);
        ping(&conn, bytes, rounds.div_ceil(10), WITHIN).await.map_err(measured)?;
        let trips = ping(&conn, bytes, rounds, WITHIN).await.map_err(measured)?;
        let method = format!("{rounds} times {size} there and back on one stream, both ends in this process");
        figures.push(Figure::new(names[at], words(&trips), method).beside(bare[at].clone()));
    }
    near.close(WITHIN).await;
    drop(scope.shutdown(WITHIN).await);
    far.close(WITHIN).await;
    Ok(figures)
}

fn measured(err: MeasureError) -> Failed {
    Failed::of(err.kind(), &err)
}

fn words(trips: &RoundTrips) -> String {
    format!("p50 {}, p99 {}", spoken(trips.p50), spoken(trips.p99))
}

async fn quic(listen: SocketAddr) -> Result<Quic, Failed> {
    let seed = sedge_trust::random_bytes().map_err(|err| Failed::of(ErrorKind::Internal, &err))?;
    let options = QuicOptions::new(Secret::new(seed), vec![listen]);
    Quic::bind(options, Arc::new(Everybody)).await.map_err(|err| Failed::of(err.kind(), &err))
}

fn identity() -> Result<Arc<Identity>, Failed> {
    Identity::generate().map(Arc::new).map_err(|err| Failed::of(ErrorKind::Internal, &err))
}

async fn websocket(listen: SocketAddr) -> Result<WebSocket, Failed> {
    let options = WebSocketOptions::new(identity()?, Some(listen));
    WebSocket::bind(options, Arc::new(Everybody)).await.map_err(|err| Failed::of(err.kind(), &err))
}

#[cfg(target_os = "linux")]
async fn local(dir: &Path) -> Result<Local, Failed> {
    let options = LocalOptions::new(identity()?, dir.to_owned());
    Local::bind(options, Arc::new(Everybody)).await.map_err(|err| Failed::of(err.kind(), &err))
}
