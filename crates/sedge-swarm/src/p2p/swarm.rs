//! The swarm as its agent sees it: connect, join, look who is there.

pub(super) mod artifacts;
mod greet;
pub(super) mod publish;
mod receive;
pub(super) mod sessions;
pub(super) mod tasks;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sedge_base::{Clock, ErrorKind, NodeId, SwarmId, TaskScope};
use sedge_net::{
    Admission, Conn, DialError, PeerAddr, Protocol, Transport, WebSocket, WebSocketError,
    WebSocketOptions,
};
use sedge_trust::registration::{Facts, Outcome, RegisterError};
use sedge_trust::{Identity, RandomError, random_bytes};
use zeroize::Zeroizing;

use super::hello::HelloError;
use super::identity::{Offer, RegisteredMember, RegistrationError};
use super::node::{Connection, MEMBER_TIMEOUT, Message, Node, State, Subscriber};

/// How long the peer may take for its hello.
pub(super) const GREETING: Duration = Duration::from_secs(10);
/// How long closing may take.
const CLOSING: Duration = Duration::from_secs(5);

/// Everything that makes an agent's end of a swarm.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The agent's keys.
    pub identity: Arc<Identity>,
    /// The id that it goes by.
    pub agent_id: String,
    /// What all members share. Who has it reads everything that is published.
    pub swarm_key: [u8; 32],
    /// What the agent offers; a registration names one at least.
    pub capabilities: Vec<String>,
    /// Where dates come from.
    pub clock: Clock,
    /// The most tasks that run here at once.
    pub max_running: usize,
    /// Whether peers on other machines are refused.
    pub this_machine_only: bool,
}

impl Parts {
    /// Returns usual parts: the machine's clock, four tasks at once.
    pub fn new(
        identity: Arc<Identity>,
        agent_id: String,
        swarm_key: [u8; 32],
        capabilities: Vec<String>,
    ) -> Self {
        let (clock, max_running, this_machine_only) = (Clock::machine(), 4, false);
        Self { identity, agent_id, swarm_key, capabilities, clock, max_running, this_machine_only }
    }
}

/// Where an agent can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// By WebSocket over TLS at this address; port 0 takes a free one.
    WebSocket(SocketAddr),
    /// By processes of the same user on this machine that meet in this folder.
    SharedMemory(PathBuf),
}

impl Default for Listen {
    /// A free port on loopback.
    fn default() -> Self {
        Self::WebSocket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }
}

/// Why an agent did not connect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There was no randomness to make keys of.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// It is connected already.
    #[error("connected already")]
    Already,
    /// The WebSocket end could not be opened.
    #[error(transparent)]
    WebSocket(#[from] WebSocketError),
    /// The end inside this machine could not be opened.
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    Local(#[from] sedge_net::LocalError),
    /// This system has no shared memory of the kind that is used.
    #[cfg(not(target_os = "linux"))]
    #[error("shared memory between processes needs Linux")]
    NoSharedMemory,
    /// The agent's own registration could not be signed.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The agent's own registration was refused.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

impl ConnectError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Random(err) => err.kind(),
            Self::Already => ErrorKind::Conflict,
            Self::WebSocket(err) => err.kind(),
            #[cfg(target_os = "linux")]
            Self::Local(err) => err.kind(),
            #[cfg(not(target_os = "linux"))]
            Self::NoSharedMemory => ErrorKind::Unsupported,
            Self::Registration(err) => err.kind(),
            Self::Register(err) => err.kind(),
        }
    }
}

/// Why a peer was not joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// There was no randomness to make keys of.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// This agent is not connected.
    #[error("not connected")]
    NotConnected,
    /// The peer was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection ended, or the peer said nothing in time, before both had said hello.
    #[error("the peer ended the connection before it said hello: it may be of another swarm")]
    Cut,
    /// The peer is on another machine, and this agent listens to this machine only.
    #[error("without a swarm key of its own, an agent talks to this machine only")]
    OtherMachine,
    /// The peer does not belong to this swarm.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// The peer's registration was refused.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// Our own registration could not be signed.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
}

impl JoinError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Random(err) => err.kind(),
            Self::NotConnected | Self::Cut => ErrorKind::Unavailable,
            Self::OtherMachine => ErrorKind::Denied,
            Self::Dial(err) => err.kind(),
            Self::Hello(err) => err.kind(),
            Self::Register(err) => err.kind(),
            Self::Registration(err) => err.kind(),
        }
    }
}

/// What an agent knows of itself and its swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmStatus {
    /// Whether it is connected.
    pub connected: bool,
    /// The swarm.
    pub swarm_id: SwarmId,
    /// The agent.
    pub agent_id: String,
    /// Its Ed25519 public key.
    pub public_key: NodeId,
    /// Other members that were heard within [`MEMBER_TIMEOUT`].
    pub active_peers: usize,
    /// Members with a connection now.
    pub linked_peers: usize,
    /// Tasks that wait for their receipt.
    pub pending_tasks: usize,
    /// Messages and peers that were refused.
    pub refused: u64,
}

