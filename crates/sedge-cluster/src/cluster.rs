//! The machines of the swarm as a cluster (seed 000, `EdgeCluster`).

mod heal;
mod place;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sedge_base::{ErrorKind, NodeId, Timestamp};
use sedge_capability::{Failure, Name};
use sedge_node::{Node, NodeView};
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use crate::cache::{self, EdgeCache};
use crate::failure::unreadable;
use crate::metrics::EdgeMetrics;
use crate::monitor::HealthMonitor;
use crate::node::{EdgeNode, EdgeNodeStatus};
use crate::record::{self, NodeRecord};
use crate::runtime::EdgeRuntime;

pub use heal::Healed;
pub(crate) use place::useless;
pub use place::{Landed, Spread};

/// The longest id or name of a node, in bytes.
const MAX_NAME: usize = 128;

/// The longest place of a node, in bytes.
const MAX_LOCATION: usize = 256;

/// The most metadata of a node, in bytes of JSON.
const MAX_METADATA: usize = 16 * 1024;

/// The most functions that a node may be registered with.
const MAX_FUNCTIONS: u32 = 10_000;

/// The cluster: the members of the node's swarm, and what was said here about them.
///
/// It holds no second truth. Who is there, what lies where and who drains is what the mesh knows; what it knows not
/// (places, metadata, limits of this cluster) is kept by this node on disk. Clones are the same cluster.
#[derive(Debug, Clone)]
pub struct EdgeCluster {
    pub(crate) node: Arc<Node>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    metrics: Mutex<EdgeMetrics>,
    monitor: Mutex<HealthMonitor>,
    cache: OnceCell<Mutex<EdgeCache>>,
    cache_size: (usize, Duration),
    /// Functions that are on their way to a node, and how often.
    coming: Mutex<BTreeMap<(NodeId, Name), u32>>,
    /// Taken by whoever changes what is kept, so that changes do not overtake each other.
    turn: Semaphore,
}

/// A member as this cluster sees it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) node: EdgeNode,
    pub(crate) view: NodeView,
}

/// One node in a [`ClusterHealth`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSummary {
    /// Its id.
    pub id: String,
    /// How it stands.
    pub status: EdgeNodeStatus,
    /// Functions that lie there.
    pub functions: usize,
    /// Whether it takes nothing new.
    pub draining: bool,
}

/// How the cluster fares (seed 000, `EdgeCluster.health`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterHealth {
    /// Nodes, however they stand.
    pub total_nodes: usize,
    /// Those that are online.
    pub online: usize,
    /// Those that take nothing new.
    pub draining: usize,
    /// Functions, counted once for each node that has them.
    pub total_functions: usize,
    /// Tasks that the reachable nodes finished well since they started.
    pub total_invocations: u64,
    /// Every node.
    pub nodes: Vec<NodeSummary>,
}

/// Why a node cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// No machine of that name belongs to the swarm.
    #[error("no member of the swarm is called `{id}`: let that machine join first")]
    UnknownMember {
        /// The id that was given.
        id: String,
    },
    /// Another member was registered by that id.
    #[error("`{id}` is another member of the swarm")]
    Taken {
        /// The id that was given.
        id: String,
    },
    /// The machine has not what was said of it.
    #[error(
        "`{id}` does not have `{capability}`: what a machine has is told by itself, as a label or an offer"
    )]
    Lacks {
        /// The id that was given.
        id: String,
        /// What it has not.
        capability: String,
    },
    /// Something that was said is too long, or out of range.
    #[error("`{field}` is {must_be}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it must be.
        must_be: &'static str,
    },
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] Failure),
}

impl RegisterError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownMember { .. } => ErrorKind::NotFound,
            Self::Taken { .. } | Self::Lacks { .. } => ErrorKind::Conflict,
            Self::Field { .. } => ErrorKind::Invalid,
            Self::Store(failure) => failure.kind,
        }
    }

    /// Returns the stable name of this very failure.
    pub fn code(&self) -> &str {
        match self {
            Self::UnknownMember { .. } => "unknown_member",
            Self::Taken { .. } => "id_taken",
            Self::Lacks { .. } => "lacks_capability",
            Self::Field { .. } => "invalid_node",
            Self::Store(failure) => &failure.code,
        }
    }
}

