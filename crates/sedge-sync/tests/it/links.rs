//! A link that is slowed down for real: a proxy between two sockets that lets so many bytes pass.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sedge_base::TaskScope;
use sedge_net::{Conn, PeerAddr, Protocol, Transport, WebSocket, WebSocketOptions};
use sedge_sync::{Form, Level, Put, Seen, Space, Tensor, Value};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::peers::{Everybody, Peer, SOON, TestRoll, serve};

/// A proxy in user space that lets at most so many bytes per second pass each way.
struct Shaper {
    at: SocketAddr,
    /// Bytes per second; 0 is as fast as it goes.
    rate: Arc<AtomicU64>,
}

impl Shaper {
    async fn before(scope: &TaskScope, to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let rate = Arc::new(AtomicU64::new(0));
        let (inner, shared) = (scope.clone(), Arc::clone(&rate));
        scope.spawn("shaper", async move |cancel| {
            loop {
                let near = tokio::select! {
                    () = cancel.cancelled() => return,
                    it = listener.accept() => it.unwrap().0,
                };
                let far = TcpStream::connect(to).await.unwrap();
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                let ((from_near, to_near), (from_far, to_far)) =
                    (near.into_split(), far.into_split());
                let rates = (Arc::clone(&shared), Arc::clone(&shared));
                inner.spawn("there", async move |_| carry(from_near, to_far, &rates.0).await);
                inner.spawn("back", async move |_| carry(from_far, to_near, &rates.1).await);
            }
        });
        Self { at, rate }
    }
}

/// Carries bytes, each piece when the ones before it have had their time.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    rate: &AtomicU64,
) {
    let mut piece = [0; 512];
    let mut free = Instant::now();
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let rate = rate.load(Ordering::Relaxed);
        free = free.max(Instant::now());
        if rate > 0 {
            free += Duration::from_secs(1) * u32::try_from(length).unwrap()
                / u32::try_from(rate).unwrap();
            tokio::time::sleep_until(free).await;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

async fn websocket(peer: &Peer, listen: Option<SocketAddr>) -> WebSocket {
    let options = WebSocketOptions::new(Arc::new(peer.identity.clone()), listen);
    WebSocket::bind(options, Arc::new(Everybody)).await.unwrap()
}

/// Numbers that no lossless packing makes smaller.
fn noise(seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    (0..4096).map(|_| f32::from(i16::from_le_bytes([next() as u8, next() as u8])) / 7.0).collect()
}

/// Puts so many tensors on one side, and a text that changes.
async fn publish(peer: &Peer, from: u32, to: u32) {
    for number in from..to {
        let tensor = Put::Tensor(Tensor::new(noise(number)).unwrap());
        peer.replica.put(&Space::Open, "patterns", &number.to_string(), tensor).await.unwrap();
    }
    peer.put("text", &format!("{to} ").repeat(5000)).await;
}

/// In which forms a replica has tensors, coarsest first.
async fn forms(peer: &Peer) -> Vec<Option<Form>> {
    let seen = peer.replica.get(&Space::Open, "patterns", None).await.unwrap();
    let mut forms: Vec<_> = seen.iter().map(|it| it.tensor.as_ref().map(|it| it.form)).collect();
    forms.sort_unstable();
    forms
}

/// Pulls until the level is as expected; returns the levels on the way.
async fn pull_until(peer: &Peer, conn: &Conn, fits: impl Fn(Level) -> bool) -> Vec<Level> {
    let mut levels = Vec::new();
    let work = async {
        loop {
            peer.replica.pull(conn).await.unwrap();
            let level = peer.replica.link(&conn.peer()).level;
            if levels.last() != Some(&level) {
                levels.push(level);
            }
            if fits(level) {
                return;
            }
        }
    };
    tokio::time::timeout(2 * SOON, work).await.unwrap();
    levels
}

fn quantised(level: Level) -> bool {
    matches!(level, Level::Quantized8 | Level::Quantized4)
}

#[tokio::test]
async fn row_037_on_a_slow_link_the_level_moves_to_quantised_and_back() {
    let (scope, roll) = (TaskScope::new(), TestRoll::of(&[1, 2]));
    let (one, two) = (Peer::new(1, &roll).await, Peer::new(2, &roll).await);
    let near = websocket(&one, None).await;
    let far = websocket(&two, Some("127.0.0.1:0".parse().unwrap())).await;
    let shaper = Shaper::before(&scope, far.place().direct[0]).await;
    let to = PeerAddr { node: two.id(), direct: vec![shaper.at] };
    let (conn, accepted) = tokio::join!(near.dial(&to, Protocol::Mesh, SOON), far.accept());
    let conn = conn.unwrap();
    serve(&scope, &two.replica, accepted.unwrap());

    publish(&two, 0, 12).await;
    pull_until(&one, &conn, |it| !quantised(it)).await;
    assert_eq!(forms(&one).await, [Some(Form::Exact); 12], "on a link that is not slowed down");

    // 0.32 Mbit/s: poor. Ten measurements make it so, then tensors come coarsely.
    shaper.rate.store(40_000, Ordering::Relaxed);
    publish(&two, 12, 24).await;
    pull_until(&one, &conn, quantised).await;
    publish(&two, 24, 28).await;
    one.replica.pull(&conn).await.unwrap();
    let view = one.replica.link(&two.id());
    assert!(quantised(view.level) && view.bits_per_second.unwrap() < 1e6, "{view:?}");
    let coarse = forms(&one).await.iter().filter(|it| **it < Some(Form::Exact)).count();
    assert!(coarse >= 4, "{coarse}");

    // Text came as it was written, and what is coarse is near what was written.
    assert_eq!(text(&one).await, text(&two).await);
    let seen = one.replica.get(&Space::Open, "patterns", Some("27")).await.unwrap();
    let tensor = seen[0].tensor.as_ref().unwrap();
    let worst = tensor.numbers.iter().zip(noise(27)).map(|(is, was)| (is - was).abs());
    let worst = worst.fold(0.0, f32::max);
    assert!(tensor.form != Form::Exact && worst > 0.0 && worst < 65_536.0 / 7.0 / 15.0, "{worst}");

    // The link is as it was: the level goes back, and what was coarse comes exactly.
    shaper.rate.store(0, Ordering::Relaxed);
    pull_until(&one, &conn, |it| !quantised(it)).await;
    one.replica.pull(&conn).await.unwrap();
    pull_until(&one, &conn, |it| !quantised(it)).await;
    assert_eq!(forms(&one).await, [Some(Form::Exact); 28]);
    let seen = one.replica.get(&Space::Open, "patterns", Some("27")).await.unwrap();
    assert_eq!(seen[0].tensor.as_ref().unwrap().numbers, noise(27));
}

async fn text(peer: &Peer) -> Vec<Value> {
    let seen = peer.replica.get(&Space::Open, "lamp", Some("text")).await.unwrap();
    seen.into_iter().map(|it: Seen| it.value).collect()
}
