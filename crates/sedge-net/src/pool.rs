//! Connections to peers: dialled when somebody needs one, shared, and replaced when they die.
//!
//! One connection per peer is given out: one that stays on this machine, or else the youngest, which is
//! surely alive. When both ends dial at the same moment, both go over to the nearer one, or to that which
//! the smaller node id dialled, as soon as it has outlived that moment; until then an older one may be
//! left from a peer that was killed and started anew. Those that are given to nobody still carry what was
//! begun on them, and are closed once they are quiet. A connection that nobody uses is closed when both
//! ends say so.

mod backoff;
mod rest;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sedge_base::{NodeId, TaskScope};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, timeout_at};

use self::backoff::Backoff;
use crate::conn::{CloseReason, Conn, Side};
use crate::transport::{DialError, Heard, PeerAddr, Protocol, Transport, Tried};

pub use self::rest::REST;

/// Two connections that began within this time of each other were dialled at the same moment; a
/// younger one means that its dialler has lost the older one. Longer than it takes to notice that a
/// peer has fallen silent.
const SAME_MOMENT: Duration = Duration::from_secs(2);
/// A connection that was replaced is closed after this time without streams. The other end, which looks
/// every [`SWEEP`], has stopped giving it out by then.
const REPLACED: Duration = Duration::from_secs(4);
/// How often connections that nobody uses are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// Connections of one peer that were replaced and still carry something; with more, the oldest is
/// closed, so that nobody fills the node by dialling again and again.
const RETIRED: usize = 4;
/// Connections that wait for somebody who serves them.
const WAITING: usize = 64;

/// How a pool behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolOptions {
    /// A connection without streams is closed after this time.
    pub idle_after: Duration,
    /// Of the connections without streams, so many stay; those that were quiet longest are closed
    /// first.
    pub idle_most: usize,
    /// How long the first failure of a dial holds back the next one; doubles with each failure.
    pub retry_first: Duration,
    /// The longest that a dial is held back.
    pub retry_most: Duration,
    /// Where the pool's dice start: two nodes that failed together do not try again together.
    pub seed: u64,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            idle_after: Duration::from_secs(60),
            idle_most: usize::MAX,
            retry_first: Duration::from_millis(100),
            retry_most: Duration::from_secs(10),
            seed: 0,
        }
    }
}

/// Connections of one node that speak [`Protocol::Mesh`], one per peer.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    transport: Arc<dyn Transport>,
    us: NodeId,
    options: PoolOptions,
    peers: Mutex<BTreeMap<NodeId, Arc<Peer>>>,
    /// Every connection, dialled or accepted, for whoever serves the peers' streams.
    serve: mpsc::Sender<Conn>,
    scope: TaskScope,
}

/// How things stand with a peer.
enum Look {
    Live(Conn),
    Failed(DialError),
    Wait,
}

/// Everything about one peer.
#[derive(Debug)]
struct Peer {
    /// Tells those who wait that a dial ended, or that the peer has dialled us meanwhile.
    changed: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    dialling: bool,
    live: Option<Live>,
    /// Connections that lost against another one and are closed once they are quiet.
    retired: Vec<Live>,
    /// A quiet connection, while the peer is asked whether it is so for it too.
    resting: Option<Live>,
    backoff: Backoff,
    last_error: Option<Arc<DialError>>,
}

impl State {
    /// Returns the connection to use, if one has not ended; the dead ones are dropped on the way.
    fn open(&mut self) -> Option<&mut Live> {
        while self.live.as_ref().is_some_and(|it| !it.conn.is_open()) {
            self.live = self.retired.pop();
        }
        self.live.as_mut()
    }
}

#[derive(Debug, Clone)]
struct Live {
    conn: Conn,
    since: Instant,
    quiet_since: Instant,
}

impl Peer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a dial ended, and how.
    fn dialled(&self, error: Option<&DialError>) {
        let mut state = self.state();
        state.dialling = false;
        if let Some(error) = error {
            state.backoff.failed(Instant::now());
            state.last_error = Some(Arc::new(error.clone()));
        }
    }
}

