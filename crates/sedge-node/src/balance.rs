//! Where functions lie: draining a machine, and moving functions between machines.
//!
//! Invariant: a function that moves is on disk at its new place before its old place forgets it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sedge_base::{ContentId, ErrorKind, NodeId};
use sedge_capability::{Failure, Kind, Name};
use sedge_members::{NodeHealth, Offered, Presence, SwarmHealth};
use sedge_routing::{Holding, Move, rebalance};
use tracing::info;

use crate::beat::ask;
use crate::node::{Node, internal};
use crate::view::{Drained, Moved};
use crate::wire::{Request, WireError};

/// Where the setting lies that says whether this node takes new work.
const DRAINING_SETTING: &str = "node.draining";

impl Node {
    /// Lets a node take no new work, or again. Its functions stay and answer those that find no
    /// other node, or name it; it is skipped when something is deployed to all.
    ///
    /// A machine's own operator always may. Another machine is drained by the coordinator alone, where
    /// there is one: several who drain what they see alone could leave nobody who works.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when no such node is there or it cannot be reached; [`ErrorKind::Denied`] when
    /// this is the coordinator's, which is another one.
    pub async fn drain(self: &Arc<Self>, node: &str, draining: bool) -> Result<Drained, Failure> {
        let node = self.members.find(node)?;
        let changed = if node == self.id() {
            self.drain_here(draining).await?
        } else {
            self.may_drain(&self.id())?;
            let changed = self.ask_member(node, &Request::Drain { draining }).await?;
            self.beat(node).await;
            changed
        };
        Ok(Drained { node, node_name: self.members.name_of(&node), draining, changed })
    }

    /// Returns whether a member may drain another one: anybody without a quorum, the coordinator with.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] with the coordinator's name; [`ErrorKind::Unavailable`] when nobody
    /// knows who that is.
    pub(crate) fn may_drain(&self, by: &NodeId) -> Result<(), Failure> {
        match self.quorum.coordinator().map(|it| it.node) {
            Some(leader) if leader == *by => Ok(()),
            Some(leader) => {
                let leader = self.members.name_of(&leader);
                let text = format!(
                    "only the coordinator drains another machine, and that is {leader}; a machine's \
                     own operator always may"
                );
                Err(Failure::new(ErrorKind::Denied, "coordinator_drains", text))
            }
            None if self.quorum.standing().voters.is_empty() => Ok(()),
            None => {
                let text = "only the coordinator drains another machine, and there is none now";
                Err(Failure::new(ErrorKind::Unavailable, "no_majority", text))
            }
        }
    }

    /// Returns whether that is new; on disk by then.
    pub(crate) async fn drain_here(&self, draining: bool) -> Result<bool, Failure> {
        let text = if draining { "true" } else { "false" };
        self.store.settings().set(DRAINING_SETTING, text).await.map_err(internal)?;
        let changed = self.draining.swap(draining, Ordering::SeqCst) != draining;
        if changed {
            info!(target: "sedge::events::draining", draining);
            self.changed.notify_one();
        }
        Ok(changed)
    }

    /// Takes up what was said before the last stop.
    pub(crate) async fn remember_draining(&self) -> Result<(), Failure> {
        let told = self.store.settings().get(DRAINING_SETTING).await.map_err(internal)?;
        self.draining.store(told.as_deref() == Some("true"), Ordering::SeqCst);
        Ok(())
    }

    /// Returns how the swarm fares, as this node sees it.
    pub fn health(&self) -> SwarmHealth {
        let nodes = self.nodes();
        let count = |which: fn(&NodeHealth) -> bool, of: &[NodeHealth]| {
            of.iter().filter(|it| which(it)).count()
        };
        let total_invocations = nodes.iter().map(|it| it.invocations).sum();
        let members: Vec<_> = nodes
            .into_iter()
            .map(|it| NodeHealth {
                id: it.id,
                name: it.name,
                status: it.status,
                functions: it.functions.len(),
                draining: it.draining,
                health: it.health,
            })
            .collect();
        let healthy_nodes = count(|it| it.health.healthy, &members);
        SwarmHealth {
            total_nodes: members.len(),
            online: count(|it| it.status == Presence::Online, &members),
            draining: count(|it| it.draining, &members),
            total_functions: members.iter().map(|it| it.functions).sum(),
            total_invocations,
            healthy_nodes,
            unhealthy_nodes: members.len() - healthy_nodes,
            health_percent: match members.len() {
                0 => 100.0,
                all => healthy_nodes as f64 / all as f64 * 100.0,
            },
            nodes: members,
        }
    }