/// Admits everybody who proves a key; whether they belong to the swarm is what their hello shows.
#[derive(Debug)]
struct Guests;

impl Admission for Guests {
    fn admits(&self, _peer: NodeId, _protocol: Protocol) -> bool {
        true
    }
}

/// One agent's end of a swarm.
///
/// Members share the swarm's key, are known by registrations, and sign what they publish; a
/// message goes to the members that this agent has a connection with. Dropped, it disconnects.
#[derive(Debug)]
pub struct P2PSwarmV2 {
    node: Result<Arc<Node>, RandomError>,
    listen: Listen,
    proxy: Option<SocketAddr>,
}

impl P2PSwarmV2 {
    /// Makes an agent with new keys. Without a swarm key, a random one is made: share it by
    /// [`P2PSwarmV2::swarm_key`]. If there is no randomness, every use says so.
    pub fn new(
        agent_id: impl Into<String>,
        swarm_key: Option<[u8; 32]>,
        capabilities: Vec<String>,
    ) -> Self {
        let parts = || {
            let identity = Arc::new(Identity::generate()?);
            let swarm_key = Zeroizing::new(swarm_key.map_or_else(random_bytes, Ok)?);
            Ok(Parts::new(identity, agent_id.into(), *swarm_key, capabilities))
        };
        let node = parts().map(|it| Arc::new(Node::new(it)));
        Self { node, listen: Listen::default(), proxy: None }
    }

    /// Makes an agent of its parts.
    pub fn with(parts: Parts) -> Self {
        let node = Ok(Arc::new(Node::new(parts)));
        Self { node, listen: Listen::default(), proxy: None }
    }

    /// Says where to listen from the next [`P2PSwarmV2::connect`] on.
    pub fn listen(&mut self, listen: Listen) {
        self.listen = listen;
    }

    /// Lets every connection to another agent go through an HTTP proxy, from the next
    /// [`P2PSwarmV2::connect`] on; with [`Listen::WebSocket`].
    pub const fn use_proxy(&mut self, proxy: Option<SocketAddr>) {
        self.proxy = proxy;
    }

    pub(super) fn node(&self) -> Result<&Arc<Node>, RandomError> {
        self.node.as_ref().map_err(|err| *err)
    }

    /// Returns what all members share.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when there was no randomness to make it of.
    pub fn swarm_key(&self) -> Result<[u8; 32], RandomError> {
        Ok(*self.node()?.key.as_bytes())
    }

    /// Returns the swarm's key in standard base64.
    ///
    /// # Errors
    ///
    /// As [`P2PSwarmV2::swarm_key`].
    pub fn swarm_key_base64(&self) -> Result<String, RandomError> {
        Ok(STANDARD.encode(self.node()?.key.as_bytes()))
    }

    /// Opens the agent's end, registers it with itself, and starts its sign of life.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which says why not.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what was opened.
    pub async fn connect(&mut self) -> Result<(), ConnectError> {
        let node = Arc::clone(self.node()?);
        if node.state().connection.is_some() {
            return Err(ConnectError::Already);
        }
        let registration = greet::own_registration(&node)?;
        node.state().registry.register_older(&registration, node.clock.now())?;
        let transport = self.open(&node).await?;
        let scope = TaskScope::new();
        node.state().connection =
            Some(Connection { transport: Arc::clone(&transport), scope: scope.clone() });
        let inner = scope.clone();
        let here = Arc::clone(&node);
        scope.spawn("swarm acceptor", |cancel| async move {
            loop {
                let conn = tokio::select! {
                    biased;
                    () = cancel.cancelled() => break,
                    conn = transport.accept() => conn,
                };
                let Some(conn) = conn else { break };
                greet::welcome(&here, &inner, conn);
            }
        });
        scope.spawn("swarm heartbeat", |cancel| publish::heartbeat(node, cancel));
        Ok(())
    }

    async fn open(&self, node: &Node) -> Result<Arc<dyn Transport>, ConnectError> {
        let identity = Arc::clone(&node.identity);
        match &self.listen {
            Listen::WebSocket(addr) => {
                let options = WebSocketOptions {
                    proxy: self.proxy,
                    ..WebSocketOptions::new(identity, Some(*addr))
                };
                Ok(Arc::new(WebSocket::bind(options, Arc::new(Guests)).await?))
            }
            #[cfg(target_os = "linux")]
            Listen::SharedMemory(dir) => {
                let options = sedge_net::LocalOptions::new(identity, dir.clone());
                Ok(Arc::new(sedge_net::Local::bind(options, Arc::new(Guests)).await?))
            }
            #[cfg(not(target_os = "linux"))]
            Listen::SharedMemory(_) => Err(ConnectError::NoSharedMemory),
        }
    }

