//! Bringing a component to nodes: by content, stored before it is acknowledged.

mod apps;
mod channels;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use sedge_base::{ContentId, ErrorKind, NodeId};
use sedge_capability::{Failure, Idempotence, Kind, Name};
use sedge_functions::{DeployError, Deployment};
use sedge_net::{FrameReader, FrameWriter};
use tokio::time::Instant;

use crate::node::{Node, internal, unwritten, with_source};
use crate::placing::Chosen;
use crate::remote::OPEN_WITHIN;
use crate::view::{Deploy, DeployOptions, Deployed};
use crate::wire::{self, DeployHead, Request, WireError};

pub(crate) use channels::Channels;

/// How long one node may take to receive, compile and store a component.
const WITHIN: Duration = Duration::from_secs(120);

impl Node {
    /// Deploys a component, or what is made of a core module, to one node, to all that can be reached, or to those that fit best, at the
    /// same time.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the target names nobody, or a node that does not fit, or when too few fit.
    /// What happens on each node is told by its [`Deployed`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future breaks off; nodes that finished keep the component.
    pub async fn deploy(self: &Arc<Self>, deploy: Deploy) -> Result<Vec<Deployed>, Failure> {
        let Deploy { name, wasm, target, options } = deploy;
        let Chosen { nodes, skipped, surplus } = self.choose(&name, &target, &options)?;
        // Every node gets the same component; what is none is told by each as it always is.
        let wasm = self.functions.component_of(wasm).await.map_err(refused)?;
        let content = ContentId::of(&wasm);
        let reports = nodes.into_iter().map(|node| {
            let (name, wasm, options) = (name.clone(), wasm.clone(), options.clone());
            async move {
                let began = Instant::now();
                let done = if node == self.id() {
                    self.deploy_here(name, wasm, Some(content), options).await
                } else {
                    self.deploy_there(node, name, wasm, options).await
                };
                Deployed {
                    node,
                    node_name: self.members.name_of(&node),
                    content: done.as_ref().ok().copied(),
                    failure: done.err(),
                    skipped: false,
                    reason: None,
                    took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                }
            }
        });
        let mut reports = join_all(reports).await;
        let left_out = |node, reason, failure| Deployed {
            node,
            node_name: self.members.name_of(&node),
            content: None,
            failure,
            skipped: true,
            reason: Some(reason),
            took_ms: 0,
        };
        reports.extend(skipped.into_iter().map(|it| left_out(it.0, it.1.to_string(), None)));
        // What is one too many goes only when the wanted number is there.
        if reports.iter().all(|it| it.failure.is_none()) {
            let kept = self.forget_there(&name, &surplus).await;
            reports.extend(surplus.into_iter().map(|node| {
                let failure = kept.iter().find(|it| it.0 == node).map(|it| it.1.clone());
                left_out(node, "more replicas than are wanted".to_owned(), failure)
            }));
        }
        if reports.iter().any(|it| it.node == self.id() && it.content.is_some()) {
            // What this node offers has changed: tell now, so that the next call finds it.
            self.tell_others().await;
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
        let _room = self.registry.reserve(&name, self.config.node.max_functions.get())?;
        self.check_fits(&name, &options)?;
        self.has_secrets(&options.outbound)?;
        let stored = sedge_store::Deployment {
            name: name.to_string(),
            content: ContentId::of(&wasm),
            options: serde_json::to_string(&options).map_err(internal)?,
            deployed_at: self.clock.now(),
        };
        let share = options.share.clone();
        let function = self
            .engine
            .deploy(deployment(name.clone(), wasm.clone(), expect, options))
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
        self.plans.channels.set(&name, share.as_ref(), self.clock.now());
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
        self.may_carry(&conn, wasm.len() as u64).await?;
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
                let share = options.share.clone();
                let function = self
                    .engine
                    .deploy(deployment(name.clone(), wasm.into(), Some(stored.content), options))
                    .await
                    .map_err(refused)?;
                self.plans.channels.set(&name, share.as_ref(), self.clock.now());
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
    let DeployOptions { limits, env, args, idempotent, share, outbound, .. } = options;
    let idempotence = if idempotent { Idempotence::Idempotent } else { Idempotence::Once };
    let usual = Deployment::new(name, wasm);
    Deployment { expect, limits, env, args, share, outbound, idempotence, ..usual }
}

/// Turns what the functions' side says into what a caller sees.
pub(crate) fn refused(error: DeployError) -> Failure {
    Failure::new(error.kind(), error.code(), with_source(&error))
}
