//! QUIC between nodes: an endpoint that is addressed by the node's key, with our own settings only.
//!
//! No public relay, no port mapper: packets go to the addresses and relays that the caller names, and
//! to what the local network announces if discovery is on.

mod link;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use iroh::dns::DnsResolver;
use iroh::endpoint::{
    AfterHandshakeOutcome, BindOpts, ConnectError, ConnectWithOptsError, ConnectingError,
    Connection, ConnectionError, PortmapperConfig, QuicTransportConfig, TransportErrorCode, VarInt,
    presets,
};
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMap, RelayMode, SecretKey, TransportAddr};
use iroh_relay::tls::CaTlsConfig;
use sedge_base::{Cancel, ErrorKind, NodeId, Secret, TaskScope};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};

use self::link::{QuicLink, why_ended};
use crate::conn::{CloseReason, Conn, ConnError, Side};
use crate::events::{DialFailed, Ended, HandshakeFailed, Metrics, Opened, Refused};
use crate::lan::{Lan, LanError, LanOptions};
use crate::relay::{RelayAddr, RelayState, Watch};
use crate::tls;
use crate::transport::{Admission, DialError, Heard, PeerAddr, Place, Protocol, Transport, Tried};

/// How long an accepted connection may take to prove its key.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Accepted connections that are proving their key at the same time.
const HANDSHAKES: usize = 64;
/// Connections that are admitted and wait for [`Transport::accept`].
const WAITING: usize = 64;
/// How long closing waits for the port; a connection that somebody still holds keeps it longer.
const FREED: Duration = Duration::from_millis(250);
/// The byte by which the accepting side says that it admitted the dialling one.
const WELCOME: u8 = 1;

/// How quickly a dead peer is noticed, and what that costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Liveness {
    /// How often an idle connection says that it is alive. One small packet each way.
    pub keep_alive: Duration,
    /// After how much silence the peer is given up. The shorter value of both ends counts.
    pub silent_after: Duration,
}

impl Default for Liveness {
    /// A dead peer is noticed within a second, at the latest after the sum of both times; three
    /// lost keep-alives in a row are survived.
    fn default() -> Self {
        Self { keep_alive: Duration::from_millis(150), silent_after: Duration::from_millis(700) }
    }
}

/// How to open an end.
#[derive(Debug, Clone)]
pub struct QuicOptions {
    /// The seed of the node's Ed25519 key (RFC 8032, 32 bytes).
    pub secret: Secret<[u8; 32]>,
    /// Where to listen: at most one IPv4 and one IPv6 address; port 0 takes a free one. Without any
    /// it is reached, and reaches others, through relays only.
    pub listen: Vec<SocketAddr>,
    /// What is spoken from the start; see [`Quic::set_protocols`].
    pub protocols: Vec<Protocol>,
    /// Announce this node on the local network and listen to others; `None` keeps silent.
    pub lan: Option<LanOptions>,
    /// How quickly a dead peer is noticed.
    pub liveness: Liveness,
    /// The most connections that peers may have with this end (those we dial are not counted).
    pub max_accepted: usize,
    /// Streams that a peer may have open on one connection.
    pub max_streams: u32,
}

impl QuicOptions {
    /// Returns options for an end that listens on a free port of these addresses, speaks with
    /// members only, and keeps silent on the local network.
    pub fn new(secret: Secret<[u8; 32]>, listen: Vec<SocketAddr>) -> Self {
        Self {
            secret,
            listen,
            protocols: vec![Protocol::Mesh],
            lan: None,
            liveness: Liveness::default(),
            max_accepted: 256,
            max_streams: 256,
        }
    }
}

/// Why an end could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// There is more than one address of a family.
    #[error("an end listens on one IPv4 address, one IPv6 address or both")]
    Addresses,
    /// Somebody else has the port.
    #[error("{} is in use", list(addrs))]
    InUse {
        /// Where we wanted to listen.
        addrs: Vec<SocketAddr>,
    },
    /// The system does not let us listen there.
    #[error("cannot listen on {}", list(addrs))]
    Listen {
        /// Where we wanted to listen.
        addrs: Vec<SocketAddr>,
        /// What it says.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The times contradict each other or are out of range.
    #[error("keep-alive ({:?}) must be shorter than the silence ({:?}), and both below 15 s", .0.keep_alive, .0.silent_after)]
    Liveness(Liveness),
    /// The local network cannot be asked.
    #[error(transparent)]
    Lan(#[from] LanError),
}

impl BindError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Addresses | Self::Liveness(_) => ErrorKind::Invalid,
            Self::InUse { .. } => ErrorKind::Conflict,
            Self::Listen { .. } => ErrorKind::Unavailable,
            Self::Lan(err) => err.kind(),
        }
    }
}

