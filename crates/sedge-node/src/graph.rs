//! The graph that all members write: put, read and watched here, carried to the others.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sedge_base::{Cancel, Clock, ErrorKind, NodeId, SwarmId, Timestamp};
use sedge_capability::Failure;
use sedge_members::Members;
use sedge_net::Conn;
use sedge_store::Store;
use sedge_sync::{
    Ask, Change, Entry, LinkView, MOST_ENTRIES, Put, Reader, Replica, Roll, Seen, Space, SpaceView,
    Tensor, Value, WriteError, Writer,
};
use sedge_trust::{Identity, SessionPublicKey};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tracing::{debug, warn};

use crate::node::{Node, internal, unwritten, with_source};

/// How long one exchange about the graph may take with one member.
const EXCHANGE_WITHIN: Duration = Duration::from_secs(120);

/// What is to be put under a key of the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphPut {
    /// The space, by id or by a name that only one has; the open one when left out.
    #[serde(default)]
    pub space: Option<String>,
    /// The node of the graph.
    pub soul: String,
    /// The key of that node.
    pub key: String,
    /// `null`, which deletes, a truth value, a number, a text, a link `{"#": soul}`, or an array of
    /// numbers, which is a tensor.
    pub value: serde_json::Value,
}

/// The link to a member, as it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkSeen {
    /// The member.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// What is known of the link.
    #[serde(flatten)]
    pub link: LinkView,
}

/// The node's side of the graph.
#[derive(Debug)]
pub(crate) struct Graph {
    replica: Arc<Replica>,
    /// Members that are pulled from now; one pull at a time each.
    pulling: Arc<Busy>,
    /// Members that are pushed to now; what is new meanwhile they pull.
    pushing: Arc<Busy>,
}

/// Members with which something is under way; one turn at a time each.
#[derive(Debug, Default)]
pub(crate) struct Busy(Mutex<HashSet<NodeId>>);

/// A member is busy until this is dropped.
pub(crate) struct Turn {
    busy: Arc<Busy>,
    peer: NodeId,
}

impl Busy {
    /// Takes a member's turn; `None` while somebody else has it.
    pub(crate) fn turn(self: &Arc<Self>, peer: NodeId) -> Option<Turn> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(peer);
        free.then(|| Turn { busy: Arc::clone(self), peer })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.peer);
    }
}

/// Somebody who watches a node of the graph.
#[derive(Debug)]
pub struct GraphWatch {
    replica: Arc<Replica>,
    stop: Cancel,
    changes: broadcast::Receiver<Change>,
    space: Space,
    soul: String,
    key: Option<String>,
    due: VecDeque<Seen>,
}

impl GraphWatch {
    /// Reads what stands now.
    async fn look(&mut self) -> Result<(), Failure> {
        let seen = self.replica.get(&self.space, &self.soul, self.key.as_deref()).await;
        self.due.extend(seen.map_err(internal)?);
        Ok(())
    }