impl EdgeCluster {
    /// Makes the cluster of a node's swarm, as that node sees it.
    pub fn over(node: Arc<Node>) -> Self {
        Self::with_cache(node, cache::MAX_SIZE, cache::DEFAULT_TTL)
    }

    /// Makes the same with a cache of another size, in entries, and time.
    pub fn with_cache(node: Arc<Node>, max_size: usize, default_ttl: Duration) -> Self {
        let shared = Shared {
            metrics: Mutex::default(),
            monitor: Mutex::default(),
            cache: OnceCell::new(),
            cache_size: (max_size, default_ttl),
            coming: Mutex::default(),
            turn: Semaphore::new(1),
        };
        Self { node, shared: Arc::new(shared) }
    }

    /// Takes a member into the cluster, with what is said about it; on disk by then. A member that was registered
    /// before is registered anew.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub async fn register_node(&self, node: EdgeNode) -> Result<EdgeNode, RegisterError> {
        check(&node)?;
        let _turn = self.turn().await?;
        let records: Vec<NodeRecord> = record::all(&self.node).await?;
        let known = records.iter().find(|it| it.id == node.id).map(|it| it.member);
        let view = match known {
            Some(member) => self.node.describe(&member.to_string()),
            None => self.node.describe(&node.id),
        };
        let view = view.map_err(|_| RegisterError::UnknownMember { id: node.id.clone() })?;
        if records.iter().any(|it| it.id == node.id && it.member != view.id) {
            return Err(RegisterError::Taken { id: node.id });
        }
        let offers = self.node.offers();
        let has = EdgeNode::seen(&view, None, &offers);
        if let Some(lacking) = node.capabilities.iter().find(|it| !has.has_capability(it)) {
            let capability = lacking.clone();
            return Err(RegisterError::Lacks { id: node.id, capability });
        }
        let before = records.into_iter().find(|it| it.member == view.id);
        let record = NodeRecord {
            member: view.id,
            id: node.id,
            name: node.name,
            location: node.location,
            metadata: node.metadata,
            max_functions: node.max_functions,
            mark: Some(node.status).filter(|it| *it != EdgeNodeStatus::Online),
            left: false,
            since: before.map_or_else(|| self.now(), |it| it.since),
        };
        record::put(&self.node, &record).await?;
        Ok(EdgeNode::seen(&view, Some(&record), &offers))
    }

    /// Takes a node out of the cluster; it stays a member of the swarm, and its functions stay there. Returns whether
    /// it was in.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when that could not be kept.
    pub async fn deregister_node(&self, id: &str) -> Result<bool, Failure> {
        self.change(id, |record| record.left = true).await
    }

    /// Returns a node by its id in this cluster, or the name or id of the member.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when what is kept cannot be read.
    pub async fn get_node(&self, id: &str) -> Result<Option<EdgeNode>, Failure> {
        Ok(self.find(id).await?.map(|it| it.node))
    }

    /// Returns what runs functions on a node.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when what is kept cannot be read.
    pub async fn get_runtime(&self, id: &str) -> Result<Option<EdgeRuntime>, Failure> {
        let found = self.find(id).await?;
        Ok(found.map(|it| EdgeRuntime::new(self.clone(), it.node.id, it.view.id)))
    }

    /// Returns the nodes, or those that stand so: registered ones first, in their order.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when what is kept cannot be read.
    pub async fn list_nodes(
        &self,
        status: Option<EdgeNodeStatus>,
    ) -> Result<Vec<EdgeNode>, Failure> {
        let nodes = self.seen().await?.into_iter().map(|it| it.node);
        Ok(nodes.filter(|it| status.is_none_or(|status| it.status == status)).collect())
    }

    /// Asks a node now how it is, and marks it as said, or takes its mark away. A mark makes no silent node online.
    /// Returns whether there is such a node.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when that could not be kept.
    pub async fn heartbeat(
        &self,
        id: &str,
        status: Option<EdgeNodeStatus>,
    ) -> Result<bool, Failure> {
        let Some(found) = self.find(id).await? else { return Ok(false) };
        if !found.view.here {
            // Whether it answered is seen by when it was heard of.
            self.node.beat(found.view.id).await;
        }
        let mark = status.filter(|it| *it != EdgeNodeStatus::Online);
        self.change(id, |record| record.mark = mark).await
    }

    /// Marks a node as offline until its next [`heartbeat`](Self::heartbeat): nothing new is put there. Returns
    /// whether there is such a node.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when that could not be kept.
    pub async fn mark_offline(&self, id: &str) -> Result<bool, Failure> {
        self.change(id, |record| record.mark = Some(EdgeNodeStatus::Offline)).await
    }

    /// Returns the ids of nodes that were silent for longer; the seed's usual time is 60 seconds.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when what is kept cannot be read.
    pub async fn detect_stale_nodes(&self, timeout: Duration) -> Result<Vec<String>, Failure> {
        let now = self.now();
        let nodes = self.seen().await?.into_iter().map(|it| it.node);
        let stale = nodes.filter(|it| it.age(now).is_none_or(|age| age > timeout));
        Ok(stale.map(|it| it.id).collect())
    }

    /// Lets a node take nothing new, as [`Node::drain`] does; returns whether there is such a node.
    ///
    /// # Errors
    ///
    /// See [`Node::drain`].
    pub async fn drain_node(&self, id: &str) -> Result<bool, Failure> {
        let Some(found) = self.find(id).await? else { return Ok(false) };
        self.node.drain(&found.view.id.to_string(), true).await?;
        Ok(true)
    }

    /// Lets a node take new work again; returns whether it took none.
    ///
    /// # Errors
    ///
    /// See [`Node::drain`].
    pub async fn undrain_node(&self, id: &str) -> Result<bool, Failure> {
        let Some(found) = self.find(id).await? else { return Ok(false) };
        Ok(self.node.drain(&found.view.id.to_string(), false).await?.changed)
    }

    /// Returns whether a node takes nothing new.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when what is kept cannot be read.
    pub async fn is_draining(&self, id: &str) -> Result<bool, Failure> {
        Ok(self.find(id).await?.is_some_and(|it| it.view.draining))
    }

    /// Returns how many nodes there are.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when what is kept cannot be read.
    pub async fn node_count(&self) -> Result<usize, Failure> {
        Ok(self.seen().await?.len())
    }

    /// Returns how many nodes are online.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when what is kept cannot be read.
    pub async fn online_count(&self) -> Result<usize, Failure> {
        Ok(self.list_nodes(Some(EdgeNodeStatus::Online)).await?.len())
    }

    /// Returns how the cluster fares, as this node sees it.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when what is kept cannot be read.
    pub async fn health(&self) -> Result<ClusterHealth, Failure> {
        let seen = self.seen().await?;
        let nodes: Vec<_> = seen
            .iter()
            .map(|it| NodeSummary {
                id: it.node.id.clone(),
                status: it.node.status,
                functions: it.view.functions.len(),
                draining: it.view.draining,
            })
            .collect();
        Ok(ClusterHealth {
            total_nodes: nodes.len(),
            online: nodes.iter().filter(|it| it.status == EdgeNodeStatus::Online).count(),
            draining: nodes.iter().filter(|it| it.draining).count(),
            total_functions: nodes.iter().map(|it| it.functions).sum(),
            total_invocations: seen.iter().map(|it| it.view.invocations).sum(),
            nodes,
        })
    }

    /// Returns the node's date.
    pub fn now(&self) -> Timestamp {
        self.node.clock().now()
    }

    /// Returns how invocations went: those of this cluster's runtimes, and those that were recorded besides.
    pub fn metrics(&self) -> MutexGuard<'_, EdgeMetrics> {
        self.shared.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the checks of nodes.
    pub fn monitor(&self) -> MutexGuard<'_, HealthMonitor> {
        self.shared.monitor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cache_cell(&self) -> &OnceCell<Mutex<EdgeCache>> {
        &self.shared.cache
    }

    pub(crate) fn empty_cache(&self) -> EdgeCache {
        let (max_size, default_ttl) = self.shared.cache_size;
        EdgeCache::of_size(self.node.clock().clone(), max_size, default_ttl)
    }

    pub(crate) fn coming(&self) -> MutexGuard<'_, BTreeMap<(NodeId, Name), u32>> {
        self.shared.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the turn to change what is kept.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        self.shared.turn.acquire().await.map_err(unreadable)
    }

    /// Returns every node, registered ones first, in their order.
    pub(crate) async fn seen(&self) -> Result<Vec<Seen>, Failure> {
        let records: Vec<NodeRecord> = record::all(&self.node).await?;
        let offers = self.node.offers();
        let mut seen: Vec<_> = self
            .node
            .nodes()
            .into_iter()
            .filter_map(|view| {
                let record = records.iter().find(|it| it.member == view.id);
                if record.is_some_and(|it| it.left) {
                    return None;
                }
                let since = record.map_or(Timestamp::from_millis(u64::MAX), |it| it.since);
                Some((since, Seen { node: EdgeNode::seen(&view, record, &offers), view }))
            })
            .collect();
        seen.sort_by_key(|it| it.0);
        Ok(seen.into_iter().map(|it| it.1).collect())
    }

    pub(crate) async fn find(&self, id: &str) -> Result<Option<Seen>, Failure> {
        let mut seen = self.seen().await?;
        let at = seen.iter().position(|it| it.node.id == id);
        let at = at.or_else(|| {
            let member = self.node.describe(id).ok()?.id;
            seen.iter().position(|it| it.view.id == member)
        });
        Ok(at.map(|it| seen.swap_remove(it)))
    }

    /// Changes what is kept about a node; returns whether there is such a node.
    async fn change(
        &self,
        id: &str,
        change: impl FnOnce(&mut NodeRecord),
    ) -> Result<bool, Failure> {
        let _turn = self.turn().await?;
        let Some(Seen { node, view }) = self.find(id).await? else { return Ok(false) };
        let records: Vec<NodeRecord> = record::all(&self.node).await?;
        let mut record =
            records.into_iter().find(|it| it.member == view.id).unwrap_or(NodeRecord {
                member: view.id,
                id: node.id,
                name: node.name,
                location: String::new(),
                metadata: node.metadata,
                max_functions: MAX_FUNCTIONS,
                mark: None,
                left: false,
                since: self.now(),
            });
        change(&mut record);
        record::put(&self.node, &record).await?;
        Ok(true)
    }
}

