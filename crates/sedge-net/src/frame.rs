//! Messages on a stream: one byte of kind, four bytes of length (big endian), the payload.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use sedge_base::{ByteSize, ErrorKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The largest payload unless a reader or writer is told another limit.
pub const USUAL_LIMIT: ByteSize = ByteSize::from_mib(16);

const HEADER: usize = 5;

/// How much is read at once, or as much as has arrived if that is more: memory grows with what has
/// arrived, not with what was announced.
const PIECE: usize = 64 << 10;

/// One message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the payload is; each protocol has its own numbers.
    pub kind: u8,
    /// The content.
    pub payload: Bytes,
}

/// A value that is not JSON of the expected shape, or cannot be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("frame of kind {kind}: not the JSON that is expected")]
pub struct JsonError {
    /// The frame's kind.
    pub kind: u8,
    /// Where and what.
    pub source: serde_json::Error,
}

impl JsonError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Frame {
    /// Makes a frame of bytes.
    pub fn new(kind: u8, payload: impl Into<Bytes>) -> Self {
        Self { kind, payload: payload.into() }
    }

    /// Makes a frame that carries a value as JSON.
    ///
    /// # Errors
    ///
    /// [`JsonError`] when the value has no form in JSON, such as a map whose keys are not texts.
    pub fn json<T: Serialize + ?Sized>(kind: u8, value: &T) -> Result<Self, JsonError> {
        let payload = serde_json::to_vec(value).map_err(|source| JsonError { kind, source })?;
        Ok(Self::new(kind, payload))
    }

    /// Reads the payload as JSON.
    ///
    /// # Errors
    ///
    /// [`JsonError`] when it is not JSON of this shape.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        let Self { kind, ref payload } = *self;
        serde_json::from_slice(payload).map_err(|source| JsonError { kind, source })
    }
}

/// Why a frame was not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The payload is larger than allowed. Reading may go on: the payload is passed over.
    #[error("frame of kind {kind} has {size}, the limit is {limit}")]
    TooLarge {
        /// The frame's kind.
        kind: u8,
        /// The payload's size.
        size: ByteSize,
        /// The most that is allowed.
        limit: ByteSize,
    },
    /// The stream ended in the middle of a frame.
    #[error("the stream ended {missing} bytes before the end of a frame")]
    Cut {
        /// How much is missing at least.
        missing: u64,
    },
    /// An earlier write was given up in the middle of a frame.
    #[error("an earlier frame was written only in part")]
    Midway,
    /// The stream broke.
    #[error("the stream broke")]
    Stream {
        /// What it says.
        source: io::Error,
    },
}

impl FrameError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::Exhausted,
            Self::Midway => ErrorKind::Internal,
            Self::Cut { .. } | Self::Stream { .. } => ErrorKind::Unavailable,
        }
    }
}

/// Reads frames from a stream.
#[derive(Debug)]
pub struct FrameReader<R> {
    from: R,
    limit: ByteSize,
    buffer: BytesMut,
    /// Bytes of a refused payload that are still to come.
    pass_over: u64,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads frames of at most [`USUAL_LIMIT`].
    pub fn new(from: R) -> Self {
        Self::with_limit(from, USUAL_LIMIT)
    }

    /// Reads frames whose payload is at most `limit`.
    pub fn with_limit(from: R, limit: ByteSize) -> Self {
        Self { from, limit, buffer: BytesMut::new(), pass_over: 0 }
    }

