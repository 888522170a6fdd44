//! An agent with a role, which learns, remembers, and shares both with its peers.

mod election;
mod handle;
pub(crate) mod url;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sedge_base::{Clock, ErrorKind, NodeId, TaskScope, Timestamp};
use sedge_net::PeerAddr;
use sedge_trust::{Identity, RandomError};
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use crate::config::{AgentRole, SwarmConfig, Transport};
use crate::intelligence::{IntelligenceSync, MAX_PATTERNS, SerializeError};
use crate::memory::{EntryError, USUAL_ENTRIES, VectorMemory};
use crate::p2p::{ConnectError, JoinError, Listen, P2PSwarmV2, Parts, PublishError};
use crate::protocol::{MessageError, MessagePayload, MessageType, SwarmMessage};

pub use election::Candidate;
use election::Election;
pub use url::UrlError;

/// The topic on which agents talk.
const TOPIC: &str = "agents";
/// Messages that wait for this agent before their senders wait.
const ROOM: usize = 256;
/// Errors and results that are kept for the caller to look at.
const MAX_NOTES: usize = 256;
/// What members share when nobody gave them a key; everybody knows it, so only this machine is
/// listened to.
const OPEN_KEY: [u8; 32] = [0; 32];
/// How long an agent may take to introduce itself.
const ANSWER: Duration = Duration::from_secs(10);
/// The most work that was given out and whose result is waited for.
const MAX_GIVEN: usize = 1024;

/// The result of an agent's operations.
pub type Result<T> = std::result::Result<T, AgentError>;

/// Why an agent did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// There was no randomness to make keys of.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The configuration lacks something that the transport needs.
    #[error("the {transport} transport needs {needs}")]
    Config {
        /// Which transport.
        transport: Transport,
        /// What is missing.
        needs: &'static str,
    },
    /// The agent's own end could not be opened.
    #[error(transparent)]
    Transport(#[from] ConnectError),
    /// The address is none.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The other agent was not reached, or does not belong to the swarm.
    #[error(transparent)]
    Connection(#[from] JoinError),
    /// The other agent does not take this one in.
    #[error("`{agent_id}` refused: {message}")]
    Refused {
        /// Which agent.
        agent_id: String,
        /// What it said.
        message: String,
    },
    /// The other agent did not introduce itself.
    #[error("`{agent_id}` did not introduce itself within {within:?}")]
    Silent {
        /// Which agent.
        agent_id: String,
        /// How long was waited.
        within: Duration,
    },
    /// A message was not sent.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A message could not be written.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// What was learned could not be written.
    #[error(transparent)]
    Serialization(#[from] SerializeError),
    /// An entry cannot be remembered.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl AgentError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Random(err) => err.kind(),
            Self::Config { .. } => ErrorKind::Invalid,
            Self::Transport(err) => err.kind(),
            Self::Url(err) => err.kind(),
            Self::Connection(err) => err.kind(),
            Self::Refused { .. } => ErrorKind::Denied,
            Self::Silent { .. } => ErrorKind::Timeout,
            Self::Publish(err) => err.kind(),
            Self::Message(err) => err.kind(),
            Self::Serialization(err) => err.kind(),
            Self::Entry(err) => err.kind(),
        }
    }
}

/// Another agent that joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// What it is for.
    pub role: AgentRole,
    /// What it offers.
    pub capabilities: Vec<String>,
    /// Its release.
    pub version: String,
    /// When it was last heard.
    pub last_seen: Timestamp,
    /// Pings that it answered.
    pub pongs: u64,
}

/// Work that another agent wants done.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRequest {
    /// The work's id.
    pub task_id: String,
    /// Who wants it.
    pub from: String,
    /// What kind of work it is.
    pub task_type: String,
    /// What is to be done.
    pub description: String,
    /// More about it.
    pub parameters: Value,
    /// How urgent it is.
    pub priority: u8,
    /// How long it may take; it is stopped then.
    pub timeout: Duration,
}

/// Does the work that other agents broadcast; called for a few at once.
#[async_trait]
pub trait TaskHandler: Send + Sync + fmt::Debug + 'static {
    /// Does one work: what came out, or why it was not done.
    async fn handle(&self, task: TaskRequest) -> std::result::Result<Value, String>;
}

