//! A connection between two machines, each of which sees its own end of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use sedge_base::NodeId;
use sedge_net::{CloseReason, ConnError, Facts, Halves, Link, PathClass, Protocol, Side};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use super::pipe::{Pipe, PipeRecv, PipeSend};
use super::{Parcel, SimNet};

/// Streams that may wait for the peer to accept them.
const STREAMS: usize = 256;

/// How one end of a connection ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    ClosedHere,
    Closed(CloseReason),
    Silent,
}

/// A stream that waits to be accepted, and the place that it takes.
pub(super) struct Waiting {
    halves: Halves,
    _place: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}

/// What the two ends of a connection share.
#[derive(Debug)]
pub(super) struct Wire {
    /// The one that dialled, and the other.
    pub(super) nodes: [NodeId; 2],
    protocol: Protocol,
    ends: [WireEnd; 2],
}

#[derive(Debug)]
struct WireEnd {
    ended: Mutex<Option<Ending>>,
    /// Wakes in the order of those who wait; a `watch` would let the runtime's dice choose.
    end: Notify,
    pipes: Mutex<Vec<Weak<Pipe>>>,
    arrived: mpsc::UnboundedSender<Waiting>,
    incoming: tokio::sync::Mutex<mpsc::UnboundedReceiver<Waiting>>,
    /// Bounds what waits at the other end.
    places: Arc<Semaphore>,
}

impl WireEnd {
    fn new() -> Self {
        // Bounded by the places of the end that opens streams.
        let (arrived, incoming) = mpsc::unbounded_channel();
        Self {
            ended: Mutex::default(),
            end: Notify::new(),
            pipes: Mutex::default(),
            arrived,
            incoming: tokio::sync::Mutex::new(incoming),
            places: Arc::new(Semaphore::new(STREAMS)),
        }
    }
}

impl WireEnd {
    fn ended(&self) -> MutexGuard<'_, Option<Ending>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has ended.
    async fn over(&self) -> Ending {
        loop {
            let end = self.end.notified();
            tokio::pin!(end);
            end.as_mut().enable();
            if let Some(ending) = *self.ended() {
                return ending;
            }
            end.await;
        }
    }
}

impl Wire {
    pub(super) fn new(nodes: [NodeId; 2], protocol: Protocol) -> Arc<Self> {
        Arc::new(Self { nodes, protocol, ends: [WireEnd::new(), WireEnd::new()] })
    }

    /// Returns whether the connection is between these two, whoever dialled.
    pub(super) fn joins(&self, a: NodeId, b: NodeId) -> bool {
        self.nodes == [a, b] || self.nodes == [b, a]
    }

    /// Returns which end is that of a node.
    pub(super) fn end_of(&self, node: NodeId) -> usize {
        usize::from(self.nodes[0] != node)
    }

    /// Ends one end; the first ending counts. Returns whether this was it.
    pub(super) fn finish(&self, end: usize, ending: Ending) -> bool {
        let first = {
            let mut ended = self.ends[end].ended();
            let first = ended.is_none();
            ended.get_or_insert(ending);
            first
        };
        if first {
            self.ends[end].end.notify_waiters();
            let mut pipes = self.ends[end].pipes.lock().unwrap_or_else(PoisonError::into_inner);
            let pipes = std::mem::take(&mut *pipes);
            for pipe in pipes.iter().filter_map(Weak::upgrade) {
                pipe.tear(self.nodes[end]);
            }
        }
        first
    }

    /// Returns whether the connection has ended for one end.
    pub(super) fn is_over(&self, end: usize) -> bool {
        self.ends[end].ended().is_some()
    }

    /// Hands a stream to the end that it was opened for.
    pub(super) fn arrive(&self, end: usize, waiting: Waiting) {
        // Gone with the connection, otherwise.
        drop(self.ends[end].arrived.send(waiting));
    }

    fn pipe(&self, net: &SimNet, from: usize, at: Instant) -> Arc<Pipe> {
        let to = 1 - from;
        let pipe = Pipe::new(net, self.nodes[from], self.nodes[to], at);
        for end in [from, to] {
            let mut pipes = self.ends[end].pipes.lock().unwrap_or_else(PoisonError::into_inner);
            pipes.retain(|it| it.strong_count() > 0);
            pipes.push(Arc::downgrade(&pipe));
            drop(pipes);
            if self.is_over(end) {
                pipe.tear(self.nodes[end]);
            }
        }
        pipe
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct SimLink {
    pub(super) net: SimNet,
    pub(super) wire: Arc<Wire>,
    pub(super) end: usize,
}

impl SimLink {
    fn us(&self) -> NodeId {
        self.wire.nodes[self.end]
    }

    fn peer(&self) -> NodeId {
        self.wire.nodes[1 - self.end]
    }

    async fn open(&self) -> Option<Halves> {
        let places = Arc::clone(&self.wire.ends[self.end].places);
        let place = places.acquire_owned().await.ok()?;
        let at = self.net.arrival(self.us(), self.peer());
        let out = self.wire.pipe(&self.net, self.end, at);
        let back = self.wire.pipe(&self.net, 1 - self.end, at);
        let far: Halves =
            (Box::new(PipeSend(Arc::clone(&back))), Box::new(PipeRecv(Arc::clone(&out))));
        let waiting = Waiting { halves: far, _place: place };
        let parcel = Parcel::Stream { wire: Arc::clone(&self.wire), end: 1 - self.end, waiting };
        self.net.post_at(at, self.us(), self.peer(), parcel);
        Some((Box::new(PipeSend(out)), Box::new(PipeRecv(back))))
    }
}

#[async_trait]
impl Link for SimLink {
    fn facts(&self) -> Facts {
        Facts {
            peer: self.peer(),
            protocol: self.wire.protocol,
            dialled_by: if self.end == 0 { Side::Us } else { Side::Peer },
            path: PathClass::Lan,
            same_host: false,
            rtt: Some(self.net.rtt(self.us(), self.peer())),
        }
    }

    async fn stream(&self, opener: Side) -> Result<Halves, ConnError> {
        let made = async {
            match opener {
                Side::Us => self.open().await,
                Side::Peer => {
                    let mut incoming = self.wire.ends[self.end].incoming.lock().await;
                    incoming.recv().await.map(|it| it.halves)
                }
            }
        };
        tokio::select! {
            biased;
            why = self.closed() => Err(why),
            made = made => match made {
                Some(halves) => Ok(halves),
                None => Err(self.closed().await),
            },
        }
    }

    fn close(&self, reason: CloseReason) {
        if self.wire.finish(self.end, Ending::ClosedHere) {
            let parcel = Parcel::Close { wire: Arc::clone(&self.wire), end: 1 - self.end, reason };
            self.net.post(self.us(), self.peer(), parcel);
        }
    }

    async fn closed(&self) -> ConnError {
        match self.wire.ends[self.end].over().await {
            Ending::ClosedHere => ConnError::ClosedHere,
            Ending::Closed(reason) => ConnError::Closed { reason },
            Ending::Silent => ConnError::Silent,
        }
    }
}

impl Drop for SimLink {
    /// The last clone and the last stream of a connection are gone.
    fn drop(&mut self) {
        self.close(CloseReason::Done);
    }
}
