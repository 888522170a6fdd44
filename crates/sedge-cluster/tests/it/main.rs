//! The cluster over a real node, through Rust.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::ErrorKind;
use sedge_cluster::{
    EdgeCluster, EdgeFunction, EdgeNode, EdgeNodeStatus, InvocationRecord, InvokeError,
    RegisterError,
};
use sedge_node::{Config, Home, Node, StartOptions};
use serde_json::json;

const UPPER: &[u8] = include_bytes!("../../../../functions/upper.wasm");

/// Starts a node in a folder, or starts it again.
async fn start(folder: &Path) -> Arc<Node> {
    let home = Home::open(&folder.join("home")).unwrap();
    let config = Config::parse("[node]\nlisten = \"127.0.0.1:0\"\n", "test").unwrap();
    let name = Some("edge-1".to_owned());
    let options = StartOptions { name, no_model: true, ..StartOptions::default() };
    Node::start(home, config, options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_example_in_rust() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(folder.path()).await;
    let cluster = EdgeCluster::over(Arc::clone(&node));
    let sensor =
        EdgeNode { location: "factory-a".to_owned(), ..EdgeNode::new("edge-1", "factory-sensor") };
    let known = cluster.register_node(sensor).await.unwrap();
    assert_eq!((known.name.as_str(), known.status), ("factory-sensor", EdgeNodeStatus::Online));
    let stranger = cluster.register_node(EdgeNode::new("edge-2", "nobody")).await.unwrap_err();
    assert_eq!(stranger, RegisterError::UnknownMember { id: "edge-2".to_owned() });

    let function = EdgeFunction::new("fn-1".parse().unwrap(), UPPER);
    let spread = cluster.deploy_to_all(&function).await.unwrap();
    assert_eq!((spread.count, spread.nodes[0].done), (1, true));
    let runtime = cluster.get_runtime("edge-1").await.unwrap().unwrap();
    let invoked = runtime.invoke("fn-1", "loud".into()).await.unwrap();
    assert_eq!((&*invoked.output, invoked.usage.cold), (b"LOUD".as_slice(), Some(true)));
    let missing = runtime.invoke("fn-9", "x".into()).await.unwrap_err();
    assert_eq!(missing, InvokeError::NotFound { id: "fn-9".to_owned() });
    assert!(cluster.get_runtime("edge-9").await.unwrap().is_none());
    assert!(runtime.is_warm(&function.id).await.unwrap());
    assert_eq!((runtime.function_count(), runtime.total_invocations().await.unwrap()), (1, 1));

    let record = InvocationRecord::new(("fn-1", "edge-1"), 15.2, true, cluster.now());
    cluster.metrics().record(&record);
    assert_eq!(cluster.metrics().summary().total, 2);
    assert_eq!(
        (cluster.node_count().await.unwrap(), cluster.online_count().await.unwrap()),
        (1, 1)
    );
    assert!(cluster.detect_stale_nodes(Duration::from_secs(60)).await.unwrap().is_empty());
    assert!(runtime.undeploy(&function.id).await.unwrap());
    assert!(!runtime.undeploy(&function.id).await.unwrap());
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_092_the_least_used_value_goes_and_the_cache_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3600);
    let node = start(folder.path()).await;
    let cluster = EdgeCluster::with_cache(Arc::clone(&node), 2, hour);
    for key in ["a", "b"] {
        cluster.cache_value(key, json!({ "of": key }), None).await.unwrap();
    }
    assert!(cluster.cache().await.unwrap().get("a").is_some());
    cluster.cache_value("c", json!(3), None).await.unwrap();
    assert!(cluster.cache().await.unwrap().get("b").is_none(), "the least used");
    let long = "k".repeat(257);
    let refused = cluster.cache_value(&long, json!(1), None).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid);
    node.shutdown().await;
    drop((cluster, node));

    let node = start(folder.path()).await;
    let cluster = EdgeCluster::with_cache(Arc::clone(&node), 2, hour);
    let kept = |key: &'static str| {
        let cluster = cluster.clone();
        async move { cluster.cache().await.unwrap().get(key).cloned() }
    };
    assert_eq!((kept("a").await, kept("b").await), (Some(json!({ "of": "a" })), None));
    assert_eq!(kept("c").await, Some(json!(3)));
    assert!(cluster.uncache("a").await.unwrap());
    assert_eq!(cluster.clear_cache().await.unwrap(), 1);
    node.shutdown().await;
}
