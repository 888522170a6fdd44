//! One member's messages to another: one stream, opened when there is something to say.

use std::sync::Arc;
use std::time::Duration;

use sedge_base::{Cancel, ErrorKind};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::drive::Inner;
use super::machine::Loss;
use super::wire::Key;
use crate::conn::{CloseReason, Conn, ConnError};
use crate::frame::{Frame, FrameWriter};
use crate::stream::SendStream;
use crate::transport::{DialError, PeerAddr};

/// Messages that may wait for one peer; more are dropped, and the link counts as lost.
pub(super) const WAITING: usize = 512;
/// How long a peer may take to make room for one message.
const STALL: Duration = Duration::from_secs(10);
/// How long the last message may take to be read.
const PARTING: Duration = Duration::from_secs(1);
/// How long a lane to somebody who is no neighbour stays open without a message.
const IDLE: Duration = Duration::from_secs(2);
/// How often a connection that was only replaced by another one is looked for again.
const REPLACED: usize = 3;

type Writer = FrameWriter<SendStream>;

/// How the rest of a member sees a lane.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) sender: mpsc::Sender<Frame>,
    pub(super) keep: watch::Sender<bool>,
    /// Tells this lane from a later one to the same peer.
    pub(super) number: u64,
}

/// The other end of a [`Lane`].
pub(super) struct Waiting {
    pub(super) frames: mpsc::Receiver<Frame>,
    pub(super) keep: watch::Receiver<bool>,
    pub(super) number: u64,
}

/// How a lane's work ended.
enum End {
    /// Nothing more to say.
    Idle,
    /// This member stops.
    Stopped,
    /// The connection was replaced by another one.
    Replaced,
    Lost(Loss),
}

/// Carries one peer's messages until there are none, or the link is lost.
pub(super) async fn run(inner: &Arc<Inner>, to: PeerAddr, mut waiting: Waiting, cancel: Cancel) {
    let peer = Key::from(to.node);
    for _ in 0..REPLACED {
        let end = tokio::select! {
            biased;
            end = carry(inner, &to, &mut waiting, &cancel) => end,
        };
        match end {
            End::Replaced => {}
            End::Idle | End::Stopped => return,
            End::Lost(loss) => return inner.lost(peer, waiting.number, loss),
        }
    }
    inner.lost(peer, waiting.number, Loss::Closed);
}

async fn carry(inner: &Inner, to: &PeerAddr, waiting: &mut Waiting, cancel: &Cancel) -> End {
    let within = inner.patience();
    let conn = tokio::select! {
        biased;
        () = cancel.cancelled() => return End::Stopped,
        conn = dial(inner, to, within) => conn,
    };
    let conn = match conn {
        Ok(conn) => conn,
        Err(error) => return End::Lost(not_dialled(&error)),
    };
    let stream = match conn.open(within).await {
        Ok(stream) => stream,
        Err(error) => return not_open(&error),
    };
    let mut stopped = stream.send.stopped();
    // The peer never answers on this stream; dropped, the direction would tell it to stop.
    let _answers = stream.recv;
    let mut writer = FrameWriter::new(stream.send);
    let end = tokio::select! {
        biased;
        end = write(inner, Key::from(to.node), waiting, &mut writer) => end,
        error = conn.closed() => return not_open(&error),
        () = &mut stopped => return stopped_by(&conn),
    };
    if matches!(end, End::Idle | End::Stopped) {
        // What was written last still arrives: the connection may go with this stream.
        let read = async {
            drop(writer.into_inner().finish().await);
            stopped.await;
        };
        drop(timeout(PARTING, read).await);
    }
    end
}

/// Returns the connection to a peer; dials wait for each other, so that a node that is short of
/// processor or network begins nothing that it cannot end in time.
async fn dial(inner: &Inner, to: &PeerAddr, within: Duration) -> Result<Conn, DialError> {
    let _turn = match inner.pool.live(to.node) {
        Some(_) => None,
        // The turns are never closed.
        None => inner.dials.acquire().await.ok(),
    };
    inner.pool.conn(to, within).await
}

/// Writes until the lane is given up: then what still waits is written first.
async fn write(inner: &Inner, peer: Key, waiting: &mut Waiting, writer: &mut Writer) -> End {
    let mut quiet_at = Instant::now() + IDLE;
    loop {
        let keep = *waiting.keep.borrow_and_update();
        let frame = tokio::select! {
            biased;
            frame = waiting.frames.recv() => frame,
            changed = waiting.keep.changed() => match changed {
                Ok(()) => continue,
                Err(_) => None,
            },
            () = sleep_until(quiet_at), if !keep => {
                if inner.retire(peer, waiting) {
                    return End::Idle;
                }
                continue;
            }
        };
        let Some(frame) = frame else { return End::Stopped };
        match timeout(STALL, writer.write(&frame)).await {
            Ok(Ok(())) => quiet_at = Instant::now() + IDLE,
            Ok(Err(_)) => return End::Lost(Loss::Closed),
            Err(_) => return End::Lost(Loss::Silent),
        }
    }
}

/// Tells why a dial failed.
fn not_dialled(error: &DialError) -> Loss {
    match error {
        // Who refuses is alive; who breaks off may be busy, and its silence will tell.
        DialError::Refused { .. }
        | DialError::Full { .. }
        | DialError::Handshake { .. }
        | DialError::Closed
        | DialError::Itself
        | DialError::NotSpoken { .. } => Loss::Closed,
        other if other.kind() == ErrorKind::Denied => Loss::Closed,
        _ => Loss::Silent,
    }
}

/// Tells why a connection ended.
fn not_open(error: &ConnError) -> End {
    match error {
        ConnError::Closed { reason: CloseReason::Shutdown } => End::Lost(Loss::Left),
        ConnError::Closed { reason: CloseReason::Duplicate | CloseReason::Done } => End::Replaced,
        ConnError::Closed { .. } | ConnError::ClosedHere | ConnError::Busy { .. } => {
            End::Lost(Loss::Closed)
        }
        ConnError::Silent | ConnError::Broken { .. } => End::Lost(Loss::Silent),
    }
}

/// The peer reads no more: because the connection has ended, or because it does not want to.
fn stopped_by(conn: &Conn) -> End {
    use futures_util::FutureExt;
    conn.closed().now_or_never().map_or(End::Lost(Loss::Closed), |error| not_open(&error))
}
