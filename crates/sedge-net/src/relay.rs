//! Relays: nodes that pass on what two others cannot send to each other directly.
//!
//! A relay sees who talks to whom, when and how much; what is said stays encrypted between the two.
//! It serves the members of its swarm only, over TLS with a certificate of its node key, and tells
//! them the address that they are seen under, which lets two of them meet through their routers.

mod watch;

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use iroh::RelayUrl;
use iroh_relay::server::{
    Access, AccessControl, CertConfig, ClientRequest, QuicConfig, RelayConfig, Server,
    ServerConfig, TlsConfig,
};
use sedge_base::{ErrorKind, NodeId};
use sedge_trust::Identity;
use serde::{Deserialize, Serialize};

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
    server: Server,
    listening: SocketAddr,
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
        let cert = || CertConfig::Manual { server_config: (*tls).clone() };
        let mut last = None;
        // A free TCP port may be taken over UDP.
        for _ in 0..if listen.port() == 0 { 8 } else { 1 } {
            let port = match listen.port() {
                0 => free_port(listen),
                port => port,
            };
            let addr = SocketAddr::new(listen.ip(), port);
            // What would run without TLS is for probes that nobody of ours makes.
            let mut relay = RelayConfig::new(([127, 0, 0, 1], 0));
            relay.tls = Some(TlsConfig::new(addr, cert()));
            relay.access = Arc::new(Members(Arc::clone(&admission)));
            let mut config = ServerConfig::default();
            config.relay = Some(relay);
            config.quic = Some(QuicConfig::new(addr));
            match Server::spawn(config).await {
                Ok(server) => return Ok(Self { server, listening: addr }),
                Err(error) => last = Some(error.to_string()),
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
        drop(tokio::time::timeout(within, self.server.shutdown()).await);
    }
}

/// Returns a TCP port that is free now.
fn free_port(listen: SocketAddr) -> u16 {
    let taken = std::net::TcpListener::bind(listen).and_then(|it| it.local_addr());
    taken.map_or(0, |it| it.port())
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
