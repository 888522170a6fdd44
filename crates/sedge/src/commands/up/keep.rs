//! The nodes of one process: that of the home, and one for each further swarm of the machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use std::net::SocketAddr;

use sedge_base::{Cancel, TaskScope};
use sedge_node::{Config, Home, Node, StartOptions};
use sedge_server::Server;
use serde::Serialize;

use crate::failed::Failed;
use crate::ui::Ui;

/// How long the doors may take to close.
const GRACE: Duration = Duration::from_secs(3);

/// A node that serves until it is told to stop.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) node: Arc<Node>,
    pub(super) server: Server,
    scope: TaskScope,
}

/// A swarm of this machine beside that of its home, once its node is ready.
#[derive(Debug, Serialize)]
pub(super) struct Beside {
    /// What the machine's owner calls it.
    pub(super) swarm: String,
    pub(super) id: sedge_base::NodeId,
    pub(super) home: PathBuf,
    pub(super) api: SocketAddr,
    /// Members of that swarm, this node included.
    pub(super) members: usize,
}

/// Opens a home and reads what its owner wants.
pub(super) fn open(path: &Path) -> Result<(Home, Config), Failed> {
    let home = Home::open(path).map_err(|err| Failed::of(err.kind(), &err).maybe_hint(err.hint()))?;
    let config = Config::read(&home.config_path()).map_err(|err| {
        Failed::of(err.kind(), &err).hint("correct the file; nothing was changed")
    })?;
    Ok((home, config))
}

impl Kept {
    /// Starts a node and its doors.
    pub(super) async fn start(
        (home, config): (Home, Config),
        options: StartOptions,
        api: SocketAddr,
    ) -> Result<Self, Failed> {
        let node = Node::start(home, config, options)
            .await
            .map_err(|err| Failed::of(err.kind(), &err).maybe_hint(err.hint()))?;
        let scope = TaskScope::new();
        let opened = async {
            let server = Server::bind(api, Arc::clone(&node), &scope)
                .await
                .map_err(|err| Failed::of(err.kind(), &err).hint(err.hint()))?;
            node.announce(server.address())
                .map_err(|err| Failed::of(err.kind(), &err).maybe_hint(err.hint()))?;
            Ok(server)
        };
        match opened.await {
            Ok(server) => Ok(Self { node, server, scope }),
            Err(failed) => {
                stop(&node, &scope).await;
                Err(failed)
            }
        }
    }

    /// Returns when the node was told to stop, and has.
    pub(super) async fn until(self, cancel: Cancel) {
        tokio::select! {
            () = self.server.stop_asked() => {}
            () = cancel.cancelled() => {}
        }
        self.stop().await;
    }

    /// Stops the node.
    pub(super) async fn stop(self) {
        let Self { node, server: _, scope } = self;
        stop(&node, &scope).await;
    }
}

async fn stop(node: &Arc<Node>, scope: &TaskScope) {
    node.shutdown().await;
    if let Err(hung) = scope.shutdown(GRACE).await {
        tracing::warn!(target: "sedge::events::api_hung", count = hung.count);
    }
}

/// Starts the nodes of the machine's other swarms; one that cannot start is told of and left out.
pub(super) async fn beside(
    homes: Vec<(String, PathBuf)>,
    options: &StartOptions,
    (scope, ui): (&TaskScope, Ui),
) -> Vec<Beside> {
    let mut kept = Vec::new();
    for (swarm, home) in homes {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        // The flags of `up` are about the home's own node.
        let options = StartOptions { name: None, listen: None, ..options.clone() };
        let started = async { Kept::start(open(&home)?, options, any).await };
        match started.await {
            Ok(one) => {
                let (id, api) = (one.node.id(), one.server.address());
                let members = one.node.status().await.members;
                kept.push(Beside { swarm, id, home, api, members });
                scope.spawn("a swarm beside", |cancel| one.until(cancel));
            }
            Err(failed) => {
                ui.note(format!("swarm {swarm} is left out: {}", failed.message));
            }
        }
    }
    kept
}
