//! A thread of its own for each model: loads it when needed, answers one task after the other,
//! lets it go when idle.
//!
//! The thread never waits for a reader: it hands its pieces to a future per task, which forwards
//! them, watches the clock and the reader, and tells the thread to stop.

mod relay;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sedge_base::{Clock, ErrorKind, TaskScope};
use sedge_capability::{Failure, Outcome, Task, Usage};
use tokio::sync::{mpsc, oneshot};

pub(crate) use relay::{Relay, Until};

/// How many tasks may wait for one model: a waiting task costs its prompt, and beyond this many
/// another node is the better answer.
const QUEUE: usize = 64;

/// What a worker's thread does.
pub(crate) trait Engine: Send + Sync + 'static {
    /// The thing that is loaded into memory.
    type Loaded;
    /// One task's input.
    type Input: Send + 'static;

    /// The name of its thread, for debuggers.
    const THREAD: &'static str;

    /// Loads it; runs on the worker's thread.
    fn load(&self) -> Result<Self::Loaded, Failure>;

    /// Answers one task; runs on the worker's thread and returns soon after `reply` was stopped.
    fn answer(
        &self,
        loaded: &mut Self::Loaded,
        input: Self::Input,
        reply: &mut Reply,
    ) -> Result<Done, Failure>;
}

/// How an engine hands out its answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pieces: mpsc::Sender<Message>,
    stop: Arc<AtomicBool>,
}

/// What an engine knows at the end of an answer; `took_us` and `output_bytes` are counted for it.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// Tokens.
    pub(crate) usage: Usage,
    /// What only this kind of capability knows.
    pub(crate) detail: serde_json::Map<String, serde_json::Value>,
    /// What the output's bits depend on, if the same input gives the same output again.
    pub(crate) profile: Option<String>,
}

/// What goes from the thread to the future of a task.
#[derive(Debug)]
pub(crate) enum Message {
    /// The next piece of output.
    Piece(Bytes),
    /// The end.
    Done(Result<Done, Failure>),
}

impl Reply {
    /// Hands out the next piece. The channel has room for every piece that a task can have; if an
    /// engine made more, the task ends as a fault of ours.
    pub(crate) fn piece(&mut self, bytes: Bytes) -> Result<(), Failure> {
        match self.pieces.try_send(Message::Piece(bytes)) {
            // A closed channel means that nobody listens: the stop is on its way.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Failure::new(
                ErrorKind::Internal,
                "too_many_pieces",
                "the model's answer has more pieces than tokens",
            )),
        }
    }

    /// Returns whether the engine should stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns the flag that says so.
    pub(crate) fn stop_flag(&self) -> &Arc<AtomicBool> {
        &self.stop
    }
}

/// A model's thread and the way to it.
#[derive(Debug)]
pub(crate) struct Worker<E: Engine> {
    engine: Arc<E>,
    settings: Settings,
    shared: Arc<Shared<E::Input>>,
}

/// What all workers of a gateway have in common.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// After how long without a task the model leaves memory.
    pub(crate) idle: Option<Duration>,
    /// The clock of deadlines.
    pub(crate) clock: Clock,
    /// Whom the threads and futures belong to.
    pub(crate) scope: TaskScope,
}

#[derive(Debug)]
struct Shared<I> {
    gate: Mutex<Gate<I>>,
    loaded: AtomicBool,
}

#[derive(Debug)]
enum Gate<I> {
    /// There is no thread yet, or it has died.
    Idle,
    /// The thread takes orders.
    Open(SyncSender<Order<I>>),
    /// The node stops.
    Closed,
}

enum Order<I> {
    Load,
    Answer(I, Reply),
}

impl<I> Shared<I> {
    fn gate(&self) -> MutexGuard<'_, Gate<I>> {
        // Nothing panics while it holds the lock; if it did, the gate would still be right.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Engine> Worker<E> {
    /// Makes a worker; its thread starts with the first order.
    pub(crate) fn new(engine: E, settings: Settings) -> Self {
        let shared = Shared { gate: Mutex::new(Gate::Idle), loaded: AtomicBool::new(false) };
        Self { engine: Arc::new(engine), settings, shared: Arc::new(shared) }
    }

    /// Returns whether the model is in memory.
    pub(crate) fn is_loaded(&self) -> bool {
        self.shared.loaded.load(Ordering::Relaxed)
    }

    /// Asks for the model to be loaded, without waiting. A failure shows at the first task.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the thread cannot be started.
    pub(crate) fn load(&self) -> Result<(), Failure> {
        self.order(Order::Load)
    }