/// Checks what is said about a node.
fn check(node: &EdgeNode) -> Result<(), RegisterError> {
    let field = |field, must_be| Err(RegisterError::Field { field, must_be });
    let wrong = |it: &str| it.is_empty() || it.len() > MAX_NAME || it.contains(char::is_control);
    if wrong(&node.id) {
        return field("id", "1 to 128 bytes without control characters");
    }
    if wrong(&node.name) {
        return field("name", "1 to 128 bytes without control characters");
    }
    if node.location.len() > MAX_LOCATION {
        return field("location", "256 bytes at most");
    }
    if serde_json::to_string(&node.metadata).map_or(usize::MAX, |it| it.len()) > MAX_METADATA {
        return field("metadata", "16 KiB of JSON at most");
    }
    if !(1..=MAX_FUNCTIONS).contains(&node.max_functions) {
        return field("max_functions", "1 to 10000");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_about_a_node_has_an_end() {
        let usual = EdgeNode::new("edge-1", "sensor");
        assert_eq!(check(&usual), Ok(()));
        let long = "x".repeat(MAX_METADATA);
        let metadata = [("a".to_owned(), long.clone().into())].into_iter().collect();
        for (node, field) in [
            (EdgeNode { id: String::new(), ..usual.clone() }, "id"),
            (EdgeNode { name: "a\nb".to_owned(), ..usual.clone() }, "name"),
            (EdgeNode { location: long, ..usual.clone() }, "location"),
            (EdgeNode { metadata, ..usual.clone() }, "metadata"),
            (EdgeNode { max_functions: 0, ..usual.clone() }, "max_functions"),
        ] {
            let error = check(&node).unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{field}` is ")), "{error}");
            assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "invalid_node"));
        }
    }
}
