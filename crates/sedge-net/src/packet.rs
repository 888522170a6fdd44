//! What a multiplexed connection sends: small packets, whole and in order, over any carrier.
//!
//! On the wire: one byte of kind, eight bytes of stream, four bytes of length (big endian), body.

use std::io;

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes};

#[cfg(target_os = "linux")]
use crate::local::Sealed;

/// The largest body that travels inside a packet, in bytes.
pub(crate) const PIECE: usize = 64 << 10;
/// The size of what stands before every body, in bytes.
pub(crate) const HEAD: usize = 13;

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A step of the handshake; never afterwards.
    Greeting = 1,
    /// A new stream.
    Open = 2,
    /// Bytes of a stream.
    Data = 3,
    /// The reader has made room for so many more bytes (four bytes).
    Window = 4,
    /// The data of a stream is complete.
    Fin = 5,
    /// The data of a stream is not complete and never will be.
    Reset = 6,
    /// The reader of a stream has everything, or wants nothing more.
    Stop = 7,
    /// The connection ends, with a reason (four bytes).
    Close = 8,
    /// Are you alive? (eight bytes, which come back)
    Ping = 9,
    /// Alive.
    Pong = 10,
    /// Bytes of a stream that lie in a sealed memory file, which was passed beside this packet.
    Sealed = 11,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Greeting,
        Self::Open,
        Self::Data,
        Self::Window,
        Self::Fin,
        Self::Reset,
        Self::Stop,
        Self::Close,
        Self::Ping,
        Self::Pong,
        Self::Sealed,
    ];
}

/// What a packet carries.
#[derive(Debug)]
pub(crate) enum Body {
    /// Bytes inside the packet.
    Bytes(Bytes),
    /// Bytes in a sealed memory file.
    #[cfg(target_os = "linux")]
    Sealed(Sealed),
}

impl Body {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            #[cfg(target_os = "linux")]
            Self::Sealed(sealed) => sealed.len(),
        }
    }
}

/// One packet.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) kind: Kind,
    pub(crate) stream: u64,
    pub(crate) body: Body,
}

impl Packet {
    /// Makes a packet that carries bytes.
    pub(crate) fn new(kind: Kind, stream: u64, body: impl Into<Bytes>) -> Self {
        Self { kind, stream, body: Body::Bytes(body.into()) }
    }

    /// Returns what stands before the body.
    pub(crate) fn head(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        let mut into = head.as_mut_slice();
        into.put_u8(self.kind as u8);
        into.put_u64(self.stream);
        // No body is larger than a stream's window.
        into.put_u32(u32::try_from(self.body.len()).unwrap_or(u32::MAX));
        head
    }
}

/// What stands before a body, read and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) stream: u64,
    pub(crate) len: usize,
}

impl Head {
    /// Reads a head; a body inside the packet is [`PIECE`] at most.
    pub(crate) fn read(mut bytes: &[u8]) -> io::Result<Self> {
        if bytes.len() < HEAD {
            return Err(malformed("a packet is cut"));
        }
        let (kind, stream, len) = (bytes.get_u8(), bytes.get_u64(), bytes.get_u32() as usize);
        let kind = Kind::ALL.into_iter().find(|it| *it as u8 == kind);
        let kind = kind.ok_or_else(|| malformed("a packet is of no known kind"))?;
        if kind != Kind::Sealed && len > PIECE {
            return Err(malformed("a packet is too large"));
        }
        Ok(Self { kind, stream, len })
    }
}

/// Makes the error of a peer that breaks the protocol.
pub(crate) fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Sends packets.
#[async_trait]
pub(crate) trait Outlet: Send + 'static {
    /// Sends a packet; it may wait for [`Outlet::flush`].
    async fn send(&mut self, packet: Packet) -> io::Result<()>;

    /// Sends what waits.
    async fn flush(&mut self) -> io::Result<()>;

    /// Says that nothing more comes.
    async fn end(&mut self) -> io::Result<()>;
}

/// Receives packets.
#[async_trait]
pub(crate) trait Inlet: Send + 'static {
    /// Waits for the next packet; `None` when the peer has gone between two packets.
    ///
    /// Dropping the future loses nothing.
    async fn next(&mut self) -> io::Result<Option<Packet>>;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_is_read_as_written() {
        let packet = Packet::new(Kind::Data, 77, vec![1; 300]);
        let head = Head::read(&packet.head()).unwrap();
        assert_eq!(head, Head { kind: Kind::Data, stream: 77, len: 300 });
    }

    proptest! {
        #[test]
        fn garbage_never_panics_nor_announces_much(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(head) = Head::read(&bytes) {
                prop_assert!(head.kind == Kind::Sealed || head.len <= PIECE);
            }
        }
    }
}
