//! One QUIC connection and its streams, seen through the seam.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use iroh::TransportAddr;
use iroh::endpoint::{
    ApplicationClose, Connection, ConnectionError, Incoming, IncomingAddr, SendStream, VarInt,
};
use sedge_base::NodeId;
use tokio::io::AsyncWrite;
use tokio::sync::OwnedSemaphorePermit;

use super::side;
use crate::conn::{CloseReason, ConnError, Facts, Halves, Link, PathClass, Side};
use crate::stream::{BoxFuture, Outgoing};
use crate::transport::Protocol;

/// The code on a stream that somebody dropped.
const DROPPED: VarInt = VarInt::from_u32(1);

/// A QUIC connection whose ends have proven their keys and admitted each other.
#[derive(Debug)]
pub(super) struct QuicLink {
    conn: Connection,
    peer: NodeId,
    protocol: Protocol,
    /// The place among the accepted connections, given back when the link is dropped.
    _place: Option<OwnedSemaphorePermit>,
}

impl QuicLink {
    pub(super) const fn new(
        conn: Connection,
        peer: NodeId,
        protocol: Protocol,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { conn, peer, protocol, _place: place }
    }
}

#[async_trait]
impl Link for QuicLink {
    fn facts(&self) -> Facts {
        let paths = self.conn.paths();
        let used = paths.iter().find(|it| it.is_selected()).or_else(|| paths.iter().next());
        Facts {
            peer: self.peer,
            protocol: self.protocol,
            dialled_by: side(&self.conn),
            path: used.as_ref().map_or(PathClass::Direct, |it| path_class(it.remote_addr())),
            same_host: false,
            rtt: used.map(|it| it.rtt()),
        }
    }

    async fn stream(&self, opener: Side) -> Result<Halves, ConnError> {
        let made = match opener {
            Side::Us => self.conn.open_bi().await,
            Side::Peer => self.conn.accept_bi().await,
        };
        let (send, recv) = made.map_err(why_ended)?;
        Ok((Box::new(QuicSend(send)), Box::new(recv)))
    }

    fn close(&self, reason: CloseReason) {
        close(&self.conn, reason);
    }

    async fn closed(&self) -> ConnError {
        why_ended(self.conn.closed().await)
    }
}

/// Closes a connection with a reason that the peer can read.
pub(super) fn close(conn: &Connection, reason: CloseReason) {
    conn.close(VarInt::from_u32(reason.code()), reason.to_string().as_bytes());
}

/// Returns where a connection attempt comes from; not proven.
pub(super) fn sender(incoming: &Incoming) -> Option<SocketAddr> {
    match incoming.remote_addr() {
        IncomingAddr::Ip(addr) => Some(addr),
        _ => None,
    }
}

/// Reads the reason that the peer gave.
pub(super) fn reason(close: &ApplicationClose) -> CloseReason {
    CloseReason::from_code(u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX))
}

/// Translates why a connection ended.
pub(super) fn why_ended(err: ConnectionError) -> ConnError {
    match &err {
        ConnectionError::ApplicationClosed(close) => ConnError::Closed { reason: reason(close) },
        ConnectionError::LocallyClosed => ConnError::ClosedHere,
        // A stateless reset comes from a peer that was started anew and has forgotten us.
        ConnectionError::TimedOut | ConnectionError::Reset => ConnError::Silent,
        _ => ConnError::Broken { source: Arc::new(err) },
    }
}

fn path_class(addr: &TransportAddr) -> PathClass {
    match addr {
        TransportAddr::Relay(_) => PathClass::Relayed,
        TransportAddr::Ip(addr) => PathClass::of(addr.ip()),
        _ => PathClass::Direct,
    }
}

/// The sending direction of a QUIC stream.
#[derive(Debug)]
struct QuicSend(SendStream);

impl Outgoing for QuicSend {
    fn stopped(&self) -> BoxFuture<()> {
        let stopped = self.0.stopped();
        Box::pin(async move { drop(stopped.await) })
    }

    fn reset(&mut self) {
        // It fails only where the stream has ended already.
        drop(self.0.reset(DROPPED));
    }
}

impl AsyncWrite for QuicSend {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.0), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(addr: &str, expected: PathClass) {
        assert_eq!(path_class(&TransportAddr::Ip(addr.parse().unwrap())), expected);
    }

    #[test]
    fn distance_is_told_by_the_address() {
        check("127.0.0.1:1", PathClass::Local);
        check("[::ffff:127.0.0.1]:1", PathClass::Local);
        check("192.168.1.4:1", PathClass::Lan);
        check("[fe80::1]:1", PathClass::Lan);
        check("[fd00::1]:1", PathClass::Lan);
        check("203.0.113.9:1", PathClass::Direct);
    }
}
