//! A network inside one process, for tests: the same seam, no sockets, and links that can be cut.

mod pipe;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use sedge_base::NodeId;
use tokio::sync::{mpsc, watch};

use self::pipe::Pipe;
use crate::conn::{CloseReason, Conn, ConnError, Facts, Halves, Link, PathClass, Side};
use crate::events::{Metrics, Opened, Refused};
use crate::transport::{Admission, DialError, Heard, PeerAddr, Place, Protocol, Transport, Tried};

/// Streams that may wait for the peer to accept them.
const STREAMS: usize = 256;
/// Connections that may wait for [`Transport::accept`].
const WAITING: usize = 64;

/// The double of a network: nodes that meet here can dial each other by key alone.
#[derive(Debug, Clone, Default)]
pub struct MemoryNet(Arc<Mutex<Net>>);

#[derive(Debug, Default)]
struct Net {
    ends: BTreeMap<NodeId, End>,
    cut: BTreeSet<(NodeId, NodeId)>,
    /// How far away nodes are; the others are on this machine.
    paths: BTreeMap<(NodeId, NodeId), PathClass>,
    wires: Vec<Weak<Wire>>,
}

#[derive(Debug, Clone)]
struct End {
    admission: Arc<dyn Admission>,
    protocols: Vec<Protocol>,
    accepted: mpsc::Sender<Conn>,
    metrics: Arc<Metrics>,
}

