//! What other members send.

use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{ErrorKind, NodeId, TaskScope};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Swarm;
use super::drive::Inner;
use super::wire::{Key, Malformed, Message, SWARM};
use crate::conn::Conn;
use crate::frame::{Frame, FrameError, FrameReader, FrameWriter};
use crate::gossip::{Quota, Rate};
use crate::pool::{Pool, REST};
use crate::stream::Stream;

/// Streams of one peer that are read at one time: one, and those that are about to end.
const STREAMS: usize = 8;
/// Messages that one stream may bring; more wait in the stream.
const RATE: Rate = Rate { per_second: 1000.0, burst: 4000.0 };

/// Why a peer's stream was given up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The stream broke.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer sent something that no member sends.
    #[error("the peer sent {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The peer has opened too many streams.
    #[error("the peer has {STREAMS} streams open already")]
    Streams,
    /// The peer is no member any more.
    #[error("the peer is no member")]
    NotAdmitted,
}

impl ServeError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Frame(error) => error.kind(),
            Self::Malformed { .. } => ErrorKind::Invalid,
            Self::Streams => ErrorKind::Exhausted,
            Self::NotAdmitted => ErrorKind::Denied,
        }
    }
}

impl From<Malformed> for ServeError {
    fn from(Malformed { what }: Malformed) -> Self {
        Self::Malformed { what }
    }
}

/// One of a peer's streams, given back when it is dropped.
struct Place {
    inner: Arc<Inner>,
    peer: NodeId,
}

impl Place {
    fn take(inner: &Arc<Inner>, peer: NodeId) -> Option<Self> {
        let mut streams = inner.streams();
        let count = streams.entry(peer).or_insert(0);
        if *count >= STREAMS {
            return None;
        }
        *count += 1;
        drop(streams);
        Some(Self { inner: Arc::clone(inner), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.inner.streams().entry(self.peer) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Swarm {
    /// Reads one of a peer's streams until it ends: one whose first frame is of kind [`SWARM`].
    ///
    /// `peer` is the connection's peer, whose key was proven.
    ///
    /// # Errors
    ///
    /// [`ServeError`]: the stream is to be dropped, so that the peer notices.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the stream; what was read is taken in.
    pub async fn serve<R: AsyncRead + Unpin>(
        &self,
        peer: NodeId,
        first: Frame,
        reader: &mut FrameReader<R>,
    ) -> Result<(), ServeError> {
        let _place = Place::take(&self.0, peer).ok_or(ServeError::Streams)?;
        let began = Instant::now();
        let mut quota = Quota::full(RATE, Duration::ZERO);
        let mut next = Some(first);
        while let Some(frame) = next {
            if frame.kind != SWARM {
                return Err(ServeError::Malformed { what: "a frame of another kind" });
            }
            let message = Message::decode(&frame.payload)?;
            if !self.0.receive(Key::from(peer), message) {
                return Err(ServeError::NotAdmitted);
            }
            // Who sends too much waits, and is slowed down by its own stream.
            while let Some(wait) = quota.take(RATE, began.elapsed()) {
                sleep_until(Instant::now() + wait).await;
            }
            next = reader.next().await?;
        }
        Ok(())
    }

    /// Serves every connection that a pool gives until `scope` ends, for those who speak of nothing but
    /// the swarm with their peers. `served` is what [`Pool::new`] returned beside the pool.
    pub fn serve_pool(&self, pool: &Pool, mut served: mpsc::Receiver<Conn>, scope: &TaskScope) {
        let (swarm, pool, inner) = (self.clone(), pool.clone(), scope.clone());
        scope.spawn("swarm server", |cancel| async move {
            while let Some(Some(conn)) = cancel.run_until_cancelled(served.recv()).await {
                let (swarm, pool, streams) = (swarm.clone(), pool.clone(), inner.clone());
                inner.spawn("swarm connection", |cancel| async move {
                    while let Some(Ok(stream)) = cancel.run_until_cancelled(conn.accept()).await {
                        let (swarm, pool, conn) = (swarm.clone(), pool.clone(), conn.clone());
                        streams.spawn("swarm stream", |cancel| async move {
                            cancel
                                .run_until_cancelled(swarm.serve_stream(&pool, &conn, stream))
                                .await;
                        });
                    }
                    pool.ended(&conn);
                });
            }
        });
    }

    /// Serves one stream; whoever breaks the protocol sees it end.
    async fn serve_stream(&self, pool: &Pool, conn: &Conn, stream: Stream) {
        let mut reader = FrameReader::new(stream.recv);
        let mut writer = FrameWriter::new(stream.send);
        match reader.next().await {
            Ok(Some(first)) if first.kind == REST => {
                drop(pool.answer_rest(conn, &mut writer).await);
            }
            Ok(Some(first)) => drop(self.serve(conn.peer(), first, &mut reader).await),
            Ok(None) | Err(_) => {}
        }
    }
}
