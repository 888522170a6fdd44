//! What the transports over carriers have in common: who is let in, and how a dial ends.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sedge_base::{NodeId, TaskScope};
use sedge_trust::Identity;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};

use crate::conn::{CloseReason, Conn, PathClass, Side};
use crate::events::{DialFailed, HandshakeFailed, Metrics, Refused};
use crate::handshake::{self, Carrier, Verdict};
use crate::mux::{self, Terms};
use crate::packet::{Inlet, Outlet};
use crate::quic::Liveness;
use crate::transport::{Admission, DialError, Heard, PeerAddr, Protocol, Tried};

/// How long an accepted connection may take to prove its key, at least.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Accepted connections that are proving their key at the same time.
const HANDSHAKES: usize = 64;
/// Connections that are admitted and wait to be accepted.
const WAITING: usize = 64;

/// The two directions of a carrier.
pub(crate) type Ends = (Box<dyn Outlet>, Box<dyn Inlet>);

/// How a transport's connections behave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Bytes of one stream that may be on their way.
    pub(crate) window: usize,
    /// Large writes travel as sealed memory.
    pub(crate) sealed: bool,
    pub(crate) liveness: Liveness,
}

/// Why a dial failed, before the peer's name is put to it.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Nobody answers.
    Silent,
    /// No way is known.
    NoAddress,
    /// The peer's verdict.
    Verdict(Verdict),
    /// Somebody answered, but the keys could not be proven.
    Handshake(Arc<dyn std::error::Error + Send + Sync>),
}

impl From<io::Error> for Fault {
    fn from(err: io::Error) -> Self {
        Self::Handshake(Arc::new(err))
    }
}

/// One end's keys, guests and connections.
pub(crate) struct Door {
    pub(crate) identity: Arc<Identity>,
    admission: Arc<dyn Admission>,
    protocols: RwLock<Vec<Protocol>>,
    manner: Manner,
    queue: mpsc::Sender<Conn>,
    /// Handed from waiter to waiter; empty while one waits.
    accepted: tokio::sync::Mutex<mpsc::Receiver<Conn>>,
    handshakes: Arc<Semaphore>,
    places: Arc<Semaphore>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) scope: TaskScope,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("node", &self.identity.node_id()).finish_non_exhaustive()
    }
}

impl Door {
    pub(crate) fn new(
        identity: Arc<Identity>,
        admission: Arc<dyn Admission>,
        protocols: Vec<Protocol>,
        manner: Manner,
        max_accepted: usize,
    ) -> Self {
        let (queue, accepted) = mpsc::channel(WAITING);
        Self {
            identity,
            admission,
            protocols: RwLock::new(protocols),
            manner,
            queue,
            accepted: tokio::sync::Mutex::new(accepted),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
            places: Arc::new(Semaphore::new(max_accepted)),
            metrics: Arc::default(),
            scope: TaskScope::new(),
        }
    }

    pub(crate) fn set_protocols(&self, protocols: &[Protocol]) {
        *self.protocols.write().unwrap_or_else(PoisonError::into_inner) = protocols.to_vec();
    }

    /// Waits for the next admitted connection; `None` when this end is closed.
    pub(crate) async fn accept(&self) -> Option<Conn> {
        let closed = self.scope.cancel();
        tokio::select! {
            biased;
            () = closed.cancelled() => None,
            conn = async { self.accepted.lock().await.recv().await } => conn,
        }
    }

