//! Much at once does not go through a relay, unless the configuration says so.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use sedge_base::{ArtifactId, ErrorKind};
use sedge_capability::{Budgets, Failure, Media};
use sedge_net::MemoryNet;
use sedge_node::{
    Ask, Config, Deploy, DeployOptions, Home, Keep, Node, PathClass, Presence, Progress,
    StartOptions, Target, Whereabouts, World,
};
use tempfile::TempDir;
use tokio::sync::watch;

const UPPER: &[u8] = include_bytes!("../../../../functions/upper.wasm");
const MIB: usize = 1 << 20;

async fn node(net: &MemoryNet, name: &str, homes: &TempDir, config: &str) -> Arc<Node> {
    let home = Home::open(&homes.path().join(name)).unwrap();
    let config = Config::parse(config, "the test's").unwrap();
    let world = World { network: Some(Arc::new(net.clone())), ..World::default() };
    let name = Some(name.to_owned());
    let options = StartOptions { name, no_model: true, world, ..StartOptions::default() };
    Node::start(home, config, options).await.unwrap()
}

/// Two members of a swarm with a relay between them.
async fn two(config: &str) -> (MemoryNet, [Arc<Node>; 2], TempDir) {
    let (net, homes) = (MemoryNet::new(), tempfile::tempdir().unwrap());
    let one = node(&net, "one", &homes, config).await;
    let two = node(&net, "two", &homes, "").await;
    net.set_path(one.id(), two.id(), PathClass::Relayed);
    let code = one.invite(Duration::from_secs(60)).await.unwrap().code;
    let at = Some(one.id().to_string());
    let joined = two.join(&code, Whereabouts { at, relay: None }).await;
    assert!(joined.is_ok(), "{joined:?}");
    until(|| [&one, &two].iter().all(|it| sees_all(it))).await;
    (net, [one, two], homes)
}

fn sees_all(node: &Node) -> bool {
    let nodes = node.nodes();
    nodes.len() == 2 && nodes.iter().all(|it| it.status == Presence::Online)
}

async fn until(mut holds: impl FnMut() -> bool) {
    let mut every = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..3000 {
        if holds() {
            return;
        }
        every.tick().await;
    }
    panic!("it never came true");
}

async fn put(on: &Node, size: usize) -> ArtifactId {
    let bytes: Vec<u8> = (0..size).map(|it| (it / 7 % 251) as u8).collect();
    let pieces: Vec<Result<Bytes, std::io::Error>> =
        bytes.chunks(1 << 16).map(|it| Ok(Bytes::copy_from_slice(it))).collect();
    on.put_artifact(None, stream::iter(pieces)).await.unwrap().id
}

async fn fetch(to: &Arc<Node>, id: ArtifactId) -> Result<u64, Failure> {
    let progress = watch::Sender::new(Progress::default());
    to.fetch_artifact(id, Keep::WhileThereIsRoom, &progress).await.map(|it| it.received)
}

async fn call(on: &Arc<Node>, size: usize) -> Result<usize, Failure> {
    let ask = Ask {
        capability: "upper".parse().unwrap(),
        kind: None,
        input: vec![b'a'; size].into(),
        media: Media::Plain,
        budgets: Budgets::default(),
        on: None,
        pass: None,
    };
    let (output, end) = on.run(ask).await?.outcome.collect().await;
    end.failure.map_or(Ok(output.len()), Err)
}

async fn deploy(from: &Arc<Node>, wasm: Bytes) -> Option<Failure> {
    let name = "upper".parse().unwrap();
    let target = Target::Node("two".to_owned());
    let deploy = Deploy { name, wasm, target, options: DeployOptions::default() };
    from.deploy(deploy).await.unwrap().remove(0).failure
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_is_refused_through_a_relay_and_goes_on_when_there_is_a_direct_path() {
    let (net, [one, two], _homes) = two("").await;
    assert!(deploy(&one, UPPER.into()).await.is_none(), "what is small may");
    let (small, large) = (put(&two, MIB).await, put(&two, 5 * MIB).await);
    assert_eq!(fetch(&one, small).await.unwrap(), MIB as u64);
    let refused = fetch(&one, large).await.unwrap_err();
    assert_eq!((refused.kind, &*refused.code), (ErrorKind::Unavailable, "bulk_over_relay"));
    assert!(refused.message.contains("relay") && refused.message.contains("two"), "{refused}");

    assert_eq!(call(&one, 1000).await.unwrap(), 1000);
    let why = one.decision(None).await.unwrap().words;
    assert!(why.contains("path relayed"), "{why}");
    let refused = call(&one, 2 * MIB).await.unwrap_err();
    assert_eq!(&*refused.code, "bulk_over_relay", "{refused}");
    let why = one.decision(None).await.unwrap().words;
    assert!(why.contains("two: reached through a relay only"), "{why}");
    let padded = [UPPER, &custom_section(2 * MIB)].concat();
    let refused = deploy(&one, padded.clone().into()).await.unwrap();
    assert_eq!(&*refused.code, "bulk_over_relay", "{refused}");

    // A direct path comes up while somebody waits: the transfer goes on by itself.
    let (ids, progress) = ([one.id(), two.id()], watch::Sender::new(Progress::default()));
    let mut told = progress.subscribe();
    let waiting = one.fetch_artifact(large, Keep::WhileThereIsRoom, &progress);
    let (fetched, ()) = tokio::join!(waiting, async {
        // Who has it is known by then, and nothing may be drawn yet.
        told.changed().await.unwrap();
        net.set_path(ids[0], ids[1], PathClass::Direct);
    });
    assert!(fetched.unwrap().received > 4 * MIB as u64);
    assert_eq!(call(&one, 2 * MIB).await.unwrap(), 2 * MIB);
    let why = one.decision(None).await.unwrap().words;
    assert!(why.contains("path direct"), "{why}");
    assert!(deploy(&one, padded.into()).await.is_none());
    for node in [one, two] {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_goes_through_a_relay_where_the_owner_allows_it() {
    let (_net, [one, two], _homes) = two("[mesh]\nbulk_over_relay = true\n").await;
    let large = put(&two, 5 * MIB).await;
    assert_eq!(fetch(&one, large).await.unwrap(), 5 * MIB as u64);
    // The other one's owner did not.
    let large = put(&one, 6 * MIB).await;
    assert_eq!(&*fetch(&two, large).await.unwrap_err().code, "bulk_over_relay");
    for node in [one, two] {
        node.shutdown().await;
    }
}

/// A section of a component that means nothing and makes it longer.
fn custom_section(size: usize) -> Vec<u8> {
    let mut length = Vec::new();
    let mut rest = size + 2;
    loop {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            length.push(low);
            break;
        }
        length.push(low | 0x80);
    }
    let mut section = vec![0];
    section.extend(length);
    section.extend([1, b'x']);
    section.extend(vec![0; size]);
    section
}
