//! From an address to a node, and what is said when that fails.

use sedge_base::{ErrorKind, NodeId};
use sedge_net::{Beacon, LocateError, PeerAddr, Protocol, Quic, Transport, locate};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::peers::{Guests, SOON, connect, loopback, node_of, options, quic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_leads_to_the_inviter() {
    let inviter = quic(1, &Guests::everybody()).await;
    inviter.set_protocols(&[Protocol::Pair]);
    let of = inviter.place().peer_addr();
    let beacon = Beacon::open(inviter.listening()[0], &of, Some(42)).await.unwrap();
    let joiner = quic(2, &Guests::everybody()).await;
    let found = locate(&beacon.addr().to_string(), Some(42), SOON).await.unwrap();
    assert_eq!(found.node, of.node);
    let (near, far) = tokio::join!(joiner.dial(&found, Protocol::Pair, SOON), inviter.accept());
    assert_eq!(near.unwrap().protocol(), Protocol::Pair);
    assert_eq!(far.unwrap().peer(), joiner.place().node);
    // The invite is over: neither protocol is spoken with strangers any more.
    inviter.set_protocols(&[]);
    let late = joiner.dial(&found, Protocol::Pair, SOON).await.unwrap_err();
    assert_eq!(
        late.to_string(),
        format!("node {} does not speak sedge/pair/1 now", of.node.short())
    );
}

#[tokio::test]
async fn a_taken_port_gives_another_one() {
    let taken = TcpListener::bind(loopback()).await.unwrap();
    let of = PeerAddr::new(NodeId::from_bytes([1; 32]));
    let addr = taken.local_addr().unwrap();
    let beacon = Beacon::open(addr, &of, None).await.unwrap();
    assert_ne!(beacon.addr(), addr);
    assert_eq!(beacon.addr().ip(), addr.ip());
}

async fn fails(place: &str, nameplate: Option<u32>) -> LocateError {
    locate(place, nameplate, SOON).await.unwrap_err()
}

/// Answers one visitor with these bytes.
async fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let scope = sedge_base::TaskScope::new();
    scope.spawn("answer", |_| async move {
        let (mut visitor, _) = listener.accept().await.unwrap();
        visitor.write_all(bytes).await.unwrap();
    });
    addr.to_string()
}

#[tokio::test]
async fn what_is_no_invite_is_named() {
    let closed = TcpListener::bind(loopback()).await.unwrap().local_addr().unwrap();
    let nobody = fails(&closed.to_string(), None).await;
    assert!(matches!(nobody, LocateError::Nobody { .. }), "{nobody}");
    let web = fails(&answering(b"HTTP/1.1 200 OK\r\n\r\n").await, None).await;
    assert!(matches!(web, LocateError::Strange { .. }), "{web}");
    let garbage = fails(&answering(b"\x01\0\0\0\x02{]").await, None).await;
    assert!(matches!(garbage, LocateError::Unreadable { .. }), "{garbage}");
    let newer = fails(&answering(b"\x01\0\0\0\x14{\"version\":2,\"x\":[]}").await, None).await;
    assert!(matches!(newer, LocateError::Version { got: 2, .. }), "{newer}");
    let nowhere = fails("no port here", None).await;
    assert!(matches!(nowhere, LocateError::Name { .. }), "{nowhere}");
    let of = PeerAddr::new(NodeId::from_bytes([1; 32]));
    let beacon = Beacon::open(loopback(), &of, Some(7)).await.unwrap();
    let other = fails(&beacon.addr().to_string(), Some(8)).await;
    assert_eq!(other.kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_that_lies_about_the_key_leads_nowhere() {
    let (inviter, joiner) =
        (quic(1, &Guests::everybody()).await, quic(2, &Guests::everybody()).await);
    let honest = inviter.place().peer_addr();
    let lie = PeerAddr { node: node_of(3).await, ..honest };
    let beacon = Beacon::open(loopback(), &lie, None).await.unwrap();
    let found = locate(&beacon.addr().to_string(), None, SOON).await.unwrap();
    let failed = joiner.dial(&found, Protocol::Mesh, SOON).await.unwrap_err();
    assert!(
        matches!(failed.kind(), ErrorKind::Unauthenticated | ErrorKind::Unavailable),
        "{failed}: {failed:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named() {
    let first = quic(1, &Guests::everybody()).await;
    let mut second = options(2);
    second.listen = first.listening();
    let failed = Quic::bind(second, Guests::everybody()).await.map(drop).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Conflict, "{failed:?}");
    assert_eq!(failed.to_string(), format!("{} is in use", first.listening()[0]));
    let mut twice = options(2);
    twice.listen = vec![loopback(); 2];
    let failed = Quic::bind(twice, Guests::everybody()).await.map(drop).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_left_is_refused_next_time() {
    let (a, b) = (node_of(1).await, node_of(2).await);
    let guests = Guests::members(&[a]);
    let (at_a, at_b) = (quic(1, &Guests::members(&[b])).await, quic(2, &guests).await);
    let (near, _far) = connect(&at_a, &at_b).await;
    near.close(sedge_net::CloseReason::Done);
    guests.members.lock().unwrap().clear();
    let refused = at_a.dial(&at_b.place().peer_addr(), Protocol::Mesh, SOON).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    assert_eq!(at_b.metrics().refused(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_end_frees_its_port() {
    let first = quic(1, &Guests::everybody()).await;
    let mut again = options(1);
    again.listen = first.listening();
    first.close(SOON).await;
    // Whoever still holds the closed end holds no port.
    let second = Quic::bind(again.clone(), Guests::everybody()).await.unwrap();
    assert_eq!(second.listening(), again.listen);
    assert!(first.accept().await.is_none());
    let to = second.place().peer_addr();
    let closed = first.dial(&to, Protocol::Mesh, SOON).await.unwrap_err();
    assert!(
        matches!(closed, sedge_net::DialError::Closed | sedge_net::DialError::Itself),
        "{closed}"
    );
}
