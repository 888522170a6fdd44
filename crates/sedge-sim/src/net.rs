//! The network between simulated machines: everything takes time, gets lost or is cut off, as the
//! seed says.
//!
//! One queue holds what is under way, ordered by when it arrives; one future hands it out, see
//! [`SimNet::carry`]. Streams are in order each; what a link loses arrives later; what is sent
//! while a link is cut waits until it is mended or the connection is given up.

mod pipe;
mod weather;
mod wire;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use sedge_base::{Dice, NodeId};
use sedge_net::{
    Admission, CloseReason, Conn, DialError, Heard, PeerAddr, Place, Protocol, Transport, Tried,
};
use sedge_node::Network;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use self::pipe::{Piece, Pipe};
use self::weather::Way;
pub use self::weather::Weather;
use self::wire::{Ending, SimLink, Waiting, Wire};

/// After how much silence a peer is given up: what QUIC is set to between real machines.
const SILENT_AFTER: Duration = Duration::from_millis(850);
/// Connections that may wait for [`Transport::accept`].
const WAITING: usize = 64;

/// The network of one simulation; cheap to clone, every clone is the same network.
#[derive(Debug, Clone)]
pub struct SimNet(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    posted: Notify,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    ends: BTreeMap<NodeId, End>,
    ways: BTreeMap<(NodeId, NodeId), Way>,
    queue: BinaryHeap<Reverse<Post>>,
    /// What waits for a cut link to be mended.
    held: BTreeMap<(NodeId, NodeId), Vec<Post>>,
    wires: Vec<Weak<Wire>>,
    number: u64,
    /// Mixed from everything that arrived, when and where.
    trace: u64,
    began: Instant,
}

#[derive(Debug, Clone)]
struct End {
    protocols: Vec<Protocol>,
    admission: Arc<dyn Admission>,
    accepted: mpsc::Sender<Conn>,
    number: u64,
}

/// Something under way.
#[derive(Debug)]
struct Post {
    at: Instant,
    number: u64,
    from: NodeId,
    to: NodeId,
    parcel: Parcel,
}

