//! One direction of a stream: what was written arrives later, in order, or never.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use sedge_base::{Cancel, NodeId};
use sedge_net::{BoxFuture, Outgoing};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::{Parcel, SimNet};

/// Bytes that may be on their way or wait for the reader.
const CAPACITY: usize = 256 << 10;

/// One direction of a stream.
#[derive(Debug)]
pub(super) struct Pipe {
    net: SimNet,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    state: Mutex<State>,
    stopped: Cancel,
}

#[derive(Debug)]
struct State {
    /// How the writer sees it.
    written: End,
    /// How the reader sees it.
    read: End,
    /// What was written and not read yet, in bytes.
    under_way: usize,
    arrived: BytesMut,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// When the last piece arrives: nothing overtakes it.
    last: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// The data is complete.
    Finished,
    /// The writer gave up.
    Reset,
    /// The reader gave up.
    Stopped,
    /// The connection ended.
    Torn,
}

/// A piece of a stream, or a word about it.
#[derive(Debug)]
pub(super) enum Piece {
    Bytes(Bytes),
    Finish,
    Reset,
    /// Back to the writer: the reader left.
    Stop,
    /// Back to the writer: the reader has everything.
    Read,
}

impl Pipe {
    pub(super) fn new(net: &SimNet, from: NodeId, to: NodeId, last: Instant) -> Arc<Self> {
        let state = State {
            written: End::Open,
            read: End::Open,
            under_way: 0,
            arrived: BytesMut::new(),
            reader: None,
            writer: None,
            last,
        };
        let net = net.clone();
        Arc::new(Self { net, from, to, state: Mutex::new(state), stopped: Cancel::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when a piece arrives that would arrive at `at` if nothing were before it.
    pub(super) fn queue(&self, at: Instant) -> Instant {
        let mut state = self.lock();
        state.last = state.last.max(at);
        state.last
    }

    fn send(self: &Arc<Self>, piece: Piece) {
        let back = matches!(piece, Piece::Stop | Piece::Read);
        let (from, to) = if back { (self.to, self.from) } else { (self.from, self.to) };
        self.net.post(from, to, Parcel::Piece { pipe: Arc::clone(self), piece });
    }

    /// Hands over what has arrived.
    pub(super) fn arrive(&self, piece: Piece) {
        let mut state = self.lock();
        match piece {
            Piece::Bytes(bytes) if state.read == End::Open => {
                state.arrived.extend_from_slice(&bytes);
            }
            Piece::Finish if state.read == End::Open => state.read = End::Finished,
            Piece::Reset if state.read == End::Open => {
                state.arrived.clear();
                state.read = End::Reset;
            }
            Piece::Stop => {
                if matches!(state.written, End::Open | End::Finished) {
                    state.written = End::Stopped;
                }
                self.stopped.cancel();
            }
            Piece::Read => self.stopped.cancel(),
            Piece::Bytes(_) | Piece::Finish | Piece::Reset => {}
        }
        Self::wake(state);
    }

    /// Ends one end of the pipe because that end of the connection has ended.
    pub(super) fn tear(&self, at: NodeId) {
        let mut state = self.lock();
        if at == self.from {
            state.written = End::Torn;
            self.stopped.cancel();
        }
        if at == self.to {
            state.read = End::Torn;
            state.arrived.clear();
        }
        Self::wake(state);
    }

    fn wake(mut state: MutexGuard<'_, State>) {
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// The writer's end.
#[derive(Debug)]
pub(super) struct PipeSend(pub(super) Arc<Pipe>);

impl Outgoing for PipeSend {
    fn stopped(&self) -> BoxFuture<()> {
        Box::pin(self.0.stopped.clone().cancelled_owned())
    }

    fn reset(&mut self) {
        let mut state = self.0.lock();
        if state.written == End::Open {
            state.written = End::Reset;
            drop(state);
            self.0.send(Piece::Reset);
        }
    }
}

const fn refusal(end: End) -> Option<io::ErrorKind> {
    match end {
        End::Open => None,
        End::Stopped => Some(io::ErrorKind::BrokenPipe),
        End::Finished | End::Reset | End::Torn => Some(io::ErrorKind::NotConnected),
    }
}

impl AsyncWrite for PipeSend {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        if let Some(kind) = refusal(state.written) {
            return Poll::Ready(Err(kind.into()));
        }
        let some = bytes.len().min(CAPACITY - state.under_way);
        if some == 0 && !bytes.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.under_way += some;
        drop(state);
        self.0.send(Piece::Bytes(Bytes::copy_from_slice(&bytes[..some])));
        Poll::Ready(Ok(some))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        match refusal(state.written) {
            None => {
                state.written = End::Finished;
                drop(state);
                self.0.send(Piece::Finish);
                Poll::Ready(Ok(()))
            }
            Some(_) if state.written == End::Finished => Poll::Ready(Ok(())),
            Some(kind) => Poll::Ready(Err(kind.into())),
        }
    }
}

/// The reader's end.
#[derive(Debug)]
pub(super) struct PipeRecv(pub(super) Arc<Pipe>);

impl AsyncRead for PipeRecv {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if !state.arrived.is_empty() {
            let some = state.arrived.len().min(into.remaining());
            into.put_slice(&state.arrived[..some]);
            state.arrived.advance(some);
            state.under_way = state.under_way.saturating_sub(some);
            let has_all = state.arrived.is_empty() && state.read == End::Finished;
            let writer = state.writer.take();
            drop(state);
            writer.into_iter().for_each(Waker::wake);
            if has_all {
                self.0.send(Piece::Read);
            }
            return Poll::Ready(Ok(()));
        }
        match state.read {
            End::Open => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            End::Finished => Poll::Ready(Ok(())),
            End::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            End::Stopped | End::Torn => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl Drop for PipeRecv {
    fn drop(&mut self) {
        let state = self.0.lock();
        let (read, all) = (state.read, state.arrived.is_empty());
        drop(state);
        match read {
            End::Finished if all => self.0.send(Piece::Read),
            End::Open | End::Finished => self.0.send(Piece::Stop),
            End::Reset | End::Stopped | End::Torn => {}
        }
    }
}
