//! What a swarm's parts share: the registry, the links, the topics, the tasks.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sedge_base::{Clock, NodeId, SwarmId, TaskScope, Timestamp};
use sedge_net::{CloseReason, Conn, Transport};
use sedge_trust::envelope::ReplayWindow;
use sedge_trust::session::{Session, SessionKey};
use sedge_trust::{Identity, Registry};
use tokio::sync::{mpsc, watch};
use tracing::debug;

use super::artifact::ArtifactStore;
use super::tasks::{TaskExecutor, Tasks};

/// How often an agent says that it lives.
pub const HEARTBEAT: Duration = Duration::from_millis(30_000);
/// How long a member counts as active after it was last heard.
pub const MEMBER_TIMEOUT: Duration = Duration::from_millis(120_000);
/// How long a claim keeps others from claiming the same task.
pub const CLAIM_WINDOW: Duration = Duration::from_millis(5_000);
/// How long messages under the session key before a rotation are still read.
pub const SESSION_GRACE: Duration = Duration::from_secs(60);

/// Messages that wait for one peer; who does not keep up is disconnected.
pub(super) const QUEUE: usize = 256;
/// Handlers of one topic, and topics.
pub(super) const MAX_HANDLERS: usize = 64;

/// A message that was published and passed every check.
#[derive(Debug, Clone)]
pub struct Message {
    /// The swarm's id, a colon and a UUID.
    pub message_id: String,
    /// What it is about.
    pub topic: String,
    /// The sender's registered id.
    pub sender_id: String,
    /// When it was published, in ms since 1970.
    pub timestamp: Timestamp,
    /// The plain payload.
    pub payload: Bytes,
}

/// Where the messages of a topic go.
#[derive(Clone)]
pub(super) enum Subscriber {
    Handler(Arc<dyn Fn(&Message) + Send + Sync>),
    /// Waits for room, so a slow reader slows its senders and loses nothing.
    Queue(mpsc::Sender<Message>),
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handler(_) => "Handler",
            Self::Queue(_) => "Queue",
        })
    }
}

/// A connection to a member, and what waits to be sent on it.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) conn: Conn,
    pub(super) agent_id: String,
    pub(super) queue: mpsc::Sender<Bytes>,
}

/// What is there between connect and disconnect.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) scope: TaskScope,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) registry: Registry,
    pub(super) window: ReplayWindow,
    pub(super) counter: u64,
    pub(super) links: HashMap<NodeId, Link>,
    pub(super) heard: HashMap<NodeId, Timestamp>,
    pub(super) topics: HashMap<String, Vec<Subscriber>>,
    pub(super) sessions: HashMap<String, Session>,
    pub(super) tasks: Tasks,
    pub(super) store: ArtifactStore,
    pub(super) executor: Option<Arc<dyn TaskExecutor>>,
    pub(super) running: usize,
    /// Directions from here to a peer that still have something to send.
    pub(super) writers: usize,
    pub(super) refused: u64,
    pub(super) connection: Option<Connection>,
}

/// One agent's end of a swarm.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) identity: Arc<Identity>,
    pub(super) agent_id: String,
    pub(super) capabilities: Vec<String>,
    pub(super) key: SessionKey,
    pub(super) swarm: SwarmId,
    pub(super) clock: Clock,
    pub(super) max_running: usize,
    /// Without a key that others do not know, only this machine is listened to.
    pub(super) this_machine_only: bool,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

impl Node {
    pub(super) fn new(parts: super::Parts) -> Self {
        let super::Parts {
            identity,
            agent_id,
            swarm_key,
            capabilities,
            clock,
            max_running,
            this_machine_only,
        } = parts;
        let swarm = SwarmId::of_key(&swarm_key);
        let state = State {
            registry: Registry::new(swarm),
            window: ReplayWindow::new(),
            counter: 0,
            links: HashMap::new(),
            heard: HashMap::new(),
            topics: HashMap::new(),
            sessions: HashMap::new(),
            tasks: Tasks::default(),
            store: ArtifactStore::new(),
            executor: None,
            running: 0,
            writers: 0,
            refused: 0,
            connection: None,
        };
        Self {
            identity,
            agent_id,
            capabilities,
            key: SessionKey::from_bytes(swarm_key),
            swarm,
            clock,
            max_running,
            this_machine_only,
            state: Mutex::new(state),
            changed: watch::Sender::new(()),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes everybody in [`Node::until`].
    pub(super) fn tell_change(&self) {
        self.changed.send_replace(());
    }

    /// Waits until `find` finds something in the state, `within` long at most.
    pub(super) async fn until<T>(
        &self,
        within: Duration,
        mut find: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut changes = self.changed.subscribe();
        let found = async {
            loop {
                changes.mark_unchanged();
                if let Some(found) = find(&mut self.state()) {
                    return Some(found);
                }
                changes.changed().await.ok()?;
            }
        };
        tokio::time::timeout(within, found).await.ok().flatten()
    }

    /// Puts a link in, unless the same two nodes have a better one: when both dialled, the
    /// connection that the smaller node dialled is kept, which both ends see alike.
    pub(super) fn put_link(&self, link: Link) -> bool {
        let facts = link.conn.facts();
        let of_smaller = |it: &Conn| {
            let ours = it.facts().dialled_by == sedge_net::Side::Us;
            ours == (self.identity.node_id() < facts.peer)
        };
        let mut state = self.state();
        if let Some(known) = state.links.get(&facts.peer) {
            if known.conn.is_open() && of_smaller(&known.conn) && !of_smaller(&link.conn) {
                return false;
            }
            known.conn.close(CloseReason::Duplicate);
        }
        state.heard.insert(facts.peer, self.clock.now());
        state.links.insert(facts.peer, link);
        drop(state);
        self.tell_change();
        true
    }

    /// Takes a link out after its connection ended.
    pub(super) fn drop_link(&self, conn: &Conn) {
        let mut state = self.state();
        let peer = conn.peer();
        if state.links.get(&peer).is_some_and(|it| it.conn.is_same(conn)) {
            state.links.remove(&peer);
            drop(state);
            self.tell_change();
        }
    }

    /// Counts something that was refused, and says why in the log.
    pub(super) fn refuse(&self, from: &NodeId, why: &dyn fmt::Display) {
        debug!(target: "sedge::swarm", from = from.short(), why = %why, "refused");
        let mut state = self.state();
        state.refused = state.refused.saturating_add(1);
    }
}
