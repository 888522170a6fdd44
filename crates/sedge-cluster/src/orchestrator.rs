//! Payloads handed in at once, and their results gathered later (seed 000, HEAD: `AsyncEdgeOrchestrator`), over the
//! node's batches.

use std::time::Duration;

use sedge_base::ErrorKind;
use sedge_capability::{Budgets, Failure, Name};
use sedge_node::{BatchAsk, BatchTask, Wish};
use serde::{Deserialize, Serialize};

use crate::cluster::EdgeCluster;
use crate::node::EdgeNodeStatus;

/// One payload on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatched {
    /// The node that runs it.
    pub node_id: String,
    /// The id by which its result is gathered.
    pub task_id: String,
}

/// Payloads that were handed in together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatch {
    /// The id of all of them together.
    pub id: String,
    /// Each of them, in order.
    pub tasks: Vec<Dispatched>,
}

/// What became of one payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retrieved {
    /// Whether it has ended.
    pub done: bool,
    /// What the function wrote, when it is text.
    pub result: Option<String>,
    /// The same in hexadecimal, when it is not.
    pub result_hex: Option<String>,
    /// Why there is nothing, if it failed or was interrupted.
    pub error: Option<String>,
}

/// Hands payloads to nodes in turn, and gathers what comes of them.
#[derive(Debug, Clone)]
pub struct AsyncEdgeOrchestrator(EdgeCluster);

impl EdgeCluster {
    /// Returns what hands payloads in.
    pub fn orchestrator(&self) -> AsyncEdgeOrchestrator {
        AsyncEdgeOrchestrator(self.clone())
    }
}

impl AsyncEdgeOrchestrator {
    /// Hands payloads for a function to the nodes that are online and have it, in turn; returns before they have run.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when no node that is online has the function; see [`sedge_node::Node::dispatch`].
    pub async fn dispatch(
        &self,
        function_id: &Name,
        payloads: Vec<String>,
    ) -> Result<Dispatch, Failure> {
        let seen = self.0.seen().await?.into_iter();
        let nodes: Vec<_> = seen
            .filter(|it| it.node.status == EdgeNodeStatus::Online)
            .filter(|it| it.view.functions.contains(function_id))
            .collect();
        if nodes.is_empty() {
            let text = format!("Function not found: {function_id}");
            return Err(Failure::new(ErrorKind::NotFound, "unknown_function", text));
        }
        let in_turn = || nodes.iter().cycle();
        let tasks = payloads.iter().zip(in_turn()).map(|(payload, it)| Wish {
            function: function_id.clone(),
            input: payload.clone(),
            input_hex: None,
            on: Some(it.view.id.to_string()),
            budgets: Budgets::default(),
        });
        let batch = self.0.node.dispatch(BatchAsk { tasks: tasks.collect() }).await?;
        let tasks = (0..batch.tasks).zip(in_turn()).map(|(index, it)| Dispatched {
            node_id: it.node.id.clone(),
            task_id: format!("{}:{index}", batch.id),
        });
        Ok(Dispatch { tasks: tasks.collect(), id: batch.id })
    }

    /// Returns what became of the payloads that were handed in together, in order; waits up to `wait` for all.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there are none of that id.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn gather(&self, id: &str, wait: Duration) -> Result<Vec<Retrieved>, Failure> {
        let gathered = self.0.node.gather(id, wait).await?;
        Ok(gathered.results.into_iter().map(retrieved).collect())
    }

    /// Returns what became of one payload, as far as it has ended.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is none of that id.
    pub async fn retrieve_result(&self, task_id: &str) -> Result<Retrieved, Failure> {
        let unknown = || {
            let text = format!("there is no task `{task_id}`; results are kept for an hour");
            Failure::new(ErrorKind::NotFound, "unknown_task", text)
        };
        let (id, index) = task_id.split_once(':').ok_or_else(unknown)?;
        let index: usize = index.parse().map_err(|_| unknown())?;
        let gathered = self.0.node.gather(id, Duration::ZERO).await?;
        let found = gathered.results.into_iter().find(|it| it.index == index);
        found.map(retrieved).ok_or_else(unknown)
    }
}

fn retrieved(task: BatchTask) -> Retrieved {
    let done = task.state.has_ended();
    let ran = task.ran;
    let failed = ran.failure.map(|it| format!("Edge function failed: {it}"));
    let empty = done && ran.output.is_none() && ran.output_hex.is_none();
    let interrupted = || "the node stopped while it ran".to_owned();
    Retrieved {
        done,
        error: failed.or_else(|| empty.then(interrupted)),
        result: ran.output,
        result_hex: ran.output_hex,
    }
}
