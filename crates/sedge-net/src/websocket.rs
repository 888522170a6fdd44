//! WebSocket over TLS, for where only the web's port goes through, by a proxy too.
//!
//! Nothing is read before TLS 1.3 stands: a listener refuses plain text. Its certificate holds the
//! node's own key, so the dialler knows whom it has reached without any authority; the dialler
//! proves its key inside, bound to this TLS connection.

mod messages;
mod proxy;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustls::pki_types::ServerName;
use rustls::{ConnectionCommon, ServerConfig};
use sedge_base::{ErrorKind, NodeId};
use sedge_trust::Identity;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::{accept_async_with_config, client_async_with_config};

use crate::conn::{Conn, PathClass};
use crate::door::{Door, Ends, Fault, Manner};
use crate::events::Metrics;
use crate::handshake::Carrier;
use crate::quic::Liveness;
use crate::tls;
use crate::transport::{Admission, DialError, PeerAddr, Place, Protocol, Transport};

const SCHEME: &str = "websocket";
/// What the client asks for; the address counts, this is said to proxies and logs.
const URL: &str = "wss://sedge/mesh";
/// Bytes of one stream that may be on their way.
const WINDOW: usize = 1 << 20;

/// How to open an end.
#[derive(Debug, Clone)]
pub struct WebSocketOptions {
    /// The node's keys.
    pub identity: Arc<Identity>,
    /// Where to listen; port 0 takes a free one. `None` dials only.
    pub listen: Option<SocketAddr>,
    /// An HTTP proxy that every dial goes through (`CONNECT`).
    pub proxy: Option<SocketAddr>,
    /// What is spoken from the start; see [`WebSocket::set_protocols`].
    pub protocols: Vec<Protocol>,
    /// How quickly a dead peer is noticed. The keep-alives also keep proxies from cutting an idle
    /// connection.
    pub liveness: Liveness,
    /// The most connections that peers may have with this end (those we dial are not counted).
    pub max_accepted: usize,
}

impl WebSocketOptions {
    /// Returns options for an end that speaks with members only, without a proxy.
    pub fn new(identity: Arc<Identity>, listen: Option<SocketAddr>) -> Self {
        let liveness =
            Liveness { keep_alive: Duration::from_secs(2), silent_after: Duration::from_secs(10) };
        let protocols = vec![Protocol::Mesh];
        Self { identity, listen, proxy: None, protocols, liveness, max_accepted: 256 }
    }
}

/// Why an end could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebSocketError {
    /// The system does not let us listen there.
    #[error("cannot listen on {addr}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// What it says.
        source: io::Error,
    },
    /// No certificate can be made of the node's key.
    #[error("cannot make the node's certificate")]
    Certificate(#[source] io::Error),
}

impl WebSocketError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                ErrorKind::Conflict
            }
            Self::Listen { .. } => ErrorKind::Unavailable,
            Self::Certificate(_) => ErrorKind::Internal,
        }
    }
}

/// Why nobody at an address proved a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Nobody answered in time.
    #[error("no answer from {addr} within {within:?}")]
    Silent {
        /// Where.
        addr: SocketAddr,
        /// How long was waited.
        within: Duration,
    },
    /// Somebody answered who has no node's key.
    #[error("no node answers at {addr}")]
    NoNode {
        /// Where.
        addr: SocketAddr,
        /// What the connection says.
        source: io::Error,
    },
}

impl KeyError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Silent { .. } => ErrorKind::Unavailable,
            Self::NoNode { .. } => ErrorKind::Unauthenticated,
        }
    }
}

/// One node's end of the WebSocket network.
#[derive(Debug)]
pub struct WebSocket {
    door: Arc<Door>,
    proxy: Option<SocketAddr>,
    listening: Option<SocketAddr>,
}

