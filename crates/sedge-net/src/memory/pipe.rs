//! Bytes from one task to another with a bounded buffer, and with QUIC's ways to end early.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use sedge_base::Cancel;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stream::{BoxFuture, Incoming, Outgoing};

/// Bytes that may wait for the reader.
const CAPACITY: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Pipe {
    state: Mutex<State>,
    stopped: Cancel,
}

#[derive(Debug)]
struct State {
    bytes: BytesMut,
    end: End,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// The writer said that the data is complete.
    Finished,
    /// The writer gave up.
    Reset,
    /// The reader gave up.
    Stopped,
    /// The connection ended.
    Torn,
}

impl Pipe {
    pub(super) fn new() -> Arc<Self> {
        let state = State { bytes: BytesMut::new(), end: End::Open, reader: None, writer: None };
        Arc::new(Self { state: Mutex::new(state), stopped: Cancel::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the pipe because the connection ended.
    pub(super) fn tear(&self) {
        self.end(End::Torn, |_| true);
        self.stopped.cancel();
    }

    fn end(&self, end: End, unless: impl FnOnce(&State) -> bool) {
        let mut state = self.lock();
        if unless(&state) {
            state.end = end;
            if end != End::Finished {
                state.bytes.clear();
            }
            let wakers = [state.reader.take(), state.writer.take()];
            drop(state);
            wakers.into_iter().flatten().for_each(Waker::wake);
        }
    }
}

pub(super) fn sender(pipe: &Arc<Pipe>) -> Box<dyn Outgoing> {
    Box::new(PipeSend(Arc::clone(pipe)))
}

pub(super) fn receiver(pipe: &Arc<Pipe>) -> Box<dyn Incoming> {
    Box::new(PipeRecv(Arc::clone(pipe)))
}

struct PipeSend(Arc<Pipe>);

impl Outgoing for PipeSend {
    fn stopped(&self) -> BoxFuture<()> {
        Box::pin(self.0.stopped.clone().cancelled_owned())
    }

    fn reset(&mut self) {
        self.0.end(End::Reset, |state| state.end == End::Open);
    }
}

impl AsyncWrite for PipeSend {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        match state.end {
            End::Open => {}
            End::Stopped => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            End::Finished | End::Reset | End::Torn => {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            }
        }
        let some = bytes.len().min(CAPACITY - state.bytes.len());
        if some == 0 && !bytes.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.bytes.extend_from_slice(&bytes[..some]);
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(some))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.end(End::Finished, |state| state.end == End::Open);
        Poll::Ready(match self.0.lock().end {
            End::Finished => Ok(()),
            End::Stopped => Err(io::ErrorKind::BrokenPipe.into()),
            End::Open | End::Reset | End::Torn => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

struct PipeRecv(Arc<Pipe>);

impl AsyncRead for PipeRecv {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if !state.bytes.is_empty() {
            let some = state.bytes.len().min(into.remaining());
            into.put_slice(&state.bytes[..some]);
            state.bytes.advance(some);
            let read_all = state.bytes.is_empty() && state.end == End::Finished;
            let writer = state.writer.take();
            drop(state);
            writer.into_iter().for_each(Waker::wake);
            if read_all {
                self.0.stopped.cancel();
            }
            return Poll::Ready(Ok(()));
        }
        match state.end {
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
        let given_up = |state: &State| match state.end {
            End::Open => true,
            End::Finished => !state.bytes.is_empty(),
            End::Reset | End::Stopped | End::Torn => false,
        };
        self.0.end(End::Stopped, given_up);
        self.0.stopped.cancel();
    }
}
