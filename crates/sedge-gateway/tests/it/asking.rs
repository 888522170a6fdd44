//! What the tests ask a model, and how they read its answer.

use sedge_base::{ErrorKind, NodeId, Timestamp};
use sedge_capability::{Budgets, End, Failure, Handle, Media, Task};
use serde_json::Value;

/// Makes a task of an input in JSON.
pub(crate) fn task(handle: &Handle, input: &Value, budgets: Budgets) -> Task {
    Task {
        id: "asked".parse().unwrap(),
        capability: handle.descriptor().name.clone(),
        input: serde_json::to_vec(input).unwrap().into(),
        media: Media::Plain,
        budgets,
        deadline: Timestamp::from_millis(u64::MAX),
        priority: Task::USUAL_PRIORITY,
        requester: NodeId::from_bytes([0; 32]),
    }
}

/// Asks and returns the whole answer.
pub(crate) async fn ask(handle: &Handle, input: &Value, budgets: Budgets) -> (String, End) {
    let outcome = handle.run(task(handle, input, budgets)).await.unwrap();
    let (output, end) = outcome.collect().await;
    (String::from_utf8(output).unwrap(), end)
}

/// Asks what is refused, and returns the refusal: its code, its kind and its sentence.
pub(crate) async fn refusal(handle: &Handle, input: &Value) -> String {
    let failure: Option<Failure> = match handle.run(task(handle, input, Budgets::default())).await {
        Ok(outcome) => outcome.collect().await.1.failure,
        Err(failure) => Some(failure),
    };
    let Some(failure) = failure else { return "not refused".to_owned() };
    assert_eq!(failure.kind, ErrorKind::Invalid);
    format!("{}: {}", failure.code, failure.message)
}
