//! Plugins of this node: the sandboxes that they run in, and what the node tells them.
//!
//! A plugin is called and not routed: what it does is no task, and leaves no receipt.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use sedge_base::{ErrorKind, NodeId};
use sedge_capability::{Capability, Descriptor, End, Failure, Handle, Media, Outcome, Task, Usage};
use sedge_functions::code::{CodeResult, CodeStatus, Language, Tier};
use sedge_functions::{Deployment, Runtime};
use sedge_members::Listed;
use sedge_plugins::{
    Agreement, ChangeError, Emitted, Entry, EntryKind, Hooks, Host, Parts, PluginList, PluginView,
    Plugins, PluginsConfig, Ready,
};
use sedge_store::Store;
use sedge_trust::receipt::Status;
use serde_json::{Value, json};

use crate::execute::Executor;
use crate::home::Home;
use crate::node::{Node, internal, with_source};
use crate::registry::Registry;

/// Runs components as functions, and source files in the Wasm sandbox of their language.
struct Sandboxed {
    functions: Arc<Runtime>,
    registry: Arc<Registry>,
}

impl fmt::Debug for Sandboxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandboxed").finish_non_exhaustive()
    }
}

#[async_trait]
impl Host for Sandboxed {
    async fn ready(&self, name: &str, entry: &Entry) -> Result<Ready, Failure> {
        let language = match entry.kind {
            EntryKind::Component => return self.component(name, entry).await,
            EntryKind::Python => Language::Python,
            EntryKind::JavaScript => Language::JavaScript,
        };
        let wasm = |it: &Handle| {
            let descriptor = it.descriptor();
            let tiers = descriptor.labels.get("sandbox");
            tiers.is_some_and(|it| it.split(',').any(|it| it == Tier::Wasm.name()))
        };
        let code = format!("code:{language}").parse().map_err(broken)?;
        let code = self.registry.get(&code).map(|it| Arc::clone(it.handle())).filter(wasm);
        let code = code.ok_or_else(|| {
            let text = format!("this node has no Wasm sandbox for {language}");
            Failure::new(ErrorKind::Unsupported, "no_sandbox", text)
        })?;
        let source = String::from_utf8(entry.bytes.to_vec()).map_err(broken)?;
        Ok(Ready { imports: Vec::new(), handle: Arc::new(Script { code, source }) })
    }
}

impl Sandboxed {
    async fn component(&self, name: &str, entry: &Entry) -> Result<Ready, Failure> {
        let name = format!("plugin/{name}").parse().map_err(broken)?;
        let made = self.functions.deploy(Deployment::new(name, entry.bytes.clone())).await;
        let function = made.map_err(|it| Failure::new(it.kind(), it.code(), with_source(&it)))?;
        if function.handles_http() {
            let text = "the component handles HTTP and exports no `process`";
            return Err(Failure::new(ErrorKind::Unsupported, "no_entry", text));
        }
        Ok(Ready { imports: function.imports(), handle: function })
    }
}

/// A source file: what it reads is its input, and what it prints is its output.
struct Script {
    code: Handle,
    source: String,
}

#[async_trait]
impl Capability for Script {
    fn descriptor(&self) -> Arc<Descriptor> {
        self.code.descriptor()
    }

    async fn run(&self, task: Task) -> Result<Outcome, Failure> {
        let stdin = String::from_utf8(task.input.to_vec()).map_err(broken)?;
        // In Wasm and nowhere else, whatever the code asks for.
        let input = json!({ "code": self.source, "stdin": stdin, "sandbox": Tier::Wasm.name() });
        let task = Task { input: input.to_string().into(), media: Media::Plain, ..task };
        let (output, end) = self.code.run(task).await?.collect().await;
        if end.failure.is_some() {
            return Ok(Outcome::ready(output.into(), end));
        }
        let result: CodeResult = serde_json::from_slice(&output).map_err(broken)?;
        Ok(match wrong(&result) {
            None => Outcome::ready(result.stdout.into(), end),
            Some(failure) => failed(failure, end.usage),
        })
    }
}

