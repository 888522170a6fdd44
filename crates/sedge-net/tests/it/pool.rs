//! Connections that are shared, replaced and given up.

use std::sync::Arc;
use std::time::Duration;

use sedge_base::{NodeId, TaskScope};
use sedge_net::{
    CloseReason, Conn, DialError, Frame, FrameReader, FrameWriter, Memory, MemoryNet, PathClass,
    PeerAddr, Pool, PoolOptions, Protocol, REST, Transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::peers::{Guests, SOON};

struct Node {
    id: NodeId,
    transport: Arc<Memory>,
    pool: Pool,
    served: mpsc::Receiver<Conn>,
    scope: TaskScope,
}

impl Node {
    /// Joins a network and lets the pool have every connection that peers dial.
    fn join(net: &MemoryNet, id: u8) -> Self {
        Self::join_with(net, id, PoolOptions::default())
    }

    fn join_with(net: &MemoryNet, id: u8, options: PoolOptions) -> Self {
        let id = NodeId::from_bytes([id; 32]);
        let transport = Arc::new(net.join(id, &[Protocol::Mesh], Guests::everybody()));
        let scope = TaskScope::new();
        let options = PoolOptions { seed: u64::from(id.as_bytes()[0]), ..options };
        let dialler: Arc<dyn Transport> = Arc::<Memory>::clone(&transport);
        let (pool, served) = Pool::new(dialler, options, &scope);
        pool.adopt_accepted();
        Self { id, transport, pool, served, scope }
    }

    async fn conn(&self, to: &Self) -> Result<Conn, DialError> {
        self.pool.conn(&PeerAddr::new(to.id), SOON).await
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_together_share_one_connection() {
    let net = MemoryNet::new();
    let (a, mut b) = (Node::join(&net, 1), Node::join(&net, 2));
    let (one, two) = tokio::join!(a.conn(&b), a.conn(&b));
    assert!(one.as_ref().unwrap().is_same(two.as_ref().unwrap()));
    let three = a.conn(&b).await.unwrap();
    assert!(three.is_same(&one.unwrap()));
    assert_eq!(b.served.recv().await.unwrap().peer(), a.id);
    assert!(b.served.try_recv().is_err());
    // The other way it is the same connection, not a second one.
    assert!(b.conn(&a).await.unwrap().is_same(&b.pool.live(a.id).unwrap()));
    assert_eq!(a.pool.connected().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn both_ends_keep_the_same_one_of_two() {
    let net = MemoryNet::new();
    let (a, b) = (Node::join(&net, 1), Node::join(&net, 2));
    let (to_a, to_b) = (a.transport.place().peer_addr(), b.transport.place().peer_addr());
    // Each has dialled before it has seen the other's dial.
    let by_a = a.transport.dial(&to_b, Protocol::Mesh, SOON).await.unwrap();
    let by_b = b.transport.dial(&to_a, Protocol::Mesh, SOON).await.unwrap();
    tokio::join!(a.pool.adopt(by_a.clone()), b.pool.adopt(by_b.clone()));
    let mut stream = by_b.open(SOON).await.unwrap();
    stream.send.write_all(b"!").await.unwrap();
    tokio::time::sleep(Duration::from_millis(3500)).await;
    // Everything new goes over the one that the smaller id dialled, at both ends.
    let (at_a, at_b) = (a.conn(&b).await.unwrap(), b.conn(&a).await.unwrap());
    assert!(at_a.is_same(&by_a));
    let mut probe = at_a.open(SOON).await.unwrap();
    probe.send.write_all(b"?").await.unwrap();
    assert_eq!(at_b.accept().await.unwrap().recv.read_u8().await.unwrap(), b'?');
    // What was begun on the other one still works.
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(by_b.streams(), 1, "a connection with a stream is not closed");
    drop(stream);
    let why = by_b.closed().await;
    assert_eq!(
        why.to_string(),
        "the peer closed the connection: another connection between the two nodes is kept"
    );
    assert!(a.pool.live(b.id).unwrap().is_same(&by_a));
}

#[tokio::test(start_paused = true)]
async fn both_ends_keep_the_one_that_stays_on_this_machine() {
    for (near, far) in [(1, 2), (2, 1)] {
        let net = MemoryNet::new();
        let (a, b) = (Node::join(&net, near), Node::join(&net, far));
        let to_b = b.transport.place().peer_addr();
        let to_a = a.transport.place().peer_addr();
        let here = b.transport.dial(&to_a, Protocol::Mesh, SOON).await.unwrap();
        net.set_path(a.id, b.id, PathClass::Lan);
        let outside = a.transport.dial(&to_b, Protocol::Mesh, SOON).await.unwrap();
        tokio::join!(a.pool.adopt(outside), b.pool.adopt(here));
        for later in [1, 3500] {
            tokio::time::sleep(Duration::from_millis(later)).await;
            for (one, other) in [(&a, &b), (&b, &a)] {
                assert!(one.conn(other).await.unwrap().facts().same_host);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_was_killed_and_dials_at_once_is_not_given_the_dead_connection() {
    for (near, far) in [(1, 2), (2, 1)] {
        let net = MemoryNet::new();
        let (a, b) = (Node::join(&net, near), Node::join(&net, far));
        let (to_a, to_b) = (a.transport.place().peer_addr(), b.transport.place().peer_addr());
        let by_a = a.transport.dial(&to_b, Protocol::Mesh, SOON).await.unwrap();
        a.pool.adopt(by_a).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        // It was killed and started anew, and nobody here has noticed that the old one is dead.
        let anew = b.transport.dial(&to_a, Protocol::Mesh, SOON).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut stream = a.conn(&b).await.unwrap().open(SOON).await.unwrap();
        stream.send.write_all(b"!").await.unwrap();
        let heard = timeout(SOON, anew.accept()).await.expect("the new one is used").unwrap();
        assert_eq!({ heard }.recv.read_u8().await.unwrap(), b'!');
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_was_started_anew_replaces_its_old_connection() {
    let net = MemoryNet::new();
    let (a, b) = (Node::join(&net, 1), Node::join(&net, 2));
    let old = a.conn(&b).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    // It has forgotten us and dials; here nobody has noticed yet that the old one is dead.
    let theirs = b.transport.dial(&PeerAddr::new(a.id), Protocol::Mesh, SOON).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let ours = a.conn(&b).await.unwrap();
    assert!(old.is_open() && !ours.is_same(&old));
    let mut stream = ours.open(SOON).await.unwrap();
    stream.send.write_all(b"!").await.unwrap();
    assert_eq!(theirs.accept().await.unwrap().recv.read_u8().await.unwrap(), b'!');
    // The late news of the old one's end does not lose the new one.
    a.pool.ended(&old);
    assert!(a.pool.live(b.id).unwrap().is_same(&ours));
}

#[tokio::test(start_paused = true)]
async fn failures_hold_back_the_next_dial_and_say_why() {
    let net = MemoryNet::new();
    let (a, b) = (Node::join(&net, 1), Node::join(&net, 2));
    net.cut(a.id, b.id);
    assert!(matches!(a.conn(&b).await, Err(DialError::Silent { .. })));
    let held = a.conn(&b).await.unwrap_err();
    assert!(matches!(held, DialError::Waiting { .. }), "{held}");
    let why = a.pool.last_error(b.id).unwrap().to_string();
    assert!(why.contains("did not answer") && why.contains("static address"), "{why}");
    net.heal(a.id, b.id);
    a.pool.retry_now(b.id);
    drop(a.conn(&b).await.unwrap());
    assert!(a.pool.last_error(b.id).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_is_dialled_again() {
    let net = MemoryNet::new();
    let (a, b) = (Node::join(&net, 1), Node::join(&net, 2));
    let old = a.conn(&b).await.unwrap();
    net.cut(a.id, b.id);
    a.pool.ended(&old);
    net.heal(a.id, b.id);
    let new = a.conn(&b).await.unwrap();
    assert!(!new.is_same(&old));
    drop(new.open(SOON).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn quiet_connections_are_closed_and_forgotten_peers_too() {
    let net = MemoryNet::new();
    let (a, b) = (Node::join(&net, 1), Node::join(&net, 2));
    let quiet = a.conn(&b).await.unwrap();
    tokio::time::sleep(Duration::from_secs(62)).await;
    assert!(a.pool.live(b.id).is_none());
    drop(quiet.closed().await);
    let again = a.conn(&b).await.unwrap();
    a.pool.forget(b.id, CloseReason::NotAdmitted);
    assert_eq!(again.closed().await.to_string(), "the connection was closed here");
    assert!(a.pool.live(b.id).is_none());
    let scopes = [&a.scope, &b.scope];
    for scope in scopes {
        scope.shutdown(SOON).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_hundred_connections_of_one_peer_the_newest_is_used_and_few_are_kept() {
    let net = MemoryNet::new();
    let (mut a, b) = (Node::join(&net, 1), Node::join(&net, 2));
    let mut theirs = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..100 {
        let conn = b.transport.dial(&PeerAddr::new(a.id), Protocol::Mesh, SOON).await.unwrap();
        assert_eq!(a.served.recv().await.unwrap().peer(), b.id);
        // A stream keeps a connection that was replaced from being closed for being idle.
        streams.push(conn.open(SOON).await.unwrap());
        theirs.push(conn);
        // Each time it is the newest that is used, whatever becomes of the older ones.
        let mut ours = a.conn(&b).await.unwrap().open(SOON).await.unwrap();
        ours.send.write_all(b"!").await.unwrap();
        let mut heard = theirs.last().unwrap().accept().await.unwrap();
        assert_eq!(heard.recv.read_u8().await.unwrap(), b'!');
    }
    let open = theirs.iter().filter(|it| it.is_open()).count();
    assert_eq!(open, 5, "the newest, and four that still carry something");
    assert!(theirs[95..].iter().all(Conn::is_open));
    drop(streams);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(theirs.iter().filter(|it| it.is_open()).count(), 1);
    assert!(theirs[99].is_open() && a.pool.connected().len() == 1);
    a.scope.shutdown(SOON).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_the_quiet_connections_the_youngest_stay() {
    let net = MemoryNet::new();
    let a = Node::join_with(&net, 1, PoolOptions { idle_most: 2, ..PoolOptions::default() });
    let others = [2, 3, 4, 5].map(|it| Node::join(&net, it));
    let mut conns = Vec::new();
    for other in &others {
        conns.push(a.conn(other).await.unwrap());
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    let stream = conns[0].open(SOON).await.unwrap();
    timeout(SOON, conns[1].closed()).await.unwrap();
    let open: Vec<_> = conns.iter().map(Conn::is_open).collect();
    assert_eq!(open, [true, false, true, true], "the first is in use, the second is the oldest");
    drop(stream);
    timeout(SOON, conns[2].closed()).await.unwrap();
    assert!(conns[0].is_open() && conns[3].is_open(), "what was in use is younger now");
}

/// Answers whether a connection is used, and gives the first byte of every other stream.
fn answers(node: &mut Node) -> mpsc::UnboundedReceiver<u8> {
    let (told, heard) = mpsc::unbounded_channel();
    let mut served = std::mem::replace(&mut node.served, mpsc::channel(1).1);
    let (scope, pool) = (node.scope.clone(), node.pool.clone());
    node.scope.spawn("server", |_| async move {
        while let Some(conn) = served.recv().await {
            let (pool, told, streams) = (pool.clone(), told.clone(), scope.clone());
            scope.spawn("connection", |_| async move {
                while let Ok(stream) = conn.accept().await {
                    let (pool, told, conn) = (pool.clone(), told.clone(), conn.clone());
                    streams.spawn("stream", |_| async move {
                        let mut reader = FrameReader::new(stream.recv);
                        let Ok(Some(frame)) = reader.next().await else { return };
                        if frame.kind == REST {
                            let mut writer = FrameWriter::new(stream.send);
                            drop(pool.answer_rest(&conn, &mut writer).await);
                        } else {
                            told.send(frame.kind).unwrap();
                        }
                    });
                }
                pool.ended(&conn);
            });
        }
    });
    heard
}

#[tokio::test(start_paused = true)]
async fn what_one_end_has_begun_is_not_lost_when_the_other_one_lets_go() {
    let net = MemoryNet::new();
    let let_go = PoolOptions { idle_most: 0, ..PoolOptions::default() };
    let mut a = Node::join_with(&net, 1, let_go);
    let mut b = Node::join(&net, 2);
    let (mut heard, _by_b) = (answers(&mut a), answers(&mut b));
    let conn = b.conn(&a).await.unwrap();
    // A stream of which the other end learns with its first byte.
    let stream = conn.open(SOON).await.unwrap();
    assert!(timeout(SOON, conn.closed()).await.is_err(), "it is used here");
    let mut writer = FrameWriter::new(stream.send);
    writer.write(&Frame::new(7, Vec::new())).await.unwrap();
    writer.into_inner().finish().await.unwrap();
    assert_eq!(timeout(SOON, heard.recv()).await.unwrap(), Some(7));
    assert!(b.conn(&a).await.unwrap().is_same(&conn));
    // Now nobody uses it.
    let why = timeout(SOON, conn.closed()).await.unwrap();
    assert_eq!(why.to_string(), "the peer closed the connection: nothing more to do");
    assert!(!b.conn(&a).await.unwrap().is_same(&conn), "whoever comes later dials anew");
}
