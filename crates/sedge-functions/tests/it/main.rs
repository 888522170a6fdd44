//! Functions as callers see them: real guests, real limits.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod code;
mod deploying;
mod foreign;
mod guests;
mod http;
mod limits;
mod running;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sedge_base::{NodeId, TaskScope, Timestamp};
use sedge_capability::{Budgets, Capability, End, Media, Task};
use sedge_functions::{
    DeployError, Deployment, Function, FunctionsConfig, FunctionsSection, Runtime,
};
use tempfile::TempDir;

/// A runtime with a folder of its own.
struct Bench {
    runtime: Runtime,
    scope: TaskScope,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with(FunctionsSection { pool: 16, ..FunctionsSection::default() })
    }

    fn with(section: FunctionsSection) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scope = TaskScope::new();
        let config = FunctionsConfig::try_from(section).unwrap();
        let runtime = Runtime::new(config, folder.path(), &scope).unwrap();
        Self { runtime, scope, folder }
    }

    async fn deploy(&self, guest: &str) -> Arc<Function> {
        self.runtime.deploy(deployment(guest)).await.unwrap()
    }

    async fn refused(&self, wasm: impl Into<Bytes>) -> DeployError {
        self.runtime.deploy(Deployment::new("f".parse().unwrap(), wasm.into())).await.unwrap_err()
    }
}

fn deployment(guest: &str) -> Deployment {
    Deployment::new(guest.parse().unwrap(), component(guest))
}

fn functions() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions"))
}

/// Returns the committed component of a guest.
fn component(guest: &str) -> Bytes {
    std::fs::read(functions().join(format!("{guest}.wasm"))).unwrap().into()
}

fn task(function: &Function, input: impl Into<Bytes>, budgets: Budgets) -> Task {
    Task {
        id: "t-1".parse().unwrap(),
        capability: function.descriptor().name.clone(),
        input: input.into(),
        media: Media::Plain,
        budgets,
        deadline: Timestamp::from_millis(u64::MAX),
        priority: Task::USUAL_PRIORITY,
        requester: NodeId::from_bytes([0; 32]),
    }
}

async fn call_within(
    function: &Function,
    input: impl Into<Bytes>,
    budgets: Budgets,
) -> (Vec<u8>, End) {
    function.run(task(function, input, budgets)).await.unwrap().collect().await
}

async fn call(function: &Function, input: impl Into<Bytes>) -> (Vec<u8>, End) {
    call_within(function, input, Budgets::default()).await
}

/// Returns the output as text, or the failure as `code: message`.
async fn answer(function: &Function, input: &'static str) -> String {
    let (output, end) = call(function, input).await;
    match end.failure {
        None => String::from_utf8(output).unwrap(),
        Some(failure) => format!("{}: {}", failure.code, failure.message),
    }
}

/// The function still answers as it should, whatever happened before.
async fn still_serves(function: &Function) {
    assert_eq!(answer(function, "echo still here").await, "still here");
}