    /// Returns what is to be told next; `None` once the node stops.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the store fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may lose what it was about to tell.
    pub async fn next(&mut self) -> Option<Result<Seen, Failure>> {
        loop {
            if let Some(seen) = self.due.pop_front() {
                return Some(Ok(seen));
            }
            let change = tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                it = self.changes.recv() => it,
            };
            match change {
                Ok(change) => {
                    let fact = &change.entry.fact;
                    let key = self.key.as_ref();
                    let fits = fact.space == self.space
                        && fact.soul == self.soul
                        && key.is_none_or(|it| *it == fact.key);
                    if fits {
                        return Some(self.replica.show(&change).await.map_err(internal));
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    if let Err(failure) = self.look().await {
                        return Some(Err(failure));
                    }
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// The members, as the graph asks for them.
#[derive(Debug)]
struct Rolled(Arc<Members>);

impl Roll for Rolled {
    fn swarm(&self) -> SwarmId {
        self.0.swarm()
    }

    fn wrote_until(&self, node: &NodeId) -> Option<Timestamp> {
        self.0.wrote_until(node)
    }

    fn session_key(&self, node: &NodeId) -> Option<SessionPublicKey> {
        self.0.session_key(node)
    }
}

impl Graph {
    pub(crate) async fn open(
        store: &Store,
        identity: &Identity,
        clock: &Clock,
        members: &Arc<Members>,
    ) -> Result<Self, Failure> {
        let roll = Arc::new(Rolled(Arc::clone(members)));
        let replica = Replica::open(store.clone(), identity.clone(), clock.clone(), roll).await;
        let replica = Arc::new(replica.map_err(internal)?);
        Ok(Self { replica, pulling: Arc::default(), pushing: Arc::default() })
    }

    pub(crate) async fn answer(&self, peer: NodeId, ask: Ask, stream: (&mut Reader, &mut Writer)) {
        if let Err(error) = self.replica.answer(peer, ask, stream).await {
            let error = with_source(&error);
            debug!(target: "sedge::events::graph_unanswered", %peer, error);
        }
    }
}

/// Gives entries to every member that there is a connection with, but to those who gave them.
fn push(node: &Arc<Node>, changes: Vec<Change>) {
    let changes = Arc::new(changes);
    for peer in node.members.others() {
        let Some(conn) = node.mesh.live(&peer) else { continue };
        let Some(turn) = node.graph.pushing.turn(peer) else { continue };
        let (replica, changes) = (Arc::clone(&node.graph.replica), Arc::clone(&changes));
        node.scope.spawn("graph push", async move |cancel| {
            let news = changes.iter().filter(|it| it.from != Some(peer));
            let news: Vec<&Entry> = news.map(|it| &*it.entry).collect();
            if !news.is_empty() {
                let pushed = tokio::select! {
                    biased;
                    () = cancel.cancelled() => None,
                    it = tokio::time::timeout(EXCHANGE_WITHIN, replica.push(&conn, &news)) => Some(it),
                };
                if let Some(Ok(Err(error))) = pushed {
                    let error = with_source(&error);
                    debug!(target: "sedge::events::graph_unpushed", %peer, error);
                }
            }
            drop(turn);
        });
    }
}

async fn news(changes: &mut broadcast::Receiver<Change>) -> Option<Vec<Change>> {
    let mut news = Vec::new();
    match changes.recv().await {
        Ok(it) => news.push(it),
        // The others pull what was missed here.
        Err(RecvError::Lagged(_)) => {}
        Err(RecvError::Closed) => return None,
    }
    while news.len() < MOST_ENTRIES {
        match changes.try_recv() {
            Ok(it) => news.push(it),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    Some(news)
}

impl Node {
    /// Tells the others what is new in the graph, until the node stops.
    pub(crate) fn spread_graph(self: &Arc<Self>) {
        let (node, mut changes) = (Arc::clone(self), self.graph.replica.watch());
        self.scope.spawn("graph", async move |cancel| {
            loop {
                let news = tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    it = news(&mut changes) => it,
                };
                let Some(news) = news else { return };
                push(&node, news);
            }
        });
    }

    /// Brings here what a member's graph has and this one has not, unless that is under way.
    pub(crate) fn pull_graph(self: &Arc<Self>, peer: NodeId) {
        let Some(conn) = self.mesh.live(&peer) else { return };
        let Some(turn) = self.graph.pulling.turn(peer) else { return };
        let replica = Arc::clone(&self.graph.replica);
        self.scope.spawn("graph pull", async move |cancel| {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = pull(&replica, &conn) => {}
            }
            drop(turn);
        });
    }

    /// Puts a value under a key of the graph; it is on disk when this returns, and on its way to the
    /// others.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that says what is out of bounds, or that this node has no key to the space.
    pub async fn graph_put(&self, put: GraphPut) -> Result<Seen, Failure> {
        let GraphPut { space, soul, key, value } = put;
        let space = self.space(space.as_deref()).await?;
        let value = read_value(value)?;
        self.graph.replica.put(&space, &soul, &key, value).await.map_err(|it| unwell(&it))
    }

    /// Returns what stands under a node of the graph: one key, or all of them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when no such space is known.
    pub async fn graph_get(
        &self,
        space: Option<&str>,
        soul: &str,
        key: Option<&str>,
    ) -> Result<Vec<Seen>, Failure> {
        let space = self.space(space).await?;
        self.graph.replica.get(&space, soul, key).await.map_err(internal)
    }

    /// Watches a node of the graph: what stands now, then what does from then on, until this node
    /// stops. A watcher that falls far behind is told everything once more.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when no such space is known.
    pub async fn graph_watch(
        self: &Arc<Self>,
        space: Option<&str>,
        soul: &str,
        key: Option<&str>,
    ) -> Result<GraphWatch, Failure> {
        let space = self.space(space).await?;
        let changes = self.graph.replica.watch();
        let (soul, key) = (soul.to_owned(), key.map(str::to_owned));
        let mut watch = GraphWatch {
            replica: Arc::clone(&self.graph.replica),
            stop: self.scope.cancel(),
            changes,
            space,
            soul,
            key,
            due: VecDeque::new(),
        };
        watch.look().await?;
        Ok(watch)
    }

    /// Returns every space of the graph that something is known of.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the store fails.
    pub async fn graph_spaces(&self) -> Result<Vec<SpaceView>, Failure> {
        self.graph.replica.spaces().await.map_err(internal)
    }

    /// Founds a closed space that this node and the named members read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] when this node has founded one of that name.
    pub async fn graph_found(&self, name: &str, readers: &[String]) -> Result<SpaceView, Failure> {
        let readers = readers.iter().map(|it| self.members.find(it));
        let readers = readers.collect::<Result<Vec<_>, _>>()?;
        self.graph.replica.found(name, &readers).await.map_err(|it| unwell(&it))
    }

    /// Lets a member read a space that this node founded, or no longer: then the others get a new key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] when another node founded it.
    pub async fn graph_share(
        &self,
        space: &str,
        reader: &str,
        withhold: bool,
    ) -> Result<SpaceView, Failure> {
        let space = self.space(Some(space)).await?;
        let reader = self.members.find(reader)?;
        let replica = &self.graph.replica;
        let shared = match withhold {
            true => replica.withhold(&space, &reader).await,
            false => replica.share(&space, &reader).await,
        };
        shared.map_err(|it| unwell(&it))
    }

    /// Returns the links that were measured.
    pub fn graph_links(&self) -> Vec<LinkSeen> {
        let seen = |(node, link)| LinkSeen { node, name: self.members.name_of(&node), link };
        self.graph.replica.links().into_iter().map(seen).collect()
    }

    /// Finds a space by its id or name.
    async fn space(&self, text: Option<&str>) -> Result<Space, Failure> {
        let Some(text) = text else { return Ok(Space::Open) };
        if let Ok(space) = text.parse() {
            return Ok(space);
        }
        let known = self.graph_spaces().await?;
        let mut found = known.into_iter().filter(|it| it.name == text);
        match (found.next(), found.next()) {
            (Some(it), None) => Ok(it.space),
            (Some(_), Some(_)) => {
                let text = format!("several spaces are called `{text}`; give the whole id");
                Err(Failure::new(ErrorKind::Invalid, "ambiguous_space", text))
            }
            (None, _) => {
                let text = format!("no space called `{text}` is known here");
                Err(Failure::new(ErrorKind::NotFound, "unknown_space", text))
            }
        }
    }
}

async fn pull(replica: &Replica, conn: &Conn) {
    let peer = conn.peer();
    match tokio::time::timeout(EXCHANGE_WITHIN, replica.pull(conn)).await {
        Ok(Ok(pulled)) if pulled.equal && pulled.tensors == 0 => {}
        Ok(Ok(pulled)) => debug!(target: "sedge::events::graph_pulled", %peer, ?pulled),
        Ok(Err(sedge_sync::SyncError::Store(fault))) => {
            warn!(target: "sedge::events::graph_not_stored", %peer, error = with_source(&fault));
        }
        Ok(Err(error)) => {
            debug!(target: "sedge::events::graph_unpulled", %peer, error = with_source(&error));
        }
        Err(_) => debug!(target: "sedge::events::graph_slow", %peer),
    }
}

fn read_value(value: serde_json::Value) -> Result<Put, Failure> {
    let wrong = |what: String| Failure::new(ErrorKind::Invalid, "invalid_value", what);
    if value.is_array() {
        let numbers: Vec<f32> = serde_json::from_value(value)
            .map_err(|it| wrong(format!("this is no tensor: {it}")))?;
        return Ok(Put::Tensor(Tensor::new(numbers).map_err(|it| wrong(it.to_string()))?));
    }
    match serde_json::from_value(value) {
        Ok(value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_))) => {
            Ok(Put::Value(value))
        }
        Ok(value @ Value::Link(_)) => Ok(Put::Value(value)),
        _ => Err(wrong(
            "a value is null, true, false, a number, a text, a link {\"#\": soul} or an array of numbers"
                .to_owned(),
        )),
    }
}

/// Feeds a value in JSON to its reader; returns whether it took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(bytes: &[u8]) -> bool {
    serde_json::from_slice(bytes).is_ok_and(|it| read_value(it).is_ok())
}

/// Turns a refusal of the graph into what a caller sees.
fn unwell(error: &WriteError) -> Failure {
    let code = match error {
        WriteError::Store(fault) => return unwritten(fault.kind(), fault),
        WriteError::NoKey(_) => "no_space_key",
        WriteError::NotFounder(_) => "not_founder",
        WriteError::Exists(_) => "space_exists",
        WriteError::NoMember(_) => "unknown_node",
        WriteError::Full => "graph_full",
        _ => "invalid_value",
    };
    Failure::new(error.kind(), code, with_source(error))
}
