//! One node's replica of the graph: on disk, in memory, and told to whoever watches.

mod spaces;
mod tensors;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sedge_base::{Clock, ContentId, ErrorKind, NodeId, SwarmId, Timestamp};
use sedge_store::{Fault, Store, StoredEntry};
use sedge_trust::{Identity, SealError, SessionPublicKey};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::entry::{Checked, Entry, EntryError, Fact};
use crate::events;
use crate::graph::{Graph, Judged, MAX_ENTRIES};
use crate::link::LinkMeter;
use crate::sealed::{GRANTS, Place};
use crate::space::{Space, SpaceError};
use crate::state::State;
use crate::tensor::{Form, Tensor};
use crate::value::{Value, ValueError, check_name};

pub use spaces::SpaceView;
pub use tensors::TensorView;

/// How many changes a watcher may be behind before it misses some.
const WATCHED: usize = 1024;

/// Who belongs to the swarm, as those know it who hold the roster.
pub trait Roll: fmt::Debug + Send + Sync + 'static {
    /// Returns the swarm.
    fn swarm(&self) -> SwarmId;

    /// Returns until when a node was a member: far in the future for one that is, `None` for one
    /// that never was. All members must come to the same answer.
    fn wrote_until(&self, node: &NodeId) -> Option<Timestamp>;

    /// Returns a member's public key for sessions.
    fn session_key(&self, node: &NodeId) -> Option<SessionPublicKey>;
}

/// One node's replica of its swarm's graph.
#[derive(Debug)]
pub struct Replica {
    store: Store,
    identity: Identity,
    clock: Clock,
    roll: Arc<dyn Roll>,
    /// Held while something is written; holds whose graph is in memory.
    gate: tokio::sync::Mutex<Option<SwarmId>>,
    graph: RwLock<Graph>,
    /// Which tensors are on disk, in which form, of how many bytes.
    tensors: RwLock<HashMap<ContentId, (Form, u64)>>,
    changes: broadcast::Sender<Change>,
    pub(crate) links: Mutex<BTreeMap<NodeId, LinkMeter>>,
}

/// An entry that stands from now on.
#[derive(Debug, Clone)]
pub struct Change {
    /// The entry; cheap to clone.
    pub entry: Arc<Entry>,
    /// Which node it came from; `None` for this one.
    pub from: Option<NodeId>,
}

/// What is to be put under a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Put {
    /// A plain value; in a closed space it is sealed.
    Value(Value),
    /// A tensor.
    Tensor(Tensor),
}

/// What stands under a key, as far as this node can read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The space.
    pub space: Space,
    /// The node of the graph.
    pub soul: String,
    /// The key of that node.
    pub key: String,
    /// The value; still sealed if this node has no key to the space.
    pub value: Value,
    /// Whether this node can read it.
    pub readable: bool,
    /// When it was given.
    pub state: State,
    /// The same as a date.
    pub at: Timestamp,
    /// Who gave it.
    pub author: NodeId,
    /// The numbers of a tensor, as exactly as they are here; `None` for everything else, and while
    /// nothing of the tensor is here.
    pub tensor: Option<TensorView>,
}

/// What became of entries that another node gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// How many stand now.
    pub taken: usize,
    /// How many wait for their time.
    pub deferred: usize,
    /// How many were refused.
    pub refused: usize,
}

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// It is out of bounds.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// It is no space's name.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// Nobody puts grants by hand.
    #[error("the soul `{GRANTS}` is the node's own")]
    Reserved,
    /// A tensor in a closed space.
    #[error("a closed space takes no tensors: whoever carries them could not make them smaller")]
    TensorInClosed,
    /// This node has no key to the space.
    #[error("this node has no key to space {0}")]
    NoKey(Space),
    /// Only the founder says who may read.
    #[error("only the founder of space {0} says who reads it")]
    NotFounder(Space),
    /// The space is there already.
    #[error("space {0} is there already")]
    Exists(Space),
    /// A node is no member, or its key gives no secret.
    #[error("node {0} is no member with a session key")]
    NoMember(NodeId),
    /// There is no room.
    #[error("the graph keeps {MAX_ENTRIES} keys, or its tensors' room is full")]
    Full,
    /// It could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It could not be signed.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The store failed.
    #[error("the node's store failed")]
    Store(#[from] Fault),
}

impl WriteError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Value(it) => it.kind(),
            Self::Space(it) => it.kind(),
            Self::Reserved | Self::TensorInClosed => ErrorKind::Invalid,
            Self::NoKey(_) | Self::NotFounder(_) => ErrorKind::Denied,
            Self::Exists(_) => ErrorKind::Conflict,
            Self::NoMember(_) => ErrorKind::NotFound,
            Self::Full => ErrorKind::Exhausted,
            Self::Seal(it) => it.kind(),
            Self::Entry(it) => it.kind(),
            Self::Store(it) => it.kind(),
        }
    }
}