fn list(addrs: &[SocketAddr]) -> String {
    addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The endpoint until it is closed: whoever holds a clone holds its port.
pub(crate) type Held = Arc<RwLock<Option<Endpoint>>>;

/// Returns the endpoint, or `None` when it is closed.
pub(crate) fn held(endpoint: &Held) -> Option<Endpoint> {
    endpoint.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// One node's end of the QUIC network. Never open two with one key.
#[derive(Debug)]
pub struct Quic {
    node: NodeId,
    endpoint: Held,
    admission: Arc<dyn Admission>,
    lan: Option<Lan>,
    relays: Arc<Watch>,
    /// Handed from waiter to waiter; empty while one waits.
    accepted: tokio::sync::Mutex<mpsc::Receiver<Conn>>,
    metrics: Arc<Metrics>,
    scope: TaskScope,
}

impl Quic {
    /// Opens an end.
    ///
    /// # Errors
    ///
    /// [`BindError`] when an address is in use or not ours, or the local network is to be asked
    /// and cannot be.
    pub async fn bind(
        options: QuicOptions,
        admission: Arc<dyn Admission>,
    ) -> Result<Self, BindError> {
        let QuicOptions { secret, listen, protocols, lan, liveness, max_accepted, max_streams } =
            options;
        let metrics = Arc::new(Metrics::default());
        let gate = Gate { admission: Arc::clone(&admission), metrics: Arc::clone(&metrics) };
        let known = tls::Known::default();
        let pins = Arc::clone(&known);
        let relay_tls = CaTlsConfig::custom_server_cert_verifier(Arc::new(move |provider| {
            Ok(tls::verifier(Arc::clone(&pins), provider))
        }));
        let mut builder = Endpoint::builder(presets::Minimal)
            .secret_key(SecretKey::from_bytes(secret.reveal()))
            .alpns(alpns(&protocols))
            .clear_ip_transports()
            // None until somebody names one: see `set_relays`.
            .relay_mode(RelayMode::Custom(RelayMap::empty()))
            .ca_tls_config(relay_tls)
            .clear_address_lookup()
            .portmapper_config(PortmapperConfig::Disabled)
            // Relays may be named by host: only the name servers of this machine are asked.
            .dns_resolver(DnsResolver::builder().with_system_defaults().disable_fallback().build())
            .transport_config(transport_config(liveness, max_streams)?)
            .hooks(gate);
        let (v4, v6) = (listen.iter().filter(|it| it.is_ipv4()).count(), listen.len());
        if v4 > 1 || v6 - v4 > 1 {
            return Err(BindError::Addresses);
        }
        for addr in &listen {
            builder = builder
                .bind_addr_with_opts(*addr, BindOpts::default())
                .map_err(|_| BindError::Addresses)?;
        }
        let bound = builder.bind().await;
        let endpoint = bound.map_err(|err| bind_error(listen, Arc::new(err)))?;
        let incoming = endpoint.clone();
        let endpoint: Held = Arc::new(RwLock::new(Some(endpoint)));
        let scope = TaskScope::new();
        let lan = match lan {
            Some(options) => Some(Lan::start((&incoming, &endpoint), &options, &scope).await?),
            None => None,
        };
        let relays = Watch::start(Arc::clone(&endpoint), known, &scope);
        let (queue, accepted) = mpsc::channel(WAITING);
        let acceptor = Acceptor {
            queue,
            metrics: Arc::clone(&metrics),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
            places: Arc::new(Semaphore::new(max_accepted)),
            scope: scope.clone(),
        };
        let node = NodeId::from_bytes(*incoming.id().as_bytes());
        scope.spawn("quic acceptor", |cancel| acceptor.run(incoming, cancel));
        Ok(Self {
            node,
            endpoint,
            admission,
            lan,
            relays,
            accepted: tokio::sync::Mutex::new(accepted),
            metrics,
            scope,
        })
    }

    /// Switches protocols on and off for connections that others begin from now on; a protocol
    /// that is off cannot even be asked for.
    pub fn set_protocols(&self, protocols: &[Protocol]) {
        if let Some(endpoint) = held(&self.endpoint) {
            endpoint.set_alpns(alpns(protocols));
        }
    }

    /// Uses these relays from now on and no others, at most 32.
    pub async fn set_relays(&self, relays: &BTreeSet<RelayAddr>) {
        self.relays.set(relays).await;
    }

    /// Returns how each relay fares.
    pub fn relays(&self) -> Vec<RelayState> {
        self.relays.list()
    }

    /// Returns the local network, if discovery is on.
    pub const fn lan(&self) -> Option<&Lan> {
        self.lan.as_ref()
    }

    /// Returns the counters.
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Returns where this end listens, as the system says: an unspecified address stays unspecified.
    pub fn listening(&self) -> Vec<SocketAddr> {
        held(&self.endpoint).map_or_else(Vec::new, |it| it.bound_sockets())
    }

    async fn dial_by(
        &self,
        to: &PeerAddr,
        protocol: Protocol,
        deadline: Instant,
    ) -> Result<Conn, DialFault> {
        let Some(endpoint) = held(&self.endpoint) else { return Err(DialFault::Closed) };
        let relays = self.relays.urls();
        let lan = match &self.lan {
            None => Heard::Off,
            // Only a node without any known way is worth waiting for an announcement.
            Some(lan) if to.direct.is_empty() && relays.is_empty() => {
                lan.find(to.node, deadline).await
            }
            Some(lan) => lan.heard(to.node),
        };
        let shown = relays.iter().filter_map(|it| it.host_str().map(str::to_owned)).collect();
        let tried = Tried { direct: to.direct.clone(), lan, relays: shown };
        let mut addrs = to.direct.clone();
        if let Heard::At(heard) = &tried.lan {
            addrs.extend(heard.iter().filter(|it| !to.direct.contains(it)));
        }
        if addrs.is_empty() && relays.is_empty() {
            return Err(DialFault::NoAddress(tried));
        }
        let Ok(id) = EndpointId::from_bytes(to.node.as_bytes()) else {
            return Err(DialFault::NoAddress(tried));
        };
        let addrs = addrs.into_iter().map(TransportAddr::Ip);
        let addrs = addrs.chain(relays.into_iter().map(TransportAddr::Relay));
        let addr = EndpointAddr::from_parts(id, addrs);
        let connect = endpoint.connect(addr, protocol.alpn().as_bytes());
        let conn = match timeout_at(deadline, connect).await {
            Err(_) => return Err(DialFault::Silent(tried)),
            Ok(Err(err)) => return Err(connect_fault(err, tried)),
            Ok(Ok(conn)) => conn,
        };
        match timeout_at(deadline, welcomed(&conn)).await {
            Err(_) => return Err(DialFault::Silent(tried)),
            Ok(Err(err)) => return Err(connection_fault(err, tried)),
            Ok(Ok(())) => {}
        }
        Ok(open_conn(conn, (to.node, protocol), None, &self.metrics, &self.scope))
    }
}

#[async_trait]
impl Transport for Quic {
    fn place(&self) -> Place {
        let endpoint = held(&self.endpoint);
        let direct = endpoint.map_or_else(Vec::new, |it| it.addr().ip_addrs().copied().collect());
        Place { scheme: "quic", node: self.node, direct }
    }

    async fn dial(
        &self,
        to: &PeerAddr,
        protocol: Protocol,
        within: Duration,
    ) -> Result<Conn, DialError> {
        let peer = to.node;
        let started = Instant::now();
        let fault = if !self.admission.admits(peer, protocol) {
            DialFault::NotAdmitted
        } else {
            match self.dial_by(to, protocol, started + within).await {
                Ok(conn) => return Ok(conn),
                Err(fault) => fault,
            }
        };
        let error = match fault {
            DialFault::NoAddress(tried) => DialError::NoAddress { peer, tried },
            DialFault::Silent(tried) => {
                DialError::Silent { peer, within: started.elapsed(), tried }
            }
            DialFault::Refused(CloseReason::Full) => DialError::Full { peer },
            DialFault::Refused(reason) => DialError::Refused { peer, reason },
            DialFault::NotSpoken => DialError::NotSpoken { peer, protocol },
            DialFault::NotAdmitted => DialError::NotAdmitted { peer },
            DialFault::Itself => DialError::Itself,
            DialFault::Closed => DialError::Closed,
            DialFault::Handshake(source) => DialError::Handshake { peer, source },
        };
        DialFailed { peer, took: started.elapsed(), error: &error }.emit(&self.metrics);
        Err(error)
    }

    async fn accept(&self) -> Option<Conn> {
        self.accepted.lock().await.recv().await
    }

    async fn close(&self, within: Duration) {
        let deadline = Instant::now() + within;
        // Every connection's watcher says goodbye first; the endpoint would close without a reason.
        drop(self.scope.shutdown(within).await);
        let endpoint = self.endpoint.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(endpoint) = endpoint {
            let ports = endpoint.bound_sockets();
            drop(timeout_at(deadline, endpoint.close()).await);
            drop(endpoint);
            let deadline = deadline.min(Instant::now() + FREED);
            drop(timeout_at(deadline, freed(&ports)).await);
        }
    }
}

impl Drop for Quic {
    fn drop(&mut self) {
        self.scope.stop();
    }
}

/// Why a dial failed, before the peer's name is put to it.
enum DialFault {
    NoAddress(Tried),
    Silent(Tried),
    Refused(CloseReason),
    NotSpoken,
    NotAdmitted,
    Itself,
    Closed,
    Handshake(Arc<dyn std::error::Error + Send + Sync>),
}

fn connect_fault(err: ConnectError, tried: Tried) -> DialFault {
    match err {
        ConnectError::Connect { source, .. } => match source {
            ConnectWithOptsError::SelfConnect { .. } => DialFault::Itself,
            ConnectWithOptsError::EndpointClosed { .. } => DialFault::Closed,
            ConnectWithOptsError::LocallyRejected { .. } => DialFault::NotAdmitted,
            other => DialFault::Handshake(Arc::new(other)),
        },
        ConnectError::Connecting { source, .. } => match source {
            ConnectingError::ConnectionError { source, .. } => connection_fault(source, tried),
            ConnectingError::LocallyRejected { .. } => DialFault::NotAdmitted,
            other => DialFault::Handshake(Arc::new(other)),
        },
        ConnectError::Connection { source, .. } => connection_fault(source, tried),
        other => DialFault::Handshake(Arc::new(other)),
    }
}

fn connection_fault(err: ConnectionError, tried: Tried) -> DialFault {
    /// TLS alert 120, RFC 7301: no application protocol in common.
    const NO_APPLICATION_PROTOCOL: u8 = 120;
    match &err {
        ConnectionError::TimedOut => DialFault::Silent(tried),
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL) =>
        {
            DialFault::NotSpoken
        }
        ConnectionError::ApplicationClosed(close) => DialFault::Refused(link::reason(close)),
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            DialFault::Refused(CloseReason::Full)
        }
        ConnectionError::LocallyClosed => DialFault::Closed,
        _ => DialFault::Handshake(Arc::new(err)),
    }
}

