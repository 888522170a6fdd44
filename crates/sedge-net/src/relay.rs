//! Relays: nodes that pass on what two others cannot send to each other directly.
//!
//! A relay sees who talks to whom, when and how much; what is said stays encrypted between the two.
//! It serves the members of its swarm only, over TLS with a certificate of its node key, and tells
//! them the address that they are seen under, which lets two of them meet through their routers.

mod accept;
mod watch;

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use iroh::RelayUrl;
use iroh_relay::server::http_server::TlsConfig;
use iroh_relay::server::{Access, AccessControl, ClientRequest, QuicConfig, Server, ServerConfig};
use sedge_base::{ErrorKind, NodeId, TaskScope};
use sedge_trust::Identity;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

pub(crate) use self::watch::Watch;
use crate::tls;
use crate::transport::{Admission, Protocol};

/// Where a relay is, and whose certificate it must show.
///
/// Written as `NODE@HOST:PORT`; the port is the same for TCP and UDP.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RelayAddr {
    /// The node that runs it.
    pub node: NodeId,
    /// A name or an address (IPv6 in brackets).
    pub host: String,
    /// The port.
    pub port: u16,
}

impl RelayAddr {
    /// Makes the address of a relay that listens there.
    pub fn at(node: NodeId, addr: SocketAddr) -> Self {
        let host = match addr {
            SocketAddr::V4(addr) => addr.ip().to_string(),
            SocketAddr::V6(addr) => format!("[{}]", addr.ip()),
        };
        Self { node, host, port: addr.port() }
    }

    pub(crate) fn url(&self) -> Option<RelayUrl> {
        format!("https://{}:{}/", self.host, self.port).parse().ok()
    }
}

impl fmt::Display for RelayAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.node, self.host, self.port)
    }
}

impl From<RelayAddr> for String {
    fn from(addr: RelayAddr) -> Self {
        addr.to_string()
    }
}

/// A text that is no relay's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a relay is written NODE@HOST:PORT, with the whole id of its node")]
pub struct BadRelayAddr;

impl FromStr for RelayAddr {
    type Err = BadRelayAddr;

    fn from_str(text: &str) -> Result<Self, BadRelayAddr> {
        let (node, at) = text.split_once('@').ok_or(BadRelayAddr)?;
        let (host, port) = at.rsplit_once(':').ok_or(BadRelayAddr)?;
        let node = node.parse().map_err(|_| BadRelayAddr)?;
        let port = port.parse().ok().filter(|it| *it != 0).ok_or(BadRelayAddr)?;
        let plain =
            |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '-' | ':' | '[' | ']');
        if host.is_empty() || host.len() > 253 || !host.chars().all(plain) {
            return Err(BadRelayAddr);
        }
        let addr = Self { node, host: host.to_owned(), port };
        if addr.url().is_none() { Err(BadRelayAddr) } else { Ok(addr) }
    }
}

impl TryFrom<String> for RelayAddr {
    type Error = BadRelayAddr;

    fn try_from(text: String) -> Result<Self, BadRelayAddr> {
        text.parse()
    }
}

/// How a relay fares, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayState {
    /// Which.
    pub relay: RelayAddr,
    /// Whether it is used: it is until it failed three times in a row, and again once it answers.
    pub healthy: bool,
    /// Failures in a row.
    pub failures: u32,
    /// How long the last good check took, in microseconds: a TCP and a TLS handshake.
    pub took_us: Option<u64>,
    /// Why the last check failed.
    pub error: Option<String>,
}

/// Why a relay does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The system does not let it listen there.
    #[error("a relay cannot listen on {addr}: {reason}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// What was said.
        reason: String,
    },
    /// No certificate can be made of the node's key.
    #[error("cannot make the node's certificate")]
    Certificate(#[source] std::io::Error),
}

impl RelayError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Listen { .. } => ErrorKind::Unavailable,
            Self::Certificate(_) => ErrorKind::Internal,
        }
    }
}

/// A relay that this node runs. It stops when it is dropped.
#[derive(Debug)]
pub struct RelayServer {
    discovery: Server,
    visitors: Visitors,
    listening: SocketAddr,
}

