//! Calling the plugins that registered for a hook.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{ErrorKind, TaskId};
use sedge_capability::{Failure, Media, Task};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::events::{Changed, Failed};
use crate::manifest::is_name;
use crate::plugins::{Plugins, State, Version};
use crate::right::Right;

/// The most that a hook tells, in bytes of JSON.
const MOST_DATA: usize = 64 << 10;
/// After how many failures in a row a plugin is called no more.
const MOST_FAILURES: u32 = 3;

/// Why nobody was called.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// No hook can be called that.
    #[error("a hook is called 1 to 64 letters, digits, dots, hyphens or underscores")]
    BadHook,
    /// There is too much to tell.
    #[error("a hook tells at most {MOST_DATA} bytes, not {got}")]
    TooLarge {
        /// What it was to tell, in bytes.
        got: usize,
    },
}

impl EmitError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    /// Returns the stable name that machines read.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadHook => "bad_hook",
            Self::TooLarge { .. } => "data_too_large",
        }
    }
}

/// One call of one plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Called {
    /// The plugin.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// Its answer, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// Why it gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// What came of a hook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Emitted {
    /// The hook.
    pub hook: String,
    /// The calls, in their order.
    pub calls: Vec<Called>,
}

impl Plugins {
    /// Calls each active plugin that registered for a hook once, one after the other: the highest
    /// priority first, then by name. One that fails three times in a row is called no more.
    ///
    /// # Errors
    ///
    /// See [`EmitError`]; what a plugin does wrong is told by its [`Called`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the call that runs; the plugins after it are not called.
    pub async fn emit(&self, hook: &str, data: &Value) -> Result<Emitted, EmitError> {
        if !is_name(hook) {
            return Err(EmitError::BadHook);
        }
        let got = data.to_string().len();
        if got > MOST_DATA {
            return Err(EmitError::TooLarge { got });
        }
        let mut calls = Vec::new();
        for (name, version) in self.registered(hook) {
            let began = Instant::now();
            let answer = self.call(&version, hook, data).await;
            let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.note(&name, &version, hook, answer.as_ref().err());
            let (answer, failure) = match answer {
                Ok(answer) => (Some(answer), None),
                Err(failure) => (None, Some(failure)),
            };
            let version = version.manifest.version.to_string();
            calls.push(Called { plugin: name, version, answer, failure, took_us });
        }
        Ok(Emitted { hook: hook.to_owned(), calls })
    }

    /// Tells plugins what happens in the node until it is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the call that runs.
    pub async fn serve(&self) {
        while let Some((hook, data)) = self.parts.hooks.next().await {
            // What the node itself tells is short, and its hooks have names.
            drop(self.emit(hook, &data).await);
        }
    }

    fn registered(&self, hook: &str) -> Vec<(String, Arc<Version>)> {
        let shelf = self.shelf();
        let active = shelf.iter().filter(|it| it.1.state == State::Active);
        let active = active.filter_map(|(name, it)| Some((name.clone(), it.active.clone()?)));
        let mut registered: Vec<_> =
            active.filter(|(_, it)| it.manifest.hooks.contains(hook)).collect();
        // Names are in order already.
        registered.sort_by_key(|(_, it)| -it.manifest.priority);
        registered
    }

    async fn call(&self, version: &Version, hook: &str, data: &Value) -> Result<Value, Failure> {
        let internal =
            |it: &dyn ToString| Failure::new(ErrorKind::Internal, "internal", it.to_string());
        let manifest = &version.manifest;
        let values = manifest.rights.iter().filter_map(|it| match it {
            Right::Env(name) => Some((name, self.parts.config.env.get(name)?.reveal())),
            _ => None,
        });
        let env: BTreeMap<_, _> = values.collect();
        let input = json!({ "hook": hook, "data": data, "config": manifest.config, "env": env });
        let time = manifest.limits.time().unwrap_or(Duration::ZERO);
        let task = Task {
            id: "plugin".parse::<TaskId>().map_err(|it| internal(&it))?,
            capability: version.handle.descriptor().name.clone(),
            input: input.to_string().into(),
            media: Media::Plain,
            budgets: manifest.limits,
            deadline: self.parts.clock.now().plus(time),
            priority: Task::USUAL_PRIORITY,
            requester: self.parts.node,
        };
        let (output, end) = version.handle.run(task).await?.collect().await;
        if let Some(failure) = end.failure {
            return Err(failure);
        }
        serde_json::from_slice(&output).map_err(|error| {
            Failure::new(ErrorKind::Failed, "no_json", format!("its answer is not JSON: {error}"))
        })
    }

    /// Counts a call; what a version does that is active no more is its own affair.
    fn note(&self, name: &str, version: &Version, hook: &str, failure: Option<&Failure>) {
        let mut shelf = self.shelf();
        let Some(plugin) = shelf.get_mut(name) else { return };
        plugin.calls += 1;
        if plugin.active.as_ref().is_none_or(|it| it.content != version.content) {
            return;
        }
        let Some(failure) = failure else {
            (plugin.failures, plugin.error) = (0, None);
            return;
        };
        plugin.failures = plugin.failures.saturating_add(1);
        plugin.error = Some(failure.message.clone());
        Failed { name, hook, failure, in_a_row: plugin.failures }.emit();
        if plugin.failures >= MOST_FAILURES && plugin.state == State::Active {
            (plugin.state, plugin.active) = (State::Error, None);
            let version = version.manifest.version.to_string();
            Changed { name, version: &version, state: plugin.state }.emit();
            drop(shelf);
            self.want();
        }
    }
}