/// Asks the roster as soon as a key is proven, whoever dialled.
#[derive(Debug)]
struct Gate {
    admission: Arc<dyn Admission>,
    metrics: Arc<Metrics>,
}

impl iroh::endpoint::EndpointHooks for Gate {
    async fn after_handshake(&self, conn: &Connection) -> AfterHandshakeOutcome {
        let peer = NodeId::from_bytes(*conn.remote_id().as_bytes());
        if let Some(protocol) = Protocol::from_alpn(conn.alpn()) {
            if self.admission.admits(peer, protocol) {
                return AfterHandshakeOutcome::accept();
            }
            Refused { peer, protocol }.emit(&self.metrics);
        }
        let reason = CloseReason::NotAdmitted;
        AfterHandshakeOutcome::Reject {
            error_code: VarInt::from_u32(reason.code()),
            reason: reason.to_string().into_bytes(),
        }
    }
}

/// Lets connections in, each on its own, so that a slow one delays nobody.
#[derive(Debug, Clone)]
struct Acceptor {
    queue: mpsc::Sender<Conn>,
    metrics: Arc<Metrics>,
    handshakes: Arc<Semaphore>,
    places: Arc<Semaphore>,
    scope: TaskScope,
}

impl Acceptor {
    async fn run(self, endpoint: Endpoint, cancel: Cancel) {
        loop {
            let incoming = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                incoming = endpoint.accept() => incoming,
            };
            let Some(incoming) = incoming else { return };
            let Ok(turn) = Arc::clone(&self.handshakes).try_acquire_owned() else {
                let from = link::sender(&incoming);
                incoming.refuse();
                HandshakeFailed { from, why: "too many at once" }.emit(&self.metrics);
                continue;
            };
            let this = self.clone();
            self.scope.spawn("quic handshake", move |cancel| async move {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => {}
                    () = this.greet(incoming, turn) => {}
                }
            });
        }
    }

    async fn greet(self, incoming: iroh::endpoint::Incoming, turn: OwnedSemaphorePermit) {
        let deadline = Instant::now() + HANDSHAKE;
        let from = link::sender(&incoming);
        let failed = |why| HandshakeFailed { from, why }.emit(&self.metrics);
        let conn = match timeout_at(deadline, async { incoming.accept()?.await }).await {
            Err(_) => return failed("no proof in time"),
            // The gate has counted it and told the peer.
            Ok(Err(ConnectingError::LocallyRejected { .. })) => return,
            Ok(Err(_)) => return failed("no proof"),
            Ok(Ok(conn)) => conn,
        };
        let peer = NodeId::from_bytes(*conn.remote_id().as_bytes());
        let Some(protocol) = Protocol::from_alpn(conn.alpn()) else {
            return failed("unknown protocol");
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            link::close(&conn, CloseReason::Full);
            return Refused { peer, protocol }.emit(&self.metrics);
        };
        if !matches!(timeout_at(deadline, welcome(&conn)).await, Ok(Ok(()))) {
            return failed("it left");
        }
        drop(turn);
        let conn = open_conn(conn, (peer, protocol), Some(place), &self.metrics, &self.scope);
        // Nobody left who accepts: the connection is dropped and so closed.
        drop(self.queue.send(conn).await);
    }
}

