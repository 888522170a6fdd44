//! Packets over a Unix socket; memory files travel beside them (`SCM_RIGHTS`).

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, recvmsg, sendmsg, shutdown,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::{Sealed, WINDOW};
use crate::packet::{Body, HEAD, Head, Inlet, Kind, Outlet, PIECE, Packet, malformed};

/// Descriptors that may have come without the packets that they belong to.
const EARLY: usize = 4;

/// The sending half of a Unix socket.
#[derive(Debug)]
pub(super) struct SocketOutlet {
    socket: Arc<UnixStream>,
    buffer: BytesMut,
}

/// The receiving half of a Unix socket.
#[derive(Debug)]
pub(super) struct SocketInlet {
    socket: Arc<UnixStream>,
    buffer: BytesMut,
    piece: Vec<u8>,
    files: VecDeque<OwnedFd>,
}

/// Splits a socket.
pub(super) fn halves(socket: UnixStream) -> (SocketOutlet, SocketInlet) {
    let socket = Arc::new(socket);
    let outlet = SocketOutlet { socket: Arc::clone(&socket), buffer: BytesMut::new() };
    let piece = vec![0; PIECE];
    (outlet, SocketInlet { socket, buffer: BytesMut::new(), piece, files: VecDeque::new() })
}

impl SocketOutlet {
    /// Sends bytes, and a descriptor with the first of them; returns how many were sent.
    async fn some(&self, bytes: &[u8], file: Option<&Sealed>) -> io::Result<usize> {
        loop {
            self.socket.writable().await?;
            let sent = self.socket.try_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                let files = file.map(|it| [it.file().as_fd()]);
                if let Some(files) = &files {
                    control.push(SendAncillaryMessage::ScmRights(files));
                }
                let flags = SendFlags::NOSIGNAL;
                Ok(sendmsg(&*self.socket, &[IoSlice::new(bytes)], &mut control, flags)?)
            });
            match sent {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

#[async_trait]
impl Outlet for SocketOutlet {
    async fn send(&mut self, packet: Packet) -> io::Result<()> {
        let head = packet.head();
        match packet.body {
            Body::Bytes(bytes) => {
                self.buffer.extend_from_slice(&head);
                self.buffer.extend_from_slice(&bytes);
                if self.buffer.len() >= PIECE { self.flush().await } else { Ok(()) }
            }
            Body::Sealed(sealed) => {
                self.flush().await?;
                // The rest, should the socket be that full, goes with the packets behind it.
                let some = self.some(&head, Some(&sealed)).await?;
                self.buffer.extend_from_slice(&head[some..]);
                Ok(())
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            let some = self.some(&self.buffer, None).await?;
            self.buffer.advance(some);
        }
        Ok(())
    }

    async fn end(&mut self) -> io::Result<()> {
        self.flush().await?;
        Ok(shutdown(&*self.socket, Shutdown::Write)?)
    }
}

impl SocketInlet {
    /// Returns the first packet that has arrived as a whole.
    fn packet(&mut self) -> io::Result<Option<Packet>> {
        if self.buffer.len() < HEAD {
            return Ok(None);
        }
        let Head { kind, stream, len } = Head::read(&self.buffer[..HEAD])?;
        if kind == Kind::Sealed {
            self.buffer.advance(HEAD);
            let file = self.files.pop_front().ok_or_else(|| malformed("no memory file came"))?;
            let body = Body::Sealed(Sealed::accept(file, len, WINDOW)?);
            return Ok(Some(Packet { kind, stream, body }));
        }
        if self.buffer.len() < HEAD + len {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        Ok(Some(Packet::new(kind, stream, self.buffer.split_to(len).freeze())))
    }

    /// Takes what has arrived; `false` at the end.
    fn take(&mut self) -> io::Result<bool> {
        let Self { socket, buffer, piece, files } = self;
        let some = socket.try_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC;
            let mut into = [IoSliceMut::new(piece)];
            let got = recvmsg(&**socket, &mut into, &mut control, flags)?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    files.extend(rights);
                }
            }
            Ok(got.bytes)
        })?;
        if files.len() > EARLY {
            return Err(malformed("descriptors that nobody announced"));
        }
        buffer.extend_from_slice(&piece[..some]);
        Ok(some > 0)
    }
}

#[async_trait]
impl Inlet for SocketInlet {
    async fn next(&mut self) -> io::Result<Option<Packet>> {
        loop {
            if let Some(packet) = self.packet()? {
                return Ok(Some(packet));
            }
            self.socket.readable().await?;
            match self.take() {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
                Ok(true) => {}
                Ok(false) if self.buffer.is_empty() => return Ok(None),
                Ok(false) => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}