impl WebSocket {
    /// Opens an end.
    ///
    /// # Errors
    ///
    /// [`WebSocketError`] when the address is in use or not ours.
    pub async fn bind(
        options: WebSocketOptions,
        admission: Arc<dyn Admission>,
    ) -> Result<Self, WebSocketError> {
        let WebSocketOptions { identity, listen, proxy, protocols, liveness, max_accepted } =
            options;
        let config = tls::server(&identity).map_err(WebSocketError::Certificate)?;
        let manner = Manner { window: WINDOW, sealed: false, liveness };
        let door = Arc::new(Door::new(identity, admission, protocols, manner, max_accepted));
        let mut listening = None;
        if let Some(addr) = listen {
            let failed = |source| WebSocketError::Listen { addr, source };
            let listener = TcpListener::bind(addr).await.map_err(failed)?;
            listening = Some(listener.local_addr().map_err(failed)?);
            let here = Arc::clone(&door);
            let scope = door.scope.clone();
            scope.spawn("websocket acceptor", |cancel| async move {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => {}
                    () = accept_all(&here, &listener, &config) => {}
                }
            });
        }
        Ok(Self { door, proxy, listening })
    }

    /// Asks who listens at an address, through an HTTP proxy if there is one: whoever answers proves that
    /// the key is its own. That says nothing about whether it is the node that the caller means.
    ///
    /// # Errors
    ///
    /// [`KeyError`], at the latest after `within`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt.
    pub async fn key_at(
        addr: SocketAddr,
        by: Option<SocketAddr>,
        within: Duration,
    ) -> Result<NodeId, KeyError> {
        let silent = KeyError::Silent { addr, within };
        let no_node = |source| KeyError::NoNode { addr, source };
        let asked = async {
            let Ok(tcp) = reach(addr, by).await else { return Err(silent) };
            let name =
                ServerName::try_from(tls::NAME).map_err(|err| no_node(io::Error::other(err)))?;
            let (config, learned) = tls::learner().map_err(no_node)?;
            TlsConnector::from(config).connect(name, tcp).await.map_err(no_node)?;
            let none = || no_node(io::ErrorKind::InvalidData.into());
            learned.get().copied().ok_or_else(none)
        };
        let asked = tokio::time::timeout(within, Box::pin(asked)).await;
        asked.unwrap_or(Err(KeyError::Silent { addr, within }))
    }

    /// Switches protocols on and off for connections that others begin from now on.
    pub fn set_protocols(&self, protocols: &[Protocol]) {
        self.door.set_protocols(protocols);
    }

    /// Returns the counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.door.metrics
    }

    /// Tries the addresses one after the other; the last fault counts.
    async fn connect(&self, to: &PeerAddr) -> Result<(PathClass, Carrier, Ends), Fault> {
        let mut fault = Fault::NoAddress;
        for addr in &to.direct {
            match self.connect_one(to, *addr).await {
                Ok(connected) => return Ok(connected),
                Err(err) => fault = err,
            }
        }
        Err(fault)
    }

    async fn connect_one(
        &self,
        to: &PeerAddr,
        addr: SocketAddr,
    ) -> Result<(PathClass, Carrier, Ends), Fault> {
        let tcp = reach(addr, self.proxy).await.map_err(|_| Fault::Silent)?;
        let path = match self.proxy {
            None => PathClass::of(addr.ip()),
            Some(_) => PathClass::Relayed,
        };
        let name = ServerName::try_from(tls::NAME).map_err(io::Error::other)?;
        let secured = TlsConnector::from(tls::client(to.node)?).connect(name, tcp).await?;
        let carrier = carrier(secured.get_ref().1)?;
        let made = client_async_with_config(URL, secured, Some(messages::limits())).await;
        let (socket, _) = made.map_err(messages::broken)?;
        Ok((path, carrier, messages::ends(socket)))
    }
}

/// Opens a TCP connection, through an HTTP proxy if there is one.
async fn reach(addr: SocketAddr, by: Option<SocketAddr>) -> io::Result<TcpStream> {
    let mut tcp = TcpStream::connect(by.unwrap_or(addr)).await?;
    tcp.set_nodelay(true)?;
    if by.is_some() {
        proxy::connect(&mut tcp, addr).await?;
    }
    Ok(tcp)
}

async fn accept_all(door: &Arc<Door>, listener: &TcpListener, config: &Arc<ServerConfig>) {
    // Errors such as "too many open files" pass; a pause keeps them from filling the processor.
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    loop {
        match listener.accept().await {
            Ok((tcp, from)) => {
                let config = Arc::clone(config);
                let path = PathClass::of(from.ip());
                door.greet(Some(from), path, move || serve(tcp, config));
            }
            Err(_) => {
                door.failed(None, "the system gives no socket");
                pause.tick().await;
            }
        }
    }
}

async fn serve(tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<(Carrier, Ends)> {
    tcp.set_nodelay(true)?;
    let secured = TlsAcceptor::from(config).accept(tcp).await?;
    let carrier = carrier(secured.get_ref().1)?;
    let made = accept_async_with_config(secured, Some(messages::limits())).await;
    Ok((carrier, messages::ends(made.map_err(messages::broken)?)))
}

/// Returns what binds a proof to this TLS connection.
fn carrier<Side>(tls: &ConnectionCommon<Side>) -> io::Result<Carrier> {
    let binding =
        tls.export_keying_material([0; 32], tls::EXPORTER, Some(&[])).map_err(io::Error::other)?;
    Ok(Carrier { scheme: SCHEME, binding: binding.to_vec() })
}

#[async_trait]
impl Transport for WebSocket {
    fn place(&self) -> Place {
        let direct = self.listening.into_iter().collect();
        Place { scheme: SCHEME, node: self.door.identity.node_id(), direct }
    }

    async fn dial(
        &self,
        to: &PeerAddr,
        protocol: Protocol,
        within: Duration,
    ) -> Result<Conn, DialError> {
        // The state of a TLS handshake is large.
        self.door.dial(to, protocol, within, Box::pin(self.connect(to))).await
    }

    async fn accept(&self) -> Option<Conn> {
        self.door.accept().await
    }

    async fn close(&self, within: Duration) {
        self.door.close(within).await;
    }
}

/// Feeds a proxy's answer, or messages, to their readers; returns whether one took them.
#[cfg(any(test, fuzzing))]
pub(crate) async fn feed(bytes: &[u8]) -> bool {
    proxy::feed(bytes) || messages::feed(bytes).await
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        self.door.scope.stop();
    }
}
