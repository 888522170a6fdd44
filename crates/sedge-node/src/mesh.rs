//! This node's end of the mesh: closed until there is somebody to talk to.
//!
//! Invariant: nothing listens beyond loopback while the node is alone and nobody is being paired.

mod config;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sedge_base::{ErrorKind, NodeId, Secret, TaskScope};
use sedge_capability::Failure;
use sedge_net::{
    Admission, BindError, CloseReason, Conn, DialError, LanOptions, PathClass, PeerAddr, Pool,
    PoolOptions, Protocol, Quic, QuicOptions, RelayAddr, RelayState, Transport, Ways,
};
use tracing::{info, warn};

pub use self::config::{MeshConfig, MeshSection};
use crate::node::Node;
use crate::serve;
use crate::wire::{WireError, Writer};

/// The code when a node is there and has no room for one more connection.
pub(crate) const NODE_FULL: &str = "node_full";

/// How long a dial may take: a node on the local network answers in milliseconds.
const DIAL_WITHIN: Duration = Duration::from_millis(1500);

/// So many connections that nobody uses are kept, or more if small swarms are larger.
const IDLE_MOST: usize = 8;

/// A network that a node is put on instead of the machine's: that of a simulation.
pub trait Network: Send + Sync + std::fmt::Debug + 'static {
    /// Makes a node's end of it; it speaks every [`Protocol`], and the admission says when.
    fn join(&self, node: NodeId, admission: Arc<dyn Admission>) -> Arc<dyn Transport>;
}

impl Network for sedge_net::MemoryNet {
    fn join(&self, node: NodeId, admission: Arc<dyn Admission>) -> Arc<dyn Transport> {
        Arc::new(Self::join(self, node, &Protocol::ALL, admission))
    }
}

/// Where the mesh is to be found, as checked.
#[derive(Debug)]
pub(crate) struct MeshOptions {
    pub(crate) listen: SocketAddr,
    /// Whether the owner asked for this very port; otherwise a taken one is replaced.
    pub(crate) exact: bool,
    pub(crate) lan_discovery: bool,
    /// The folder where the nodes of this machine and user meet.
    pub(crate) meeting: Option<PathBuf>,
    pub(crate) network: Option<Arc<dyn Network>>,
}

/// The switch of the mesh: open or closed.
#[derive(Debug)]
pub(crate) struct Mesh {
    options: MeshOptions,
    open: RwLock<Option<Arc<Open>>>,
    /// Held while opening or closing.
    gate: tokio::sync::Mutex<()>,
}

/// The open end.
#[derive(Debug)]
pub(crate) struct Open {
    /// Every way there is, as one.
    transport: Arc<dyn Transport>,
    /// The way between machines; `None` in a simulation.
    quic: Option<Arc<Quic>>,
    pub(crate) pool: Pool,
    /// Why the local network cannot be asked, if it cannot.
    pub(crate) lan_fault: Option<String>,
    local_fault: Option<String>,
    scope: TaskScope,
}

/// The ends of a mesh that opens.
struct Bound {
    transport: Arc<dyn Transport>,
    quic: Option<Arc<Quic>>,
    lan_fault: Option<String>,
    local_fault: Option<String>,
}

/// What the mesh does without.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Why the local network cannot be asked.
    pub(crate) lan: Option<String>,
    /// Why nodes of this machine are reached as others are.
    pub(crate) local: Option<String>,
    /// The port that was wanted, and the one that was free.
    pub(crate) port: Option<(u16, u16)>,
}

impl Open {
    /// Returns the way between machines; `None` on a network that was given.
    pub(crate) const fn quic(&self) -> Option<&Arc<Quic>> {
        self.quic.as_ref()
    }

    /// Returns what the end's background work belongs to.
    pub(crate) const fn scope(&self) -> &TaskScope {
        &self.scope
    }