    /// Moves functions until no two nodes differ by more than one; or, when `evacuate` names a node,
    /// every function of that node to others. With `dry_run` nothing moves.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when no such node is there. What became of each move is told by its [`Moved`];
    /// the first that fails is the last.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future breaks off between two moves, or leaves a function on both nodes.
    pub async fn rebalance(
        self: &Arc<Self>,
        evacuate: Option<&str>,
        dry_run: bool,
    ) -> Result<Vec<Moved>, Failure> {
        let leaving = evacuate.map(|it| self.members.find(it)).transpose()?;
        let holdings: Vec<_> = self
            .nodes()
            .into_iter()
            .map(|it| Holding {
                node: it.id,
                takes: it.health.healthy && !it.draining,
                leaves: leaving == Some(it.id),
                functions: it.functions.into_iter().collect(),
            })
            .collect();
        let mut moves = rebalance(&holdings);
        // Evening out the others is not what was asked for.
        moves.retain(|it| leaving.is_none_or(|leaving| leaving == it.from));
        let mut moved = Vec::new();
        for one in moves {
            let done = if dry_run { Ok(()) } else { self.move_one(&one).await };
            let failed = done.is_err();
            moved.push(Moved {
                from_name: self.members.name_of(&one.from),
                to_name: self.members.name_of(&one.to),
                function: one.function,
                from: one.from,
                to: one.to,
                failure: done.err(),
            });
            if failed {
                break;
            }
        }
        Ok(moved)
    }

    async fn move_one(self: &Arc<Self>, one: &Move) -> Result<(), Failure> {
        let Move { function, from, to } = one;
        if *from == self.id() {
            self.hand(function, *to).await?;
        } else {
            let request = Request::Hand { name: function.clone(), to: *to };
            let _: ContentId = self.ask_member(*from, &request).await?;
        }
        // Both offer something else now.
        for node in [*from, *to].into_iter().filter(|it| *it != self.id()) {
            self.beat(node).await;
        }
        Ok(())
    }

    /// Gives a function of this node to another member and forgets it here.
    pub(crate) async fn hand(
        self: &Arc<Self>,
        name: &Name,
        to: NodeId,
    ) -> Result<ContentId, Failure> {
        let stored = self.store.deployments().list().await.map_err(internal)?;
        let Some(stored) = stored.into_iter().find(|it| it.name == name.as_str()) else {
            let text = format!("this node has no function `{name}`");
            return Err(Failure::new(ErrorKind::NotFound, "unknown_function", text));
        };
        let wasm = self.store.blobs().get(stored.content).await.map_err(internal)?;
        let options = serde_json::from_str(&stored.options).map_err(internal)?;
        let content = self.deploy_there(to, name.clone(), wasm.into(), options).await?;
        self.undeploy(name).await?;
        Ok(content)
    }

    /// Asks a member something that has no body.
    pub(crate) async fn ask_member<T: serde::de::DeserializeOwned>(
        self: &Arc<Self>,
        node: NodeId,
        request: &Request,
    ) -> Result<T, Failure> {
        let conn = self.mesh.conn(self, node).await?;
        ask(&conn, request).await.map_err(|error| match error {
            WireError::Refused(failure) => failure,
            error => {
                let text = format!("node {} was lost: {error}", self.members.name_of(&node));
                Failure::new(ErrorKind::Unavailable, "node_lost", text)
            }
        })
    }
}

/// Returns the functions among what a node offers.
pub(crate) fn functions(offers: &[Offered]) -> Vec<Name> {
    let functions = offers.iter().filter(|it| it.descriptor.kind == Kind::Function);
    functions.map(|it| it.descriptor.name.clone()).collect()
}
