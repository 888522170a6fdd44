//! Peers that die, freeze or leave without a word.

use std::sync::mpsc;
use std::thread;

use sedge_net::{ConnError, Transport};
use tokio::io::AsyncReadExt;

use crate::peers::{Guests, SOON, connect, quic};

/// A node on a thread of its own, which stops dead in the middle of an accepted stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_peer_is_noticed_by_a_waiting_task() {
    let (tell, place) = tokio::sync::oneshot::channel();
    let (thaw, frozen) = mpsc::channel::<()>();
    let peer = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let end = quic(2, &Guests::everybody()).await;
            tell.send(end.place().peer_addr()).unwrap();
            let conn = end.accept().await.unwrap();
            let stream = conn.accept().await.unwrap();
            // The whole runtime stands still, as under SIGSTOP: no keep-alive, no goodbye.
            assert!(frozen.recv().is_err(), "thawed by a dropped sender");
            drop(stream);
        });
    });
    let end = quic(1, &Guests::everybody()).await;
    let to = place.await.unwrap();
    let conn = end.dial(&to, sedge_net::Protocol::Mesh, SOON).await.unwrap();
    let mut stream = conn.open(SOON).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream.send, b"task").await.unwrap();
    let stopped = stream.send.stopped();
    let read = tokio::time::timeout(SOON, stream.recv.read_u8()).await;
    assert!(read.expect("noticed, not hung").is_err());
    stopped.await;
    assert!(matches!(conn.closed().await, ConnError::Silent));
    let counted = async {
        while end.metrics().lost.load(std::sync::atomic::Ordering::Relaxed) != 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, counted).await.expect("counted as lost");
    drop(thaw);
    peer.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stops_says_so() {
    let (a, b) = (quic(1, &Guests::everybody()).await, quic(2, &Guests::everybody()).await);
    let (near, _far) = connect(&a, &b).await;
    let closing = b.close(SOON);
    let (why, ()) = tokio::join!(near.closed(), closing);
    assert_eq!(why.to_string(), "the peer closed the connection: the node stops");
    assert!(b.accept().await.is_none());
}
