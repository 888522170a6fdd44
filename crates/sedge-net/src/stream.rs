//! One task's bytes in both directions, and how the other side learns that nobody listens any more.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::conn::{Halves, Link};

/// A future that a trait object can return.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a transport gives for the sending direction of a stream; callers use [`SendStream`].
///
/// `poll_shutdown` says that the data is complete. A transport never says so by itself when the
/// value is dropped.
pub trait Outgoing: AsyncWrite + Send + Unpin + 'static {
    /// Resolves when the peer no longer reads, when it has everything after a shutdown, or when
    /// the connection ended. The future does not borrow the stream.
    fn stopped(&self) -> BoxFuture<()>;

    /// Tells the peer that the data is not complete and never will be; does nothing after a
    /// shutdown.
    fn reset(&mut self);
}

/// What a transport gives for the receiving direction of a stream; callers use [`RecvStream`].
///
/// Dropping it before the end tells the sender to stop.
pub trait Incoming: AsyncRead + Send + Unpin + 'static {}

impl<T: AsyncRead + Send + Unpin + 'static> Incoming for T {}

/// Counts one open stream of a connection, and keeps the connection, until both of the stream's
/// directions are dropped.
#[derive(Debug)]
struct Open {
    count: Arc<AtomicUsize>,
    _link: Arc<dyn Link>,
}

impl Open {
    fn new(count: &Arc<AtomicUsize>, link: &Arc<dyn Link>) -> Arc<Self> {
        count.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { count: Arc::clone(count), _link: Arc::clone(link) })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Two directions of bytes between two nodes; one task travels on one stream.
///
/// Dropping a direction before its end tells the other side: its reads fail with
/// [`io::ErrorKind::ConnectionReset`], and [`SendStream::stopped`] resolves there.
#[derive(Debug)]
pub struct Stream {
    /// From here to the peer.
    pub send: SendStream,
    /// From the peer to here.
    pub recv: RecvStream,
}

impl Stream {
    /// Joins the two directions that a link made; `count` is the link's number of open streams.
    pub(crate) fn new(
        (send, recv): Halves,
        link: &Arc<dyn Link>,
        count: &Arc<AtomicUsize>,
    ) -> Self {
        let open = Open::new(count, link);
        Self {
            send: SendStream { inner: send, finished: false, _open: Arc::clone(&open) },
            recv: RecvStream { inner: recv, _open: open },
        }
    }
}

/// The direction from here to the peer.
///
/// Dropped without [`SendStream::finish`] (or `shutdown`), it tells the peer that the data is not complete.
pub struct SendStream {
    inner: Box<dyn Outgoing>,
    finished: bool,
    _open: Arc<Open>,
}

impl SendStream {
    /// Says that the data is complete; what was written still arrives.
    ///
    /// # Errors
    ///
    /// Any [`io::Error`] of the connection, such as that the peer stopped the stream.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it ends resets the stream.
    pub async fn finish(mut self) -> io::Result<()> {
        self.shutdown().await
    }

    /// Resolves when the peer no longer reads, when it has everything after a shutdown, or when
    /// the connection ended: the time to cancel the task whose answer goes here.
    ///
    /// The future does not borrow the stream and may be dropped at any time.
    pub fn stopped(&self) -> BoxFuture<()> {
        self.inner.stopped()
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = ready!(Pin::new(&mut self.inner).poll_shutdown(cx));
        self.finished |= done.is_ok();
        Poll::Ready(done)
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if !self.finished {
            self.inner.reset();
        }
    }
}

impl fmt::Debug for SendStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendStream").field("finished", &self.finished).finish_non_exhaustive()
    }
}

/// The direction from the peer to here.
///
/// Dropped before its end, it tells the peer to stop sending.
pub struct RecvStream {
    inner: Box<dyn Incoming>,
    _open: Arc<Open>,
}

impl AsyncRead for RecvStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

impl fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvStream").finish_non_exhaustive()
    }
}
