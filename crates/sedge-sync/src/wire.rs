//! What two members say about the graph: one question per stream, one answer.
//!
//! | question | body | answer |
//! | --- | --- | --- |
//! | `root` | none | whether the roots are equal |
//! | `digests` | none | the digest of each bucket |
//! | `list` | none | what stands in these buckets |
//! | `give` | none | these entries |
//! | `take` | entries | how many stand now |
//! | `tensor` | none | the tensor, in the asked form or a coarser one |
//! | `probe` | none | bytes that measure the link |
//!
//! Every answer has a head and a body. Short answers measure the latency, long ones the bandwidth;
//! every pull begins with a short one.

use std::time::Duration;

use bytes::Bytes;
use sedge_base::{ContentId, ErrorKind};
use sedge_net::{
    ConnError, Frame, FrameError, FrameReader, FrameWriter, JsonError, RecvStream, SendStream,
};
use serde::{Deserialize, Serialize};

use crate::link::Level;
use crate::pack::{UnpackError, pack, unpack};
use crate::tensor::Form;

/// The kind of the frame that carries an [`Ask`]; it opens a stream.
pub const ASK: u8 = 32;
const HEAD: u8 = 33;
const BODY: u8 = 34;
const REFUSED: u8 = 35;

/// How much of a body travels in one frame.
const PIECE: usize = 16 << 10;

/// The largest body, packed or not, in bytes.
pub(crate) const MAX_BODY: usize = 8 << 20;

/// How long the other side may take for the next frame.
const FRAME_WITHIN: Duration = Duration::from_secs(20);

/// What one member asks another about the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Is this your root?
    Root {
        /// The hash of the asker's digests.
        root: ContentId,
    },
    /// What are your buckets' digests?
    Digests {
        /// How the answer is packed.
        level: Level,
    },
    /// What stands in these buckets?
    List {
        /// Their numbers.
        buckets: Vec<u8>,
        /// How the answer is packed.
        level: Level,
    },
    /// Give me these entries.
    Give {
        /// Their ids.
        ids: Vec<ContentId>,
        /// How the answer is packed.
        level: Level,
    },
    /// Take these entries, which follow.
    Take {
        /// How they are packed.
        body: Head,
    },
    /// Give me this tensor.
    Tensor {
        /// Its id.
        id: ContentId,
        /// How it is made smaller: quantised, or packed.
        level: Level,
        /// The form that the asker has; only a more exact one is given.
        held: Option<Form>,
    },
    /// Give me something to measure the link by.
    Probe,
}

/// What is said of a body before it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Its length on the wire, in bytes.
    pub(crate) length: usize,
    /// Its length when it is unpacked.
    pub(crate) plain: usize,
    /// How it is packed.
    pub(crate) level: Level,
    /// In which form it is, when it is a tensor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) form: Option<Form>,
}

/// Why a question was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refusal {
    /// It is not here.
    NotHere,
    /// The node could not read or write its store.
    Store,
    /// The question is none.
    Invalid,
}

/// Why two nodes could not speak about the graph.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// There is no stream.
    #[error("no stream: {0}")]
    Conn(#[source] ConnError),
    /// The stream broke.
    #[error("the stream broke")]
    Frame(#[from] FrameError),
    /// A message that this release does not understand.
    #[error("the peer sent a message that this release does not understand")]
    Shape(#[from] JsonError),
    /// A body that this release does not understand.
    #[error("the peer sent a body that this release does not understand")]
    Body(#[source] serde_json::Error),
    /// Something else than was due.
    #[error("the peer sent something else than was due: kind {kind}")]
    Unexpected {
        /// The frame's kind.
        kind: u8,
    },
    /// The stream ended early.
    #[error("the peer ended the stream early")]
    Early,
    /// Nothing came in time.
    #[error("nothing came within {FRAME_WITHIN:?}")]
    Slow,
    /// A body that is too large.
    #[error("a body of {length} bytes is more than {MAX_BODY}")]
    TooLarge {
        /// Its length.
        length: usize,
    },
    /// A body that does not unpack.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The other side could not answer.
    #[error("the peer could not answer")]
    Refused,
    /// This node's store failed.
    #[error("the node's store failed")]
    Store(#[from] sedge_store::Fault),
}

impl SyncError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Conn(_) | Self::Early | Self::Refused => ErrorKind::Unavailable,
            Self::Slow => ErrorKind::Timeout,
            Self::Frame(it) => it.kind(),
            Self::Shape(_) | Self::Body(_) | Self::Unexpected { .. } => ErrorKind::Corrupt,
            Self::TooLarge { .. } => ErrorKind::Exhausted,
            Self::Unpack(it) => it.kind(),
            Self::Store(it) => it.kind(),
        }
    }
}

/// Where questions and answers come from.
pub type Reader = FrameReader<RecvStream>;

/// Where questions and answers go.
pub type Writer = FrameWriter<SendStream>;

async fn due(reader: &mut Reader) -> Result<Frame, SyncError> {
    let next = tokio::time::timeout(FRAME_WITHIN, reader.next()).await;
    next.map_err(|_| SyncError::Slow)??.ok_or(SyncError::Early)
}

pub(crate) fn packed(bytes: Vec<u8>, level: Level) -> (Head, Bytes) {
    let plain = bytes.len();
    let (level, body) = pack(bytes, level);
    (Head { length: body.len(), plain, level, form: None }, body.into())
}

pub(crate) async fn send_ask(writer: &mut Writer, ask: &Ask) -> Result<(), SyncError> {
    Ok(writer.write(&Frame::json(ASK, ask)?).await?)
}

pub(crate) async fn send_refusal(writer: &mut Writer, why: Refusal) -> Result<(), SyncError> {
    Ok(writer.write(&Frame::json(REFUSED, &why)?).await?)
}

pub(crate) async fn send_answer(
    writer: &mut Writer,
    (head, body): (Head, Bytes),
) -> Result<(), SyncError> {
    writer.write(&Frame::json(HEAD, &head)?).await?;
    send_body(writer, body).await
}

pub(crate) async fn send_body(writer: &mut Writer, mut rest: Bytes) -> Result<(), SyncError> {
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(PIECE));
        writer.write(&Frame::new(BODY, piece)).await?;
    }
    Ok(())
}

/// Reads an answer's head; `None` when the other side has not got it.
pub(crate) async fn read_head(reader: &mut Reader) -> Result<Option<Head>, SyncError> {
    let frame = due(reader).await?;
    match frame.kind {
        HEAD => Ok(Some(frame.parse()?)),
        REFUSED => match frame.parse()? {
            Refusal::NotHere => Ok(None),
            Refusal::Store | Refusal::Invalid => Err(SyncError::Refused),
        },
        kind => Err(SyncError::Unexpected { kind }),
    }
}

/// Reads and unpacks a body; memory grows with what has come, not with what was said.
pub(crate) async fn read_body(reader: &mut Reader, head: Head) -> Result<Vec<u8>, SyncError> {
    let length = head.length.max(head.plain);
    if length > MAX_BODY {
        return Err(SyncError::TooLarge { length });
    }
    let mut body = Vec::new();
    while body.len() < head.length {
        let frame = due(reader).await?;
        match frame.kind {
            BODY if !frame.payload.is_empty()
                && body.len() + frame.payload.len() <= head.length =>
            {
                body.extend_from_slice(&frame.payload);
            }
            kind => return Err(SyncError::Unexpected { kind }),
        }
    }
    Ok(unpack(body, head.level, head.plain)?)
}
