//! Bringing functions to nodes, and taking them away.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use sedge_base::{ContentId, ErrorKind, NodeId};
use sedge_capability::{Failure, Name};
use sedge_node::{Deploy, DeployOptions, Target};
use serde::{Deserialize, Serialize};

use crate::cluster::{EdgeCluster, Seen};
use crate::failure::unwritten;
use crate::function::{EdgeFunction, FunctionError};
use crate::node::EdgeNodeStatus;
use crate::record::{self, FunctionRecord};

/// The most functions that are kept, to be brought elsewhere when a node is lost.
const MAX_FUNCTIONS: usize = 10_000;

/// What became of a function on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landed {
    /// The node.
    pub id: String,
    /// Whether it was done there.
    pub done: bool,
    /// Why not, if not.
    pub failure: Option<Failure>,
}

/// What became of a function on all nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// On how many it was done: what `deploy_to_all` and `undeploy_from_all` return.
    pub count: usize,
    /// Each node that was meant.
    pub nodes: Vec<Landed>,
}

impl Spread {
    fn of(nodes: Vec<Landed>) -> Self {
        Self { count: nodes.iter().filter(|it| it.done).count(), nodes }
    }
}

/// Room on a node for a function that is on its way; given back on drop.
struct Coming<'a> {
    cluster: &'a EdgeCluster,
    key: (NodeId, Name),
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        let mut coming = self.cluster.coming();
        if let Some(count) = coming.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                coming.remove(&self.key);
            }
        }
    }
}

impl EdgeCluster {
    /// Brings a function to every node that takes it: those that drain, are away, full, or have not what it requires
    /// are left out, and told with the reason.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the function cannot be used, or this node cannot keep it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future breaks off; nodes that finished keep the function.
    pub async fn deploy_to_all(&self, function: &EdgeFunction) -> Result<Spread, Failure> {
        let options = function.limits.options().map_err(useless)?;
        let nodes = self.seen().await?;
        let landing = nodes.iter().map(|it| async {
            let landed = self.land(it, function, &options).await;
            Landed { id: it.node.id.clone(), done: landed.is_ok(), failure: landed.err() }
        });
        let landed = join_all(landing).await;
        let done = nodes.iter().zip(&landed).filter(|it| it.1.done).map(|it| it.0.view.id);
        self.note(function, done.collect()).await?;
        Ok(Spread::of(landed))
    }

    /// Brings a function to one node; returns whether there is such a node, and it takes new work.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the node has not what it requires, is full or away, or the function cannot be used.
    pub async fn deploy_to_node(&self, id: &str, function: &EdgeFunction) -> Result<bool, Failure> {
        let options = function.limits.options().map_err(useless)?;
        let Some(seen) = self.find(id).await?.filter(|it| !it.view.draining) else {
            return Ok(false);
        };
        self.land(&seen, function, &options).await?;
        self.note(function, [seen.view.id].into()).await?;
        Ok(true)
    }

    /// Brings a function to the node with the fewest functions that takes it, of several the one that was registered
    /// first; returns its id, or `None` when every node drains.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the function cannot be used, this node cannot keep it, or no node takes it: what the first one
    /// said.
    pub async fn deploy_least_loaded(
        &self,
        function: &EdgeFunction,
    ) -> Result<Option<String>, Failure> {
        let options = function.limits.options().map_err(useless)?;
        let mut nodes: Vec<_> =
            self.seen().await?.into_iter().filter(|it| !it.view.draining).collect();
        // A stable sort: of those that have equally many, the first stays first.
        nodes.sort_by_key(|it| it.view.functions.len());
        let mut refused = None;
        for seen in nodes {
            match self.land(&seen, function, &options).await {
                Ok(()) => {
                    self.note(function, [seen.view.id].into()).await?;
                    return Ok(Some(seen.node.id));
                }
                Err(failure) if failure.kind == ErrorKind::Invalid => return Err(failure),
                // This one does not take it, the next may.
                Err(failure) => {
                    refused.get_or_insert(failure);
                }
            }
        }
        refused.map_or(Ok(None), Err)
    }