impl Replica {
    /// Opens the graph of the roll's swarm. When the swarm changes, so does the graph.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the store fails.
    pub async fn open(
        store: Store,
        identity: Identity,
        clock: Clock,
        roll: Arc<dyn Roll>,
    ) -> Result<Self, Fault> {
        let replica = Self {
            store,
            identity,
            clock,
            roll,
            gate: tokio::sync::Mutex::new(None),
            graph: RwLock::default(),
            tensors: RwLock::default(),
            changes: broadcast::Sender::new(WATCHED),
            links: Mutex::default(),
        };
        drop(replica.enter().await?);
        Ok(replica)
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Graph> {
        self.graph.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Graph> {
        self.graph.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn me(&self) -> NodeId {
        self.identity.node_id()
    }

    fn now(&self) -> State {
        State::at(self.clock.now())
    }

    /// Returns the end of this millisecond: what was written twice within it is not ahead.
    fn judged_at(&self) -> State {
        State::end_of(self.clock.now())
    }

    /// Waits for its turn to write, and reads another swarm's graph if the node has changed swarms.
    async fn enter(&self) -> Result<tokio::sync::MutexGuard<'_, Option<SwarmId>>, Fault> {
        let mut gate = self.gate.lock().await;
        let swarm = self.roll.swarm();
        if *gate != Some(swarm) {
            self.load(swarm).await?;
            *gate = Some(swarm);
        }
        Ok(gate)
    }

    async fn load(&self, swarm: SwarmId) -> Result<(), Fault> {
        let (mut held, mut damaged) = (Vec::new(), 0);
        let mut after: Option<StoredEntry> = None;
        loop {
            let page = self.store.graph().page(after.as_ref()).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            for stored in page {
                // The disk is no more trusted than a peer.
                let entry = serde_json::from_str::<Entry>(&stored.json).ok();
                match entry.and_then(|it| it.check().ok()) {
                    Some(it) if it.entry.fact.swarm == swarm => held.push(Arc::new(it)),
                    Some(_) => {}
                    None => damaged += 1,
                }
            }
        }
        let mut graph = Graph::default();
        drop(graph.apply(&held));
        events::Opened { swarm, entries: graph.len(), damaged }.emit();
        *self.write() = graph;
        self.load_tensors().await
    }

    /// Puts a value under a key; it is on disk when this returns, and then told to who watches.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing was changed then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave the value written, and told with the next exchange.
    pub async fn put(
        &self,
        space: &Space,
        soul: &str,
        key: &str,
        put: Put,
    ) -> Result<Seen, WriteError> {
        check_name(soul)?;
        check_name(key)?;
        if soul == GRANTS {
            return Err(WriteError::Reserved);
        }
        let gate = self.enter().await?;
        let value = match put {
            Put::Tensor(_) if *space != Space::Open => return Err(WriteError::TensorInClosed),
            Put::Tensor(it) => self.keep_own_tensor(&it).await?,
            Put::Value(it) => it,
        };
        value.check()?;
        let mut fact = self.fact(space, soul, key);
        fact.value = match (space, &value) {
            (Space::Open, _) | (Space::Closed { .. }, Value::Null) => value,
            (Space::Closed { .. }, plain) => {
                let (number, key) =
                    self.newest_key(space).ok_or_else(|| WriteError::NoKey(space.clone()))?;
                Value::Sealed(place(&fact).seal(&key, number, plain)?)
            }
        };
        if *space != Space::Open && self.newest_key(space).is_none() {
            return Err(WriteError::NoKey(space.clone()));
        }
        let checked = self.write_own(vec![fact]).await?;
        drop(gate);
        let checked = checked.into_iter().next().ok_or(WriteError::Full)?;
        Ok(self.seen(&checked).await?)
    }

    /// Returns a fact of this node without a value, newer than what stands under its key.
    fn fact(&self, space: &Space, soul: &str, key: &str) -> Fact {
        let slot = (space.clone(), soul.to_owned(), key.to_owned());
        let known = self.read().get(&slot).map(|it| it.entry.fact.state.next());
        let (space, soul, key) = slot;
        Fact {
            swarm: self.roll.swarm(),
            space,
            soul,
            key,
            value: Value::Null,
            state: known.map_or(self.now(), |it| it.max(self.now())),
            author: self.me(),
        }
    }

    /// Signs and settles facts of this node; the gate is held.
    async fn write_own(&self, facts: Vec<Fact>) -> Result<Vec<Arc<Checked>>, WriteError> {
        let sign = |it: Fact| it.sign(&self.identity)?.check();
        let entries = facts.into_iter().map(sign).collect::<Result<Vec<_>, _>>()?;
        let count = entries.len();
        let judged = self.read().judge(entries, self.judged_at(), true);
        if judged.take.len() < count {
            return Err(WriteError::Full);
        }
        Ok(self.settle(judged, None).await?)
    }

    /// Takes in what another node gave: entries of members that hold, and that are newer than what
    /// stands. Everything else changes nothing.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the store fails; nothing was changed then.
    pub async fn take_in(&self, entries: Vec<Entry>, from: NodeId) -> Result<Taken, Fault> {
        let gate = self.enter().await?;
        let count = entries.len();
        let swarm = self.roll.swarm();
        let belongs = |it: &Entry| {
            let until = self.roll.wrote_until(&it.fact.author);
            it.fact.swarm == swarm && until.is_some_and(|until| it.fact.state.date() <= until)
        };
        let known = |it: &Entry| {
            let Fact { space, soul, key, .. } = &it.fact;
            let slot = (space.clone(), soul.clone(), key.clone());
            self.read().get(&slot).is_some_and(|held| held.entry == *it)
        };
        // Signatures are the dear part: what is known already is not checked again.
        let mut news: Vec<_> = entries.into_iter().filter(|it| !known(it)).collect();
        let repeated = count - news.len();
        news.retain(belongs);
        let mut checked: Vec<_> = news.into_iter().filter_map(|it| it.check().ok()).collect();
        let refused = count - repeated - checked.len();
        // Who may write a closed space is said by its grants.
        checked.sort_by_key(|it| it.entry.fact.soul != GRANTS);
        let mut judged = self.read().judge(checked, self.judged_at(), false);
        let deferred = judged.defer.len();
        let dropped = self.write().defer(std::mem::take(&mut judged.defer));
        let refused = refused + judged.refused + dropped;
        let taken = self.settle(judged, Some(from)).await?.len();
        drop(gate);
        if refused > 0 {
            events::Refused { from, count: refused }.emit();
        }
        Ok(Taken { taken, deferred: deferred.saturating_sub(dropped), refused })
    }

    /// Lets stand what has waited for its time; returns how much did.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the store fails; what waited comes again with the next exchange then.
    pub async fn release(&self) -> Result<usize, Fault> {
        if self.read().waiting() == 0 {
            return Ok(0);
        }
        let gate = self.enter().await?;
        let due = self.write().due(self.judged_at());
        let judged = self.read().judge(due, self.judged_at(), false);
        let taken = self.settle(judged, None).await?.len();
        drop(gate);
        Ok(taken)
    }

    /// Puts on disk, then in memory, then tells; the gate is held.
    async fn settle(
        &self,
        judged: Judged,
        from: Option<NodeId>,
    ) -> Result<Vec<Arc<Checked>>, Fault> {
        if judged.take.is_empty() {
            return Ok(Vec::new());
        }
        let mut rows = Vec::with_capacity(judged.take.len());
        for ((space, soul, key), checked) in &judged.take {
            let json = serde_json::to_string(&checked.entry);
            let json = json.map_err(|_| Fault::Value { what: "graph entry" })?;
            rows.push(StoredEntry {
                space: space.to_string(),
                soul: soul.clone(),
                key: key.clone(),
                json,
            });
        }
        self.store.graph().put(rows).await?;
        let taken: Vec<_> = judged.take.into_values().map(Arc::new).collect();
        let unnamed = self.write().apply(&taken);
        self.forget_tensors(unnamed).await?;
        for checked in &taken {
            let change = Change { entry: Arc::new(checked.entry.clone()), from };
            // Nobody watches: nobody is told.
            drop(self.changes.send(change));
        }
        Ok(taken)
    }

    /// Returns what stands under a node of the graph: one key, or all of them in order. What was
    /// deleted is left out.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the store fails.
    pub async fn get(
        &self,
        space: &Space,
        soul: &str,
        key: Option<&str>,
    ) -> Result<Vec<Seen>, Fault> {
        self.release().await?;
        drop(self.enter().await?);
        let fits = |it: &&Arc<Checked>| {
            let fact = &it.entry.fact;
            key.is_none_or(|key| key == fact.key) && fact.value != Value::Null
        };
        let found: Vec<_> = self.read().soul(space, soul).filter(fits).cloned().collect();
        let mut seen = Vec::with_capacity(found.len());
        for checked in found {
            seen.push(self.seen(&checked).await?);
        }
        Ok(seen)
    }

    /// Returns what stands from now on, as it happens.
    pub fn watch(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Returns a change as this node can read it.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the store fails.
    pub async fn show(&self, change: &Change) -> Result<Seen, Fault> {
        self.seen_of(&change.entry.fact).await
    }

    async fn seen(&self, checked: &Checked) -> Result<Seen, Fault> {
        self.seen_of(&checked.entry.fact).await
    }

    async fn seen_of(&self, fact: &Fact) -> Result<Seen, Fault> {
        let (value, readable) = match &fact.value {
            Value::Sealed(sealed) if fact.soul != GRANTS => {
                let key = self.key_of(&fact.space, sealed.key);
                match key.and_then(|key| place(fact).open(&key, sealed).ok()) {
                    Some(value) => (value, true),
                    None => (fact.value.clone(), false),
                }
            }
            Value::Sealed(_) => (fact.value.clone(), false),
            value => (value.clone(), true),
        };
        let tensor = match &value {
            Value::Tensor(it) => self.tensor_view(it).await?,
            _ => None,
        };
        Ok(Seen {
            space: fact.space.clone(),
            soul: fact.soul.clone(),
            key: fact.key.clone(),
            value,
            readable,
            state: fact.state,
            at: fact.state.date(),
            author: fact.author,
            tensor,
        })
    }
}

fn place(fact: &Fact) -> Place<'_> {
    let Fact { space, soul, key, author, state, .. } = fact;
    Place { space, soul, key, author, state: *state }
}
