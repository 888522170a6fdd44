//! The seam between nodes and the network: who can be dialled, how, and who is let in.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sedge_base::{ErrorKind, NodeId};
use serde::{Deserialize, Serialize};

use crate::conn::{CloseReason, Conn};

/// What two nodes speak on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Members of a swarm working together.
    Mesh,
    /// Two nodes becoming members of one swarm; spoken only while an invite is open.
    Pair,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 2] = [Self::Mesh, Self::Pair];

    /// Returns the name that both ends agree on while they connect (RFC 7301).
    pub const fn alpn(self) -> &'static str {
        match self {
            Self::Mesh => "sedge/mesh/1",
            Self::Pair => "sedge/pair/1",
        }
    }

    /// Returns the protocol of that name, or `None` when there is none.
    pub fn from_alpn(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.alpn().as_bytes() == name)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.alpn())
    }
}

/// Whom to dial, and where it may be found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerAddr {
    /// Whose key must be proven.
    pub node: NodeId,
    /// Socket addresses to try; may be empty where the local network can be asked.
    pub direct: Vec<SocketAddr>,
}

impl PeerAddr {
    /// Makes the address of a node of which only the key is known.
    pub const fn new(node: NodeId) -> Self {
        Self { node, direct: Vec::new() }
    }

    /// Returns the address with one more socket address to try.
    #[must_use]
    pub fn with(mut self, addr: SocketAddr) -> Self {
        self.direct.push(addr);
        self
    }
}

/// What the local network says about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It was not asked: discovery is off.
    Off,
    /// Nothing.
    Nothing,
    /// It announces these addresses.
    At(Vec<SocketAddr>),
}

/// The ways to a node that were tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Addresses that the caller knew.
    pub direct: Vec<SocketAddr>,
    /// What the local network said.
    pub lan: Heard,
    /// Hosts of the relays that were asked.
    pub relays: Vec<String>,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |addrs: &[SocketAddr]| {
            addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        match self.direct.as_slice() {
            [] => f.write_str("static address: none known")?,
            addrs => write!(f, "static address: no answer from {}", list(addrs))?,
        }
        match &self.lan {
            Heard::Off => f.write_str("; local network: discovery is off"),
            Heard::Nothing => f.write_str("; local network: it does not announce itself"),
            Heard::At(addrs) => write!(f, "; local network: no answer from {}", list(addrs)),
        }?;
        match self.relays.as_slice() {
            [] => Ok(()),
            relays => write!(f, "; relay: no answer through {}", relays.join(", ")),
        }
    }
}

/// One of several ways to a node, and why it did not lead there.
#[derive(Debug, Clone)]
pub struct WayTried {
    /// The transport's name.
    pub scheme: &'static str,
    /// Why not.
    pub error: DialError,
}

fn each(ways: &[WayTried]) -> String {
    ways.iter().map(|it| format!("{}: {}", it.scheme, it.error)).collect::<Vec<_>>().join("; ")
}