/// What became of work that this agent gave out, or an error that a peer reported.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// Work was done, or was not.
    Result {
        /// By whom.
        from: String,
        /// The work's id.
        task_id: String,
        /// Whether it was done.
        success: bool,
        /// What came out, or why not.
        result: Value,
        /// How long it took.
        took: Duration,
    },
    /// A peer did not do what a message asked for.
    Error {
        /// Which peer.
        from: String,
        /// The kind of failure, if its name is known here.
        kind: Option<ErrorKind>,
        /// In words.
        message: String,
    },
}

/// Sums over an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentStats {
    /// Its id.
    pub agent_id: String,
    /// Its role.
    pub agent_role: AgentRole,
    /// Agents that joined and did not leave.
    pub connected_peers: usize,
    /// States and actions of which something is known.
    pub total_patterns: usize,
    /// Entries that are remembered.
    pub total_memories: usize,
    /// The mean confidence of what was learned.
    pub avg_confidence: f64,
    /// Whether it is connected.
    pub is_running: bool,
}

#[derive(Debug)]
struct Known {
    peers: BTreeMap<String, PeerInfo>,
    memory: VectorMemory,
    election: Election,
    notes: VecDeque<Note>,
    handler: Option<Arc<dyn TaskHandler>>,
    /// Work that was given out; a result of other work is refused.
    given: BTreeSet<String>,
}

/// What the agent and its background work share.
#[derive(Debug)]
struct Shared {
    id: String,
    config: SwarmConfig,
    clock: Clock,
    learned: IntelligenceSync,
    swarm: tokio::sync::RwLock<P2PSwarmV2>,
    known: Mutex<Known>,
    changed: watch::Sender<()>,
}

/// One agent of a swarm. Dropped, it disconnects without a word; [`SwarmAgent::leave_swarm`] says
/// goodbye first.
#[derive(Debug)]
pub struct SwarmAgent {
    shared: Arc<Shared>,
    scope: TaskScope,
}

impl Drop for SwarmAgent {
    fn drop(&mut self) {
        self.scope.stop();
    }
}

impl SwarmAgent {
    /// Makes an agent with new keys and opens its end; joins the coordinator that the
    /// configuration names.
    ///
    /// # Errors
    ///
    /// [`AgentError`], which says why not.
    pub async fn new(config: SwarmConfig) -> Result<Self> {
        let identity = Arc::new(Identity::generate()?);
        let agent = Self::with_identity(config, identity, Clock::machine()).await?;
        let url = agent.shared.config.coordinator_url.clone();
        if let Some(url) = url {
            agent.join_swarm(&url).await?;
        }
        Ok(agent)
    }

    /// Makes an agent with keys that are there already, and another clock.
    ///
    /// # Errors
    ///
    /// [`AgentError`], which says why not.
    pub async fn with_identity(
        config: SwarmConfig,
        identity: Arc<Identity>,
        clock: Clock,
    ) -> Result<Self> {
        let transport = config.transport;
        let listen = match (transport, &config.folder) {
            (Transport::WebSocket, _) => Listen::WebSocket(config.listen),
            (Transport::SharedMemory, Some(folder)) => Listen::SharedMemory(folder.clone()),
            (Transport::SharedMemory, None) => {
                return Err(AgentError::Config { transport, needs: "a folder" });
            }
            (Transport::Wasm, _) => {
                return Err(AgentError::Config { transport, needs: "a browser; here, websocket" });
            }
        };
        let id = config.agent_id.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        let mut capabilities = config.capabilities.clone();
        if capabilities.is_empty() {
            capabilities.push(config.agent_role.name().to_owned());
        }
        let key = config.swarm_key.unwrap_or(OPEN_KEY);
        let mut parts = Parts::new(identity, id.clone(), key, capabilities);
        parts.clock = clock.clone();
        parts.this_machine_only = config.swarm_key.is_none();
        let mut swarm = P2PSwarmV2::with(parts);
        swarm.listen(listen);
        swarm.use_proxy(config.proxy);
        let messages = swarm.messages(TOPIC, ROOM);
        swarm.connect().await?;
        let priority = config.priority.unwrap_or(config.agent_role.priority());
        let known = Known {
            peers: BTreeMap::new(),
            memory: VectorMemory::new(id.clone(), USUAL_ENTRIES),
            election: Election::new(id.clone(), priority),
            notes: VecDeque::new(),
            handler: None,
            given: BTreeSet::new(),
        };
        let shared = Arc::new(Shared {
            learned: IntelligenceSync::with_clock(id.clone(), clock.clone()),
            id,
            config,
            clock,
            swarm: tokio::sync::RwLock::new(swarm),
            known: Mutex::new(known),
            changed: watch::Sender::new(()),
        });
        let scope = TaskScope::new();
        let (here, work) = (Arc::clone(&shared), scope.clone());
        scope.spawn("agent", |cancel| handle::run(here, messages, work, cancel));
        Ok(Self { shared, scope })
    }

