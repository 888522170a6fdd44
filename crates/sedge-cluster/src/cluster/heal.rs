//! Bringing functions back that lay on lost nodes, and evening out.

use std::collections::BTreeSet;
use std::time::Duration;

use sedge_capability::Failure;
use serde::{Deserialize, Serialize};

use crate::cluster::{EdgeCluster, Seen, useless};
use crate::failure::unreadable;
use crate::function::EdgeFunction;
use crate::monitor::HEARTBEAT_TIMEOUT;
use crate::node::EdgeNodeStatus;
use crate::record::{self, FunctionRecord};

/// One thing that was mended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healed {
    /// The function.
    pub function_id: String,
    /// The node that was lost with it.
    pub from: String,
    /// The node that has it now.
    pub to: String,
}

impl EdgeCluster {
    /// Moves functions, one at a time from the fullest node to the emptiest, until no two differ by more than one;
    /// returns how many moved (seed 000, HEAD).
    ///
    /// # Errors
    ///
    /// See [`sedge_node::Node::rebalance`].
    pub async fn rebalance_cluster(&self) -> Result<usize, Failure> {
        let moved = self.node.rebalance(None, false).await?;
        Ok(moved.iter().filter(|it| it.failure.is_none()).count())
    }

    /// Brings functions of this cluster that lay on nodes which are lost to the node with the fewest functions that
    /// takes each and has it not. A node is lost when it is offline, or was silent for a minute. Where every node that
    /// is there has a function already, nothing is to be done.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when what is kept cannot be read. What no node takes is left for the next time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future breaks off between two functions, or leaves one on its new node that is brought there again
    /// next time.
    pub async fn auto_heal(&self) -> Result<Vec<Healed>, Failure> {
        let now = self.now();
        let silent = |it: &Seen, limit: Duration| it.node.age(now).is_none_or(|age| age > limit);
        let is_lost =
            |it: &Seen| it.node.status == EdgeNodeStatus::Offline || silent(it, HEARTBEAT_TIMEOUT);
        let mut healed = Vec::new();
        let records: Vec<FunctionRecord> = record::all(&self.node).await?;
        for mut record in records {
            let (lost, there): (Vec<_>, Vec<_>) = self.seen().await?.into_iter().partition(is_lost);
            let was_there = |it: &Seen| record.placed.contains(&it.view.id);
            let lost: Vec<_> = lost.into_iter().filter(was_there).collect();
            let mut there: Vec<_> = there
                .into_iter()
                .filter(|it| !it.view.draining && !it.view.functions.contains(&record.id))
                .collect();
            there.sort_by_key(|it| it.view.functions.len());
            let mut there = there.into_iter();
            let before = healed.len();
            for gone in lost {
                let Some(function) = self.kept(&record).await? else { break };
                let options = function.limits.options().map_err(useless)?;
                let mut to = None;
                while to.is_none()
                    && let Some(seen) = there.next()
                {
                    if self.land(&seen, &function, &options).await.is_ok() {
                        record.placed.insert(seen.view.id);
                        to = Some(seen.node.id);
                    }
                }
                // Nobody takes it now.
                let Some(to) = to else { break };
                record.placed.remove(&gone.view.id);
                let function_id = record.id.to_string();
                healed.push(Healed { function_id, from: gone.node.id, to });
            }
            if healed.len() > before {
                self.move_record(&record).await?;
            }
        }
        Ok(healed)
    }

    /// Returns a function that was brought to nodes, as far as its component is kept still.
    async fn kept(&self, record: &FunctionRecord) -> Result<Option<EdgeFunction>, Failure> {
        let store = self.node.store();
        if !store.blobs().has(record.content).await {
            return Ok(None);
        }
        let handler = store.blobs().get(record.content).await.map_err(unreadable)?;
        let (id, limits) = (record.id.clone(), record.limits.clone());
        Ok(Some(EdgeFunction { id, handler: handler.into(), limits }))
    }

    /// Keeps where a function lies now, unless somebody has taken it away or changed it meanwhile.
    async fn move_record(&self, record: &FunctionRecord) -> Result<(), Failure> {
        let _turn = self.turn().await?;
        let records: Vec<FunctionRecord> = record::all(&self.node).await?;
        match records.into_iter().find(|it| it.id == record.id) {
            Some(now) if now.content == record.content => {
                let placed: BTreeSet<_> = record.placed.clone();
                record::put(&self.node, &FunctionRecord { placed, ..now }).await
            }
            _ => Ok(()),
        }
    }
}
