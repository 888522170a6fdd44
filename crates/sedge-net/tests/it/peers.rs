//! Nodes for tests.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sedge_base::{NodeId, Secret};
use sedge_net::{
    Admission, Conn, Protocol, Quic, QuicOptions, Transport, WebSocket, WebSocketOptions,
};
use sedge_trust::Identity;

/// Long enough for a busy machine; nothing waits that long when it works.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Admits a fixed set of nodes, or everybody.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    pub(crate) everybody: bool,
    pub(crate) members: Mutex<BTreeSet<NodeId>>,
}

impl Guests {
    pub(crate) fn everybody() -> Arc<Self> {
        Arc::new(Self { everybody: true, ..Self::default() })
    }

    pub(crate) fn members(nodes: &[NodeId]) -> Arc<Self> {
        Arc::new(Self { everybody: false, members: Mutex::new(nodes.iter().copied().collect()) })
    }
}

impl Admission for Guests {
    fn admits(&self, peer: NodeId, _protocol: Protocol) -> bool {
        self.everybody || self.members.lock().unwrap().contains(&peer)
    }
}

pub(crate) fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub(crate) fn options(seed: u8) -> QuicOptions {
    QuicOptions::new(Secret::new([seed; 32]), vec![loopback()])
}

pub(crate) async fn quic(seed: u8, guests: &Arc<Guests>) -> Quic {
    let guests: Arc<dyn Admission> = Arc::<Guests>::clone(guests);
    Quic::bind(options(seed), guests).await.unwrap()
}

/// The node id of a test's secret.
pub(crate) async fn node_of(seed: u8) -> NodeId {
    quic(seed, &Guests::members(&[])).await.place().node
}

/// Connects two ends that admit each other.
pub(crate) async fn connect(a: &dyn Transport, b: &dyn Transport) -> (Conn, Conn) {
    let to = b.place().peer_addr();
    let (near, far) = tokio::join!(a.dial(&to, Protocol::Mesh, SOON), b.accept());
    (near.unwrap(), far.unwrap())
}

/// A test's keys.
pub(crate) fn identity(seed: u8) -> Arc<Identity> {
    Arc::new(Identity::from_bytes(&[seed; 64]))
}

#[cfg(target_os = "linux")]
pub(crate) async fn local(
    identity: &Arc<Identity>,
    dir: &std::path::Path,
    guests: &Arc<Guests>,
) -> sedge_net::Local {
    // A folder of their own: that of the test may be open to others.
    let options = sedge_net::LocalOptions::new(Arc::clone(identity), dir.join("nodes"));
    let guests: Arc<dyn Admission> = Arc::<Guests>::clone(guests);
    sedge_net::Local::bind(options, guests).await.unwrap()
}

pub(crate) async fn websocket(identity: &Arc<Identity>, guests: &Arc<Guests>) -> WebSocket {
    let options = WebSocketOptions::new(Arc::clone(identity), Some(loopback()));
    let guests: Arc<dyn Admission> = Arc::<Guests>::clone(guests);
    WebSocket::bind(options, guests).await.unwrap()
}