    /// Returns the agent's id.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// Returns what the agent is for.
    pub fn role(&self) -> AgentRole {
        self.shared.config.agent_role
    }

    /// Returns what others need to join this agent; `None` after it left.
    pub async fn addr(&self) -> Option<PeerAddr> {
        self.shared.swarm.read().await.addr()
    }

    /// Connects to an agent, tells it that this one joins, and waits until it introduced itself too.
    ///
    /// `ws://host:port` is a WebSocket; who answers there must prove the swarm's key, and with
    /// `#NODE-ID` behind it, that it is that very node. `local://NODE-ID` is an agent on this
    /// machine that meets in the same folder. Speech is always encrypted, also behind `ws:`.
    ///
    /// # Errors
    ///
    /// [`AgentError::Url`] when it is no such address, [`AgentError::Connection`] when nobody of
    /// this swarm answers there, [`AgentError::Refused`] when it takes no more agents.
    pub async fn join_swarm(&self, url: &str) -> Result<()> {
        let peer = url::resolve(url, self.shared.config.proxy).await?;
        self.join(&peer).await
    }

    /// Connects to an agent whose key is known, as [`SwarmAgent::join_swarm`].
    ///
    /// # Errors
    ///
    /// As there, without [`AgentError::Url`].
    pub async fn join(&self, peer: &PeerAddr) -> Result<()> {
        self.shared.swarm.read().await.join(peer).await?;
        // The other end said its id in its hello.
        let to = self.shared.agent_of(peer.node).await.unwrap_or_default();
        let before = self.shared.known().notes.len();
        self.shared.send(Some(&to), MessageType::Join, self.shared.introduction()).await?;
        let answered = |it: &Self| {
            let known = it.shared.known();
            let refused = known.notes.iter().skip(before).find_map(|note| match note {
                Note::Error { from, message, .. } if *from == to => Some(message.clone()),
                Note::Error { .. } | Note::Result { .. } => None,
            });
            let joined = known.peers.contains_key(&to).then_some(Ok(()));
            joined.or(refused.map(Err))
        };
        match self.until(ANSWER, answered).await {
            Some(Ok(())) => Ok(()),
            Some(Err(message)) => Err(AgentError::Refused { agent_id: to, message }),
            None => Err(AgentError::Silent { agent_id: to, within: ANSWER }),
        }
    }

    /// Says goodbye and disconnects; does nothing the second time.
    ///
    /// # Errors
    ///
    /// [`AgentError`] when the goodbye could not be written; the agent is disconnected all the same.
    pub async fn leave_swarm(&self) -> Result<()> {
        let mut swarm = self.shared.swarm.write().await;
        let sent = match self.shared.message(None, MessageType::Leave, MessagePayload::Empty) {
            Ok(bytes) => swarm.publish(TOPIC, bytes).map(|_| ()).map_err(AgentError::from),
            Err(err) => Err(err),
        };
        if swarm.addr().is_none() {
            return Ok(());
        }
        swarm.disconnect().await;
        self.shared.known().peers.clear();
        sent
    }

    /// Sends a message to one agent.
    ///
    /// # Errors
    ///
    /// [`AgentError`] when it was not sent; that it was done is told by the answer.
    pub async fn send_message(
        &self,
        to: &str,
        message_type: MessageType,
        payload: MessagePayload,
    ) -> Result<()> {
        self.shared.send(Some(to), message_type, payload).await
    }

    /// Sends a message to every connected agent.
    ///
    /// # Errors
    ///
    /// As [`SwarmAgent::send_message`].
    pub async fn broadcast(
        &self,
        message_type: MessageType,
        payload: MessagePayload,
    ) -> Result<()> {
        self.shared.send(None, message_type, payload).await
    }