    /// Waits for the next frame; `None` when the stream ended between two frames.
    ///
    /// # Errors
    ///
    /// [`FrameError`]; after [`FrameError::TooLarge`] the next call gives the frame behind it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the next call goes on where it stopped.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            let missing = match self.take()? {
                Taken::Frame(frame) => return Ok(Some(frame)),
                Taken::Missing(missing) => missing,
            };
            self.buffer.reserve(missing.min(PIECE.max(self.buffer.len())));
            let read = self.from.read_buf(&mut self.buffer).await;
            if read.map_err(|source| FrameError::Stream { source })? == 0 {
                return match (self.pass_over, self.buffer.len()) {
                    (0, 0) => Ok(None),
                    (0, _) => Err(FrameError::Cut { missing: missing as u64 }),
                    (missing, _) => Err(FrameError::Cut { missing }),
                };
            }
        }
    }

    /// Returns the stream; what was read of the next frame is lost.
    pub fn into_inner(self) -> R {
        self.from
    }

    /// Takes a frame from the buffer, or says how many bytes are missing at least.
    fn take(&mut self) -> Result<Taken, FrameError> {
        if self.pass_over > 0 {
            let here = self.buffer.len().min(usize::try_from(self.pass_over).unwrap_or(usize::MAX));
            self.buffer.advance(here);
            self.pass_over -= here as u64;
            if self.pass_over > 0 {
                return Ok(Taken::Missing(PIECE));
            }
        }
        let Some((&[kind, b0, b1, b2, b3], behind)) = self.buffer.split_first_chunk() else {
            return Ok(Taken::Missing(HEADER - self.buffer.len()));
        };
        let size = ByteSize::from_bytes(u32::from_be_bytes([b0, b1, b2, b3]).into());
        if size > self.limit {
            self.buffer.advance(HEADER);
            self.pass_over = size.as_bytes();
            return Err(FrameError::TooLarge { kind, size, limit: self.limit });
        }
        if behind.len() < size.as_len() {
            return Ok(Taken::Missing(size.as_len() - behind.len()));
        }
        self.buffer.advance(HEADER);
        Ok(Taken::Frame(Frame::new(kind, self.buffer.split_to(size.as_len()))))
    }
}

enum Taken {
    Frame(Frame),
    Missing(usize),
}

/// Writes frames to a stream.
#[derive(Debug)]
pub struct FrameWriter<W> {
    to: W,
    limit: ByteSize,
    midway: bool,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Writes frames of at most [`USUAL_LIMIT`].
    pub const fn new(to: W) -> Self {
        Self::with_limit(to, USUAL_LIMIT)
    }

    /// Writes frames whose payload is at most `limit` (and never more than 4 GiB).
    pub const fn with_limit(to: W, limit: ByteSize) -> Self {
        Self { to, limit, midway: false }
    }

    /// Writes one frame and hands it to the transport.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLarge`] before a byte was written: the stream is as good as before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave half a frame: every later write then fails with
    /// [`FrameError::Midway`], and the stream is to be dropped.
    pub async fn write(&mut self, frame: &Frame) -> Result<(), FrameError> {
        let Frame { kind, ref payload } = *frame;
        if self.midway {
            return Err(FrameError::Midway);
        }
        let size = ByteSize::from_bytes(payload.len() as u64);
        let length = u32::try_from(payload.len()).ok().filter(|_| size <= self.limit);
        let Some(length) = length else {
            return Err(FrameError::TooLarge { kind, size, limit: self.limit });
        };
        let together = if payload.len() <= PIECE { payload.len() } else { 0 };
        let mut head = BytesMut::with_capacity(HEADER + together);
        head.put_u8(kind);
        head.put_u32(length);
        head.extend_from_slice(&payload[..together]);
        self.midway = true;
        let written = async {
            self.to.write_all(&head).await?;
            self.to.write_all(&payload[together..]).await?;
            self.to.flush().await
        };
        written.await.map_err(|source| FrameError::Stream { source })?;
        self.midway = false;
        Ok(())
    }

    /// Returns the stream, for instance to finish it.
    pub fn into_inner(self) -> W {
        self.to
    }