    /// Takes a function away from every node that has it. A node that is away keeps it, and is told so.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when what is kept cannot be changed.
    pub async fn undeploy_from_all(&self, function_id: &Name) -> Result<Spread, Failure> {
        let _turn = self.turn().await?;
        let nodes = self.seen().await?;
        let having = nodes.iter().filter(|it| it.view.functions.contains(function_id));
        let leaving = having.map(|it| async {
            let gone = self.node.undeploy_on(it.view.id, function_id).await;
            Landed { id: it.node.id.clone(), done: gone == Ok(true), failure: gone.err() }
        });
        let left = join_all(leaving).await;
        record::forget::<FunctionRecord>(&self.node, function_id.as_str()).await?;
        Ok(Spread::of(left))
    }

    /// Brings a function to a node, if it is there, has what the function requires, and there is room.
    pub(crate) async fn land(
        &self,
        seen: &Seen,
        function: &EdgeFunction,
        options: &DeployOptions,
    ) -> Result<(), Failure> {
        let _coming = self.room(seen, &function.id)?;
        let deploy = Deploy {
            name: function.id.clone(),
            wasm: function.handler.clone(),
            target: Target::Node(seen.view.id.to_string()),
            options: options.clone(),
        };
        let reports = self.node.deploy(deploy).await?;
        reports.into_iter().find_map(|it| it.failure).map_or(Ok(()), Err)
    }

    /// Takes room on a node for a function, by what this cluster knows; the node has the last word.
    fn room<'a>(&'a self, seen: &Seen, function: &Name) -> Result<Coming<'a>, Failure> {
        let Seen { node, view } = seen;
        if matches!(node.status, EdgeNodeStatus::Offline | EdgeNodeStatus::Maintenance) {
            let text = format!("node {} is {}", node.id, node.status.name());
            return Err(Failure::new(ErrorKind::Unavailable, "node_away", text));
        }
        let key = (view.id, function.clone());
        let mut coming = self.coming();
        let new = |name: &Name| !view.functions.contains(name);
        let others = coming.keys().filter(|it| it.0 == view.id && it.1 != *function && new(&it.1));
        let taken = view.functions.len() + others.count();
        if new(function) && taken >= node.max_functions as usize {
            let (id, limit) = (&node.id, node.max_functions);
            let text = format!("node {id} has {taken} functions, {limit} is its limit");
            return Err(Failure::new(ErrorKind::Exhausted, "node_full", text));
        }
        *coming.entry(key.clone()).or_default() += 1;
        Ok(Coming { cluster: self, key })
    }

    /// Keeps a function and where it was brought to, so that it can be brought elsewhere.
    pub(crate) async fn note(
        &self,
        function: &EdgeFunction,
        nodes: BTreeSet<NodeId>,
    ) -> Result<(), Failure> {
        if nodes.is_empty() {
            return Ok(());
        }
        let content = ContentId::of(&function.handler);
        let put = self.node.store().blobs().put(function.handler.to_vec(), Some(content)).await;
        put.map_err(|it| unwritten(it.kind(), it))?;
        let _turn = self.turn().await?;
        let records: Vec<FunctionRecord> = record::all(&self.node).await?;
        if records.len() >= MAX_FUNCTIONS && !records.iter().any(|it| it.id == function.id) {
            let text = format!("this cluster keeps {MAX_FUNCTIONS} functions, which is its limit");
            return Err(Failure::new(ErrorKind::Exhausted, "too_many_functions", text));
        }
        let before = records.into_iter().find(|it| it.id == function.id);
        let mut placed = before.map_or_else(BTreeSet::new, |it| it.placed);
        placed.extend(nodes);
        let (id, limits) = (function.id.clone(), function.limits.clone());
        record::put(&self.node, &FunctionRecord { id, content, limits, placed }).await
    }
}

/// Turns what is wrong with a function into what a caller sees.
pub(crate) fn useless(error: FunctionError) -> Failure {
    Failure::new(error.kind(), "invalid_function", error)
}
