//! Every transport passes the same check.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sedge_base::NodeId;
use sedge_net::conformance::{self, Ends};
use sedge_net::{Admission, DialError, MemoryNet, PeerAddr, Protocol, Transport, Ways};

use crate::peers::{Guests, identity, node_of, quic, websocket};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quic_keeps_the_contract() {
    let absent = PeerAddr::new(node_of(9).await).with("127.0.0.1:9".parse().unwrap());
    let (a, b) = (node_of(1).await, node_of(2).await);
    let at_a = quic(1, &Guests::members(&[b, absent.node])).await;
    let at_b = quic(2, &Guests::members(&[a])).await;
    let stranger = quic(3, &Guests::everybody()).await;
    let ends = Ends { a: &at_a, b: &at_b, stranger: &stranger, absent: &absent };
    conformance::check(ends).await.unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(at_b.metrics().refused(), 1);
    assert_eq!(at_b.metrics().opened.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn memory_keeps_the_contract() {
    let [a, b, c, d] = [1, 2, 3, 4].map(|it| NodeId::from_bytes([it; 32]));
    let net = MemoryNet::new();
    let absent = PeerAddr::new(d);
    let at_a = net.join(a, &[Protocol::Mesh], Guests::members(&[b, d]));
    let at_b = net.join(b, &[Protocol::Mesh], Guests::members(&[a]));
    let stranger = net.join(c, &[Protocol::Mesh], Guests::everybody());
    let ends = Ends { a: &at_a, b: &at_b, stranger: &stranger, absent: &absent };
    conformance::check(ends).await.unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(at_b.metrics().refused(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_link_in_memory_can_be_cut_and_mended() {
    let [a, b] = [1, 2].map(|it| NodeId::from_bytes([it; 32]));
    let net = MemoryNet::new();
    let at_a = net.join(a, &[Protocol::Mesh], Guests::everybody());
    let at_b = net.join(b, &[Protocol::Mesh], Guests::everybody());
    let (near, far) = crate::peers::connect(&at_a, &at_b).await;
    net.cut(a, b);
    assert_eq!(near.closed().await.to_string(), "the peer fell silent");
    assert_eq!(far.closed().await.to_string(), "the peer fell silent");
    let to = at_b.place().peer_addr();
    assert!(at_a.dial(&to, Protocol::Mesh, crate::peers::SOON).await.is_err());
    net.heal(a, b);
    drop(crate::peers::connect(&at_a, &at_b).await);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_keeps_the_contract() {
    use crate::peers::local;
    let dir = tempfile::tempdir().unwrap();
    let absent = PeerAddr::new(identity(9).node_id());
    let (a, b) = (identity(1), identity(2));
    let at_a = local(&a, dir.path(), &Guests::members(&[b.node_id(), absent.node])).await;
    let at_b = local(&b, dir.path(), &Guests::members(&[a.node_id()])).await;
    let stranger = local(&identity(3), dir.path(), &Guests::everybody()).await;
    let ends = Ends { a: &at_a, b: &at_b, stranger: &stranger, absent: &absent };
    conformance::check(ends).await.unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(at_b.metrics().refused(), 1);
    assert_eq!(at_b.metrics().opened.load(Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websocket_keeps_the_contract() {
    let absent = PeerAddr::new(identity(9).node_id()).with("127.0.0.1:9".parse().unwrap());
    let (a, b) = (identity(1), identity(2));
    let at_a = websocket(&a, &Guests::members(&[b.node_id(), absent.node])).await;
    let at_b = websocket(&b, &Guests::members(&[a.node_id()])).await;
    let stranger = websocket(&identity(3), &Guests::everybody()).await;
    let ends = Ends { a: &at_a, b: &at_b, stranger: &stranger, absent: &absent };
    conformance::check(ends).await.unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(at_b.metrics().refused(), 1);
    assert_eq!(at_b.metrics().opened.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn several_ways_keep_the_contract_and_the_nearest_wins() {
    let [a, b, c, d] = [1, 2, 3, 4].map(|it| NodeId::from_bytes([it; 32]));
    let (near, far) = (MemoryNet::new(), MemoryNet::new());
    let both = |node, guests: &Arc<Guests>| {
        let on = |net: &MemoryNet| {
            let guests: Arc<dyn Admission> = Arc::<Guests>::clone(guests);
            Arc::new(net.join(node, &[Protocol::Mesh], guests)) as Arc<dyn Transport>
        };
        Ways::new(node, vec![on(&near), on(&far)])
    };
    let at_a = both(a, &Guests::members(&[b, d]));
    let at_b = both(b, &Guests::members(&[a]));
    let stranger = both(c, &Guests::everybody());
    let absent = PeerAddr::new(d);
    let ends = Ends { a: &at_a, b: &at_b, stranger: &stranger, absent: &absent };
    conformance::check(ends).await.unwrap_or_else(|broken| panic!("{broken}"));

    near.cut(a, b);
    let (by_far, _at_b) = crate::peers::connect(&at_a, &at_b).await;
    assert!(by_far.is_open());
    near.heal(a, b);
    let (by_near, _also_at_b) = crate::peers::connect(&at_a, &at_b).await;
    far.cut(a, b);
    assert!(by_near.is_open());
    assert_eq!(by_far.closed().await.to_string(), "the peer fell silent");
    near.cut(a, b);
    let to = at_b.place().peer_addr();
    let error = at_a.dial(&to, Protocol::Mesh, crate::peers::SOON).await.unwrap_err();
    assert!(matches!(&error, DialError::NoWay { ways, .. } if ways.len() == 2), "{error}");
}
