//! The one stream of a pairing, and the kinds of frames on it.

use sedge_base::{ByteSize, ErrorKind};
use sedge_capability::Failure;
use sedge_net::{Conn, Frame, FrameError, FrameReader, FrameWriter, Stream};

use crate::remote::OPEN_WITHIN;
use crate::wire::{Reader, Writer};

/// The first message of the password exchange.
pub(super) const MESSAGE: u8 = 10;
/// The confirmation of the password exchange.
pub(super) const TAG: u8 = 11;
/// What is said under the key of the password exchange.
pub(super) const SEALED: u8 = 12;
/// No, and why.
const REFUSED: u8 = 13;
/// Somebody wants to come in without a code.
pub(super) const KNOCK: u8 = 20;
/// What has to be answered.
pub(super) const CHALLENGE: u8 = 21;
/// The answer.
pub(super) const ANSWER: u8 = 22;
/// A person has to decide.
pub(super) const WAITS: u8 = 23;
/// Come in.
pub(super) const WELCOME: u8 = 24;

/// The largest frame that a stranger may send.
const FROM_STRANGER: ByteSize = ByteSize::from_bytes(64 << 10);

/// The one stream of a pairing.
pub(super) struct Line {
    reader: Reader,
    writer: Writer,
}

fn broken(error: &FrameError) -> Failure {
    let text = format!("the pairing broke off: {error}");
    Failure::new(ErrorKind::Unavailable, "pairing_broken", text)
}

/// Returns the failure of a message that is not what was due.
pub(super) fn malformed() -> Failure {
    let text = "the other side's pairing message is malformed";
    Failure::new(ErrorKind::Invalid, "pairing_failed", text)
}

impl Line {
    /// Waits for a stranger's stream and its first frame.
    pub(super) async fn accept(conn: &Conn) -> Result<(Self, Frame), Failure> {
        let stream = conn.accept().await.map_err(|it| {
            Failure::new(it.kind(), "pairing_broken", format!("no pairing stream: {it}"))
        })?;
        let Stream { send, recv, .. } = stream;
        let reader = FrameReader::with_limit(recv, FROM_STRANGER);
        let mut line = Self { reader, writer: FrameWriter::new(send) };
        let first = line.next().await?;
        Ok((line, first))
    }

    /// Opens the stream, on the side that joins.
    pub(super) async fn open(conn: &Conn) -> Result<Self, Failure> {
        let stream = conn.open(OPEN_WITHIN).await.map_err(|it| {
            Failure::new(it.kind(), "pairing_broken", format!("the pairing broke off: {it}"))
        })?;
        let Stream { send, recv, .. } = stream;
        Ok(Self { reader: FrameReader::new(recv), writer: FrameWriter::new(send) })
    }

    /// Reads the next frame, whatever it is; a refusal is an error.
    pub(super) async fn next(&mut self) -> Result<Frame, Failure> {
        let frame = self.reader.next().await.map_err(|it| broken(&it))?.ok_or_else(|| {
            let text = "the other side broke the pairing off";
            Failure::new(ErrorKind::Unavailable, "pairing_broken", text)
        })?;
        match frame.kind {
            REFUSED => Err(frame.parse().unwrap_or_else(|_| malformed())),
            _ => Ok(frame),
        }
    }

    /// Reads the next frame, which must be of a kind.
    pub(super) async fn read(&mut self, due: u8) -> Result<Frame, Failure> {
        let frame = self.next().await?;
        if frame.kind == due { Ok(frame) } else { Err(malformed()) }
    }

    /// Writes a frame.
    pub(super) async fn write(&mut self, frame: Frame) -> Result<(), Failure> {
        self.writer.write(&frame).await.map_err(|it| broken(&it))
    }

    /// Says no. Whoever left does not hear it.
    pub(super) async fn refuse(mut self, why: &Failure) {
        if let Ok(frame) = Frame::json(REFUSED, why) {
            drop(self.write(frame).await);
        }
        self.finish().await;
    }

    /// Ends this side of the stream.
    pub(super) async fn finish(self) {
        drop(self.writer.into_inner().finish().await);
    }
}
