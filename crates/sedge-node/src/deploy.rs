//! Bringing a component to nodes: by content, stored before it is acknowledged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use sedge_base::{ContentId, ErrorKind, NodeId};
use sedge_capability::{Failure, Idempotence, Kind, Name};
use sedge_functions::{DeployError, Deployment};
use sedge_net::{FrameReader, FrameWriter};
use tokio::time::Instant;

use crate::node::{Node, internal, unwritten, with_source};
use crate::remote::OPEN_WITHIN;
use crate::view::{Deploy, DeployOptions, Deployed, Target};
use crate::wire::{self, DeployHead, Request, WireError};

/// How long one node may take to receive, compile and store a component.
const WITHIN: Duration = Duration::from_secs(120);

impl Node {
    /// Deploys a component to one node or to all that can be reached, at the same time.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the target names nobody. What happens on each node is told by its
    /// [`Deployed`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future breaks off; nodes that finished keep the component.
    pub async fn deploy(self: &Arc<Self>, deploy: Deploy) -> Result<Vec<Deployed>, Failure> {
        let Deploy { name, wasm, target, options } = deploy;
        let nodes = match &target {
            Target::Here => vec![self.id()],
            Target::All => self.members.all().into_iter().map(|(id, _)| id).collect(),
            Target::Node(text) => vec![self.members.find(text)?],
        };
        let content = ContentId::of(&wasm);
        let everybody = matches!(target, Target::All);
        let draining = |node: &NodeId| match self.id() == *node {
            true => self.draining.load(Ordering::SeqCst),
            false => self.members.get(node).is_some_and(|it| it.drains()),
        };
        if let (Target::Node(_) | Target::Here, Some(node)) = (&target, nodes.first())
            && draining(node)
        {
            let name = self.members.name_of(node);
            let text =
                format!("node {name} drains: it takes nothing new until `sedge node undrain`");
            return Err(Failure::new(ErrorKind::Unavailable, "draining", text));
        }
        let reports = nodes.into_iter().map(|node| {
            let skipped = everybody && draining(&node);
            let (name, wasm, options) = (name.clone(), wasm.clone(), options.clone());
            async move {
                let began = Instant::now();
                let node_name = self.members.name_of(&node);
                if skipped {
                    let (content, failure) = (None, None);
                    return Deployed { node, node_name, content, failure, skipped, took_ms: 0 };
                }
                let done = if node == self.id() {
                    self.deploy_here(name, wasm, Some(content), options).await
                } else {
                    self.deploy_there(node, name, wasm, options).await
                };
                Deployed {
                    node,
                    node_name,
                    content: done.as_ref().ok().copied(),
                    failure: done.err(),
                    skipped,
                    took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                }
            }
        });
        let reports = join_all(reports).await;
        if reports.iter().any(|it| it.node == self.id() && it.content.is_some()) {
            // What this node offers has changed: tell now, so that the next call finds it.
            join_all(self.members.others().into_iter().map(|it| self.beat(it))).await;
        }
        Ok(reports)
    }

    /// Compiles a component, stores it, and offers it. When this returns, a crash loses nothing.
    pub(crate) async fn deploy_here(
        &self,
        name: Name,
        wasm: Bytes,
        expect: Option<ContentId>,
        options: DeployOptions,
    ) -> Result<ContentId, Failure> {
        let taken = self.registry.get(&name).map(|it| it.handle().descriptor().kind);
        if taken.is_some_and(|it| it != Kind::Function) {
            let text = format!("`{name}` is the name of a model here; choose another");
            return Err(Failure::new(ErrorKind::Conflict, "name_taken", text));
        }
        let stored = sedge_store::Deployment {
            name: name.to_string(),
            content: ContentId::of(&wasm),
            options: serde_json::to_string(&options).map_err(internal)?,
            deployed_at: self.clock.now(),
        };
        let function = self
            .engine
            .deploy(deployment(name, wasm.clone(), expect, options))
            .await
            .map_err(refused)?;
        let content = stored.content;
        self.store
            .blobs()
            .put(wasm.into(), Some(content))
            .await
            .map_err(|it| unwritten(it.kind(), it))?;
        self.store.deployments().put(stored).await.map_err(|it| unwritten(it.kind(), it))?;
        let limit = self.config.node.max_tasks.get();
        self.registry.offer(function, limit)?;
        self.changed.notify_one();
        Ok(content)
    }

    pub(crate) async fn deploy_there(
        self: &Arc<Self>,
        node: NodeId,
        name: Name,
        wasm: Bytes,
        options: DeployOptions,
    ) -> Result<ContentId, Failure> {
        let node_name = self.members.name_of(&node);
        let conn = self.mesh.conn(self, node).await?;
        let work = async {
            let stream = conn.open(OPEN_WITHIN).await.map_err(|error| {
                let text = format!("node {node_name} does not answer: {error}");
                Failure::new(error.kind(), "node_unreachable", text)
            })?;
            let mut writer = FrameWriter::new(stream.send);
            let mut reader = FrameReader::new(stream.recv);
            let content = ContentId::of(&wasm);
            let length = wasm.len() as u64;
            let request = Request::Deploy(DeployHead { name, content, options, length });
            let sent: Result<ContentId, WireError> = async {
                wire::send_request(&mut writer, &request).await?;
                wire::send_body(&mut writer, &wasm).await?;
                wire::read_reply(&mut reader).await
            }
            .await;
            sent.map_err(|error| match error {
                WireError::Refused(failure) => failure,
                error => {
                    let text = format!("node {node_name} was lost: {error}");
                    Failure::new(ErrorKind::Unavailable, "node_lost", text)
                }
            })
        };
        let done = tokio::time::timeout(WITHIN, work).await.map_err(|_| {
            let text = format!("node {node_name} did not finish within {WITHIN:?}");
            Failure::new(ErrorKind::Timeout, "deploy_timeout", text)
        })?;
        if done.is_ok() {
            // What it offers has changed: ask now, so that the next call finds it.
            self.beat(node).await;
        }
        done
    }

    /// Offers again what was deployed before the last stop.
    ///
    /// A component that does not compile any more is reported and left in the store.
    pub(crate) async fn redeploy(&self) -> Result<(), Failure> {
        for stored in self.store.deployments().list().await.map_err(internal)? {
            let again = async {
                let name: Name = stored.name.parse().map_err(internal)?;
                let wasm = self.store.blobs().get(stored.content).await.map_err(internal)?;
                let options: DeployOptions =
                    serde_json::from_str(&stored.options).map_err(internal)?;
                let function = self
                    .engine
                    .deploy(deployment(name, wasm.into(), Some(stored.content), options))
                    .await
                    .map_err(refused)?;
                self.registry.offer(function, self.config.node.max_tasks.get())
            };
            if let Err(failure) = again.await {
                tracing::warn!(target: "sedge::events::redeploy_failed", name = stored.name, %failure);
            }
        }
        Ok(())
    }
}

fn deployment(
    name: Name,
    wasm: Bytes,
    expect: Option<ContentId>,
    options: DeployOptions,
) -> Deployment {
    let DeployOptions { limits, env, args, idempotent } = options;
    let idempotence = if idempotent { Idempotence::Idempotent } else { Idempotence::Once };
    let usual = Deployment::new(name, wasm);
    Deployment { expect, limits, env, args, idempotence, ..usual }
}

/// Turns what the functions' side says into what a caller sees.
fn refused(error: DeployError) -> Failure {
    Failure::new(error.kind(), error.code(), with_source(&error))
}
