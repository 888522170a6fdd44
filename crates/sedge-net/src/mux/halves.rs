//! The two directions of a multiplexed stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use sedge_base::Cancel;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::streams::{Last, Shared, Slot, State};
use crate::conn::Halves;
use crate::packet::{Body, Kind, PIECE, Packet};
use crate::stream::{BoxFuture, Outgoing};

/// The largest memory file: the peer reads one while the next is written.
#[cfg(target_os = "linux")]
const FILE: usize = 256 << 10;

/// Makes the two directions of a stream.
pub(super) fn pair(shared: &Arc<Shared>, id: u64, stopped: Cancel) -> Halves {
    let send = MuxSend { shared: Arc::clone(shared), id, stopped, finished: false, yields: false };
    let recv = MuxRecv { shared: Arc::clone(shared), id, last: None };
    (Box::new(send), Box::new(recv))
}

struct MuxSend {
    shared: Arc<Shared>,
    id: u64,
    stopped: Cancel,
    finished: bool,
    /// The next write lets other tasks run first, above all the one that sends.
    yields: bool,
}

/// Returns the stream if it can still be written.
fn writable(state: &mut State, id: u64) -> io::Result<&mut Slot> {
    match state.slots.get_mut(&id) {
        Some(slot) if slot.fin_sent => Err(io::ErrorKind::NotConnected.into()),
        Some(slot) if slot.stop_seen => Err(io::ErrorKind::BrokenPipe.into()),
        Some(slot) => Ok(slot),
        None => Err(io::ErrorKind::NotConnected.into()),
    }
}

impl MuxSend {
    /// Sends the writer's last word, unless it was sent.
    fn last(&self, kind: Kind) -> io::Result<()> {
        let mut state = self.shared.lock();
        let slot = match state.slots.get_mut(&self.id) {
            Some(slot) if !slot.fin_sent => slot,
            _ => return Err(io::ErrorKind::NotConnected.into()),
        };
        if slot.stop_seen && kind == Kind::Fin {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        slot.fin_sent = true;
        self.shared.push_locked(&mut state, Packet::new(kind, self.id, Bytes::new()));
        self.shared.forget_if_over(&mut state, self.id);
        Ok(())
    }

    /// Wraps bytes: large ones in sealed memory where the carrier passes it.
    fn wrap(&self, bytes: &[u8]) -> Packet {
        #[cfg(target_os = "linux")]
        if self.shared.sealed && bytes.len() >= PIECE {
            // Without memory files the bytes take the usual way.
            if let Ok(sealed) = crate::local::Sealed::new(&bytes[..bytes.len().min(FILE)]) {
                return Packet { kind: Kind::Sealed, stream: self.id, body: Body::Sealed(sealed) };
            }
        }
        let piece = &bytes[..bytes.len().min(PIECE)];
        Packet::new(Kind::Data, self.id, Bytes::copy_from_slice(piece))
    }
}

impl Outgoing for MuxSend {
    fn stopped(&self) -> BoxFuture<()> {
        Box::pin(self.stopped.clone().cancelled_owned())
    }

    fn reset(&mut self) {
        // It fails only where the stream has ended already.
        drop(self.last(Kind::Reset));
    }
}

impl AsyncWrite for MuxSend {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if std::mem::take(&mut self.yields) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let some = {
            let mut state = self.shared.lock();
            let slot = writable(&mut state, self.id)?;
            if slot.credit == 0 && !bytes.is_empty() {
                slot.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            bytes.len().min(slot.credit)
        };
        if some == 0 {
            return Poll::Ready(Ok(0));
        }
        // Without the lock: other streams go on while the bytes are copied.
        let packet = self.wrap(&bytes[..some]);
        let some = packet.body.len();
        self.yields = packet.kind == Kind::Sealed;
        let mut state = self.shared.lock();
        writable(&mut state, self.id)?.credit -= some;
        self.shared.push_locked(&mut state, packet);
        Poll::Ready(Ok(some))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.finished {
            return Poll::Ready(Ok(()));
        }
        let done = self.last(Kind::Fin);
        self.finished = done.is_ok();
        Poll::Ready(done)
    }
}

struct MuxRecv {
    shared: Arc<Shared>,
    id: u64,
    /// The writer's last word, once everything before it was read.
    last: Option<Last>,
}

impl MuxRecv {
    /// Tells the writer that nothing more is wanted, once.
    fn stop(&self, state: &mut State) {
        let Some(slot) = state.slots.get_mut(&self.id) else { return };
        if std::mem::replace(&mut slot.stop_sent, true) {
            return;
        }
        let rest = std::mem::take(&mut slot.inbox);
        state.gave_back(rest.iter());
        self.shared.push_locked(state, Packet::new(Kind::Stop, self.id, Bytes::new()));
        self.shared.forget_if_over(state, self.id);
    }
}

impl State {
    /// Counts memory files that are no longer held.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(clippy::unused_self, reason = "memory files exist on Linux only")
    )]
    pub(super) fn gave_back<'a>(&mut self, bodies: impl Iterator<Item = &'a Body>) {
        for body in bodies {
            match body {
                Body::Bytes(_) => {}
                #[cfg(target_os = "linux")]
                Body::Sealed(_) => self.files = self.files.saturating_sub(1),
            }
        }
    }
}

/// Reads from what has arrived; returns how much.
fn read_body(body: &mut Body, into: &mut ReadBuf<'_>) -> io::Result<usize> {
    match body {
        Body::Bytes(bytes) => {
            let some = bytes.len().min(into.remaining());
            into.put_slice(&bytes[..some]);
            bytes.advance(some);
            Ok(some)
        }
        #[cfg(target_os = "linux")]
        Body::Sealed(sealed) => sealed.read(into),
    }
}

impl AsyncRead for MuxRecv {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ended = match self.last {
            Some(Last::Finished) => return Poll::Ready(Ok(())),
            Some(Last::Reset) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            None => io::ErrorKind::NotConnected,
        };
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let Some(slot) = state.slots.get_mut(&self.id) else {
            return Poll::Ready(Err(ended.into()));
        };
        let mut total = 0;
        let mut emptied = Vec::new();
        while into.remaining() > 0 {
            let Some(body) = slot.inbox.front_mut() else { break };
            total += read_body(body, into)?;
            if body.len() == 0 {
                emptied.extend(slot.inbox.pop_front());
            }
        }
        let (all, last) = (slot.inbox.is_empty(), slot.last);
        if total == 0 && last.is_none() {
            slot.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.gave_back(emptied.iter());
        shared.has_read(&mut state, self.id, total);
        if all && last.is_some() {
            self.last = last;
            self.stop(&mut state);
        }
        drop(state);
        if total == 0 && last == Some(Last::Reset) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for MuxRecv {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        self.stop(&mut shared.lock());
    }
}
