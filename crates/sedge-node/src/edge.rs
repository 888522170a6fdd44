//! Edges at this node: who may connect as one, and how their tools are offered.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use sedge_base::{Clock, ErrorKind, TaskScope};
use sedge_capability::{Failure, Kind, Name};
use sedge_edges::{
    Announced, Down, EdgeMetrics, Edges, EdgesConfig, Given, Link, Registration, ToolResult,
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::access::Pass;
use crate::approvals::{Approvals, WISHES};
use crate::node::Node;

/// The edges, and the turn of whoever changes what they offer.
#[derive(Debug)]
pub(crate) struct Desk {
    edges: Edges,
    /// Held while a link and its offers come or go, so that an old link's end takes nothing from a
    /// new one.
    turn: Mutex<()>,
    /// What people are asked before a tool runs.
    pub(crate) approvals: Approvals,
}

impl Desk {
    pub(crate) fn new(clock: Clock, scope: &TaskScope) -> Self {
        let (people, wishes) = mpsc::channel(WISHES);
        let edges = Edges::asking(EdgesConfig::default(), clock, scope, people);
        Self { edges, turn: Mutex::default(), approvals: Approvals::new(wishes) }
    }
}

/// An edge's link, its tools being offered for as long as it lives.
pub struct EdgeLink {
    node: Arc<Node>,
    link: Link,
    pass: Option<Arc<Pass>>,
    names: BTreeSet<Name>,
}

impl fmt::Debug for EdgeLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeLink").field("link", &self.link).finish_non_exhaustive()
    }
}

impl Node {
    /// Returns the edges that are connected to this node.
    pub const fn edges(&self) -> &Edges {
        &self.desk.edges
    }

    /// Takes an edge in, for a door that was shown a token, or the node's key if it is `None`.
    ///
    /// A token must name the edge's own right, `edge:<id>`, expressly: a token that limits no
    /// names runs tasks and makes nobody an edge. The token's calls count connections. A link under
    /// the same id ends.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] when the token is not for this edge, [`ErrorKind::Exhausted`] when it is
    /// used up or too many edges are here, [`ErrorKind::Invalid`] when what it says of itself is
    /// wrong, [`ErrorKind::Conflict`] when a tool's name is taken.
    pub async fn connect_edge(
        self: &Arc<Self>,
        announced: Announced,
        pass: Option<Arc<Pass>>,
    ) -> Result<EdgeLink, Failure> {
        let registration = Registration::try_from(announced)
            .map_err(|it| Failure::new(it.kind(), "invalid_edge", it))?;
        if let Some(pass) = &pass {
            self.access.admit(pass, &registration.id().right(), self.id()).await?;
        }
        let _turn = self.desk.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.edges().get(registration.id());
        let edge = registration.id().clone();
        let link = self
            .edges()
            .connect(registration)
            .map_err(|it| Failure::new(it.kind(), "too_many_edges", it))?;
        let tools = link.capabilities();
        let named = |it: &sedge_capability::Handle| it.descriptor().name.clone();
        let names: BTreeSet<_> = tools.iter().map(named).collect();
        let taken = |it: &&Name| {
            let other = self.registry.get(it);
            other.is_some_and(|it| it.handle().descriptor().kind != Kind::Tool)
        };
        if let Some(name) = names.iter().find(taken) {
            let text = format!("`{name}` is the name of something else here");
            return Err(Failure::new(ErrorKind::Conflict, "name_taken", text));
        }
        for tool in before.into_iter().flat_map(|it| it.tools) {
            if let Ok(name) = format!("edge:{edge}.{}", tool.name).parse()
                && !names.contains(&name)
            {
                self.registry.withdraw(&name);
            }
        }
        let limit = u32::try_from(self.edges().config().tools_at_once).unwrap_or(u32::MAX);
        for tool in tools {
            if let Err(failure) = self.registry.offer(tool, limit) {
                self.withdraw_tools(&names);
                let Failure { code, message, .. } = failure;
                return Err(Failure { kind: ErrorKind::Invalid, code, message });
            }
        }
        self.changed.notify_one();
        tracing::info!(target: "sedge::events::edge_connected", %edge, tools = names.len());
        Ok(EdgeLink { node: Arc::clone(self), link, pass, names })
    }

    fn withdraw_tools(&self, names: &BTreeSet<Name>) {
        for name in names {
            self.registry.withdraw(name);
        }
    }
}

impl EdgeLink {
    /// Waits for what the edge shall be told next; `None` when the link is over.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Down> {
        self.link.next().await
    }

    /// Notes that the edge was heard.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthenticated`] when its token was taken back or has ended meanwhile.
    pub fn heard(&self) -> Result<(), Failure> {
        if let Some(pass) = &self.pass {
            self.node.access.still_good(pass)?;
        }
        self.link.heard();
        Ok(())
    }

    /// Notes how busy the edge says it is.
    pub fn measured(&self, metrics: EdgeMetrics) {
        self.link.measured(metrics);
    }

    /// Takes the result of a run. One for a run that another edge was asked for is refused and
    /// written to the audit.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave the entry out; the result is refused all the same.
    pub async fn result(&self, result: ToolResult) -> Given {
        let execution = result.execution.clone();
        let given = self.link.result(result);
        if let Given::Foreign(asked) = &given {
            let detail = json!({ "execution": execution, "asked": asked.right() });
            self.node.audit("edge.foreign_result", &self.link.id().right(), detail).await;
        }
        given
    }
}

impl Drop for EdgeLink {
    fn drop(&mut self) {
        let _turn = self.node.desk.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.link.end() {
            self.node.withdraw_tools(&self.names);
            self.node.changed.notify_one();
        }
    }
}