    /// Takes a turn among those who prove their keys; `None` when there are too many.
    pub(crate) fn turn(&self, from: Option<SocketAddr>) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.handshakes).try_acquire_owned().ok();
        if turn.is_none() {
            self.failed(from, "too many at once");
        }
        turn
    }

    /// Waits for a turn, where those who want in can wait before they are accepted.
    #[cfg(target_os = "linux")]
    pub(crate) async fn next_turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.handshakes).acquire_owned().await.ok()
    }

    pub(crate) fn failed(&self, from: Option<SocketAddr>, why: &'static str) {
        HandshakeFailed { from, why }.emit(&self.metrics);
    }

    /// Lets a connection in, on its own, so that a slow one delays nobody.
    pub(crate) fn greet<Fut>(
        self: &Arc<Self>,
        from: Option<SocketAddr>,
        path: PathClass,
        carrier: impl FnOnce() -> Fut + Send + 'static,
    ) where
        Fut: Future<Output = io::Result<(Carrier, Ends)>> + Send + 'static,
    {
        if let Some(turn) = self.turn(from) {
            self.greet_in(turn, from, path, carrier);
        }
    }

    /// Lets a connection in that has its turn.
    pub(crate) fn greet_in<Fut>(
        self: &Arc<Self>,
        turn: OwnedSemaphorePermit,
        from: Option<SocketAddr>,
        path: PathClass,
        carrier: impl FnOnce() -> Fut + Send + 'static,
    ) where
        Fut: Future<Output = io::Result<(Carrier, Ends)>> + Send + 'static,
    {
        let door = Arc::clone(self);
        self.scope.spawn("handshake", move |cancel| async move {
            // Who may be silent for longer may also be slower here.
            let within = door.manner.liveness.silent_after.max(HANDSHAKE);
            let deadline = Instant::now() + within;
            let greeted = async {
                let (carrier, ends) = carrier().await?;
                door.admit(&carrier, ends, path).await
            };
            let greeted = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                greeted = timeout_at(deadline, greeted) => greeted,
            };
            drop(turn);
            match greeted {
                Err(_) => door.failed(from, "no proof in time"),
                Ok(Err(_)) => door.failed(from, "no proof"),
                Ok(Ok(None)) => {}
                // Nobody left who accepts: the connection is dropped and so closed.
                Ok(Ok(Some(conn))) => tokio::select! {
                    biased;
                    () = cancel.cancelled() => {}
                    sent = door.queue.send(conn) => drop(sent),
                },
            }
        });
    }

    async fn admit(
        &self,
        carrier: &Carrier,
        (mut outlet, mut inlet): Ends,
        path: PathClass,
    ) -> io::Result<Option<Conn>> {
        let guest = handshake::listen((&mut *outlet, &mut *inlet), &self.identity, carrier).await?;
        let peer = guest.node;
        let spoken = |it: &Protocol| {
            self.protocols.read().unwrap_or_else(PoisonError::into_inner).contains(it)
        };
        let Some(protocol) = guest.protocol.filter(spoken) else {
            handshake::tell(&mut *outlet, Verdict::NotSpoken).await?;
            return Ok(None);
        };
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            _ if !self.admission.admits(peer, protocol) => Err(CloseReason::NotAdmitted),
            Err(_) => Err(CloseReason::Full),
            Ok(place) => Ok(place),
        };
        let place = match place {
            Ok(place) => place,
            Err(reason) => {
                Refused { peer, protocol }.emit(&self.metrics);
                handshake::tell(&mut *outlet, Verdict::Refused(reason)).await?;
                return Ok(None);
            }
        };
        handshake::tell(&mut *outlet, Verdict::Welcome).await?;
        let terms = self.terms(peer, protocol, Side::Peer, path);
        Ok(Some(mux::start(terms, (outlet, inlet), Some(place), &self.metrics, &self.scope)))
    }

    fn terms(&self, peer: NodeId, protocol: Protocol, dialled_by: Side, path: PathClass) -> Terms {
        let Manner { window, sealed, liveness } = self.manner;
        Terms { peer, protocol, dialled_by, path, window, sealed, liveness }
    }

    /// Dials over a carrier that `connect` makes; ends at the latest after `within`.
    pub(crate) async fn dial(
        &self,
        to: &PeerAddr,
        protocol: Protocol,
        within: Duration,
        connect: impl Future<Output = Result<(PathClass, Carrier, Ends), Fault>> + Send,
    ) -> Result<Conn, DialError> {
        let (peer, started) = (to.node, Instant::now());
        let proven = async {
            let (path, carrier, (mut outlet, mut inlet)) = connect.await?;
            let ends = (&mut *outlet, &mut *inlet);
            match handshake::dial(ends, &self.identity, peer, protocol, &carrier).await? {
                Verdict::Welcome => Ok((path, (outlet, inlet))),
                other => Err(Fault::Verdict(other)),
            }
        };
        let tried = || Tried { direct: to.direct.clone(), lan: Heard::Off, relays: Vec::new() };
        let error = if peer == self.identity.node_id() {
            DialError::Itself
        } else if self.scope.cancel().is_cancelled() {
            DialError::Closed
        } else if !self.admission.admits(peer, protocol) {
            DialError::NotAdmitted { peer }
        } else {
            match timeout_at(started + within, proven).await {
                Ok(Ok((path, ends))) => {
                    let terms = self.terms(peer, protocol, Side::Us, path);
                    return Ok(mux::start(terms, ends, None, &self.metrics, &self.scope));
                }
                Err(_) | Ok(Err(Fault::Silent)) => {
                    DialError::Silent { peer, within: started.elapsed(), tried: tried() }
                }
                Ok(Err(Fault::NoAddress)) => DialError::NoAddress { peer, tried: tried() },
                Ok(Err(Fault::Verdict(Verdict::Refused(CloseReason::Full)))) => {
                    DialError::Full { peer }
                }
                Ok(Err(Fault::Verdict(Verdict::Refused(reason)))) => {
                    DialError::Refused { peer, reason }
                }
                Ok(Err(Fault::Verdict(_))) => DialError::NotSpoken { peer, protocol },
                Ok(Err(Fault::Handshake(source))) => DialError::Handshake { peer, source },
            }
        };
        DialFailed { peer, took: started.elapsed(), error: &error }.emit(&self.metrics);
        Err(error)
    }

    /// Ends every connection and accepts and dials nothing afterwards.
    pub(crate) async fn close(&self, within: Duration) {
        drop(self.scope.shutdown(within).await);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.scope.stop();
    }
}