    /// Closes the agent's end; members and tasks stay known. What was queued is still delivered, for
    /// five seconds at most. Does nothing when not connected.
    pub async fn disconnect(&mut self) {
        let Ok(node) = &self.node else { return };
        node.state().links.clear();
        let quiet = |state: &mut State| (state.writers == 0).then_some(());
        if node.until(CLOSING, quiet).await.is_none() {
            tracing::debug!(target: "sedge::swarm", "a peer did not read everything in time");
        }
        let taken = node.state().connection.take();
        if let Some(Connection { transport, scope }) = taken {
            scope.stop();
            transport.close(CLOSING).await;
            // What hangs was told to stop and holds nothing of ours.
            drop(scope.shutdown(CLOSING).await);
        }
    }

    /// Returns what others need to join this agent; `None` when it is not connected.
    pub fn addr(&self) -> Option<PeerAddr> {
        let state = self.node().ok()?.state();
        Some(state.connection.as_ref()?.transport.place().peer_addr())
    }

    /// Connects to a member; afterwards both know each other.
    ///
    /// # Errors
    ///
    /// [`JoinError`], within 20 seconds.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt.
    pub async fn join(&self, peer: &PeerAddr) -> Result<(), JoinError> {
        let node = self.node()?;
        let connection = node.state().connection.clone().ok_or(JoinError::NotConnected)?;
        let conn: Conn = connection.transport.dial(peer, Protocol::Mesh, GREETING).await?;
        greet::greet(node, &connection.scope, conn).await
    }

    /// Takes a registration in; `false` when it is refused, as [`P2PSwarmV2::try_register`] says.
    pub fn register_member(&self, registration: impl Into<Offer>) -> bool {
        let Offer(Ok(registration)) = registration.into() else { return false };
        self.try_register(&registration).is_ok()
    }

    /// Takes a registration in. The caller vouches that its holder belongs to this swarm: a
    /// registration of this form does not say so itself. The first key of an id keeps it.
    ///
    /// # Errors
    ///
    /// [`JoinError`], which says why it is refused.
    pub fn try_register(&self, registration: &RegisteredMember) -> Result<Outcome, JoinError> {
        let node = self.node()?;
        Ok(node.state().registry.register_older(registration, node.clock.now())?)
    }

    /// Returns the member with this id.
    pub fn resolve_member(&self, agent_id: &str) -> Option<Facts> {
        self.node().ok()?.state().registry.member(agent_id).cloned()
    }

    /// Returns the ids of the other members that were heard within [`MEMBER_TIMEOUT`], sorted.
    pub fn active_peers(&self) -> Vec<String> {
        self.node().map(|it| active(it)).unwrap_or_default()
    }

    /// Returns the id that a node is registered with.
    pub fn agent_of(&self, node: NodeId) -> Option<String> {
        let state = self.node().ok()?.state();
        state.registry.members().find(|it| it.node_id == node).map(|it| it.agent_id.clone())
    }

    /// Waits until a member is linked, `within` long at most; `false` when it was not.
    pub async fn wait_for_peer(&self, agent_id: &str, within: Duration) -> bool {
        let Ok(node) = self.node() else { return false };
        let linked = |state: &mut State| {
            state.links.values().any(|it| it.agent_id == agent_id).then_some(())
        };
        node.until(within, linked).await.is_some()
    }

    /// Returns what this agent knows of itself and its swarm.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when there was no randomness to make keys of.
    pub fn status(&self) -> Result<SwarmStatus, RandomError> {
        let node = self.node()?;
        let active_peers = active(node).len();
        let state = node.state();
        Ok(SwarmStatus {
            connected: state.connection.is_some(),
            swarm_id: node.swarm,
            agent_id: node.agent_id.clone(),
            public_key: node.identity.node_id(),
            active_peers,
            linked_peers: state.links.len(),
            pending_tasks: state.tasks.pending(),
            refused: state.refused,
        })
    }

    /// Calls `handler` for every message of a topic from now on, beside those that are there
    /// already; `false` when the topic has too many. It runs where messages arrive and must not
    /// block.
    pub fn subscribe(
        &self,
        topic: &str,
        handler: impl Fn(&Message) + Send + Sync + 'static,
    ) -> bool {
        self.node().is_ok_and(|it| it.add_subscriber(topic, Subscriber::Handler(Arc::new(handler))))
    }
}

fn active(node: &Node) -> Vec<String> {
    let (state, now) = (node.state(), node.clock.now());
    let own = node.identity.node_id();
    let members = state.registry.members().filter(|it| {
        let heard = state.heard.get(&it.node_id);
        it.node_id != own && heard.is_some_and(|at| now.since(*at) < MEMBER_TIMEOUT)
    });
    let mut ids: Vec<_> = members.map(|it| it.agent_id.clone()).collect();
    ids.sort_unstable();
    ids
}

impl Drop for P2PSwarmV2 {
    fn drop(&mut self) {
        if let Ok(node) = &self.node {
            let mut state = node.state();
            state.links.clear();
            if let Some(connection) = state.connection.take() {
                connection.scope.stop();
            }
        }
    }
}
