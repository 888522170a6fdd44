//! Replicas for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sedge_base::{Clock, NodeId, SwarmId, TaskScope, Timestamp};
use sedge_net::{Admission, Conn, FrameReader, FrameWriter, MemoryNet, Protocol, Transport};
use sedge_store::Store;
use sedge_sync::{ASK, Ask, Entry, Fact, Put, Replica, Roll, Seen, Space, State, Value};
use sedge_trust::{Identity, SessionPublicKey};
use tempfile::TempDir;

/// Long enough for a busy machine; nothing waits that long when it works.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// When the tests' clocks start.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_795_225_335_000);

pub(crate) fn identity(seed: u8) -> Identity {
    Identity::from_bytes(&[seed; 64])
}

/// A test's roster: until when each wrote, and its public key for sessions.
#[derive(Debug)]
pub(crate) struct TestRoll {
    pub(crate) swarm: Mutex<SwarmId>,
    pub(crate) members: Mutex<BTreeMap<NodeId, (Timestamp, SessionPublicKey)>>,
}

impl TestRoll {
    /// A swarm of those with these seeds.
    pub(crate) fn of(seeds: &[u8]) -> Arc<Self> {
        let forever = Timestamp::from_millis(u64::MAX);
        let members = seeds.iter().map(|it| identity(*it));
        let members = members.map(|it| (it.node_id(), (forever, it.session_public_key())));
        Arc::new(Self {
            swarm: Mutex::new(SwarmId::of_key(&[1; 32])),
            members: Mutex::new(members.collect()),
        })
    }
}

impl Roll for TestRoll {
    fn swarm(&self) -> SwarmId {
        *self.swarm.lock().unwrap()
    }

    fn wrote_until(&self, node: &NodeId) -> Option<Timestamp> {
        self.members.lock().unwrap().get(node).map(|it| it.0)
    }

    fn session_key(&self, node: &NodeId) -> Option<SessionPublicKey> {
        self.members.lock().unwrap().get(node).map(|it| it.1)
    }
}

/// Admits whoever comes: who may write is not the connection's matter.
#[derive(Debug)]
pub(crate) struct Everybody;

impl Admission for Everybody {
    fn admits(&self, _: NodeId, _: Protocol) -> bool {
        true
    }
}

/// A replica with a disk and a clock of its own.
pub(crate) struct Peer {
    pub(crate) replica: Arc<Replica>,
    pub(crate) identity: Identity,
    pub(crate) clock: Clock,
    pub(crate) roll: Arc<TestRoll>,
    pub(crate) store: Store,
    pub(crate) dir: TempDir,
}

impl Peer {
    pub(crate) async fn new(seed: u8, roll: &Arc<TestRoll>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::on(dir, seed, roll, Clock::manual(START)).await
    }

    async fn on(dir: TempDir, seed: u8, roll: &Arc<TestRoll>, clock: Clock) -> Self {
        let store = Store::open(&dir.path().join("sedge.db")).await.unwrap();
        let (identity, roll) = (identity(seed), Arc::clone(roll));
        let known = Arc::clone(&roll) as Arc<dyn Roll>;
        let replica = Replica::open(store.clone(), identity.clone(), clock.clone(), known).await;
        Self { replica: Arc::new(replica.unwrap()), identity, clock, roll, store, dir }
    }

    /// Ends it and starts it again on the same disk.
    pub(crate) async fn restart(self, seed: u8) -> Self {
        let Self { replica, store, dir, roll, clock, .. } = self;
        drop(replica);
        store.close().await.unwrap();
        drop(store);
        Self::on(dir, seed, &roll, clock).await
    }

    pub(crate) fn id(&self) -> NodeId {
        self.identity.node_id()
    }

    pub(crate) async fn put(&self, key: &str, text: &str) -> Seen {
        self.put_in(&Space::Open, key, text).await
    }

    pub(crate) async fn put_in(&self, space: &Space, key: &str, text: &str) -> Seen {
        let value = Put::Value(Value::Text(text.to_owned()));
        self.replica.put(space, "lamp", key, value).await.unwrap()
    }

    /// What stands under the soul `lamp` in the open, in words.
    pub(crate) async fn sees(&self) -> String {
        self.sees_in(&Space::Open).await
    }

    pub(crate) async fn sees_in(&self, space: &Space) -> String {
        let seen = self.replica.get(space, "lamp", None).await.unwrap();
        let word = |it: &Seen| match it.readable {
            true => format!("{}={}", it.key, it.value.text().trim_matches('"')),
            false => format!("{}=sealed", it.key),
        };
        seen.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    /// Signs something that no replica would write by itself.
    pub(crate) fn signed(&self, key: &str, text: &str, state: State) -> Entry {
        let fact = Fact {
            swarm: self.roll.swarm(),
            space: Space::Open,
            soul: "lamp".to_owned(),
            key: key.to_owned(),
            value: Value::Text(text.to_owned()),
            state,
            author: self.id(),
        };
        fact.sign(&self.identity).unwrap()
    }
}

/// Answers what the other side asks, until the connection ends.
pub(crate) fn serve(scope: &TaskScope, replica: &Arc<Replica>, conn: Conn) {
    let (replica, inner) = (Arc::clone(replica), scope.clone());
    scope.spawn("server", async move |cancel| {
        loop {
            let stream = tokio::select! {
                () = cancel.cancelled() => return,
                it = conn.accept() => it,
            };
            let Ok(stream) = stream else { return };
            let (replica, peer) = (Arc::clone(&replica), conn.peer());
            inner.spawn("answer", async move |_| {
                let (mut reader, mut writer) =
                    (FrameReader::new(stream.recv), FrameWriter::new(stream.send));
                let frame = reader.next().await.unwrap().unwrap();
                assert_eq!(frame.kind, ASK);
                let ask: Ask = frame.parse().unwrap();
                drop(replica.answer(peer, ask, (&mut reader, &mut writer)).await);
                drop(writer.into_inner().finish().await);
            });
        }
    });
}

/// Connects two replicas in memory; the first one's end is returned, the other one's is served.
pub(crate) async fn meet(scope: &TaskScope, one: &Peer, other: &Peer) -> Conn {
    let net = MemoryNet::new();
    let near = net.join(one.id(), &[Protocol::Mesh], Arc::new(Everybody));
    let far = net.join(other.id(), &[Protocol::Mesh], Arc::new(Everybody));
    let to = far.place().peer_addr();
    let (dialled, accepted) = tokio::join!(near.dial(&to, Protocol::Mesh, SOON), far.accept());
    serve(scope, &other.replica, accepted.unwrap());
    // The ends live as long as the connection: the scope holds them.
    scope.spawn("ends", async move |cancel| {
        cancel.cancelled().await;
        drop((net, near, far));
    });
    dialled.unwrap()
}

/// Lets each bring what the other has.
pub(crate) async fn exchange(scope: &TaskScope, one: &Peer, other: &Peer) {
    for (asker, holder) in [(one, other), (other, one)] {
        let conn = meet(scope, asker, holder).await;
        asker.replica.pull(&conn).await.unwrap();
    }
}