impl Pool {
    /// Makes a pool; `scope` keeps its background work.
    ///
    /// The second value gives every connection once, dialled and accepted ones: whoever has it
    /// serves the streams that peers open. Connections wait there, so it must be read.
    pub fn new(
        transport: Arc<dyn Transport>,
        options: PoolOptions,
        scope: &TaskScope,
    ) -> (Self, mpsc::Receiver<Conn>) {
        let (serve, served) = mpsc::channel(WAITING);
        let us = transport.place().node;
        let peers = Mutex::default();
        let scope = scope.clone();
        let pool = Self(Arc::new(Inner { transport, us, options, peers, serve, scope }));
        let sweeper = pool.clone();
        pool.0.scope.spawn("pool sweeper", |cancel| async move {
            let mut every = tokio::time::interval(SWEEP);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    _ = every.tick() => sweeper.sweep(),
                }
            }
        });
        (pool, served)
    }

    fn peer(&self, node: NodeId) -> Arc<Peer> {
        let mut peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            let PoolOptions { retry_first, retry_most, seed, .. } = self.0.options;
            let backoff = Backoff::new(retry_first, retry_most, seed, &node);
            let state = State {
                dialling: false,
                live: None,
                retired: Vec::new(),
                resting: None,
                backoff,
                last_error: None,
            };
            Arc::new(Peer { changed: Notify::new(), state: Mutex::new(state) })
        };
        Arc::clone(peers.entry(node).or_insert_with(fresh))
    }

    /// Returns the connection to a peer, and dials when there is none.
    ///
    /// Those who ask at the same time share one dial, which goes on when they leave.
    ///
    /// # Errors
    ///
    /// [`DialError`], at the latest after `within`; [`DialError::Waiting`] at once while a failed
    /// dial holds back the next one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting.
    pub async fn conn(&self, to: &PeerAddr, within: Duration) -> Result<Conn, DialError> {
        let deadline = Instant::now() + within;
        let peer = self.peer(to.node);
        let mut waited = false;
        loop {
            let changed = peer.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.look(&peer, to, within, waited) {
                Look::Live(conn) => return Ok(conn),
                Look::Failed(error) => return Err(error),
                Look::Wait => {}
            }
            if timeout_at(deadline, changed).await.is_err() {
                let tried =
                    Tried { direct: to.direct.clone(), lan: Heard::Off, relays: Vec::new() };
                return Err(DialError::Silent { peer: to.node, within, tried });
            }
            waited = true;
        }
    }

    /// Looks how things stand with a peer, and starts a dial if one is due.
    fn look(&self, peer: &Arc<Peer>, to: &PeerAddr, within: Duration, waited: bool) -> Look {
        let mut state = peer.state();
        if let Some(live) = state.open() {
            live.quiet_since = Instant::now();
            return Look::Live(live.conn.clone());
        }
        if state.dialling {
            return Look::Wait;
        }
        if waited {
            let error = state.last_error.as_deref().cloned();
            return Look::Failed(error.unwrap_or(DialError::Closed));
        }
        if let Some((retry_in, source)) = held_back(&state) {
            return Look::Failed(DialError::Waiting { peer: to.node, retry_in, source });
        }
        state.dialling = true;
        drop(state);
        let (pool, peer, to) = (self.clone(), Arc::clone(peer), to.clone());
        self.0.scope.spawn("pool dial", move |cancel| async move {
            let dialled = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                dialled = pool.0.transport.dial(&to, Protocol::Mesh, within) => Some(dialled),
            };
            peer.dialled(dialled.as_ref().and_then(|it| it.as_ref().err()));
            if let Some(Ok(conn)) = dialled {
                pool.adopt(conn).await;
            }
            peer.changed.notify_waiters();
        });
        Look::Wait
    }

    /// Takes a connection that a peer dialled, and gives it out from now on, unless there is a nearer one;
    /// those that we dial are taken already.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave the connection unserved; it is closed once it is quiet.
    pub async fn adopt(&self, conn: Conn) {
        let peer = self.peer(conn.peer());
        let now = Instant::now();
        let live = Live { conn: conn.clone(), since: now, quiet_since: now };
        {
            let mut state = peer.state();
            state.backoff.reset();
            state.last_error = None;
            match state.open() {
                // The kernel ends it together with the peer: it is alive, however the peer fares.
                Some(old) if old.conn.facts().same_host && !conn.facts().same_host => {
                    state.retired.push(live);
                }
                old => {
                    let replaced = old.cloned();
                    state.retired.extend(replaced);
                    state.live = Some(live);
                }
            }
            while state.retired.len() > RETIRED {
                state.retired.remove(0).conn.close(CloseReason::Duplicate);
            }
        }
        peer.changed.notify_waiters();
        let closed = conn.clone();
        // Whoever serves has left: the node is going down.
        if self.0.serve.send(conn).await.is_err() {
            closed.close(CloseReason::Shutdown);
        }
    }

    /// Adopts every connection that the transport accepts, for as long as the pool's scope lasts: for
    /// those whose transport accepts [`Protocol::Mesh`] alone.
    pub fn adopt_accepted(&self) {
        let pool = self.clone();
        self.0.scope.spawn("pool acceptor", |cancel| async move {
            let accept = || cancel.run_until_cancelled(pool.0.transport.accept());
            while let Some(Some(conn)) = accept().await {
                pool.adopt(conn).await;
            }
        });
    }

    /// Goes over to the older one of two connections that were dialled at the same moment, once it has
    /// shown that it is alive by outliving that moment.
    fn settle(&self, state: &mut State, now: Instant) {
        let Some(live) = state.open().cloned() else { return };
        if now.saturating_duration_since(live.since) < SAME_MOMENT {
            return;
        }
        let better = |it: &Live| it.conn.is_open() && self.keeps(it, &live);
        if let Some(at) = state.retired.iter().position(better) {
            let replaced = Live { quiet_since: now, ..live };
            let kept = std::mem::replace(&mut state.retired[at], replaced);
            state.live = Some(Live { quiet_since: now, ..kept });
        }
    }

    /// Decides between a connection and a younger one, if both are alive; both ends decide alike.
    fn keeps(&self, old: &Live, young: &Live) -> bool {
        let (of_old, of_young) = (old.conn.facts(), young.conn.facts());
        if of_old.same_host != of_young.same_host {
            return of_old.same_host;
        }
        let (by_old, by_young) = (of_old.dialled_by, of_young.dialled_by);
        // Nobody dials again who still has a connection, except when both dial at once.
        if by_old == by_young || young.since.saturating_duration_since(old.since) > SAME_MOMENT {
            return false;
        }
        let dialler = |by| match by {
            Side::Us => self.0.us,
            Side::Peer => of_old.peer,
        };
        dialler(by_old) < dialler(by_young)
    }

    /// Returns the connection to a peer if there is one now; never dials.
    pub fn live(&self, node: NodeId) -> Option<Conn> {
        let peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = Arc::clone(peers.get(&node)?);
        drop(peers);
        let mut state = peer.state();
        state.open().map(|it| it.conn.clone())
    }

    /// Returns every peer with which there is a connection now.
    pub fn connected(&self) -> Vec<Conn> {
        let peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let live = |peer: &Arc<Peer>| peer.state().open().map(|it| it.conn.clone());
        peers.values().filter_map(live).collect()
    }

    /// Returns why the last dial of a peer failed, in which every way that was tried is named;
    /// `None` when it succeeded or there was none.
    pub fn last_error(&self, node: NodeId) -> Option<Arc<DialError>> {
        let peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = Arc::clone(peers.get(&node)?);
        drop(peers);
        let state = peer.state();
        state.last_error.clone()
    }

    /// Forgets that dials of a peer failed, for instance because it announced itself anew.
    pub fn retry_now(&self, node: NodeId) {
        self.peer(node).state().backoff.reset();
    }

    /// Removes a connection that has ended, so that the next who asks dials; a younger one stays.
    ///
    /// Call it as soon as [`Conn::closed`] returns; otherwise it is noticed within a second.
    pub fn ended(&self, conn: &Conn) {
        let peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(peer) = peers.get(&conn.peer()) else { return };
        let mut state = peer.state();
        state.retired.retain(|it| !it.conn.is_same(conn));
        state.resting.take_if(|it| it.conn.is_same(conn));
        if state.live.as_ref().is_some_and(|it| it.conn.is_same(conn)) {
            state.live = state.retired.pop();
        }
    }

    /// Closes and forgets a peer that is no longer a member.
    pub fn forget(&self, node: NodeId, reason: CloseReason) {
        let mut peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(peer) = peers.remove(&node) else { return };
        drop(peers);
        let mut state = peer.state();
        let retired = std::mem::take(&mut state.retired);
        let resting = state.resting.take();
        for live in state.live.take().into_iter().chain(retired).chain(resting) {
            live.conn.close(reason);
        }
    }

    /// Lets go what nobody uses any more, and drops what has ended.
    fn sweep(&self) {
        let peers: Vec<_> = {
            let peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
            peers.values().cloned().collect()
        };
        let PoolOptions { idle_after, idle_most, .. } = self.0.options;
        let now = Instant::now();
        let mut quiet = Vec::new();
        for peer in peers {
            let mut state = peer.state();
            self.settle(&mut state, now);
            state.retired.retain_mut(|it| {
                let over = it.quiet_for(now) >= REPLACED;
                if over {
                    it.conn.close(CloseReason::Duplicate);
                }
                !over && it.conn.is_open()
            });
            let Some(live) = state.open() else { continue };
            let for_so_long = live.quiet_for(now);
            if live.conn.streams() == 0 {
                drop(state);
                quiet.push((for_so_long, peer));
            }
        }
        quiet.sort_by_key(|it| it.0);
        for (at, (for_so_long, peer)) in quiet.into_iter().enumerate() {
            // One that was given out just now is about to have a stream.
            if for_so_long >= idle_after || (at >= idle_most && for_so_long >= SAME_MOMENT) {
                self.let_rest(&peer);
            }
        }
    }
}

impl Live {
    /// Returns for how long nobody has used it.
    fn quiet_for(&mut self, now: Instant) -> Duration {
        if self.conn.streams() > 0 {
            self.quiet_since = now;
        }
        now.saturating_duration_since(self.quiet_since)
    }
}

/// Returns how long a dial is still held back, and why.
fn held_back(state: &State) -> Option<(Duration, Arc<DialError>)> {
    let retry_in = state.backoff.retry_in(Instant::now())?;
    Some((retry_in, Arc::clone(state.last_error.as_ref()?)))
}
