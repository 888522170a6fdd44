//! What this cluster keeps on disk about members and functions, which the mesh does not know.

use std::collections::BTreeSet;

use sedge_base::{ContentId, NodeId, Timestamp};
use sedge_capability::{Failure, Name};
use sedge_node::Node;
use sedge_store::StoredPlan;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::failure::{unreadable, unwritten};
use crate::function::EdgeLimits;
use crate::node::EdgeNodeStatus;

/// One member, as it was registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NodeRecord {
    /// The member.
    pub(crate) member: NodeId,
    /// Its id in this cluster.
    pub(crate) id: String,
    /// Its name, for people.
    pub(crate) name: String,
    /// Where it stands.
    pub(crate) location: String,
    /// What else was said about it.
    pub(crate) metadata: Map<String, Value>,
    /// The most functions that this cluster puts there.
    pub(crate) max_functions: u32,
    /// How somebody marked it; counts while it is there.
    pub(crate) mark: Option<EdgeNodeStatus>,
    /// Whether it was taken out of the cluster, though it is a member still.
    pub(crate) left: bool,
    /// Since when it is registered: the first comes first.
    pub(crate) since: Timestamp,
}

/// One function that was brought to nodes by this cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FunctionRecord {
    /// Its id.
    pub(crate) id: Name,
    /// The component, which this node keeps.
    pub(crate) content: ContentId,
    /// How it runs.
    pub(crate) limits: EdgeLimits,
    /// Where it was brought to, so that it can be brought elsewhere when such a node is lost.
    pub(crate) placed: BTreeSet<NodeId>,
}

/// A sort of record.
pub(crate) trait Kept: Serialize + DeserializeOwned {
    /// How the store calls it.
    const KIND: &'static str;

    /// Returns its id among those of its sort.
    fn key(&self) -> String;
}

impl Kept for NodeRecord {
    const KIND: &'static str = "edge_node";

    fn key(&self) -> String {
        self.member.to_string()
    }
}

impl Kept for FunctionRecord {
    const KIND: &'static str = "edge_function";

    fn key(&self) -> String {
        self.id.to_string()
    }
}

/// Returns every record of a sort.
pub(crate) async fn all<T: Kept>(node: &Node) -> Result<Vec<T>, Failure> {
    let stored = node.store().plans().list(T::KIND).await.map_err(unreadable)?;
    stored.iter().map(|it| serde_json::from_str(&it.json).map_err(unreadable)).collect()
}

/// Puts a record in place of the one of the same id; on disk by then.
pub(crate) async fn put<T: Kept>(node: &Node, record: &T) -> Result<(), Failure> {
    let stored = StoredPlan {
        kind: T::KIND.to_owned(),
        id: record.key(),
        at: node.clock().now(),
        json: serde_json::to_string(record).map_err(unreadable)?,
    };
    let put = node.store().plans().put(vec![stored]).await;
    put.map_err(|it| unwritten(it.kind(), it))
}

/// Forgets a record.
pub(crate) async fn forget<T: Kept>(node: &Node, key: &str) -> Result<bool, Failure> {
    node.store().plans().remove(T::KIND, key).await.map_err(unreadable)
}
