//! Packets over a WebSocket (RFC 6455): one binary message each.

use std::io;

use async_trait::async_trait;
use bytes::{Buf, BufMut, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::door::Ends;
use crate::packet::{Body, HEAD, Head, Inlet, Kind, Outlet, PIECE, Packet, malformed};

/// Bytes that may wait in the socket's own buffer before sending waits.
const BUFFER: usize = 4 * PIECE;

/// Returns settings with every limit named.
pub(super) fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(HEAD + PIECE))
        .max_frame_size(Some(HEAD + PIECE))
        .write_buffer_size(PIECE)
        .max_write_buffer_size(BUFFER)
        .read_buffer_size(PIECE)
}

/// Makes a carrier of a WebSocket.
pub(super) fn ends<S>(socket: WebSocketStream<S>) -> Ends
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (send, recv) = socket.split();
    (Box::new(MessageOutlet(send)), Box::new(MessageInlet(recv)))
}

/// Translates an error; the library's own limits are the peer's mistakes.
pub(super) fn broken(err: Error) -> io::Error {
    match err {
        Error::Io(err) => err,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            io::ErrorKind::ConnectionReset.into()
        }
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

struct MessageOutlet<S>(SplitSink<WebSocketStream<S>, Message>);

#[async_trait]
impl<S> Outlet for MessageOutlet<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    async fn send(&mut self, packet: Packet) -> io::Result<()> {
        let mut message = BytesMut::with_capacity(HEAD + packet.body.len());
        message.put_slice(&packet.head());
        match packet.body {
            Body::Bytes(bytes) => message.put_slice(&bytes),
            #[cfg(target_os = "linux")]
            Body::Sealed(_) => return Err(malformed("memory files do not travel")),
        }
        self.0.feed(Message::Binary(message.freeze())).await.map_err(broken)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.0.flush().await.map_err(broken)
    }

    async fn end(&mut self) -> io::Result<()> {
        self.0.close().await.map_err(broken)
    }
}

struct MessageInlet<S>(SplitStream<WebSocketStream<S>>);

#[async_trait]
impl<S> Inlet for MessageInlet<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    async fn next(&mut self) -> io::Result<Option<Packet>> {
        loop {
            let mut bytes = match self.0.next().await.transpose().map_err(broken)? {
                None | Some(Message::Close(_)) => return Ok(None),
                Some(Message::Ping(_) | Message::Pong(_)) => continue,
                Some(Message::Text(_) | Message::Frame(_)) => {
                    return Err(malformed("a message is no packet"));
                }
                Some(Message::Binary(bytes)) => bytes,
            };
            let Head { kind, stream, len } = Head::read(&bytes)?;
            bytes.advance(HEAD);
            if bytes.len() != len || kind == Kind::Sealed {
                return Err(malformed("a message is not one packet"));
            }
            return Ok(Some(Packet::new(kind, stream, bytes)));
        }
    }
}

/// Feeds bytes behind an upgraded connection to the reader of packets; returns whether they hold one at least and
/// break nothing.
#[cfg(any(test, fuzzing))]
pub(super) async fn feed(bytes: &[u8]) -> bool {
    use tokio_tungstenite::tungstenite::protocol::Role;

    let stream = tokio::io::join(io::Cursor::new(bytes.to_vec()), tokio::io::sink());
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits())).await;
    let (_, mut inlet) = ends(socket);
    let mut packets = 0;
    loop {
        match inlet.next().await {
            Ok(Some(_)) => packets += 1,
            Ok(None) => return packets > 0,
            Err(_) => return false,
        }
    }
}
