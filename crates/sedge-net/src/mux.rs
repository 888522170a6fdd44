//! Many streams on one carrier, with the same ways to end early as QUIC's.
//!
//! Each direction of a stream ends with two packets: the writer's last word (`Fin` or `Reset`) and
//! the reader's (`Stop`). A stream is forgotten by both sides after the same four packets, so both
//! count the same streams, and a packet of an unknown stream is the peer's mistake.

mod halves;
pub(crate) mod streams;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sedge_base::{Cancel, NodeId, TaskScope};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior, sleep, timeout};

use self::streams::{Ending, Shared};
use crate::conn::{CloseReason, Conn, ConnError, Facts, Halves, Link, PathClass, Side};
use crate::events::{Ended, Metrics, Opened};
use crate::packet::{Inlet, Kind, Outlet, Packet};
use crate::quic::Liveness;
use crate::transport::Protocol;

/// How long the last word of a connection may take to be sent, and to be read by the peer.
const PARTING: Duration = Duration::from_millis(500);
/// Packets that are sent before the queue is looked at again.
const BATCH: usize = 32;

/// What a proven and admitted peer, and its carrier, are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) peer: NodeId,
    pub(crate) protocol: Protocol,
    pub(crate) dialled_by: Side,
    pub(crate) path: PathClass,
    /// Bytes of one stream that may be on their way.
    pub(crate) window: usize,
    /// Large writes travel as sealed memory.
    pub(crate) sealed: bool,
    pub(crate) liveness: Liveness,
}

/// One connection over a carrier.
#[derive(Debug)]
struct MuxLink {
    terms: Terms,
    shared: Arc<Shared>,
    rtt: Arc<AtomicU64>,
    /// The place among the accepted connections, given back when the link is dropped.
    _place: Option<OwnedSemaphorePermit>,
}

/// Runs a connection over a carrier whose ends have proven their keys and admitted each other.
pub(crate) fn start(
    terms: Terms,
    (outlet, inlet): (Box<dyn Outlet>, Box<dyn Inlet>),
    place: Option<OwnedSemaphorePermit>,
    metrics: &Arc<Metrics>,
    scope: &TaskScope,
) -> Conn {
    let shared = Arc::new(Shared::new(&terms));
    let rtt = Arc::new(AtomicU64::new(u64::MAX));
    let Terms { peer, protocol, dialled_by, path, liveness, .. } = terms;
    Opened { peer, protocol, dialled_by, path }.emit(metrics);
    let writer = Writer { shared: Arc::clone(&shared), outlet, liveness, began: Instant::now() };
    let reader = Reader {
        shared: Arc::clone(&shared),
        inlet,
        silent_after: liveness.silent_after,
        began: writer.began,
        rtt: Arc::clone(&rtt),
    };
    let metrics = Arc::clone(metrics);
    // The writer hears of a shutdown through the connection's end: its last word comes first.
    scope.spawn("mux writer", |_| writer.run());
    scope.spawn("mux reader", move |cancel| async move {
        let shared = Arc::clone(&reader.shared);
        reader.run(cancel).await;
        let why = shared.closed().await;
        Ended { peer, why: &why }.emit(&metrics);
    });
    Conn::new(Arc::new(MuxLink { terms, shared, rtt, _place: place }))
}

#[async_trait]
impl Link for MuxLink {
    fn facts(&self) -> Facts {
        // Sealed memory is handed over between processes of one machine alone.
        let Terms { peer, protocol, dialled_by, path, sealed: same_host, .. } = self.terms;
        let rtt = self.rtt.load(Relaxed);
        let rtt = (rtt != u64::MAX).then(|| Duration::from_micros(rtt));
        Facts { peer, protocol, dialled_by, path, same_host, rtt }
    }

    async fn stream(&self, opener: Side) -> Result<Halves, ConnError> {
        let made = async {
            match opener {
                Side::Us => self.shared.open().await,
                Side::Peer => self.shared.accept().await,
            }
        };
        tokio::select! {
            biased;
            why = self.shared.closed() => Err(why),
            (id, stopped) = made => Ok(halves::pair(&self.shared, id, stopped)),
        }
    }

    fn close(&self, reason: CloseReason) {
        self.shared.end(Ending::Ours(reason));
    }

    async fn closed(&self) -> ConnError {
        self.shared.closed().await
    }
}

impl Drop for MuxLink {
    /// The last clone and the last stream of a connection are gone.
    fn drop(&mut self) {
        self.shared.end(Ending::Ours(CloseReason::Done));
    }
}

struct Writer {
    shared: Arc<Shared>,
    outlet: Box<dyn Outlet>,
    liveness: Liveness,
    began: Instant,
}

impl Writer {
    async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let parting = async {
            drop(shared.closed().await);
            sleep(PARTING).await;
        };
        tokio::select! {
            biased;
            result = self.write() => if let Err(err) = result {
                shared.end(Ending::of(err));
            },
            () = parting => {}
        }
    }

    /// Sends until the connection has ended and its last word is out.
    async fn write(&mut self) -> io::Result<()> {
        let mut every = tokio::time::interval(self.liveness.keep_alive);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (batch, ended) = self.shared.take(BATCH);
            if batch.is_empty() {
                if ended {
                    return self.outlet.end().await;
                }
                tokio::select! {
                    biased;
                    () = self.shared.wake_writer.notified() => {}
                    _ = every.tick() => {
                        let at = self.began.elapsed().as_micros() as u64;
                        self.shared.push(Packet::new(Kind::Ping, 0, Bytes::copy_from_slice(&at.to_be_bytes())));
                    }
                }
                continue;
            }
            for packet in batch {
                self.outlet.send(packet).await?;
            }
            self.outlet.flush().await?;
        }
    }
}

struct Reader {
    shared: Arc<Shared>,
    inlet: Box<dyn Inlet>,
    silent_after: Duration,
    began: Instant,
    rtt: Arc<AtomicU64>,
}

impl Reader {
    async fn run(mut self, cancel: Cancel) {
        let shared = Arc::clone(&self.shared);
        let ending = tokio::select! {
            biased;
            _ = shared.closed() => None,
            () = cancel.cancelled() => Some(Ending::Ours(CloseReason::Shutdown)),
            ending = self.read() => Some(ending),
        };
        if let Some(ending) = ending {
            shared.end(ending);
        }
        // What still comes is read away: a socket that is closed over unread bytes takes back
        // what it sent last.
        let rest = async { while matches!(self.inlet.next().await, Ok(Some(_))) {} };
        drop(timeout(PARTING, rest).await);
    }

    async fn read(&mut self) -> Ending {
        loop {
            let packet = match timeout(self.silent_after, self.inlet.next()).await {
                Err(_) | Ok(Ok(None)) => return Ending::Silent,
                Ok(Err(err)) => return Ending::of(err),
                Ok(Ok(Some(packet))) => packet,
            };
            match (packet.kind, &packet.body) {
                (Kind::Close, crate::packet::Body::Bytes(code)) => {
                    let code = code.as_ref().try_into().map_or(u32::MAX, u32::from_be_bytes);
                    return Ending::Theirs(CloseReason::from_code(code));
                }
                (Kind::Pong, crate::packet::Body::Bytes(at)) => {
                    let at = at.as_ref().try_into().map_or(u64::MAX, u64::from_be_bytes);
                    let now = self.began.elapsed().as_micros() as u64;
                    if let Some(rtt) = now.checked_sub(at) {
                        self.rtt.store(rtt, Relaxed);
                    }
                }
                _ => {
                    if let Err(what) = self.shared.handle(packet) {
                        return Ending::Violated(what);
                    }
                }
            }
        }
    }
}
