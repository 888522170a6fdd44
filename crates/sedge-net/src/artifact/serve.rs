//! Giving artifacts to others.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use sedge_base::ArtifactId;
use tokio::io::AsyncWrite;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::ask::{Ask, PIECE, TOLD, Told};
use super::tree::{ArtifactFiles, emit};
use crate::frame::{Frame, FrameError, FrameWriter};

/// How much of a verified stream travels in one frame.
const FRAME: usize = 256 << 10;

/// How many frames wait for the network: enough to hash the next while one is sent.
const AHEAD: usize = 4;

/// How long a peer may take to make room for one frame.
const STALL: Duration = Duration::from_secs(30);

/// How many artifacts are given at once, to whomever; each keeps a thread busy.
const AT_ONCE: usize = 16;

/// Where a [`Server`] finds artifacts.
#[async_trait]
pub trait Shelf: Send + Sync + fmt::Debug + 'static {
    /// Returns the size in bytes of an artifact that is here whole; `None` when it is not.
    async fn size(&self, id: ArtifactId) -> Option<u64>;

    /// Opens an artifact that is here whole; `None` when it is not.
    async fn open(&self, id: ArtifactId) -> Option<Shelved>;
}

/// An artifact that is here whole.
#[derive(Debug)]
pub struct Shelved {
    /// Its size in bytes.
    pub size: u64,
    /// Its files; they stay readable while they are open, whatever the shelf does meanwhile.
    pub files: ArtifactFiles,
}

/// Gives artifacts to those who ask.
#[derive(Debug)]
pub struct Server {
    shelf: Arc<dyn Shelf>,
    places: Semaphore,
    served: AtomicU64,
}

impl Server {
    /// Gives what is on this shelf.
    pub fn new(shelf: Arc<dyn Shelf>) -> Self {
        Self { shelf, places: Semaphore::new(AT_ONCE), served: AtomicU64::new(0) }
    }

    /// Returns how many bytes of artifacts were given since the start, in ranges that were given to
    /// their end; hashes are not counted.
    pub fn served(&self) -> u64 {
        self.served.load(Relaxed)
    }

    /// Answers one [`Ask`].
    ///
    /// # Errors
    ///
    /// [`FrameError`] when the peer does not take the answer, or the copy here is damaged: the
    /// stream is to be dropped, so that the peer sees a cut.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future breaks the answer off.
    pub async fn answer<W: AsyncWrite + Unpin>(
        &self,
        ask: Ask,
        writer: &mut FrameWriter<W>,
    ) -> Result<(), FrameError> {
        if ask.bytes.is_none() {
            let size = self.shelf.size(ask.id).await;
            return tell(writer, Told { size, refused: None }).await;
        }
        let Some(Shelved { size, files }) = self.shelf.open(ask.id).await else {
            return tell(writer, Told { size: None, refused: None }).await;
        };
        let refuse = |why: &str| Told { size: Some(size), refused: Some(why.to_owned()) };
        let Some(range) = ask.range(size) else {
            return tell(writer, refuse("a range is in whole groups and inside the artifact"))
                .await;
        };
        let Ok(_place) = self.places.try_acquire() else {
            return tell(writer, refuse("as many artifacts as may be are given already")).await;
        };
        tell(writer, Told { size: Some(size), refused: None }).await?;
        let length = range.end - range.start;
        self.stream((ask.id, size), range, files, writer).await?;
        self.served.fetch_add(length, Relaxed);
        Ok(())
    }

    async fn stream<W: AsyncWrite + Unpin>(
        &self,
        what: (ArtifactId, u64),
        range: Range<u64>,
        files: ArtifactFiles,
        writer: &mut FrameWriter<W>,
    ) -> Result<(), FrameError> {
        let (sender, mut pieces) = mpsc::channel(AHEAD);
        let emitting = tokio::task::spawn_blocking(move || {
            let mut pieces = Pieces { to: sender, piece: BytesMut::with_capacity(FRAME) };
            emit(&files, what, &range, &mut pieces)?;
            pieces.flush()
        });
        while let Some(piece) = pieces.recv().await {
            let frame = Frame::new(PIECE, piece);
            let written = timeout(STALL, writer.write(&frame)).await;
            written.map_err(|_| stream_error(io::ErrorKind::TimedOut.into()))??;
        }
        emitting.await.map_err(|error| stream_error(error.into()))?.map_err(stream_error)
    }
}

const fn stream_error(source: io::Error) -> FrameError {
    FrameError::Stream { source }
}

async fn tell<W: AsyncWrite + Unpin>(
    writer: &mut FrameWriter<W>,
    told: Told,
) -> Result<(), FrameError> {
    let frame = Frame::json(TOLD, &told).map_err(|error| stream_error(error.source.into()))?;
    writer.write(&frame).await
}

/// Cuts what is written into frames, and waits while the network is behind. Blocks.
struct Pieces {
    to: mpsc::Sender<Bytes>,
    piece: BytesMut,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() + bytes.len() > FRAME {
            self.flush()?;
        }
        self.piece.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.piece, BytesMut::with_capacity(FRAME));
        let sent = self.to.blocking_send(full.freeze());
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