impl PartialEq for Post {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Post {}

impl PartialOrd for Post {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Post {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// What travels.
#[derive(Debug)]
enum Parcel {
    Knock {
        protocol: Protocol,
        told: oneshot::Sender<Result<Conn, DialError>>,
    },
    Answer {
        answer: Result<Conn, DialError>,
        told: oneshot::Sender<Result<Conn, DialError>>,
    },
    Stream {
        wire: Arc<Wire>,
        end: usize,
        waiting: Waiting,
    },
    Piece {
        pipe: Arc<Pipe>,
        piece: Piece,
    },
    Close {
        wire: Arc<Wire>,
        end: usize,
        reason: CloseReason,
    },
    /// Nothing: an end notices that it has heard nothing, since the link was cut or for good.
    Silence {
        wire: Arc<Wire>,
        end: usize,
        cut: Option<Instant>,
    },
}

impl Parcel {
    /// Returns a number for the trace. Lengths do not count: what is sealed is written in decimal
    /// digits, and as long as chance wants it.
    fn kind(&self) -> u64 {
        match self {
            Self::Knock { .. } => 1,
            Self::Answer { answer, .. } => 20 + u64::from(answer.is_ok()),
            Self::Stream { .. } => 3,
            Self::Piece { piece: Piece::Bytes(_), .. } => 4,
            Self::Piece { piece: Piece::Finish, .. } => 5,
            Self::Piece { piece: Piece::Reset, .. } => 6,
            Self::Piece { piece: Piece::Stop, .. } => 7,
            Self::Piece { piece: Piece::Read, .. } => 8,
            Self::Close { reason, .. } => 30 + u64::from(reason.code()),
            Self::Silence { .. } => 10,
        }
    }
}

impl SimNet {
    /// Makes a network without machines. Needs a runtime.
    pub fn new(dice: Dice) -> Self {
        let state = State {
            dice,
            ends: BTreeMap::new(),
            ways: BTreeMap::new(),
            queue: BinaryHeap::new(),
            held: BTreeMap::new(),
            wires: Vec::new(),
            number: 0,
            trace: 0,
            began: Instant::now(),
        };
        Self(Arc::new(Shared { state: Mutex::new(state), posted: Notify::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out what is due, for as long as it is polled.
    pub async fn carry(&self) {
        loop {
            let due = self.lock().queue.peek().map(|it| it.0.at);
            match due {
                None => self.0.posted.notified().await,
                Some(at) if at > Instant::now() => tokio::select! {
                    biased;
                    () = self.0.posted.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                Some(_) => {
                    let post = self.lock().queue.pop();
                    if let Some(Reverse(post)) = post {
                        self.deliver(post);
                    }
                    // Others see each arrival before the next one.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Drops what is under way, when the simulation is over.
    pub fn clear(&self) {
        let (queue, held) = {
            let mut state = self.lock();
            (std::mem::take(&mut state.queue), std::mem::take(&mut state.held))
        };
        // Not under the lock: what is dropped may speak to the network.
        drop((queue, held));
    }

    /// Sets what one direction of a link is like.
    pub fn set_weather(&self, from: NodeId, to: NodeId, weather: Weather) {
        self.lock().ways.entry((from, to)).or_default().weather = weather;
    }

    /// Cuts one direction of a link: nothing arrives, and connections are given up after a while.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        let now = Instant::now();
        let mut state = self.lock();
        let way = state.ways.entry((from, to)).or_default();
        if way.cut.is_some() {
            return;
        }
        way.cut = Some(now);
        let wires: Vec<_> = state.wires.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        for wire in wires.into_iter().filter(|it| it.joins(from, to)) {
            let end = wire.end_of(to);
            self.silence(wire, end, Some(now));
        }
    }

    /// Mends one direction of a link.
    pub fn mend(&self, from: NodeId, to: NodeId) {
        let now = Instant::now();
        let mut state = self.lock();
        let way = state.ways.entry((from, to)).or_default();
        way.cut = None;
        let at = now + way.weather.delay;
        for mut post in state.held.remove(&(from, to)).unwrap_or_default() {
            post.at = match &post.parcel {
                Parcel::Piece { pipe, .. } => pipe.queue(at),
                _ => at,
            };
            state.number += 1;
            post.number = state.number;
            state.queue.push(Reverse(post));
        }
        drop(state);
        self.0.posted.notify_one();
    }

    /// Takes a machine off the network as a power cut does: its peers hear nothing more.
    pub fn kill(&self, node: NodeId) {
        let mut state = self.lock();
        let end = state.ends.remove(&node);
        let wires: Vec<_> = state.wires.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        drop(end);
        for wire in wires.into_iter().filter(|it| it.nodes.contains(&node)) {
            let ours = wire.end_of(node);
            wire.finish(ours, Ending::Silent);
            self.silence(wire, 1 - ours, None);
        }
    }

    /// Returns whether a machine would let another one in; `None` when it is not there.
    pub fn admits(&self, machine: NodeId, peer: NodeId) -> Option<bool> {
        let admission = Arc::clone(&self.lock().ends.get(&machine)?.admission);
        Some(admission.admits(peer, Protocol::Mesh))
    }

    /// Returns how many connections have not been dropped.
    pub fn connections(&self) -> usize {
        self.lock().wires.iter().filter(|it| it.strong_count() > 0).count()
    }

    /// Returns how many connections a machine has that have not ended for it.
    pub fn connections_of(&self, node: NodeId) -> usize {
        let wires: Vec<_> = self.lock().wires.iter().filter_map(Weak::upgrade).collect();
        let open = |it: &&Arc<Wire>| it.nodes.contains(&node) && !it.is_over(it.end_of(node));
        wires.iter().filter(open).count()
    }

    /// Returns how many parcels were sent since the beginning, by whomever.
    pub fn parcels(&self) -> u64 {
        self.lock().number
    }

    /// Returns a number that is mixed from everything that arrived, when and where.
    pub fn trace(&self) -> u64 {
        self.lock().trace
    }

    fn silence(&self, wire: Arc<Wire>, end: usize, cut: Option<Instant>) {
        let (from, to) = (wire.nodes[1 - end], wire.nodes[end]);
        let parcel = Parcel::Silence { wire, end, cut };
        self.post_at(Instant::now() + SILENT_AFTER, from, to, parcel);
    }

    /// Returns when something arrives that is sent now.
    fn arrival(&self, from: NodeId, to: NodeId) -> Instant {
        let mut state = self.lock();
        let weather = state.ways.get(&(from, to)).copied().unwrap_or_default().weather;
        Instant::now() + weather.takes(&mut state.dice)
    }

    fn post(&self, from: NodeId, to: NodeId, parcel: Parcel) {
        let mut at = self.arrival(from, to);
        if let Parcel::Piece { pipe, piece } = &parcel
            && !matches!(piece, Piece::Stop | Piece::Read)
        {
            at = pipe.queue(at);
        }
        self.post_at(at, from, to, parcel);
    }

    fn post_at(&self, at: Instant, from: NodeId, to: NodeId, parcel: Parcel) {
        let mut state = self.lock();
        state.number += 1;
        let post = Post { at, number: state.number, from, to, parcel };
        state.queue.push(Reverse(post));
        drop(state);
        self.0.posted.notify_one();
    }

    fn rtt(&self, a: NodeId, b: NodeId) -> Duration {
        let state = self.lock();
        let way = |from, to| state.ways.get(&(from, to)).copied().unwrap_or_default();
        way(a, b).weather.delay + way(b, a).weather.delay
    }

    fn deliver(&self, post: Post) {
        let mut state = self.lock();
        let silent = matches!(post.parcel, Parcel::Silence { .. });
        let cut = state.ways.get(&(post.from, post.to)).and_then(|it| it.cut);
        if cut.is_some() && !silent {
            state.held.entry((post.from, post.to)).or_default().push(post);
            return;
        }
        let kind = post.parcel.kind();
        let micros = u64::try_from((post.at - state.began).as_micros()).unwrap_or(u64::MAX);
        for part in [micros, kind, post.number] {
            state.trace = Dice::new(state.trace ^ part).roll();
        }
        drop(state);
        let Post { from, to, parcel, .. } = post;
        match parcel {
            Parcel::Knock { protocol, told } => self.knock((from, to), protocol, told),
            Parcel::Answer { answer, told } => drop(told.send(answer)),
            Parcel::Stream { wire, end, waiting } => wire.arrive(end, waiting),
            Parcel::Piece { pipe, piece } => pipe.arrive(piece),
            Parcel::Close { wire, end, reason } => {
                wire.finish(end, Ending::Closed(reason));
            }
            Parcel::Silence { wire, end, cut: since } => {
                let still = since.is_none() || since == cut;
                if still && wire.finish(end, Ending::Silent) {
                    // Who gave the peer up says nothing to it any more.
                    self.silence(wire, 1 - end, None);
                }
            }
        }
    }

    /// A machine knocks at another one.
    fn knock(
        &self,
        (from, to): (NodeId, NodeId),
        protocol: Protocol,
        told: oneshot::Sender<Result<Conn, DialError>>,
    ) {
        let Some(end) = self.lock().ends.get(&to).cloned() else {
            // Nobody there: the dialler waits in vain.
            return;
        };
        let refused = |reason| Err(DialError::Refused { peer: to, reason });
        let answer = if !end.protocols.contains(&protocol) {
            Err(DialError::NotSpoken { peer: to, protocol })
        } else if end.admission.admits(from, protocol) {
            let wire = Wire::new([from, to], protocol);
            let mut state = self.lock();
            state.wires.retain(|it| it.strong_count() > 0);
            state.wires.push(Arc::downgrade(&wire));
            let unheard = state.ways.get(&(to, from)).is_some_and(|it| it.cut.is_some());
            drop(state);
            let link = |end| SimLink { net: self.clone(), wire: Arc::clone(&wire), end };
            let (near, far) = (Conn::new(Arc::new(link(0))), Conn::new(Arc::new(link(1))));
            match end.accepted.try_send(far) {
                Ok(()) => {
                    if unheard {
                        self.silence(wire, 1, None);
                    }
                    Ok(near)
                }
                Err(_) => refused(CloseReason::Full),
            }
        } else {
            refused(CloseReason::NotAdmitted)
        };
        self.post(to, from, Parcel::Answer { answer, told });
    }

    /// Puts a machine on the network that speaks these protocols; it replaces an earlier end with
    /// the same key.
    pub fn attach(
        &self,
        node: NodeId,
        protocols: &[Protocol],
        admission: Arc<dyn Admission>,
    ) -> SimEnd {
        let (sender, accepted) = mpsc::channel(WAITING);
        let mut state = self.lock();
        state.number += 1;
        let number = state.number;
        let protocols = protocols.to_vec();
        let end = End { protocols, admission: Arc::clone(&admission), accepted: sender, number };
        let replaced = state.ends.insert(node, end);
        drop(state);
        drop(replaced);
        let accepted = tokio::sync::Mutex::new(accepted);
        SimEnd { net: self.clone(), node, admission, accepted, number }
    }
}

impl Network for SimNet {
    fn join(&self, node: NodeId, admission: Arc<dyn Admission>) -> Arc<dyn Transport> {
        Arc::new(self.attach(node, &Protocol::ALL, admission))
    }
}

/// One machine's end of a [`SimNet`].
#[derive(Debug)]
pub struct SimEnd {
    net: SimNet,
    node: NodeId,
    admission: Arc<dyn Admission>,
    accepted: tokio::sync::Mutex<mpsc::Receiver<Conn>>,
    number: u64,
}

impl SimEnd {
    /// Takes this end off the network, unless another one has replaced it.
    fn detach(&self) -> bool {
        let mut state = self.net.lock();
        let ours = state.ends.get(&self.node).is_some_and(|it| it.number == self.number);
        let end = if ours { state.ends.remove(&self.node) } else { None };
        drop(state);
        end.is_some()
    }
}

#[async_trait]
impl Transport for SimEnd {
    fn place(&self) -> Place {
        Place { scheme: "simulated", node: self.node, direct: Vec::new() }
    }

    async fn dial(
        &self,
        to: &PeerAddr,
        protocol: Protocol,
        within: Duration,
    ) -> Result<Conn, DialError> {
        let (peer, deadline) = (to.node, Instant::now() + within);
        if peer == self.node {
            return Err(DialError::Itself);
        }
        if !self.admission.admits(peer, protocol) {
            return Err(DialError::NotAdmitted { peer });
        }
        if self.net.lock().ends.get(&self.node).is_none_or(|it| it.number != self.number) {
            return Err(DialError::Closed);
        }
        let (told, answer) = oneshot::channel();
        self.net.post(self.node, peer, Parcel::Knock { protocol, told });
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            late_or_nobody => {
                if late_or_nobody.is_ok() {
                    tokio::time::sleep_until(deadline).await;
                }
                let tried = Tried { direct: Vec::new(), lan: Heard::Off, relays: Vec::new() };
                Err(DialError::Silent { peer, within, tried })
            }
        }
    }

    async fn accept(&self) -> Option<Conn> {
        self.accepted.lock().await.recv().await
    }

    async fn close(&self, _within: Duration) {
        if !self.detach() {
            return;
        }
        let wires: Vec<_> = self.net.lock().wires.iter().filter_map(Weak::upgrade).collect();
        for wire in wires.into_iter().filter(|it| it.nodes.contains(&self.node)) {
            let end = wire.end_of(self.node);
            if wire.finish(end, Ending::ClosedHere) {
                let peer = wire.nodes[1 - end];
                let reason = CloseReason::Shutdown;
                self.net.post(self.node, peer, Parcel::Close { wire, end: 1 - end, reason });
            }
        }
    }
}

impl Drop for SimEnd {
    fn drop(&mut self) {
        self.detach();
    }
}

#[cfg(test)]
mod tests;