/// Makes our own connection of a proven and admitted one, and reports its end.
fn open_conn(
    conn: Connection,
    (peer, protocol): (NodeId, Protocol),
    place: Option<OwnedSemaphorePermit>,
    metrics: &Arc<Metrics>,
    scope: &TaskScope,
) -> Conn {
    let ended = conn.weak_handle();
    let link = QuicLink::new(conn, peer, protocol, place);
    let conn = Conn::new(Arc::new(link));
    let dialled_by = conn.facts().dialled_by;
    Opened { peer, protocol, dialled_by, path: conn.path() }.emit(metrics);
    let metrics = Arc::clone(metrics);
    scope.spawn("quic end", move |cancel| async move {
        tokio::select! {
            biased;
            () = cancel.cancelled() => {
                if let Some(conn) = ended.upgrade() {
                    link::close(&conn, CloseReason::Shutdown);
                }
            }
            closed = ended.closed() => {
                let why = closed.map_or(ConnError::ClosedHere, |it| why_ended(it.reason));
                Ended { peer, why: &why }.emit(&metrics);
            }
        }
    });
    conn
}

/// Tells the dialling side that it is admitted: in TLS 1.3 it is done before we have seen its key.
async fn welcome(conn: &Connection) -> io::Result<()> {
    let mut send = conn.open_uni().await?;
    send.write_all(&[WELCOME]).await?;
    send.finish().map_err(io::Error::other)
}

