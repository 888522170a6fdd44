//! The check that every implementation of [`Capability`](crate::Capability) passes in its own tests.

use std::collections::BTreeSet;

use bytes::Bytes;
use sedge_base::{ErrorKind, NodeId, TaskId, Timestamp};
use sedge_trust::receipt::Status;

use crate::{Budgets, Event, Handle, Media, Task};

/// Inputs that the check runs.
#[derive(Debug, Clone)]
pub struct Sample {
    /// An input that succeeds.
    pub good: Bytes,
    /// An input that is refused as [`ErrorKind::Invalid`], if the capability can tell.
    pub bad: Option<Bytes>,
}

/// A rule of the contract that an implementation broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{capability}` breaks the contract: {rule}")]
pub struct Broken {
    /// Which capability.
    pub capability: String,
    /// Which rule, in words.
    pub rule: String,
}

/// Runs the contract's rules against one capability.
///
/// # Errors
///
/// The first [`Broken`] rule.
pub async fn check(handle: Handle, sample: Sample) -> Result<(), Broken> {
    let descriptor = handle.descriptor();
    let broken =
        |rule: &str| Err(Broken { capability: descriptor.name.to_string(), rule: rule.to_owned() });
    if descriptor.summary.is_empty() || !descriptor.input.is_object() {
        return broken("it has a summary and an input schema");
    }

    // A good input gives chunks, one end, and nothing after it.
    let mut outcome = match handle.run(task(&handle, "one", sample.good.clone())).await {
        Ok(outcome) => outcome,
        Err(failure) => return broken(&format!("a good input is taken, not: {failure}")),
    };
    let mut bytes = 0;
    let mut ends = Vec::new();
    while let Some(event) = outcome.next().await {
        match event {
            Event::Chunk(chunk) => bytes += chunk.len() as u64,
            Event::End(end) => ends.push(end),
        }
    }
    let [end] = ends.as_slice() else { return broken("an outcome has exactly one end") };
    if end.status != Status::Success || end.failure.is_some() {
        return broken(&format!("a good input succeeds, not: {:?}", end.failure));
    }
    if end.usage.output_bytes != bytes {
        return broken("usage counts the bytes of all chunks");
    }

    // A caller that leaves harms nobody who comes later, and neither does one beside it.
    drop(handle.run(task(&handle, "two", sample.good.clone())).await);
    let (three, four) = tokio::join!(
        run(&handle, task(&handle, "three", sample.good.clone())),
        run(&handle, task(&handle, "four", sample.good.clone())),
    );
    let statuses: BTreeSet<_> =
        [three, four].into_iter().map(|it| it == Ok(Status::Success)).collect();
    if statuses.contains(&false) {
        return broken("tasks do not disturb each other");
    }

    // A bad input is the caller's mistake, told before or at the end.
    if let Some(bad) = sample.bad {
        match run(&handle, task(&handle, "five", bad)).await {
            Err(ErrorKind::Invalid) => {}
            other => return broken(&format!("a bad input is invalid, not: {other:?}")),
        }
    }

    // No time is no work.
    let mut hurried = task(&handle, "six", sample.good);
    hurried.budgets.time_ms = Some(0);
    match run(&handle, hurried).await {
        Err(ErrorKind::Timeout) => Ok(()),
        other => broken(&format!("a time budget of nothing is a timeout, not: {other:?}")),
    }
}

async fn run(handle: &Handle, task: Task) -> Result<Status, ErrorKind> {
    let (_, end) = handle.run(task).await.map_err(|it| it.kind)?.collect().await;
    match end.failure {
        None => Ok(end.status),
        Some(failure) => Err(failure.kind),
    }
}

fn task(handle: &Handle, id: &str, input: Bytes) -> Task {
    Task {
        id: id.parse::<TaskId>().unwrap_or_else(|_| unreachable!("a literal")),
        capability: handle.descriptor().name.clone(),
        input,
        media: Media::Plain,
        budgets: Budgets::default(),
        deadline: Timestamp::from_millis(u64::MAX),
        priority: Task::USUAL_PRIORITY,
        requester: NodeId::from_bytes([0; 32]),
    }
}