    /// Returns the stream for a look, for instance to learn that the peer stopped reading.
    pub const fn get_ref(&self) -> &W {
        &self.to
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    async fn write(frames: &[Frame]) -> Vec<u8> {
        let mut writer = FrameWriter::new(Vec::new());
        for frame in frames {
            writer.write(frame).await.unwrap();
        }
        writer.into_inner()
    }

    #[tokio::test]
    async fn a_frame_is_kind_length_payload() {
        let bytes = write(&[Frame::new(7, "abc"), Frame::new(0, "")]).await;
        assert_eq!(bytes, b"\x07\0\0\0\x03abc\0\0\0\0\0");
        let mut reader = FrameReader::new(bytes.as_slice());
        assert_eq!(reader.next().await.unwrap(), Some(Frame::new(7, "abc")));
        assert_eq!(reader.next().await.unwrap(), Some(Frame::new(0, "")));
        assert_eq!(reader.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_large_frame_is_refused_and_the_next_one_read() {
        let bytes = write(&[Frame::new(1, vec![1; 9]), Frame::new(2, "ok")]).await;
        let mut reader = FrameReader::with_limit(bytes.as_slice(), ByteSize::from_bytes(8));
        let refused = reader.next().await.unwrap_err();
        assert_eq!(refused.to_string(), "frame of kind 1 has 9 B, the limit is 8 B");
        assert_eq!(refused.kind(), ErrorKind::Exhausted);
        assert_eq!(reader.next().await.unwrap(), Some(Frame::new(2, "ok")));
    }

    #[tokio::test]
    async fn a_large_frame_is_not_sent() {
        let mut writer = FrameWriter::with_limit(Vec::new(), ByteSize::from_bytes(2));
        let refused = writer.write(&Frame::new(1, "abc")).await;
        assert!(matches!(refused, Err(FrameError::TooLarge { kind: 1, .. })), "{refused:?}");
        writer.write(&Frame::new(1, "ab")).await.unwrap();
        assert_eq!(writer.into_inner(), b"\x01\0\0\0\x02ab");
    }

    #[tokio::test]
    async fn announcing_much_costs_nothing() {
        let mut reader = FrameReader::new(b"\x01\x00\xff\xff\xff".as_slice());
        let cut = reader.next().await;
        assert!(matches!(cut, Err(FrameError::Cut { missing: 0xff_ffff })), "{cut:?}");
        assert!(reader.buffer.capacity() <= 2 * PIECE, "{}", reader.buffer.capacity());
    }

    #[tokio::test]
    async fn a_dropped_read_loses_nothing() {
        let (mut near, far) = tokio::io::duplex(64);
        let mut reader = FrameReader::new(far);
        near.write_all(b"\x01\0\0\0\x04ab").await.unwrap();
        let early = futures_util::FutureExt::now_or_never(reader.next());
        assert!(early.is_none(), "{early:?}");
        near.write_all(b"cd").await.unwrap();
        assert_eq!(reader.next().await.unwrap(), Some(Frame::new(1, "abcd")));
    }

    #[tokio::test]
    async fn a_dropped_write_poisons_the_writer() {
        let (near, _far) = tokio::io::duplex(4);
        let mut writer = FrameWriter::new(near);
        let frame = Frame::new(1, "abcd");
        let early = futures_util::FutureExt::now_or_never(writer.write(&frame));
        assert!(early.is_none(), "{early:?}");
        assert!(matches!(writer.write(&frame).await, Err(FrameError::Midway)));
    }

    #[test]
    fn json_of_another_shape_is_refused() {
        let frame = Frame::json(3, &[1, 2]).unwrap();
        assert_eq!(frame.parse::<Vec<u8>>().unwrap(), [1, 2]);
        assert_eq!(frame.parse::<String>().unwrap_err().kind, 3);
        let deep = Frame::new(3, "[".repeat(100_000));
        assert!(deep.parse::<serde_json::Value>().is_err());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512), limit in 0_u64..64) {
            block_on(async {
                let mut reader = FrameReader::with_limit(bytes.as_slice(), ByteSize::from_bytes(limit));
                for _ in 0..600 {
                    match reader.next().await {
                        Ok(Some(frame)) => assert!(frame.payload.len() as u64 <= limit),
                        Ok(None) | Err(FrameError::Cut { .. }) => return,
                        Err(FrameError::TooLarge { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                panic!("600 frames in 512 bytes");
            });
        }

        #[test]
        fn what_is_written_is_read(frames in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..8)) {
            block_on(async {
                let frames: Vec<_> = frames.into_iter().map(|(kind, it)| Frame::new(kind, it)).collect();
                let bytes = write(&frames).await;
                let mut reader = FrameReader::new(bytes.as_slice());
                for frame in frames {
                    assert_eq!(reader.next().await.unwrap(), Some(frame));
                }
                assert_eq!(reader.next().await.unwrap(), None);
            });
        }
    }
}