    /// Returns the way to a stranger whom this node wants to pair with.
    pub(crate) fn to_strangers(&self) -> Arc<dyn Transport> {
        match &self.quic {
            Some(quic) => Arc::clone(quic) as Arc<dyn Transport>,
            None => Arc::clone(&self.transport),
        }
    }
}

impl Mesh {
    pub(crate) fn new(mut options: MeshOptions) -> Self {
        // On loopback there is no local network to ask.
        options.lan_discovery &= !options.listen.ip().is_loopback();
        Self { options, open: RwLock::new(None), gate: tokio::sync::Mutex::new(()) }
    }

    /// Returns the open end, if it is open.
    pub(crate) fn current(&self) -> Option<Arc<Open>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, open: Option<Arc<Open>>) -> Option<Arc<Open>> {
        let mut current = self.open.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, open)
    }

    /// Opens the end if it is closed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] when the port is in use, and whatever else the system says.
    ///
    /// The future is boxed because it leads to itself: an open end serves pairing, which may open it.
    pub(crate) fn open<'a>(
        &'a self,
        node: &'a Arc<Node>,
    ) -> BoxFuture<'a, Result<Arc<Open>, Failure>> {
        Box::pin(self.open_now(node))
    }

    async fn open_now(&self, node: &Arc<Node>) -> Result<Arc<Open>, Failure> {
        let _gate = self.gate.lock().await;
        if let Some(open) = self.current() {
            return Ok(open);
        }
        let Bound { transport, quic, lan_fault, local_fault } = self.bind(node).await?;
        let scope = node.scope.child();
        let (pool, mut served) = Pool::new(Arc::clone(&transport), pool_options(node), &scope);
        let open = Arc::new(Open {
            transport: Arc::clone(&transport),
            quic,
            pool: pool.clone(),
            lan_fault,
            local_fault,
            scope: scope.clone(),
        });

        let (accepting, adopting) = (Arc::clone(node), pool.clone());
        scope.spawn("mesh acceptor", async move |cancel| {
            loop {
                let conn = tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    conn = transport.accept() => conn,
                };
                match conn {
                    None => return,
                    Some(conn) if conn.protocol() == Protocol::Pair => {
                        let pairing = Arc::clone(&accepting);
                        accepting.scope.spawn("pairing", async move |_| {
                            serve::serve_conn(pairing, conn).await;
                        });
                    }
                    Some(conn) => adopting.adopt(conn).await,
                }
            }
        });
        let (serving, serving_scope) = (Arc::clone(node), scope.clone());
        scope.spawn("mesh server", async move |cancel| {
            loop {
                let conn = tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    conn = served.recv() => conn,
                };
                let Some(conn) = conn else { return };
                let (node, pool) = (Arc::clone(&serving), pool.clone());
                serving_scope.spawn("connection", async move |cancel| {
                    let ended = conn.clone();
                    tokio::select! {
                        biased;
                        () = cancel.cancelled() => {}
                        () = serve::serve_conn(Arc::clone(&node), conn) => {}
                    }
                    let why = ended.closed().await;
                    pool.ended(&ended);
                    if pool.live(ended.peer()).is_none() {
                        node.disconnected(ended.peer(), &why);
                    }
                });
            }
        });
        let listen = open.quic.as_ref().map_or_else(Vec::new, |it| it.listening());
        info!(target: "sedge::events::mesh_opened", ?listen);
        self.set(Some(Arc::clone(&open)));
        node.use_relays().await;
        Ok(open)
    }

    async fn bind(&self, node: &Arc<Node>) -> Result<Bound, Failure> {
        if let Some(network) = &self.options.network {
            let admission = Arc::clone(&node.members) as Arc<dyn Admission>;
            let transport = network.join(node.id(), admission);
            return Ok(Bound { transport, quic: None, lan_fault: None, local_fault: None });
        }
        let (quic, lan_fault) = self.bind_quic(node).await?;
        let quic = Arc::new(quic);
        let (mut ways, local_fault) = match self.bind_local(node).await {
            Ok(local) => (Vec::from_iter(local), None),
            Err(fault) => (Vec::new(), Some(fault)),
        };
        ways.push(Arc::clone(&quic) as Arc<dyn Transport>);
        let transport = Arc::new(Ways::new(node.id(), ways));
        Ok(Bound { transport, quic: Some(quic), lan_fault, local_fault })
    }

    /// Opens the way to nodes on this machine. Without it they are reached as others are.
    #[cfg(target_os = "linux")]
    async fn bind_local(&self, node: &Arc<Node>) -> Result<Option<Arc<dyn Transport>>, String> {
        use sedge_net::{Local, LocalOptions};

        let Some(dir) = self.options.meeting.clone() else { return Ok(None) };
        let max_accepted = node.config.mesh.max_connections;
        let options = LocalOptions {
            max_accepted,
            ..LocalOptions::new(Arc::new(node.identity.clone()), dir)
        };
        let admission = Arc::clone(&node.members) as Arc<dyn Admission>;
        match Local::bind(options, admission).await {
            Ok(local) => Ok(Some(Arc::new(local))),
            Err(error) => {
                warn!(target: "sedge::events::local_off", %error);
                Err(crate::node::with_source(&error))
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    async fn bind_local(&self, _: &Arc<Node>) -> Result<Option<Arc<dyn Transport>>, String> {
        Ok(None)
    }

    async fn bind_quic(&self, node: &Arc<Node>) -> Result<(Quic, Option<String>), Failure> {
        let MeshOptions { mut listen, exact, lan_discovery, .. } = self.options;
        let mut lan = lan_discovery.then(LanOptions::default);
        let mut lan_fault = match lan_discovery {
            true => None,
            false => Some("discovery is off on this node".to_owned()),
        };
        loop {
            let secret = Secret::new(*node.identity.signing_seed());
            let options = QuicOptions {
                lan: lan.clone(),
                max_accepted: node.config.mesh.max_connections,
                max_streams: node.config.mesh.max_streams,
                ..QuicOptions::new(secret, vec![listen])
            };
            let admission = Arc::clone(&node.members) as Arc<dyn Admission>;
            match Quic::bind(options, admission).await {
                Ok(quic) => return Ok((quic, lan_fault)),
                Err(BindError::InUse { .. }) if !exact && listen.port() != 0 => {
                    listen.set_port(0);
                }
                Err(BindError::Lan(fault)) => {
                    warn!(target: "sedge::events::lan_off", %fault);
                    lan_fault = Some(fault.to_string());
                    lan = None;
                }
                Err(error) => {
                    let text = format!("the mesh cannot listen: {error}");
                    return Err(Failure::new(error.kind(), "mesh_bind", text));
                }
            }
        }
    }

    /// Returns the connection to a member; dials if there is none.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that says which ways were tried.
    pub(crate) async fn conn(&self, node: &Arc<Node>, peer: NodeId) -> Result<Conn, Failure> {
        let name = node.members.name_of(&peer);
        let address = node.members.address(&peer).ok_or_else(|| {
            Failure::new(ErrorKind::NotFound, "unknown_node", "this node is no member any more")
        })?;
        let open = self.open(node).await?;
        open.pool.conn(&address, DIAL_WITHIN).await.map_err(|error| {
            if error.is_full() {
                node.members.full(&peer);
                let text = format!("node {name} has as many connections as it may have");
                return Failure::new(ErrorKind::Exhausted, NODE_FULL, text);
            }
            if refuses(&error) {
                node.members.refused_by(&peer);
                let text = format!("node {name} says that this node is no member any more");
                return Failure::new(ErrorKind::Unavailable, "not_a_member", text);
            }
            let kind = match error.kind() {
                ErrorKind::NotFound => ErrorKind::Unavailable,
                kind => kind,
            };
            Failure::new(
                kind,
                "node_unreachable",
                format!("node {name} cannot be reached: {error}"),
            )
        })
    }

    /// Returns the connection to a member, if there is one.
    pub(crate) fn live(&self, peer: &NodeId) -> Option<Conn> {
        self.current()?.pool.live(*peer)
    }

    /// Answers whether nobody uses a connection here.
    pub(crate) async fn answer_rest(
        &self,
        conn: &Conn,
        writer: &mut Writer,
    ) -> Result<(), WireError> {
        match self.current() {
            Some(open) => Ok(open.pool.answer_rest(conn, writer).await?),
            // Who gets no answer closes the connection.
            None => Ok(()),
        }
    }

    /// Dials a member the next time that somebody asks, whatever failed before.
    pub(crate) fn retry_now(&self, peer: NodeId) {
        if let Some(open) = self.current() {
            open.pool.retry_now(peer);
        }
    }

    /// Returns the connection to a member, dialled if need be; `None` when it cannot be reached or the
    /// mesh is closed.
    pub(crate) async fn reach(&self, address: &PeerAddr) -> Option<Conn> {
        self.current()?.pool.conn(address, DIAL_WITHIN).await.ok()
    }

    /// Closes every connection with somebody who is no member any more.
    pub(crate) fn forget(&self, peer: &NodeId) {
        if let Some(open) = self.current() {
            open.pool.forget(*peer, CloseReason::NotAdmitted);
        }
    }

    /// Returns the round trip to a member that there is a connection with.
    pub(crate) fn rtt(&self, peer: &NodeId) -> Option<Duration> {
        self.live(peer)?.rtt()
    }

    /// Uses these relays and no others, once the mesh is open.
    pub(crate) async fn set_relays(&self, relays: &BTreeSet<RelayAddr>) {
        if let Some(quic) = self.current().and_then(|it| it.quic.clone()) {
            quic.set_relays(relays).await;
        }
    }

    /// Returns how the relays fare; empty while the mesh is closed.
    pub(crate) fn relays(&self) -> Vec<RelayState> {
        let quic = self.current().and_then(|it| it.quic.clone());
        quic.map_or_else(Vec::new, |it| it.relays())
    }

    /// Returns what the mesh does without; nothing while it is closed.
    pub(crate) fn faults(&self) -> Faults {
        let Some(open) = self.current() else { return Faults::default() };
        let listening = open.quic.as_ref().and_then(|it| it.listening().first().copied());
        let wanted = self.options.listen.port();
        let got = listening.map(|it| it.port()).filter(|it| wanted != 0 && *it != wanted);
        Faults {
            lan: open.lan_fault.clone(),
            local: open.local_fault.clone(),
            port: got.map(|got| (wanted, got)),
        }
    }

    /// Returns how far away a member is that there is a connection with.
    pub(crate) fn path(&self, peer: &NodeId) -> Option<PathClass> {
        Some(self.live(peer)?.path())
    }

    /// Returns where others can reach this node; empty while the mesh is closed.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.current().map_or_else(Vec::new, |it| it.transport.place().direct)
    }

    /// Closes the end and tells the peers.
    pub(crate) async fn close(&self, within: Duration) {
        let _gate = self.gate.lock().await;
        if let Some(open) = self.set(None) {
            open.transport.close(within).await;
            open.scope.stop();
            info!(target: "sedge::events::mesh_closed", "the mesh is closed");
        }
    }
}

/// Returns whether a peer proved who it is and said that this node is no member.
fn refuses(error: &DialError) -> bool {
    match error {
        DialError::Refused { reason, .. } => *reason == CloseReason::NotAdmitted,
        DialError::Waiting { source, .. } => refuses(source),
        _ => false,
    }
}

/// Nodes that look for the same peer do not knock in step. Connections that nobody uses are kept to
/// those that a small swarm has.
fn pool_options(node: &Node) -> PoolOptions {
    let seed = node.id().as_bytes().first_chunk().map_or(0, |it| u64::from_le_bytes(*it));
    let idle_most = node.config.node.full_mesh.max(IDLE_MOST);
    PoolOptions { seed, idle_most, ..PoolOptions::default() }
}