/// Why a node could not be dialled.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// No way to the node is known.
    #[error("no address of node {} is known ({tried})", peer.short())]
    NoAddress {
        /// Whom.
        peer: NodeId,
        /// What was tried.
        tried: Tried,
    },
    /// Nobody with this key answered in time.
    #[error("node {} did not answer within {within:?} ({tried})", peer.short())]
    Silent {
        /// Whom.
        peer: NodeId,
        /// How long was waited.
        within: Duration,
        /// What was tried.
        tried: Tried,
    },
    /// It answered and does not want us, or not now.
    #[error("node {} refused: {reason}", peer.short())]
    Refused {
        /// Who.
        peer: NodeId,
        /// What it said.
        reason: CloseReason,
    },
    /// It is there, would let us in, and has as many connections as it may have.
    #[error("node {} has as many connections as it may have", peer.short())]
    Full {
        /// Who.
        peer: NodeId,
    },
    /// It answered and does not speak this protocol, at least not now.
    #[error("node {} does not speak {protocol} now", peer.short())]
    NotSpoken {
        /// Who.
        peer: NodeId,
        /// What was asked for.
        protocol: Protocol,
    },
    /// This node does not admit the peer.
    #[error("node {} is not admitted here", peer.short())]
    NotAdmitted {
        /// Whom.
        peer: NodeId,
    },
    /// A node does not dial itself.
    #[error("a node does not dial itself")]
    Itself,
    /// Dials failed a moment ago; the next is due later.
    #[error("node {} is tried again in {retry_in:?}; the last try failed", peer.short())]
    Waiting {
        /// Whom.
        peer: NodeId,
        /// When the next dial is due.
        retry_in: Duration,
        /// Why the last one failed.
        source: Arc<Self>,
    },
    /// None of several ways led to it.
    #[error("node {} cannot be reached: {}", peer.short(), each(ways))]
    NoWay {
        /// Whom.
        peer: NodeId,
        /// What became of each way, nearest first.
        ways: Arc<[WayTried]>,
    },
    /// This end of the transport is closed.
    #[error("the transport is closed")]
    Closed,
    /// Somebody answered, but the keys could not be proven.
    #[error("the handshake with node {} failed", peer.short())]
    Handshake {
        /// Whom.
        peer: NodeId,
        /// What the transport says.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

impl DialError {
    /// Returns whether the node is there and only has no room for one more connection.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Waiting { source, .. } => source.is_full(),
            _ => false,
        }
    }

    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoAddress { .. } => ErrorKind::NotFound,
            Self::Refused { reason: CloseReason::NotAdmitted, .. } | Self::NotAdmitted { .. } => {
                ErrorKind::Denied
            }
            Self::Silent { .. }
            | Self::Refused { .. }
            | Self::NotSpoken { .. }
            | Self::NoWay { .. }
            | Self::Closed => ErrorKind::Unavailable,
            Self::Full { .. } => ErrorKind::Exhausted,
            // What held back the next dial is still so.
            Self::Waiting { source, .. } if source.is_full() => ErrorKind::Exhausted,
            Self::Waiting { .. } => ErrorKind::Unavailable,
            Self::Itself => ErrorKind::Invalid,
            Self::Handshake { .. } => ErrorKind::Unauthenticated,
        }
    }
}

/// Decides who is let in; asked on every dial and every accepted connection, after the peer has
/// proven its key and before anybody else sees the connection.
pub trait Admission: Send + Sync + fmt::Debug + 'static {
    /// Returns whether this node may speak this protocol with us. Called often, must not block.
    fn admits(&self, peer: NodeId, protocol: Protocol) -> bool;
}

/// Where an end of a transport is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The transport's name, such as `quic`.
    pub scheme: &'static str,
    /// Whose end it is.
    pub node: NodeId,
    /// Where others can reach it, as far as it knows.
    pub direct: Vec<SocketAddr>,
}

impl Place {
    /// Returns what another node needs in order to dial this one.
    pub fn peer_addr(&self) -> PeerAddr {
        PeerAddr { node: self.node, direct: self.direct.clone() }
    }
}

/// One node's end of a network.
///
/// Every implementation passes [`conformance::check`](crate::conformance::check).
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug + 'static {
    /// Returns where this end is now; it may change when the machine's network does.
    fn place(&self) -> Place;

    /// Connects to a node and waits until both ends have admitted each other.
    ///
    /// # Errors
    ///
    /// [`DialError`], at the latest after `within`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt.
    async fn dial(
        &self,
        to: &PeerAddr,
        protocol: Protocol,
        within: Duration,
    ) -> Result<Conn, DialError>;

    /// Waits for the next connection that a peer dialled; `None` when this end is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection.
    async fn accept(&self) -> Option<Conn>;

    /// Closes this end and tells the peers, `within` long at most; accepts and dials nothing
    /// afterwards.
    async fn close(&self, within: Duration);
}