/// Those who use a relay; all are told to go when this is dropped.
#[derive(Debug)]
struct Visitors(TaskScope);

impl Drop for Visitors {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl RelayServer {
    /// Starts a relay on a TCP and a UDP port of the same number; port 0 takes a free one.
    ///
    /// Whom `admission` admits to any protocol may use it.
    ///
    /// # Errors
    ///
    /// [`RelayError`] when the port is in use or not ours.
    pub async fn open(
        identity: &Identity,
        listen: SocketAddr,
        admission: Arc<dyn Admission>,
    ) -> Result<Self, RelayError> {
        let tls = tls::server(identity).map_err(RelayError::Certificate)?;
        let mut last = None;
        // A free TCP port may be taken over UDP.
        for _ in 0..if listen.port() == 0 { 8 } else { 1 } {
            match ports(listen, &tls).await {
                Ok((listener, addr, discovery)) => {
                    let visitors = Visitors(TaskScope::new());
                    let (service, tls) = (accept::service(Members(admission)), TlsConfig::new(tls));
                    let serve = |cancel| accept::serve(listener, service, tls, cancel);
                    visitors.0.spawn("relay", serve);
                    return Ok(Self { discovery, visitors, listening: addr });
                }
                Err(reason) => last = Some(reason),
            }
        }
        Err(RelayError::Listen { addr: listen, reason: last.unwrap_or_default() })
    }

    /// Returns where it listens.
    pub const fn listening(&self) -> SocketAddr {
        self.listening
    }

    /// Stops it and tells its clients, `within` long at most.
    pub async fn close(self, within: Duration) {
        let Self { discovery, visitors, .. } = self;
        let all = async {
            drop(visitors.0.shutdown(within).await);
            drop(discovery.shutdown().await);
        };
        // What hangs ends with its connections.
        drop(tokio::time::timeout(within, all).await);
    }
}

/// Takes a TCP port, and the same one for QUIC, by which nodes learn the address that they are seen
/// under.
async fn ports(
    listen: SocketAddr,
    tls: &Arc<rustls::ServerConfig>,
) -> Result<(TcpListener, SocketAddr, Server), String> {
    let listener = TcpListener::bind(listen).await.map_err(|it| it.to_string())?;
    let addr = listener.local_addr().map_err(|it| it.to_string())?;
    let mut quic = QuicConfig::new(addr);
    quic.server_config = Some((**tls).clone());
    let mut config = ServerConfig::default();
    config.quic = Some(quic);
    let discovery = Server::spawn(config).await.map_err(|it| it.to_string())?;
    Ok((listener, addr, discovery))
}

/// Lets in who is admitted.
#[derive(Debug)]
struct Members(Arc<dyn Admission>);

impl AccessControl for Members {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        let node = NodeId::from_bytes(*request.endpoint_id().as_bytes());
        match Protocol::ALL.into_iter().any(|it| self.0.admits(node, it)) {
            true => Access::Allow,
            false => Access::Deny { reason: Some("no member of this swarm".to_owned()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node() -> NodeId {
        NodeId::from_bytes([7; 32])
    }

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for at in ["203.0.113.9:7379", "[2001:db8::1]:443", "relay.example.org:7379"] {
            let text = format!("{}@{at}", node());
            let addr: RelayAddr = text.parse().unwrap();
            assert_eq!(addr.to_string(), text);
            assert_eq!(serde_json::to_value(&addr).unwrap(), text);
            assert!(addr.url().is_some());
        }
        let v6 = RelayAddr::at(node(), "[::1]:7".parse().unwrap());
        assert_eq!(v6.to_string().parse(), Ok(v6));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let whole = node();
        for text in [
            "",
            "@",
            "abc@h:1",
            &format!("{whole}@h"),
            &format!("{whole}@h:0"),
            &format!("{whole}@:1"),
            &format!("{whole}@a/b:1"),
            &format!("{whole}@a b:1"),
        ] {
            assert_eq!(text.parse::<RelayAddr>(), Err(BadRelayAddr), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in ".{0,300}") {
            drop(text.parse::<RelayAddr>());
        }
    }
}
