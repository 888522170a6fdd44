//! What stands at a WebSocket listener's door, and how a dial gets through a proxy.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sedge_base::ErrorKind;
use sedge_net::{Admission, DialError, PathClass, PeerAddr, Protocol, Transport};
use sedge_net::{KeyError, WebSocket, WebSocketOptions};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::peers::{Guests, SOON, connect, identity, websocket};

#[tokio::test]
async fn a_plaintext_client_is_refused() {
    let end = websocket(&identity(1), &Guests::everybody()).await;
    let mut plain = TcpStream::connect(end.place().direct[0]).await.unwrap();
    let request = "GET /mesh HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(SOON, plain.read_to_end(&mut answer)).await.unwrap();
    assert!(read.is_err() || !answer.starts_with(b"HTTP"), "no word in plain text");
    // A TLS alert at most: a record of type 21.
    assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    let (near, _far) = connect(&websocket(&identity(2), &Guests::everybody()).await, &end).await;
    assert_eq!(near.peer(), identity(1).node_id(), "others are still served");
    assert_eq!(end.metrics().handshakes_failed.load(Relaxed), 1);
}

#[tokio::test]
async fn a_node_with_another_key_is_not_talked_to() {
    let end = websocket(&identity(1), &Guests::everybody()).await;
    let near = websocket(&identity(2), &Guests::everybody()).await;
    let to = PeerAddr::new(identity(3).node_id()).with(end.place().direct[0]);
    let err = near.dial(&to, Protocol::Mesh, SOON).await.unwrap_err();
    assert!(matches!(err, DialError::Handshake { .. }), "{err}");
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
}

/// A proxy that lets one connection through and returns whom it was asked for.
async fn let_through(listener: TcpListener) -> String {
    let (client, _) = listener.accept().await.unwrap();
    let mut client = BufReader::new(client);
    let (mut first, mut line) = (String::new(), String::new());
    client.read_line(&mut first).await.unwrap();
    while line != "\r\n" {
        line.clear();
        client.read_line(&mut line).await.unwrap();
    }
    let to = first.split(' ').nth(1).unwrap().to_owned();
    let mut server = TcpStream::connect(&to).await.unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\nVia: test\r\n\r\n").await.unwrap();
    drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
    to
}

#[tokio::test]
async fn a_dial_goes_through_an_http_proxy() {
    let end = websocket(&identity(1), &Guests::everybody()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = WebSocketOptions::new(identity(2), None);
    options.proxy = Some(listener.local_addr().unwrap());
    let guests: Arc<dyn Admission> = Guests::everybody();
    let near = WebSocket::bind(options, guests).await.unwrap();
    let used = async {
        let (conn, _far) = connect(&near, &end).await;
        assert_eq!(conn.path(), PathClass::Relayed);
        near.close(SOON).await;
        end.close(SOON).await;
    };
    let (asked, ()) = tokio::join!(let_through(listener), used);
    assert!(asked.starts_with("127.0.0.1:"), "{asked}");
}

#[tokio::test]
async fn whoever_listens_proves_its_key_when_asked() {
    let end = websocket(&identity(1), &Guests::everybody()).await;
    let addr = end.place().direct[0];
    assert_eq!(WebSocket::key_at(addr, None, SOON).await.unwrap(), identity(1).node_id());
    end.close(SOON).await;
    let silent = WebSocket::key_at(addr, None, SOON).await.unwrap_err();
    assert!(matches!(silent, KeyError::Silent { .. }), "{silent}");

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = plain.local_addr().unwrap();
    let (asked, accepted) = tokio::join!(WebSocket::key_at(addr, None, SOON), async {
        let (mut tcp, _) = plain.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await
    });
    accepted.unwrap();
    assert_eq!(asked.unwrap_err().kind(), ErrorKind::Unauthenticated);
}