fn between(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

impl MemoryNet {
    /// Makes a network without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Net> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a node that speaks these protocols; it replaces an earlier end with the same key.
    pub fn join(
        &self,
        node: NodeId,
        protocols: &[Protocol],
        admission: Arc<dyn Admission>,
    ) -> Memory {
        let (sender, accepted) = mpsc::channel(WAITING);
        let metrics = Arc::new(Metrics::default());
        let end = End {
            admission: Arc::clone(&admission),
            protocols: protocols.to_vec(),
            accepted: sender,
            metrics: Arc::clone(&metrics),
        };
        self.lock().ends.insert(node, end);
        let accepted = tokio::sync::Mutex::new(accepted);
        Memory { net: self.clone(), node, admission, accepted, metrics }
    }

    /// Cuts the link between two nodes: their connections fall silent, and dials fail until
    /// [`MemoryNet::heal`].
    pub fn cut(&self, a: NodeId, b: NodeId) {
        self.lock().cut.insert(between(a, b));
        self.end_wires(|wire| between(wire.nodes[0], wire.nodes[1]) == between(a, b));
    }

    /// Mends the link between two nodes.
    pub fn heal(&self, a: NodeId, b: NodeId) {
        self.lock().cut.remove(&between(a, b));
    }

    /// Puts two nodes so far away from each other, for the connections that they have, too.
    pub fn set_path(&self, a: NodeId, b: NodeId, path: PathClass) {
        let mut net = self.lock();
        net.paths.insert(between(a, b), path);
        for wire in net.wires.iter().filter_map(Weak::upgrade) {
            if between(wire.nodes[0], wire.nodes[1]) == between(a, b) {
                wire.path.send_replace(path);
            }
        }
    }

    /// Kills a node: it is gone, and its peers see it fall silent.
    pub fn kill(&self, node: NodeId) {
        self.lock().ends.remove(&node);
        self.end_wires(|wire| wire.nodes.contains(&node));
    }

    fn end_wires(&self, which: impl Fn(&Wire) -> bool) {
        let wires: Vec<_> = self.lock().wires.iter().filter_map(Weak::upgrade).collect();
        for wire in wires.iter().filter(|it| which(it)) {
            wire.end(Ending::Silent);
        }
    }
}

/// One node's end of a [`MemoryNet`].
#[derive(Debug)]
pub struct Memory {
    net: MemoryNet,
    node: NodeId,
    admission: Arc<dyn Admission>,
    accepted: tokio::sync::Mutex<mpsc::Receiver<Conn>>,
    metrics: Arc<Metrics>,
}

impl Memory {
    /// Switches protocols on and off for connections that others begin from now on.
    pub fn set_protocols(&self, protocols: &[Protocol]) {
        if let Some(end) = self.net.lock().ends.get_mut(&self.node) {
            end.protocols = protocols.to_vec();
        }
    }

    /// Returns the counters.
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    fn connect(&self, peer: NodeId, protocol: Protocol) -> Result<(Conn, Conn, End), DialError> {
        let mut net = self.net.lock();
        let silent = || DialError::Silent {
            peer,
            within: Duration::ZERO,
            tried: Tried { direct: Vec::new(), lan: Heard::Off, relays: Vec::new() },
        };
        if !net.ends.contains_key(&self.node) {
            return Err(DialError::Closed);
        }
        if net.cut.contains(&between(self.node, peer)) {
            return Err(silent());
        }
        let end = net.ends.get(&peer).cloned().ok_or_else(silent)?;
        if !end.protocols.contains(&protocol) {
            return Err(DialError::NotSpoken { peer, protocol });
        }
        if !end.admission.admits(self.node, protocol) {
            Refused { peer: self.node, protocol }.emit(&end.metrics);
            return Err(DialError::Refused { peer, reason: CloseReason::NotAdmitted });
        }
        let path = net.paths.get(&between(self.node, peer)).copied().unwrap_or(PathClass::Local);
        let wire = Wire::new([self.node, peer], protocol, path);
        net.wires.retain(|it| it.strong_count() > 0);
        net.wires.push(Arc::downgrade(&wire));
        let (near, far) = MemoryLink::pair(wire);
        Ok((Conn::new(Arc::new(near)), Conn::new(Arc::new(far)), end))
    }
}

#[async_trait]
impl Transport for Memory {
    fn place(&self) -> Place {
        Place { scheme: "memory", node: self.node, direct: Vec::new() }
    }

    async fn dial(
        &self,
        to: &PeerAddr,
        protocol: Protocol,
        within: Duration,
    ) -> Result<Conn, DialError> {
        let peer = to.node;
        if peer == self.node {
            return Err(DialError::Itself);
        }
        if !self.admission.admits(peer, protocol) {
            return Err(DialError::NotAdmitted { peer });
        }
        let (near, far, end) = self.connect(peer, protocol)?;
        let path = near.path();
        let handed = tokio::time::timeout(within, end.accepted.send(far)).await;
        if !matches!(handed, Ok(Ok(()))) {
            let tried = Tried { direct: Vec::new(), lan: Heard::Off, relays: Vec::new() };
            return Err(DialError::Silent { peer, within, tried });
        }
        Opened { peer: self.node, protocol, dialled_by: Side::Peer, path }.emit(&end.metrics);
        Opened { peer, protocol, dialled_by: Side::Us, path }.emit(&self.metrics);
        Ok(near)
    }

    async fn accept(&self) -> Option<Conn> {
        self.accepted.lock().await.recv().await
    }

    async fn close(&self, _within: Duration) {
        let mut net = self.net.lock();
        net.ends.remove(&self.node);
        let wires: Vec<_> = net.wires.iter().filter_map(Weak::upgrade).collect();
        drop(net);
        for wire in wires.iter().filter(|it| it.nodes.contains(&self.node)) {
            wire.end(Ending::Closed { by: self.node, reason: CloseReason::Shutdown });
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut net = self.net.lock();
        // An end that replaced this one stays.
        let ours =
            net.ends.get(&self.node).is_some_and(|it| Arc::ptr_eq(&it.metrics, &self.metrics));
        if ours {
            net.ends.remove(&self.node);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Closed { by: NodeId, reason: CloseReason },
    Silent,
}

/// What the two links of a connection share.
#[derive(Debug)]
struct Wire {
    /// The one that dialled, and the other.
    nodes: [NodeId; 2],
    protocol: Protocol,
    /// Whether both were on one machine when it was dialled.
    same_host: bool,
    path: watch::Sender<PathClass>,
    ended: watch::Sender<Option<Ending>>,
    pipes: Mutex<Vec<Weak<Pipe>>>,
}

impl Wire {
    fn new(nodes: [NodeId; 2], protocol: Protocol, path: PathClass) -> Arc<Self> {
        let same_host = path == PathClass::Local;
        let (path, ended) = (watch::Sender::new(path), watch::Sender::new(None));
        Arc::new(Self { nodes, protocol, same_host, path, ended, pipes: Mutex::default() })
    }

    /// Ends the connection; the first ending counts.
    fn end(&self, ending: Ending) {
        let first = self.ended.send_if_modified(|it| match it {
            Some(_) => false,
            None => {
                *it = Some(ending);
                true
            }
        });
        if first {
            let pipes =
                std::mem::take(&mut *self.pipes.lock().unwrap_or_else(PoisonError::into_inner));
            for pipe in pipes.iter().filter_map(Weak::upgrade) {
                pipe.tear();
            }
        }
    }

    fn pipe(&self) -> Arc<Pipe> {
        let pipe = Pipe::new();
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        pipes.retain(|it| it.strong_count() > 0);
        pipes.push(Arc::downgrade(&pipe));
        drop(pipes);
        if self.ended.borrow().is_some() {
            pipe.tear();
        }
        pipe
    }
}

/// One end of a connection in memory.
#[derive(Debug)]
struct MemoryLink {
    wire: Arc<Wire>,
    dialled_by: Side,
    opened: mpsc::Sender<Halves>,
    incoming: tokio::sync::Mutex<mpsc::Receiver<Halves>>,
}

impl MemoryLink {
    fn pair(wire: Arc<Wire>) -> (Self, Self) {
        let (to_far, far) = mpsc::channel(STREAMS);
        let (to_near, near) = mpsc::channel(STREAMS);
        let link = |wire, dialled_by, opened, incoming| Self {
            wire,
            dialled_by,
            opened,
            incoming: tokio::sync::Mutex::new(incoming),
        };
        (link(Arc::clone(&wire), Side::Us, to_far, near), link(wire, Side::Peer, to_near, far))
    }

    fn names(&self) -> (NodeId, NodeId) {
        let [dialler, other] = self.wire.nodes;
        match self.dialled_by {
            Side::Us => (dialler, other),
            Side::Peer => (other, dialler),
        }
    }
}

#[async_trait]
impl Link for MemoryLink {
    fn facts(&self) -> Facts {
        let (_, peer) = self.names();
        Facts {
            peer,
            protocol: self.wire.protocol,
            dialled_by: self.dialled_by,
            path: *self.wire.path.borrow(),
            same_host: self.wire.same_host,
            rtt: Some(Duration::ZERO),
        }
    }

    async fn stream(&self, opener: Side) -> Result<Halves, ConnError> {
        let made = async {
            match opener {
                Side::Us => {
                    let place = self.opened.reserve().await.ok()?;
                    let (out, back) = (self.wire.pipe(), self.wire.pipe());
                    place.send((pipe::sender(&back), pipe::receiver(&out)));
                    Some((pipe::sender(&out), pipe::receiver(&back)))
                }
                Side::Peer => self.incoming.lock().await.recv().await,
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
        self.wire.end(Ending::Closed { by: self.names().0, reason });
    }

    async fn closed(&self) -> ConnError {
        let mut ended = self.wire.ended.subscribe();
        let ending = ended.wait_for(Option::is_some).await.map_or(None, |it| *it);
        match ending {
            Some(Ending::Closed { by, .. }) if by == self.names().0 => ConnError::ClosedHere,
            Some(Ending::Closed { reason, .. }) => ConnError::Closed { reason },
            Some(Ending::Silent) | None => ConnError::Silent,
        }
    }
}

impl Drop for MemoryLink {
    /// The last clone and the last stream of a connection are gone.
    fn drop(&mut self) {
        self.wire.end(Ending::Closed { by: self.names().0, reason: CloseReason::Done });
    }
}
