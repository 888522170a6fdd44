//! Runs components once each and prints what came of it, so that two machines can be compared:
//! `call COMPONENT INPUT [COMPONENT INPUT]...`.
//!
//! Each line is the component's content id, the status, the fuel that was used, and the output's SHA-256
//! with its length. Nothing of the machine is in it, so equal machines and different ones print the same.
#![expect(clippy::print_stdout, reason = "it is a program")]

use std::error::Error;

use sedge_base::{ContentId, NodeId, TaskScope, Timestamp};
use sedge_capability::{Budgets, Capability, Media, Task};
use sedge_functions::{Deployment, FunctionsConfig, FunctionsSection, Runtime};

fn main() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let scope = TaskScope::new();
    // A small pool: an emulated machine has a smaller address space.
    let section = FunctionsSection { pool: 0, ..FunctionsSection::default() };
    let runtime = Runtime::new(FunctionsConfig::try_from(section)?, folder.path(), &scope)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    for pair in arguments.chunks(2) {
        let [path, input] = pair else { return Err("each component needs an input".into()) };
        let wasm = std::fs::read(path)?;
        let function = runtime.deploy(Deployment::new("guest".parse()?, wasm.into())).await?;
        let descriptor = function.descriptor();
        let task = Task {
            id: "once".parse()?,
            capability: descriptor.name.clone(),
            input: input.clone().into(),
            media: Media::Plain,
            budgets: Budgets::default(),
            deadline: Timestamp::from_millis(u64::MAX),
            priority: Task::USUAL_PRIORITY,
            requester: NodeId::from_bytes([0; 32]),
        };
        let (output, end) = function.run(task).await?.collect().await;
        let content = descriptor.content.ok_or("a component has a content id")?;
        let (fuel, length) = (end.usage.fuel.unwrap_or(0), output.len());
        let failure = end.failure.map(|it| format!(" ({}: {})", it.code, it.message));
        println!(
            "{content} {:?}{} {fuel} {} {length}",
            end.status,
            failure.unwrap_or_default(),
            ContentId::of(&output)
        );
    }
    Ok(())
}
