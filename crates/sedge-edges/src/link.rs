//! The link to one edge: what goes down, and what comes back.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sedge_base::{Cancel, Timestamp};
use sedge_capability::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::edges::Shared;
use crate::registration::{EdgeId, Registration};
use crate::tool::EdgeTool;
use crate::view::{EdgeMetrics, EdgeView};

/// What an edge is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Down {
    /// Run a tool.
    Run(ToolRequest),
    /// Stop running it.
    Cancel {
        /// Which run.
        execution: String,
        /// Why, such as `timeout`.
        reason: &'static str,
    },
}

/// A wish that a tool be run.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolRequest {
    /// The run's id, which its result carries.
    pub execution: String,
    /// The tool.
    pub tool: String,
    /// The input, JSON text.
    pub input: String,
    /// How long it may take.
    pub timeout: Duration,
    /// A person's approval in its RFC 8785 form, for a tool that asks for one.
    pub approval: Option<String>,
}

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ToolResult {
    /// The run's id.
    pub execution: String,
    /// What the tool said.
    pub content: String,
    /// Whether it failed.
    pub failed: bool,
    /// What it says about its failure; may be empty.
    pub details: String,
    /// How long it took, by the edge's own clock.
    pub took: Duration,
    /// What else it gave.
    pub artifacts: Vec<Artifact>,
}

/// Something that a tool gave beside its words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Artifact {
    /// Its id, by the edge.
    pub id: String,
    /// Its type, such as `screenshot`.
    pub kind: String,
    /// Its media type.
    pub mime_type: String,
    /// Its file name.
    pub filename: String,
    /// Its size in bytes.
    pub size: u64,
    /// Where it lies, if it is not here.
    pub reference: String,
    /// Its bytes, if they are here.
    pub data: Vec<u8>,
}

/// One connected edge, as its link and its tools share it.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) registration: Registration,
    pub(crate) places: Arc<Semaphore>,
    connected_at: Timestamp,
    down: mpsc::Sender<Down>,
    ended: Cancel,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last_heard: Timestamp,
    silent_at: Instant,
    metrics: Option<EdgeMetrics>,
    pending: HashMap<String, oneshot::Sender<ToolResult>>,
}

impl Connected {
    pub(crate) fn new(
        registration: Registration,
        down: mpsc::Sender<Down>,
        shared: &Shared,
    ) -> Self {
        let now = shared.clock.now();
        let state = State {
            last_heard: now,
            silent_at: Instant::now() + shared.config.silent_after,
            metrics: None,
            pending: HashMap::new(),
        };
        Self {
            registration,
            places: Arc::new(Semaphore::new(shared.config.tools_at_once)),
            connected_at: now,
            down,
            ended: Cancel::new(),
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn view(&self) -> EdgeView {
        let Registration { id, name, version, tools, channels, metadata } =
            self.registration.clone();
        let state = self.state();
        EdgeView {
            id,
            name,
            version,
            connected_at: self.connected_at,
            last_heard: state.last_heard,
            tools,
            channels,
            metrics: state.metrics,
            metadata,
        }
    }

    /// Ends the link: what waits for a result hears that none will come.
    pub(crate) fn end(&self) {
        self.ended.cancel();
        self.state().pending.clear();
    }

    /// Asks for a run; the receiver fails when the link ends. `None` when the edge takes nothing
    /// more, or runs this task already.
    pub(crate) fn ask(&self, request: ToolRequest) -> Option<oneshot::Receiver<ToolResult>> {
        let (sender, receiver) = oneshot::channel();
        let execution = request.execution.clone();
        let mut state = self.state();
        if self.ended.is_cancelled() || state.pending.contains_key(&execution) {
            return None;
        }
        self.down.try_send(Down::Run(request)).ok()?;
        state.pending.insert(execution, sender);
        Some(receiver)
    }

    /// Returns whether this edge was asked for a run and has not answered.
    pub(crate) fn is_asked_for(&self, execution: &str) -> bool {
        self.state().pending.contains_key(execution)
    }

    /// Gives a run up and tells the edge.
    pub(crate) fn give_up(&self, execution: &str, reason: &'static str) {
        if self.state().pending.remove(execution).is_some() {
            // An edge that reads nothing learns it by the end of its link.
            drop(self.down.try_send(Down::Cancel { execution: execution.to_owned(), reason }));
        }
    }
}

/// What became of a result that an edge gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// Whoever waited for it has it.
    Taken,
    /// Refused: another edge was asked for that run.
    Foreign(EdgeId),
    /// Refused: nobody waits for it, or not any more, or not over this link.
    Unasked,
}

/// The link's end at the door; the edge is connected for as long as this lives.
#[derive(Debug)]
pub struct Link {
    connected: Arc<Connected>,
    down: mpsc::Receiver<Down>,
    shared: Arc<Shared>,
}

impl Link {
    pub(crate) const fn new(
        connected: Arc<Connected>,
        down: mpsc::Receiver<Down>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { connected, down, shared }
    }

    /// Returns the edge's tools, as capabilities.
    pub fn capabilities(&self) -> Vec<Handle> {
        let tools = 0..self.connected.registration.tools.len();
        let made = tools.filter_map(|it| EdgeTool::new(&self.connected, it, &self.shared));
        made.map(|it| Arc::new(it) as Handle).collect()
    }

    /// Waits for what the edge shall be told next; `None` when the link is over: another has taken
    /// its place, or the edge was silent for too long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Down> {
        loop {
            let silent_at = self.connected.state().silent_at;
            tokio::select! {
                biased;
                () = self.connected.ended.cancelled() => return None,
                down = self.down.recv() => return down,
                () = sleep_until(silent_at) => {
                    if self.connected.state().silent_at <= Instant::now() {
                        return None;
                    }
                }
            }
        }
    }

    /// Notes that the edge was heard.
    pub fn heard(&self) {
        let mut state = self.connected.state();
        state.last_heard = self.shared.clock.now();
        state.silent_at = Instant::now() + self.shared.config.silent_after;
    }

    /// Notes how busy the edge says it is.
    pub fn measured(&self, metrics: EdgeMetrics) {
        self.connected.state().metrics = Some(metrics);
    }

    /// Takes the result of a run, if this edge was asked for it over this link.
    pub fn result(&self, result: ToolResult) -> Given {
        let waiting = self.connected.state().pending.remove(&result.execution);
        match waiting {
            Some(waiting) => match waiting.send(result) {
                Ok(()) => Given::Taken,
                Err(_) => Given::Unasked,
            },
            None => match self.shared.asked_for(&result.execution) {
                Some(other) if other != *self.id() => Given::Foreign(other),
                Some(_) | None => Given::Unasked,
            },
        }
    }

    /// Returns who the edge is.
    pub fn id(&self) -> &EdgeId {
        self.connected.registration.id()
    }

    /// Returns the free entries that the edge gave.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.connected.registration.metadata
    }

    /// Ends the link. Returns whether the edge is gone now: no other link has taken its place.
    pub fn end(&self) -> bool {
        self.connected.end();
        self.shared.forget(&self.connected)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end();
    }
}
