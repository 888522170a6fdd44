//! Who is connected.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sedge_base::{Clock, ErrorKind, TaskScope};
use tokio::sync::mpsc;

use crate::link::{Connected, Link};
use crate::registration::{EdgeId, Registration};
use crate::view::EdgeView;
use crate::wish::Wish;

/// Requests that may wait for one slow edge; as many tools as it may run, and their ends.
const WAITING: usize = 64;

/// How edges are treated.
#[derive(Debug, Clone)]
pub struct EdgesConfig {
    /// How often an edge is asked to be heard.
    pub heartbeat_interval: Duration,
    /// How long an edge may stay silent before it is let go.
    pub silent_after: Duration,
    /// How long a tool may run when neither the task nor the tool says otherwise.
    pub tool_timeout: Duration,
    /// How many tools one edge runs at once; a limit, not a hint.
    pub tools_at_once: usize,
    /// How many edges are connected at once.
    pub most: usize,
}

impl Default for EdgesConfig {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(30),
            silent_after: Duration::from_secs(90),
            tool_timeout: Duration::from_secs(60),
            tools_at_once: 10,
            most: 1024,
        }
    }
}

/// Every edge that is connected; cheap to clone.
#[derive(Debug, Clone)]
pub struct Edges {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: EdgesConfig,
    pub(crate) clock: Clock,
    pub(crate) scope: TaskScope,
    pub(crate) people: Option<mpsc::Sender<Wish>>,
    connected: Mutex<BTreeMap<EdgeId, Arc<Connected>>>,
}

/// Why an edge gets no link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{most} edges are connected, which is the limit")]
pub struct ConnectError {
    /// How many may be.
    pub most: usize,
}

impl ConnectError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Exhausted
    }
}

impl Edges {
    /// Makes an empty set; what runs on edges belongs to `scope`. There is nobody to ask: a tool that
    /// asks for a person's approval is refused.
    pub fn new(config: EdgesConfig, clock: Clock, scope: &TaskScope) -> Self {
        Self::made(config, clock, scope, None)
    }

    /// Makes an empty set; whoever reads `people` asks them.
    pub fn asking(
        config: EdgesConfig,
        clock: Clock,
        scope: &TaskScope,
        people: mpsc::Sender<Wish>,
    ) -> Self {
        Self::made(config, clock, scope, Some(people))
    }

    fn made(
        config: EdgesConfig,
        clock: Clock,
        scope: &TaskScope,
        people: Option<mpsc::Sender<Wish>>,
    ) -> Self {
        let connected = Mutex::default();
        let scope = scope.clone();
        Self { shared: Arc::new(Shared { config, clock, scope, people, connected }) }
    }

    /// Returns how edges are treated.
    pub fn config(&self) -> &EdgesConfig {
        &self.shared.config
    }

    /// Gives an edge a link. A link under the same id ends, and what ran over it fails.
    ///
    /// The caller has found out before that whoever asks may be this edge.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when too many edges are connected.
    pub fn connect(&self, registration: Registration) -> Result<Link, ConnectError> {
        let most = self.shared.config.most;
        let (sender, receiver) = mpsc::channel(WAITING);
        let id = registration.id().clone();
        let connected = Arc::new(Connected::new(registration, sender, &self.shared));
        let mut all = self.shared.all();
        match all.get(&id) {
            Some(before) => before.end(),
            None if all.len() >= most => return Err(ConnectError { most }),
            None => {}
        }
        all.insert(id, Arc::clone(&connected));
        drop(all);
        Ok(Link::new(connected, receiver, Arc::clone(&self.shared)))
    }

    /// Returns one connected edge.
    pub fn get(&self, id: &EdgeId) -> Option<EdgeView> {
        self.shared.all().get(id).map(|it| it.view())
    }

    /// Returns `most` edges in the order of their ids, from the one at `offset` on, and how many
    /// there are in all.
    pub fn list(&self, offset: usize, most: usize) -> (Vec<EdgeView>, usize) {
        let all = self.shared.all();
        (all.values().skip(offset).take(most).map(|it| it.view()).collect(), all.len())
    }
}

impl Shared {
    fn all(&self) -> MutexGuard<'_, BTreeMap<EdgeId, Arc<Connected>>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns which edge was asked for a run and has not answered.
    pub(crate) fn asked_for(&self, execution: &str) -> Option<EdgeId> {
        let all = self.all();
        let asked = all.values().find(|it| it.is_asked_for(execution));
        asked.map(|it| it.registration.id().clone())
    }

    /// Forgets a link, unless another has taken its place.
    pub(crate) fn forget(&self, connected: &Arc<Connected>) -> bool {
        match self.all().entry(connected.registration.id().clone()) {
            Entry::Occupied(entry) if Arc::ptr_eq(entry.get(), connected) => {
                entry.remove();
                true
            }
            Entry::Occupied(_) | Entry::Vacant(_) => false,
        }
    }
}
