//! Somebody who has an artifact and gives it in verified ranges.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sedge_base::{ArtifactId, ByteSize, ErrorKind, NodeId};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::ask::{ASK, Ask, PIECE, TOLD, Told};
use crate::conn::{Conn, ConnError};
use crate::frame::{Frame, FrameError, FrameReader, FrameWriter, JsonError};
use crate::stream::RecvStream;

/// How long a holder may take to open a stream.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

/// How long a holder may stay silent in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(15);

/// The largest frame that a holder may send.
const FRAME_LIMIT: ByteSize = ByteSize::from_mib(1);

/// Somebody who may have an artifact. What it says is believed only as far as the id proves it.
#[async_trait]
pub trait Holder: Send + Sync + fmt::Debug {
    /// Returns who it is.
    fn node(&self) -> NodeId;

    /// Returns the artifact's size in bytes, which is a claim; `None` when it does not have it.
    ///
    /// # Errors
    ///
    /// [`HolderError`] when it does not answer.
    async fn size(&self, id: ArtifactId) -> Result<Option<u64>, HolderError>;

    /// Gives a range as a verified stream, piece by piece, and returns at its end.
    ///
    /// `range` is in whole groups. Returns early when nobody reads the pieces any more.
    ///
    /// # Errors
    ///
    /// [`HolderError`]; pieces that were given before may be used.
    async fn give(
        &self,
        id: ArtifactId,
        range: Range<u64>,
        to: mpsc::Sender<Bytes>,
    ) -> Result<(), HolderError>;
}

/// Why a holder gave nothing, or not all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HolderError {
    /// It does not have the artifact, at least no longer.
    #[error("it does not have this artifact")]
    NotThere,
    /// It has it and does not give it now.
    #[error("it gives nothing now: {why}")]
    Refused {
        /// What it said.
        why: String,
    },
    /// It is reached through a relay, which is not to carry that much.
    #[error("it is reached through a relay only, which carries {most} at once")]
    Relayed {
        /// What a relay may carry at once.
        most: ByteSize,
    },
    /// There was no stream to it.
    #[error("no stream")]
    Conn(#[source] ConnError),
    /// The stream broke.
    #[error("the stream broke")]
    Frame(#[from] FrameError),
    /// It stayed silent.
    #[error("it was silent for {within:?}")]
    Silent {
        /// How long was waited.
        within: Duration,
    },
    /// It sent something else than was due.
    #[error("it sent a frame of kind {kind} out of turn")]
    Unexpected {
        /// The frame's kind.
        kind: u8,
    },
    /// It sent a head that this release does not understand.
    #[error("its answer is not understood")]
    Shape(#[from] JsonError),
}

impl HolderError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotThere => ErrorKind::NotFound,
            Self::Refused { .. } | Self::Relayed { .. } => ErrorKind::Unavailable,
            Self::Conn(error) => error.kind(),
            Self::Frame(error) => error.kind(),
            Self::Silent { .. } => ErrorKind::Timeout,
            Self::Unexpected { .. } => ErrorKind::Corrupt,
            Self::Shape(error) => error.kind(),
        }
    }
}

/// A holder at the other end of a connection.
#[derive(Debug)]
pub struct Remote(Conn);

impl Remote {
    /// Asks over this connection, whose other end speaks the protocol of this module.
    pub const fn new(conn: Conn) -> Self {
        Self(conn)
    }

    /// Asks, and reads the head of the answer.
    async fn ask(&self, ask: &Ask) -> Result<(Told, FrameReader<RecvStream>), HolderError> {
        let stream = self.0.open(OPEN_WITHIN).await.map_err(HolderError::Conn)?;
        let mut writer = FrameWriter::new(stream.send);
        writer.write(&Frame::json(ASK, ask)?).await?;
        // All is said; what is not heard of it shows in the answer.
        drop(writer.into_inner().finish().await);
        let mut reader = FrameReader::with_limit(stream.recv, FRAME_LIMIT);
        let told = match next(&mut reader).await? {
            Some(frame) if frame.kind == TOLD => frame.parse()?,
            Some(Frame { kind, .. }) => return Err(HolderError::Unexpected { kind }),
            None => return Err(HolderError::Frame(FrameError::Cut { missing: 1 })),
        };
        Ok((told, reader))
    }
}

#[async_trait]
impl Holder for Remote {
    fn node(&self) -> NodeId {
        self.0.peer()
    }

    async fn size(&self, id: ArtifactId) -> Result<Option<u64>, HolderError> {
        let (told, _) = self.ask(&Ask { id, bytes: None }).await?;
        Ok(told.size)
    }

    async fn give(
        &self,
        id: ArtifactId,
        range: Range<u64>,
        to: mpsc::Sender<Bytes>,
    ) -> Result<(), HolderError> {
        let (told, mut reader) = self.ask(&Ask { id, bytes: Some(range) }).await?;
        if let Some(why) = told.refused {
            return Err(HolderError::Refused { why });
        }
        if told.size.is_none() {
            return Err(HolderError::NotThere);
        }
        while let Some(frame) = next(&mut reader).await? {
            match frame.kind {
                PIECE if to.send(frame.payload).await.is_ok() => {}
                PIECE => return Ok(()),
                kind => return Err(HolderError::Unexpected { kind }),
            }
        }
        Ok(())
    }
}

async fn next(reader: &mut FrameReader<RecvStream>) -> Result<Option<Frame>, HolderError> {
    let next = timeout(SILENCE, reader.next()).await;
    Ok(next.map_err(|_| HolderError::Silent { within: SILENCE })??)
}