    /// Shares everything that this agent learned with every connected agent.
    ///
    /// # Errors
    ///
    /// [`AgentError`] when it was not sent.
    pub async fn sync_patterns(&self) -> Result<()> {
        let payload = self.shared.patterns(0, MAX_PATTERNS)?;
        self.shared.send(None, MessageType::SyncPatterns, payload).await
    }

    /// Asks an agent for what it learned after a version of it.
    ///
    /// # Errors
    ///
    /// [`AgentError`] when the question was not sent.
    pub async fn request_patterns_from(&self, peer: &str, since_version: u64) -> Result<()> {
        let max_entries = crate::protocol::USUAL_REQUEST;
        let payload = MessagePayload::Request { since_version, max_entries };
        self.shared.send(Some(peer), MessageType::RequestPatterns, payload).await
    }

    /// Shares what this agent stored itself with every connected agent, as much as one message
    /// carries; others ask for the rest.
    ///
    /// # Errors
    ///
    /// [`AgentError`] when it was not sent.
    pub async fn sync_memories(&self) -> Result<()> {
        let payload = self.shared.memories(0, crate::protocol::USUAL_REQUEST);
        self.shared.send(None, MessageType::SyncMemories, payload).await
    }

    /// Learns from a reward, if learning is on.
    #[expect(clippy::unused_async, reason = "the older API awaits it")]
    pub async fn learn(&self, state: &str, action: &str, reward: f64) {
        if self.shared.config.enable_learning {
            drop(self.shared.learned.update_pattern(state, action, reward));
        }
    }

    /// Returns the best of the offered actions and how sure that is; `None` when none was tried.
    pub async fn get_best_action(&self, state: &str, actions: &[String]) -> Option<(String, f64)> {
        self.shared.learned.get_best_action(state, actions).await
    }

    /// Returns what was learned.
    pub fn learned(&self) -> &IntelligenceSync {
        &self.shared.learned
    }

    /// Remembers a text with its vector, and returns the entry's id.
    ///
    /// # Errors
    ///
    /// [`AgentError::Entry`] when it is too long or its vector is none.
    #[expect(clippy::unused_async, reason = "the older API awaits it")]
    pub async fn store_memory(&self, content: &str, embedding: Vec<f32>) -> Result<String> {
        let now = self.shared.clock.now();
        Ok(self.shared.known().memory.store(content, embedding, now)?)
    }

    /// Returns the `k` remembered texts most like a vector, with their cosine, best first.
    #[expect(clippy::unused_async, reason = "the older API awaits it")]
    pub async fn search_memory(&self, query: &[f32], k: usize) -> Vec<(String, f32)> {
        self.shared.known().memory.search(query, k)
    }

    /// Returns how many entries are remembered.
    pub fn memories(&self) -> usize {
        self.shared.known().memory.len()
    }

    /// Returns the agents that joined and did not leave, by their ids.
    pub fn get_peers(&self) -> BTreeMap<String, PeerInfo> {
        self.shared.known().peers.clone()
    }

    /// Returns sums over this agent.
    pub async fn get_stats(&self) -> AgentStats {
        let learned = self.shared.learned.get_swarm_stats().await;
        let is_running = self.addr().await.is_some();
        let known = self.shared.known();
        AgentStats {
            agent_id: self.shared.id.clone(),
            agent_role: self.role(),
            connected_peers: known.peers.len(),
            total_patterns: learned.total_patterns,
            total_memories: known.memory.len(),
            avg_confidence: learned.avg_confidence,
            is_running,
        }
    }

    /// Says who does the work that others broadcast.
    pub fn set_task_handler(&self, handler: Arc<dyn TaskHandler>) {
        self.shared.known().handler = Some(handler);
    }

    /// Returns who coordinates, as far as this agent knows.
    pub fn coordinator(&self) -> Option<Candidate> {
        self.shared.known().election.coordinator().cloned()
    }

    /// Returns the present term.
    pub fn term(&self) -> u64 {
        self.shared.known().election.term()
    }

