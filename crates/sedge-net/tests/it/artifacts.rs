//! Artifacts between nodes: whole, cut, lied about.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use sedge_base::{ArtifactId, NodeId};
use sedge_net::artifact::{
    ASK, ArtifactFiles, Ask, Drawn, Fetch, GROUP, Holder, HolderError, Progress, PullError, Remote,
    Server, Shelf, Shelved, check, plant, probe,
};
use sedge_net::{Conn, FrameReader, FrameWriter, MemoryNet, Protocol};
use tokio::sync::{mpsc, watch};

use crate::peers::{Guests, connect};

fn files() -> ArtifactFiles {
    ArtifactFiles { data: tempfile::tempfile().unwrap(), tree: tempfile::tempfile().unwrap() }
}

/// Bytes that are alike nowhere.
fn content(size: u64) -> Vec<u8> {
    let words =
        (0..size.div_ceil(8)).flat_map(|it| it.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    words.take(usize::try_from(size).unwrap()).collect()
}

fn planted(bytes: &[u8]) -> (ArtifactId, ArtifactFiles) {
    let mut files = files();
    files.data.write_all(bytes).unwrap();
    (plant(&files, bytes.len() as u64).unwrap(), files)
}

fn whole(file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut from = file;
    std::io::Seek::rewind(&mut from).unwrap();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

/// A shelf in this test, whose artifacts are in files without names.
#[derive(Debug, Default)]
struct ShelfOfTest(BTreeMap<ArtifactId, (u64, ArtifactFiles)>);

impl ShelfOfTest {
    fn with(bytes: &[u8]) -> (ArtifactId, Arc<Self>) {
        let (id, files) = planted(bytes);
        (id, Arc::new(Self(BTreeMap::from([(id, (bytes.len() as u64, files))]))))
    }
}

#[async_trait]
impl Shelf for ShelfOfTest {
    async fn size(&self, id: ArtifactId) -> Option<u64> {
        self.0.get(&id).map(|(size, _)| *size)
    }

    async fn open(&self, id: ArtifactId) -> Option<Shelved> {
        let (size, files) = self.0.get(&id)?;
        let [data, tree] = [&files.data, &files.tree].map(|it| it.try_clone().unwrap());
        Some(Shelved { size: *size, files: ArtifactFiles { data, tree } })
    }
}

/// What a holder of this test does to the verified stream.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// Nothing.
    Honest,
    /// Changes a bit behind so many bytes.
    Lie(usize),
    /// Breaks off behind so many bytes.
    Break(usize),
    /// Says that the artifact is this large.
    Claim(u64),
}

/// A holder in this test, without a network.
#[derive(Debug)]
struct HolderOfTest(u8, Arc<ShelfOfTest>, Deed);

#[async_trait]
impl Holder for HolderOfTest {
    fn node(&self) -> NodeId {
        NodeId::from_bytes([self.0; 32])
    }

    async fn size(&self, id: ArtifactId) -> Result<Option<u64>, HolderError> {
        let size = self.1.size(id).await;
        Ok(match self.2 {
            Deed::Claim(claimed) => size.map(|_| claimed),
            _ => size,
        })
    }

    async fn give(
        &self,
        id: ArtifactId,
        range: Range<u64>,
        to: mpsc::Sender<Bytes>,
    ) -> Result<(), HolderError> {
        let Some(size) = self.1.size(id).await else { return Err(HolderError::NotThere) };
        let range = range.start..range.end.min(size);
        let mut writer = FrameWriter::new(Vec::new());
        let ask = Ask { id, bytes: Some(range) };
        let shelf: Arc<dyn Shelf> = Arc::<ShelfOfTest>::clone(&self.1);
        Server::new(shelf).answer(ask, &mut writer).await.unwrap();
        let answer = writer.into_inner();
        let mut reader = FrameReader::new(answer.as_slice());
        let mut stream = BytesMut::new();
        while let Some(frame) = reader.next().await.unwrap() {
            // The first frame is the head.
            if frame.kind == ASK + 2 {
                stream.extend_from_slice(&frame.payload);
            }
        }
        match self.2 {
            Deed::Lie(at) if at < stream.len() => stream[at] ^= 1,
            Deed::Break(at) => stream.truncate(at),
            Deed::Honest | Deed::Lie(_) | Deed::Claim(_) => {}
        }
        for piece in stream.chunks(10_000) {
            if to.send(Bytes::copy_from_slice(piece)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Answers asks on a connection until it ends.
async fn serve(server: Arc<Server>, conn: Conn) {
    while let Ok(stream) = conn.accept().await {
        let mut reader = FrameReader::new(stream.recv);
        let mut writer = FrameWriter::new(stream.send);
        let frame = reader.next().await.unwrap().unwrap();
        assert_eq!(frame.kind, ASK);
        if server.answer(frame.parse().unwrap(), &mut writer).await.is_ok() {
            drop(writer.into_inner().finish().await);
        }
    }
}

/// A holder behind a connection, and the server that answers there.
async fn remote(shelf: Arc<dyn Shelf>) -> (Remote, Arc<Server>) {
    let net = MemoryNet::new();
    let [a, b] = [1, 2].map(|it| NodeId::from_bytes([it; 32]));
    let at_a = net.join(a, &[Protocol::Mesh], Guests::everybody());
    let at_b = net.join(b, &[Protocol::Mesh], Guests::everybody());
    let (near, far) = connect(&at_a, &at_b).await;
    let server = Arc::new(Server::new(shelf));
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    drop(tokio::spawn({
        let server = Arc::clone(&server);
        async move {
            // Both ends stay as long as somebody asks.
            let _ends = (at_a, at_b);
            serve(server, far).await;
        }
    }));
    (Remote::new(near), server)
}

async fn begin(id: ArtifactId, size: u64) -> Fetch {
    let files = files();
    files.data.set_len(size).unwrap();
    Fetch::open(id, size, files, watch::Sender::new(Progress::default())).await.unwrap()
}

/// What every holder keeps to.
async fn check_holder(holder: &dyn Holder, id: ArtifactId, bytes: &[u8]) {
    let size = bytes.len() as u64;
    let unknown = ArtifactId::from_bytes([9; 32]);
    assert_eq!(holder.size(id).await.unwrap(), Some(size));
    assert_eq!(holder.size(unknown).await.unwrap(), None);
    let (sender, _receiver) = mpsc::channel(1);
    let refused = holder.give(unknown, 0..GROUP, sender).await;
    assert!(matches!(refused, Err(HolderError::NotThere)), "{refused:?}");
    // Nobody reads: it does not wait.
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    assert!(holder.give(id, 0..size, sender).await.is_ok());
    let probed = probe(holder, id, size).await.unwrap();
    assert_eq!(probed.size(), size);
}

#[tokio::test]
async fn every_holder_keeps_the_contract() {
    let bytes = content(100_000);
    let (id, shelf) = ShelfOfTest::with(&bytes);
    check_holder(&HolderOfTest(1, Arc::clone(&shelf), Deed::Honest), id, &bytes).await;
    let (far, server) = remote(shelf).await;
    check_holder(&far, id, &bytes).await;
    assert!(server.served() > 0);
}

#[tokio::test]
async fn an_artifact_of_any_size_arrives_as_it_is() {
    for size in [1, GROUP - 1, GROUP, GROUP + 1, 2 * GROUP, 3_000_000] {
        let bytes = content(size);
        let (id, shelf) = ShelfOfTest::with(&bytes);
        let (far, server) = remote(shelf).await;
        let probed = probe(&far, id, size).await.unwrap();
        let before = server.served();
        let files = files();
        files.data.set_len(size).unwrap();
        probed.store(&files).unwrap();
        let (progress, told) = watch::channel(Progress::default());
        let mut fetch = Fetch::open(id, size, files, progress).await.unwrap();
        let here = fetch.here();
        assert_eq!(here, before, "{size}: the last group came once");
        let holders: [Arc<dyn Holder>; 1] = [Arc::new(far)];
        drop(fetch.draw(&holders).await);
        assert!(fetch.is_whole(), "{size}");
        assert_eq!(server.served(), size, "no byte twice");
        assert_eq!(*told.borrow(), Progress { here: size, size });
        assert!(whole(&fetch.files().data) == bytes, "{size}");
        // Whoever fetched it can give it.
        let [data, tree] =
            [&fetch.files().data, &fetch.files().tree].map(|it| it.try_clone().unwrap());
        let holds = check(&ArtifactFiles { data, tree }, id, size).unwrap();
        assert_eq!(holds.prefix, size);
    }
}

#[tokio::test]
async fn a_lie_is_noticed_at_its_group_and_the_next_holder_goes_on() {
    let size = 40 * GROUP + 5;
    let bytes = content(size);
    let (id, shelf) = ShelfOfTest::with(&bytes);
    let lie = 20 * usize::try_from(GROUP).unwrap();
    let liar = HolderOfTest(1, Arc::clone(&shelf), Deed::Lie(lie));
    let honest = HolderOfTest(2, shelf, Deed::Honest);
    let mut fetch = begin(id, size).await;
    let drawn = fetch.draw(&[Arc::new(liar)]).await;
    let [Drawn { bytes: right, fault: Some(PullError::Wrong { at }), .. }] = drawn.as_slice()
    else {
        panic!("{drawn:?}");
    };
    assert_eq!(right, at);
    assert_eq!(at % GROUP, 0);
    assert!((18 * GROUP..=20 * GROUP).contains(at), "{at}");
    let kept = whole(&fetch.files().data);
    let at = usize::try_from(*at).unwrap();
    assert!(kept[..at] == bytes[..at], "what was right stays");
    assert!(kept[at..].iter().all(|it| *it == 0), "nothing of the lie stays");

    let drawn = fetch.draw(&[Arc::new(honest)]).await;
    assert_eq!(drawn[0].bytes, size - at as u64);
    assert!(fetch.is_whole() && whole(&fetch.files().data) == bytes);
}

#[tokio::test]
async fn a_lie_about_a_hash_or_the_size_is_noticed_too() {
    let size = 40 * GROUP + 5;
    let bytes = content(size);
    let (id, shelf) = ShelfOfTest::with(&bytes);
    let liar = HolderOfTest(1, Arc::clone(&shelf), Deed::Lie(3));
    let fault = probe(&liar, id, size).await.unwrap_err();
    assert!(matches!(fault, PullError::Wrong { .. }), "{fault:?}");
    for claimed in [1, size - 1, size + 1, size + GROUP, 2 * size, 1 << 50] {
        let liar = HolderOfTest(1, Arc::clone(&shelf), Deed::Claim(claimed));
        let claimed = liar.size(id).await.unwrap().unwrap();
        let fault = probe(&liar, id, claimed).await;
        assert!(fault.is_err(), "{claimed}: {fault:?}");
    }
}

#[tokio::test]
async fn after_a_cut_only_what_is_missing_is_asked_for() {
    let size = 64 * GROUP;
    let bytes = content(size);
    let (id, shelf) = ShelfOfTest::with(&bytes);
    let cut = HolderOfTest(1, Arc::clone(&shelf), Deed::Break(600_000));
    let mut fetch = begin(id, size).await;
    let drawn = fetch.draw(&[Arc::new(cut)]).await;
    assert!(matches!(drawn[0].fault, Some(PullError::Cut { .. })), "{drawn:?}");
    let first = drawn[0].bytes;
    assert!(first > 0 && first < size && first % GROUP == 0, "{first}");

    // The program was started anew: nothing but the two files is known.
    let [data, tree] = [&fetch.files().data, &fetch.files().tree].map(|it| it.try_clone().unwrap());
    drop(fetch);
    let progress = watch::Sender::new(Progress::default());
    let again = ArtifactFiles { data, tree };
    let mut fetch = Fetch::open(id, size, again, progress).await.unwrap();
    assert_eq!(fetch.here(), first);
    let (far, server) = remote(shelf).await;
    drop(fetch.draw(&[Arc::new(far)]).await);
    assert_eq!(server.served(), size - first);
    assert!(fetch.is_whole() && whole(&fetch.files().data) == bytes);
}

#[tokio::test]
async fn damage_on_the_own_disk_is_fetched_again() {
    let size = 10 * GROUP;
    let bytes = content(size);
    let (id, shelf) = ShelfOfTest::with(&bytes);
    let mut fetch = begin(id, size).await;
    drop(fetch.draw(&[Arc::new(HolderOfTest(1, Arc::clone(&shelf), Deed::Honest))]).await);
    fetch.files().data.write_all_at(b"!", 4 * GROUP + 7).unwrap();
    let [data, tree] = [&fetch.files().data, &fetch.files().tree].map(|it| it.try_clone().unwrap());
    let progress = watch::Sender::new(Progress::default());
    let files = ArtifactFiles { data, tree };
    let mut fetch = Fetch::open(id, size, files, progress).await.unwrap();
    assert_eq!(fetch.here(), 5 * GROUP, "four before it, and the last");
    drop(fetch.draw(&[Arc::new(HolderOfTest(1, shelf, Deed::Honest))]).await);
    assert!(fetch.is_whole() && whole(&fetch.files().data) == bytes);
}

#[tokio::test]
async fn a_holder_does_not_give_what_is_damaged_on_its_disk() {
    let size = 10 * GROUP;
    let (id, files) = planted(&content(size));
    files.data.write_all_at(b"!", 4 * GROUP + 7).unwrap();
    let shelf = Arc::new(ShelfOfTest(BTreeMap::from([(id, (size, files))])));
    let (far, _) = remote(shelf).await;
    let mut fetch = begin(id, size).await;
    let drawn = fetch.draw(&[Arc::new(far)]).await;
    assert!(!matches!(drawn[0].fault, None | Some(PullError::Wrong { .. })), "{drawn:?}");
    assert!(fetch.here() <= 4 * GROUP);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_is_never_kept(stream in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60_000), size in 1_u64..200_000) {
        /// Gives whatever the test made up.
        #[derive(Debug)]
        struct GarbageOfTest(Vec<u8>);

        #[async_trait]
        impl Holder for GarbageOfTest {
            fn node(&self) -> NodeId {
                NodeId::from_bytes([1; 32])
            }

            async fn size(&self, _: ArtifactId) -> Result<Option<u64>, HolderError> {
                Ok(None)
            }

            async fn give(&self, _: ArtifactId, _: Range<u64>, to: mpsc::Sender<Bytes>) -> Result<(), HolderError> {
                drop(to.send(Bytes::copy_from_slice(&self.0)).await);
                Ok(())
            }
        }

        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let id = ArtifactId::from_bytes([7; 32]);
            let holder = GarbageOfTest(stream);
            assert!(probe(&holder, id, size).await.is_err());
            let mut fetch = begin(id, size).await;
            let drawn = fetch.draw(&[Arc::new(holder)]).await;
            assert!(drawn[0].fault.is_some() && fetch.here() == 0);
            assert!(whole(&fetch.files().data).iter().all(|it| *it == 0));
        });
    }
}