/// Returns why a run gives no answer, if it does not.
fn wrong(result: &CodeResult) -> Option<Failure> {
    let said = result.error_message.clone().unwrap_or_default();
    Some(match result.status {
        CodeStatus::Success if result.truncated => {
            let text = format!("its answer of {} bytes is too long", result.stdout_bytes);
            Failure::new(ErrorKind::Exhausted, "output_too_large", text)
        }
        CodeStatus::Success => return None,
        CodeStatus::Timeout => Failure::new(ErrorKind::Timeout, "timeout", said),
        CodeStatus::SetupError => Failure::new(ErrorKind::Unsupported, "no_sandbox", said),
        CodeStatus::Error => {
            let mut lines = result.stderr.lines().filter(|it| !it.trim().is_empty());
            // JavaScript says first what is wrong, and Python last.
            let line = if result.language == Language::JavaScript.name() {
                lines.next()
            } else {
                lines.next_back()
            };
            let line: String = line.unwrap_or_default().trim().chars().take(400).collect();
            let text = if line.is_empty() { said } else { format!("{said}: {line}") };
            Failure::new(ErrorKind::Failed, "plugin_failed", text)
        }
    })
}

fn failed(failure: Failure, usage: Usage) -> Outcome {
    let status = match failure.kind {
        ErrorKind::Timeout => Status::Timeout,
        _ => Status::Error,
    };
    Outcome::ready(Vec::new().into(), End::failed(status, failure, usage))
}

/// Makes the shelf of a node's plugins; nothing is looked at yet.
pub(crate) fn open(
    (home, node): (&Home, NodeId),
    config: &PluginsConfig,
    store: &Store,
    functions: &Arc<Runtime>,
    executor: &Executor,
) -> Plugins {
    let registry = Arc::clone(executor.registry());
    Plugins::new(Parts {
        host: Arc::new(Sandboxed { functions: Arc::clone(functions), registry }),
        store: store.clone(),
        clock: executor.clock().clone(),
        node,
        folder: home.path().join("plugins"),
        config: config.clone(),
        hooks: Arc::clone(executor.hooks()),
    })
}

/// Returns a member's id, and what plugins are told when it has joined.
pub(crate) fn about(listed: &Listed) -> (NodeId, Value) {
    let member = &listed.membership.member;
    (member.node_id, json!({ "node": member.node_id, "name": member.name }))
}

impl Node {
    /// Returns every plugin of this node.
    pub fn plugins(&self) -> PluginList {
        self.plugins.list()
    }

    /// Returns one plugin of this node.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is none of that name.
    pub fn plugin(&self, name: &str) -> Result<PluginView, Failure> {
        self.plugins.show(name).map_err(refused)
    }

    /// Lets a plugin be called, with the rights that its owner has agreed to.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when its validation refuses it, or it is not what was agreed to.
    pub async fn enable_plugin(&self, name: &str, to: Agreement) -> Result<PluginView, Failure> {
        self.plugins.enable(name, to).await.map_err(refused)
    }

    /// Stops calling a plugin.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when there is none of that name, or that could not be kept.
    pub async fn disable_plugin(&self, name: &str) -> Result<PluginView, Failure> {
        self.plugins.disable(name).await.map_err(refused)
    }

    /// Looks into the folders of plugins now; returns the plugins afterwards.
    pub async fn reload_plugins(&self) -> PluginList {
        self.plugins.reload().await
    }

    /// Calls the plugins that registered for a hook.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when no hook is called that, or there is too much to tell.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the call that runs.
    pub async fn emit_hook(&self, hook: &str, data: &Value) -> Result<Emitted, Failure> {
        let emitted = self.plugins.emit(hook, data).await;
        emitted.map_err(|it| Failure::new(it.kind(), it.code(), it))
    }

    /// Returns where plugins are told of what happens.
    pub(crate) fn hooks(&self) -> &Hooks {
        self.executor.hooks()
    }

    /// Takes up what was decided about plugins, and tells them from now on what happens.
    pub(crate) async fn remember_plugins(self: &Arc<Self>) -> Result<(), Failure> {
        self.plugins.remember().await.map_err(internal)?;
        if !self.config.plugins.enabled {
            return Ok(());
        }
        let node = Arc::clone(self);
        self.scope.spawn("plugins", async move |cancel| {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = node.plugins.watch() => {}
                () = node.plugins.serve() => {}
            }
        });
        Ok(())
    }
}

/// Makes a failure of what cannot happen.
fn broken(error: impl fmt::Display) -> Failure {
    Failure::new(ErrorKind::Internal, "internal", error)
}

fn refused(error: ChangeError) -> Failure {
    Failure::new(error.kind(), error.code(), with_source(&error))
}