    /// Starts one task, whose answer has at most `pieces` pieces.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when its time is over already or too many are waiting.
    pub(crate) fn start(
        &self,
        task: &Task,
        input: E::Input,
        pieces: usize,
    ) -> Result<Outcome, Failure> {
        let until = Until::of(task, &self.settings.clock)?;
        let (sink, outcome) = Outcome::channel();
        // One more for the end.
        let (sender, receiver) = mpsc::channel(pieces.saturating_add(1));
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let stopping = Box::new(move || flag.store(true, Ordering::Relaxed));
        let relay = Relay::new(receiver, stopping, until, task.budgets.output);
        self.order(Order::Answer(input, Reply { pieces: sender, stop }))?;
        self.settings.scope.spawn("model answer", |cancel| relay.run(sink, cancel));
        Ok(outcome)
    }

    fn order(&self, mut order: Order<E::Input>) -> Result<(), Failure> {
        let mut gate = self.shared.gate();
        if let Gate::Open(queue) = &*gate {
            order = match queue.try_send(order) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(Order::Load)) => return Ok(()),
                Err(TrySendError::Full(_)) => {
                    let text = format!("{QUEUE} tasks are waiting for this model already");
                    return Err(Failure::new(ErrorKind::Exhausted, "busy", text));
                }
                Err(TrySendError::Disconnected(order)) => order,
            };
        }
        if matches!(*gate, Gate::Closed) || self.settings.scope.cancel().is_cancelled() {
            return Err(Failure::new(ErrorKind::Unavailable, "stopping", "the node is stopping"));
        }
        let queue = self.spawn()?;
        let sent = queue.try_send(order);
        *gate = Gate::Open(queue);
        sent.map_err(|_| {
            Failure::new(ErrorKind::Internal, "engine_stopped", "the model's thread ended at once")
        })
    }

    /// Starts the thread, and the future through which the scope stops it and waits for it.
    fn spawn(&self) -> Result<SyncSender<Order<E::Input>>, Failure> {
        let (sender, orders) = sync_channel(QUEUE);
        let (alive, mut ended) = oneshot::channel::<()>();
        let (engine, shared) = (Arc::clone(&self.engine), Arc::clone(&self.shared));
        let idle = self.settings.idle;
        let thread = std::thread::Builder::new().name(E::THREAD.to_owned());
        let spawned = thread.spawn(move || {
            let _alive = alive;
            work(&*engine, &orders, idle, &shared.loaded);
        });
        spawned.map_err(|err| {
            Failure::new(ErrorKind::Internal, "no_thread", format!("cannot start a thread: {err}"))
        })?;
        let shared = Arc::clone(&self.shared);
        self.settings.scope.spawn(E::THREAD, async move |cancel| {
            tokio::select! {
                _ = &mut ended => {}
                () = cancel.cancelled() => {
                    *shared.gate() = Gate::Closed;
                    // An error here is the thread's end, which is what is waited for.
                    ended.await.ok();
                }
            }
        });
        Ok(sender)
    }
}

impl<E: Engine> Drop for Worker<E> {
    fn drop(&mut self) {
        *self.shared.gate() = Gate::Closed;
    }
}

/// Sets the flag back when the thread ends, even by a panic.
struct Unloads<'a>(&'a AtomicBool);

impl Drop for Unloads<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The thread: takes orders until nobody can give any.
fn work<E: Engine>(
    engine: &E,
    orders: &Receiver<Order<E::Input>>,
    idle: Option<Duration>,
    flag: &AtomicBool,
) {
    let _unloads = Unloads(flag);
    let mut loaded = None;
    loop {
        let order = match (&loaded, idle) {
            (Some(_), Some(idle)) => match orders.recv_timeout(idle) {
                Ok(order) => order,
                Err(RecvTimeoutError::Timeout) => {
                    loaded = None;
                    flag.store(false, Ordering::Relaxed);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            },
            _ => match orders.recv() {
                Ok(order) => order,
                Err(_) => return,
            },
        };
        let (input, mut reply) = match order {
            Order::Answer(_, reply) if reply.is_stopped() => continue,
            Order::Answer(input, reply) => (Some(input), Some(reply)),
            Order::Load => (None, None),
        };
        let ready = match loaded.take() {
            Some(ready) => Ok(ready),
            None => engine.load(),
        };
        let done = match (ready, input, &mut reply) {
            (Ok(mut ready), Some(input), Some(reply)) => {
                flag.store(true, Ordering::Relaxed);
                let done = engine.answer(&mut ready, input, reply);
                loaded = Some(ready);
                done
            }
            (Ok(ready), ..) => {
                flag.store(true, Ordering::Relaxed);
                loaded = Some(ready);
                continue;
            }
            (Err(failure), ..) => Err(failure),
        };
        if let Some(reply) = reply {
            // A closed channel means that nobody listens any more.
            reply.pieces.try_send(Message::Done(done)).ok();
        }
    }
}

#[cfg(test)]
mod tests;