async fn welcomed(conn: &Connection) -> Result<(), ConnectionError> {
    let mut recv = conn.accept_uni().await?;
    let mut byte = [0];
    match recv.read_exact(&mut byte).await {
        Ok(()) if byte == [WELCOME] => Ok(()),
        _ => match conn.close_reason() {
            Some(err) => Err(err),
            None => {
                link::close(conn, CloseReason::Protocol);
                Err(ConnectionError::Reset)
            }
        },
    }
}

fn alpns(protocols: &[Protocol]) -> Vec<Vec<u8>> {
    protocols.iter().map(|it| it.alpn().as_bytes().to_vec()).collect()
}

fn transport_config(liveness: Liveness, streams: u32) -> Result<QuicTransportConfig, BindError> {
    let Liveness { keep_alive, silent_after } = liveness;
    let limit = Duration::from_secs(15);
    let idle = silent_after.try_into().ok();
    if keep_alive >= silent_after || silent_after > limit || keep_alive.is_zero() || idle.is_none()
    {
        return Err(BindError::Liveness(liveness));
    }
    Ok(QuicTransportConfig::builder()
        .max_idle_timeout(idle)
        .default_path_max_idle_timeout(silent_after)
        .keep_alive_interval(keep_alive)
        .default_path_keep_alive_interval(keep_alive.min(Duration::from_secs(5)))
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .datagram_receive_buffer_size(None)
        .build())
}

fn bind_error(
    addrs: Vec<SocketAddr>,
    source: Arc<dyn std::error::Error + Send + Sync>,
) -> BindError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(source.as_ref());
    while let Some(err) = cause {
        let in_use =
            err.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::AddrInUse);
        if in_use {
            return BindError::InUse { addrs };
        }
        cause = err.source();
    }
    BindError::Listen { addrs, source }
}

/// Waits until nobody listens on these ports any more: the endpoint's sockets are dropped by its
/// own background work a moment after it is closed, and nothing tells when.
async fn freed(ports: &[SocketAddr]) {
    let mut every = tokio::time::interval(Duration::from_millis(1));
    for port in ports {
        while std::net::UdpSocket::bind(port).is_err() {
            every.tick().await;
        }
    }
}

/// Returns which end began a connection.
fn side(conn: &Connection) -> Side {
    if conn.side().is_client() { Side::Us } else { Side::Peer }
}