    /// Stands up to coordinate, waits `within` for somebody better, and says that it coordinates
    /// if nobody was. Returns who does, as far as this agent knows then.
    ///
    /// # Errors
    ///
    /// [`AgentError`] when nothing could be sent.
    pub async fn elect(&self, within: Duration) -> Result<Option<Candidate>> {
        let stands = self.shared.known().election.stand();
        let term = stands.term;
        self.shared.send(None, MessageType::Election, handle::payload(stands)).await?;
        let decided = self.until(within, |it| it.coordinator().filter(|it| it.term >= term)).await;
        if decided.is_none() {
            let won = self.shared.known().election.win(term);
            if let Some(won) = won {
                self.shared.send(None, MessageType::Coordinator, handle::payload(won)).await?;
            }
        }
        Ok(self.coordinator())
    }

    /// Takes what became of work and which errors peers reported, oldest first; the last 256 are
    /// kept.
    pub fn take_notes(&self) -> Vec<Note> {
        self.shared.known().notes.drain(..).collect()
    }

    /// Waits until `find` finds something about this agent, which is asked again whenever a message
    /// was handled; `None` when that took longer than `within`.
    pub async fn until<T>(
        &self,
        within: Duration,
        mut find: impl FnMut(&Self) -> Option<T>,
    ) -> Option<T> {
        let mut changes = self.shared.changed.subscribe();
        let found = async {
            loop {
                changes.mark_unchanged();
                if let Some(found) = find(self) {
                    return Some(found);
                }
                changes.changed().await.ok()?;
            }
        };
        tokio::time::timeout(within, found).await.ok().flatten()
    }

    /// Shares what was learned at the configured interval, in the background, until the agent is
    /// dropped. Only what changed since the last time is sent.
    pub fn start_sync_loop(&self) {
        let shared = Arc::clone(&self.shared);
        self.scope.spawn("agent sync", |cancel| async move {
            let mut every = tokio::time::interval(shared.config.sync_interval);
            let mut shared_up_to = 0;
            loop {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => break,
                    _ = every.tick() => {}
                }
                let delta = shared.learned.get_delta(shared_up_to, MAX_PATTERNS);
                let reached = delta.version;
                if delta.patterns.is_empty() {
                    continue;
                }
                let sent = match shared.packed(&delta) {
                    Ok(payload) => shared.send(None, MessageType::SyncPatterns, payload).await,
                    Err(err) => Err(err),
                };
                match sent {
                    Ok(()) => shared_up_to = reached,
                    Err(err) => tracing::debug!(target: "sedge::swarm", %err, "nothing shared"),
                }
            }
        });
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the id under which a node is registered.
    async fn agent_of(&self, node: NodeId) -> Option<String> {
        self.swarm.read().await.agent_of(node)
    }

    fn introduction(&self) -> MessagePayload {
        MessagePayload::Join {
            agent_role: self.config.agent_role,
            capabilities: self.config.capabilities.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn message(
        &self,
        to: Option<&str>,
        message_type: MessageType,
        payload: MessagePayload,
    ) -> Result<Vec<u8>> {
        let now = self.clock.now();
        Ok(SwarmMessage::new(message_type, &self.id, to, payload, now).encode()?)
    }

    async fn send(
        &self,
        to: Option<&str>,
        message_type: MessageType,
        payload: MessagePayload,
    ) -> Result<()> {
        if let MessagePayload::Task { task_id, .. } = &payload {
            let mut known = self.known();
            if known.given.len() >= MAX_GIVEN {
                known.given.pop_first();
            }
            known.given.insert(task_id.clone());
        }
        let bytes = self.message(to, message_type, payload)?;
        let swarm = self.swarm.read().await;
        match to {
            Some(to) => swarm.send_to(to, TOPIC, bytes)?,
            None => swarm.publish(TOPIC, bytes)?,
        };
        Ok(())
    }

    /// Returns what this agent learned after a version, as it travels.
    fn patterns(&self, since_version: u64, max: usize) -> Result<MessagePayload> {
        self.packed(&self.learned.get_delta(since_version, max))
    }

    fn packed(&self, state: &crate::intelligence::LearningState) -> Result<MessagePayload> {
        let compressed = self.config.compression_level != crate::config::CompressionLevel::None;
        let state = crate::intelligence::encode(state, compressed)?;
        Ok(MessagePayload::Patterns { state, compressed })
    }

    fn note(&self, note: Note) {
        let mut known = self.known();
        if known.notes.len() >= MAX_NOTES {
            known.notes.pop_front();
        }
        known.notes.push_back(note);
    }
}
