//! A capability of another node, behind the same handle as one of this node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sedge_base::{ContentHasher, ContentId, ErrorKind, NodeId, TaskScope};
use sedge_capability::{Capability, Descriptor, End, Failure, Outcome, Sink, Task, Usage};
use sedge_ledger::{Expected, Ledger};
use sedge_net::{Conn, FrameReader, FrameWriter};
use sedge_trust::receipt::Status;

use crate::access::Pass;
use crate::wire::{self, Reader, Request, RunFrame, RunHead, WireError, Writer};

/// How long a stream may take to open on a connection that is there.
pub(crate) const OPEN_WITHIN: Duration = Duration::from_secs(2);

/// The code when a node was lost that may have begun the task.
pub(crate) const NODE_LOST: &str = "node_lost";

/// A capability that another member offers.
pub(crate) struct Remote {
    pub(crate) conn: Conn,
    pub(crate) node_name: String,
    pub(crate) descriptor: Arc<Descriptor>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) scope: TaskScope,
    /// What the task was asked for with, if not with the node's key; the executing node checks it.
    pub(crate) pass: Option<Arc<Pass>>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { conn, node_name, descriptor, .. } = self;
        f.debug_struct("Remote")
            .field("node", node_name)
            .field("peer", &conn.peer())
            .field("name", &descriptor.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Capability for Remote {
    fn descriptor(&self) -> Arc<Descriptor> {
        Arc::clone(&self.descriptor)
    }

    /// Sends the task there and waits for the first sign of an answer, so that a refusal is an
    /// error of this call and not of the outcome.
    async fn run(&self, task: Task) -> Result<Outcome, Failure> {
        let lost = |error: &WireError| lost(&self.node_name, error);
        let task_hash = task.hash().map_err(|it| {
            Failure::new(ErrorKind::Invalid, "task_too_large", format!("the task: {it}"))
        })?;
        let stream = self.conn.open(OPEN_WITHIN).await.map_err(|error| {
            let text = format!("node {} does not answer: {error}", self.node_name);
            Failure::new(error.kind(), "node_unreachable", text)
        })?;
        let mut writer = FrameWriter::new(stream.send);
        let mut reader = FrameReader::new(stream.recv);
        let head = Request::Run(RunHead {
            task: task.id.clone(),
            capability: task.capability.clone(),
            media: task.media,
            budgets: task.budgets,
            deadline: task.deadline,
            priority: task.priority,
            length: task.input.len() as u64,
            token: self.pass.as_ref().map(|it| it.text().to_owned()),
        });
        wire::send_request(&mut writer, &head).await.map_err(|it| lost(&it))?;
        wire::send_body(&mut writer, &task.input).await.map_err(|it| lost(&it))?;
        let first = match wire::read_run_frame(&mut reader).await.map_err(|it| lost(&it))? {
            RunFrame::Refused(failure) => return Err(failure),
            first => first,
        };

        let (sink, outcome) = Outcome::channel();
        let run = Run {
            executor: self.conn.peer(),
            node_name: self.node_name.clone(),
            task,
            task_hash,
            ledger: Arc::clone(&self.ledger),
        };
        self.scope.spawn("remote task", async move |cancel| {
            tokio::select! {
                biased;
                () = run.relay((reader, writer), first, &sink) => {}
                () = cancel.cancelled() => {}
            }
        });
        Ok(outcome)
    }
}

/// A task that runs on another node.
struct Run {
    executor: NodeId,
    node_name: String,
    task: Task,
    task_hash: ContentId,
    ledger: Arc<Ledger>,
}

impl Run {
    /// Hands on what the executor sends. When the reader leaves, dropping the stream tells the
    /// executor to stop.
    async fn relay(&self, (mut reader, writer): (Reader, Writer), first: RunFrame, sink: &Sink) {
        let mut hash = ContentHasher::default();
        let mut frame = first;
        loop {
            match frame {
                RunFrame::Chunk(chunk) => {
                    hash.update(&chunk);
                    if sink.chunk(chunk).await.is_err() {
                        return;
                    }
                }
                RunFrame::End(end) => {
                    let end = self.settle(*end, hash.finish(), writer).await;
                    return sink.clone().end(end).await;
                }
                RunFrame::Refused(failure) => {
                    let end = End::failed(Status::Error, failure, Usage::default());
                    return sink.clone().end(end).await;
                }
            }
            let next = tokio::select! {
                biased;
                () = sink.gone() => return,
                next = wire::read_run_frame(&mut reader) => next,
            };
            frame = match next {
                Ok(next) => next,
                Err(error) => {
                    let failure = lost(&self.node_name, &error);
                    let end = End::failed(Status::Error, failure, Usage::default());
                    return sink.clone().end(end).await;
                }
            };
        }
    }

    /// Checks the receipt against what this node knows itself, signs it, and sends it back.
    async fn settle(&self, mut end: End, output_hash: ContentId, mut writer: Writer) -> End {
        let Some(receipt) = end.receipt.take() else {
            return unproven(end, &self.node_name, "it sent no receipt");
        };
        let expected = Expected {
            executor: self.executor,
            task: &self.task,
            task_hash: self.task_hash,
            output_hash,
            status: end.status,
        };
        match self.ledger.countersign(*receipt, expected).await {
            Ok(receipt) => {
                // The executor's copy is for its own chain: if it cannot be told now, ours is
                // complete all the same.
                if wire::send_receipt(&mut writer, &receipt).await.is_ok() {
                    drop(writer.into_inner().finish().await);
                }
                end.receipt = Some(Box::new(receipt));
                end
            }
            Err(error) => unproven(end, &self.node_name, &error.to_string()),
        }
    }
}

/// An answer whose receipt does not hold is no answer.
fn unproven(end: End, node: &str, why: &str) -> End {
    let text = format!("node {node} did not prove its answer: {why}");
    let failure = Failure::new(ErrorKind::Corrupt, "unproven", text);
    End { receipt: None, ..End::failed(Status::Error, failure, end.usage) }
}

fn lost(node: &str, error: &WireError) -> Failure {
    match error {
        WireError::Refused(failure) => failure.clone(),
        error => {
            let text = format!("node {node} was lost: {error}");
            Failure::new(ErrorKind::Unavailable, NODE_LOST, text)
        }
    }
}
