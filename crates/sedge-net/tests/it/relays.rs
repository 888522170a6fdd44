//! Relays: used where there is no other way, left when they die, taken again when they are back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::Secret;
use sedge_net::{
    Admission, Conn, PathClass, PeerAddr, Protocol, Quic, QuicOptions, RelayAddr, RelayServer,
    Transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, interval};

use crate::peers::{Guests, SOON, identity, loopback};
use crate::processes::{Other, RELAY, start};

/// An end that has no way to others but relays.
async fn behind(seed: u8, guests: &Arc<Guests>) -> Quic {
    let guests: Arc<dyn Admission> = Arc::<Guests>::clone(guests);
    let options = QuicOptions::new(Secret::new([seed; 32]), Vec::new());
    Quic::bind(options, guests).await.unwrap()
}

pub(crate) async fn relay(
    seed: u8,
    at: std::net::SocketAddr,
    guests: &Arc<Guests>,
) -> (RelayServer, RelayAddr) {
    let guests: Arc<dyn Admission> = Arc::<Guests>::clone(guests);
    let identity = identity(seed);
    let server = RelayServer::open(&identity, at, guests).await.unwrap();
    let addr = RelayAddr::at(identity.node_id(), server.listening());
    (server, addr)
}

/// A relay in a process of its own.
fn process(seed: u8, at: std::net::SocketAddr) -> (Other, RelayAddr) {
    let mut other = start(&format!("{RELAY}{seed}@{at}"));
    let addr = other.says("ready ").parse().unwrap();
    (other, addr)
}

/// Asks again until something is true.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + 6 * SOON;
    let mut every = interval(Duration::from_millis(20));
    while !holds() {
        assert!(Instant::now() < end, "never came true: {what}");
        every.tick().await;
    }
}

/// Says back what it hears, on every connection and stream.
fn echo(at: Arc<Quic>) -> tokio::task::JoinHandle<()> {
    #[expect(clippy::disallowed_methods, reason = "a test's own server, aborted at its end")]
    tokio::spawn(async move {
        let mut conns = tokio::task::JoinSet::new();
        while let Some(conn) = at.accept().await {
            conns.spawn(async move {
                while let Ok(mut stream) = conn.accept().await {
                    let mut byte = [0];
                    if stream.recv.read_exact(&mut byte).await.is_ok() {
                        drop(stream.send.write_all(&byte).await);
                        drop(stream.send.finish().await);
                    }
                }
            });
        }
    })
}

async fn once(conn: &Conn) -> Option<()> {
    let mut stream = conn.open(SOON).await.ok()?;
    stream.send.write_all(&[7]).await.ok()?;
    let mut byte = [0];
    stream.recv.read_exact(&mut byte).await.ok()?;
    assert_eq!(byte, [7]);
    Some(())
}

/// One request; a connection that broke is dialled anew, as a pool does.
async fn asks(from: &Quic, to: &PeerAddr) -> Conn {
    let end = Instant::now() + 6 * SOON;
    loop {
        assert!(Instant::now() < end, "no traffic any more");
        if let Ok(conn) = from.dial(to, Protocol::Mesh, SOON).await
            && once(&conn).await.is_some()
        {
            return conn;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_031_of_two_relays_one_is_killed_three_failures_mark_it_and_traffic_continues() {
    let guests = Guests::everybody();
    let (first, first_addr) = process(21, loopback());
    let (second, second_addr) = process(22, loopback());
    let (a, b) = (behind(1, &guests).await, Arc::new(behind(2, &guests).await));
    let both = BTreeSet::from([first_addr.clone(), second_addr.clone()]);
    a.set_relays(&both).await;
    b.set_relays(&both).await;
    let to = PeerAddr::new(b.place().node);
    let echo = echo(Arc::clone(&b));
    let conn = asks(&a, &to).await;
    assert_eq!(conn.path(), PathClass::Relayed);
    let state = |of: &Quic, relay: &RelayAddr| {
        of.relays().into_iter().find(|it| it.relay == *relay).unwrap()
    };
    assert!(state(&a, &first_addr).healthy && state(&a, &second_addr).healthy);

    let at = format!("127.0.0.1:{}", first_addr.port).parse().unwrap();
    first.kill();
    for end in [&a, &*b] {
        until("the dead relay is unhealthy", || !state(end, &first_addr).healthy).await;
        let dead = state(end, &first_addr);
        assert!(dead.failures >= 3 && dead.error.is_some(), "{dead:?}");
    }
    drop(asks(&a, &to).await);

    // It comes back with its key and port, and carries alone when the other one dies.
    let (_first, again) = process(21, at);
    assert_eq!(again, first_addr);
    for end in [&a, &*b] {
        until("it is healthy again", || state(end, &first_addr).healthy).await;
    }
    second.kill();
    for end in [&a, &*b] {
        until("the other one is unhealthy", || !state(end, &second_addr).healthy).await;
    }
    drop(asks(&a, &to).await);
    echo.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_serves_members_only_and_shows_the_key_that_was_named() {
    let everybody = Guests::everybody();
    let (_relay, addr) = relay(21, loopback(), &Guests::members(&[identity(2).node_id()])).await;
    let (a, b) = (behind(1, &everybody).await, Arc::new(behind(2, &everybody).await));
    for end in [&a, &*b] {
        end.set_relays(&BTreeSet::from([addr.clone()])).await;
    }
    let to = PeerAddr::new(b.place().node);
    let within = Duration::from_secs(2);
    assert!(a.dial(&to, Protocol::Mesh, within).await.is_err(), "a stranger is not served");

    let other = RelayAddr { node: identity(9).node_id(), ..addr };
    b.set_relays(&BTreeSet::from([other.clone()])).await;
    until("a relay with another key fails", || {
        b.relays().iter().any(|it| it.relay == other && it.error.is_some())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_relay_is_killed_in_use_and_traffic_goes_on_when_it_is_back() {
    let guests = Guests::everybody();
    let (server, addr) = relay(21, loopback(), &guests).await;
    let (a, b) = (behind(1, &guests).await, Arc::new(behind(2, &guests).await));
    for end in [&a, &*b] {
        end.set_relays(&BTreeSet::from([addr.clone()])).await;
    }
    let to = PeerAddr::new(b.place().node);
    let echo = echo(Arc::clone(&b));
    let conn = asks(&a, &to).await;
    let mut stream = conn.open(SOON).await.unwrap();
    let at = server.listening();
    server.close(SOON).await;

    // Whoever waits for an answer is told that there is none; nobody hangs.
    let mut byte = [0];
    let cut = tokio::time::timeout(SOON, async {
        stream.send.write_all(&[7]).await?;
        stream.recv.read_exact(&mut byte).await
    });
    assert!(cut.await.expect("noticed, not hung").is_err());
    let error = a.dial(&to, Protocol::Mesh, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.kind(), sedge_base::ErrorKind::Unavailable);
    assert!(error.to_string().contains("relay: no answer through 127.0.0.1"), "{error}");

    let (server, _) = relay(21, at, &guests).await;
    assert_eq!(asks(&a, &to).await.path(), PathClass::Relayed);
    echo.abort();
    server.close(SOON).await;
}
