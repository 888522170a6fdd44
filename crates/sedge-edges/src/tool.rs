//! A tool of an edge, as a capability.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sedge_base::{ErrorKind, TaskScope};
use sedge_capability::{
    Budgets, Capability, Descriptor, End, Failure, Idempotence, Kind, Outcome, Sink, Task, Usage,
};
use sedge_trust::Approval;
use sedge_trust::approval::canonical_arguments;
use sedge_trust::receipt::{Rung, Status};
use serde_json::{Map, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::edges::Shared;
use crate::link::{Artifact, Connected, ToolRequest, ToolResult};
use crate::registration::Tool;
use crate::wish::Wish;

/// The most bytes of artifacts that travel with an answer: they share its end record.
const CARRIED: usize = 256 << 10;

/// One tool of one link; after the link's end it refuses.
pub(crate) struct EdgeTool {
    connected: Arc<Connected>,
    descriptor: Arc<Descriptor>,
    tool: usize,
    usual_timeout: Duration,
    people: Option<mpsc::Sender<Wish>>,
    scope: TaskScope,
}

impl fmt::Debug for EdgeTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeTool").field("name", &self.descriptor.name).finish_non_exhaustive()
    }
}

impl EdgeTool {
    pub(crate) fn new(connected: &Arc<Connected>, tool: usize, shared: &Shared) -> Option<Self> {
        let edge = connected.registration.id();
        let it = connected.registration.tools.get(tool)?;
        let words =
            if it.description.is_empty() { "says nothing about it" } else { &it.description };
        let labels = [("edge", edge.as_str()), ("tool", it.name.as_str())];
        let descriptor = Descriptor {
            name: format!("edge:{edge}.{}", it.name).parse().ok()?,
            kind: Kind::Tool,
            summary: format!("{} on {edge}: {words}", it.name),
            input: it.input_schema.clone(),
            output: Descriptor::bytes_schema(),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            limits: Budgets::default(),
            idempotence: Idempotence::Once,
            rung: Rung::Attested,
            content: None,
        };
        Some(Self {
            connected: Arc::clone(connected),
            descriptor: Arc::new(descriptor),
            tool,
            usual_timeout: shared.config.tool_timeout,
            people: shared.people.clone(),
            scope: shared.scope.clone(),
        })
    }

    /// Returns how long a run may take: what the tool says, or else the node; never longer than
    /// the task's own time.
    fn timeout(&self, budgets: &Budgets, waited: Duration) -> Duration {
        let own = self.connected.registration.tools.get(self.tool).and_then(|it| it.timeout);
        let most = own.unwrap_or(self.usual_timeout);
        budgets.time().map_or(most, |it| it.saturating_sub(waited).min(most))
    }

    /// Waits for a person's yes; returns the arguments as they were approved, and the approval.
    async fn approved(&self, tool: &Tool, task: &Task) -> Result<(String, Approval), Failure> {
        let nobody = || {
            let text = format!("`{}` asks for a person's approval, and nobody gave it", tool.name);
            Failure::new(ErrorKind::Denied, "needs_approval", text)
        };
        let people = self.people.as_ref().ok_or_else(nobody)?;
        let (arguments, arguments_id) = canonical_arguments(&task.input)
            .map_err(|it| Failure::new(it.kind(), "invalid_input", it))?;
        let arguments = String::from_utf8(arguments).map_err(|_| nobody())?;
        let (answer, said) = oneshot::channel();
        let wish = Wish {
            edge: self.connected.registration.id().clone(),
            capability: self.descriptor.name.clone(),
            arguments: arguments.clone(),
            arguments_id,
            asked_by: task.requester,
            wait: task.budgets.time(),
            answer,
        };
        people.try_send(wish).map_err(|_| {
            let text = "too many tasks wait to ask a person";
            Failure::new(ErrorKind::Exhausted, "too_many_approvals", text)
        })?;
        let approval = said.await.map_err(|_| nobody())??;
        Ok((arguments, approval))
    }
}

#[async_trait]
impl Capability for EdgeTool {
    fn descriptor(&self) -> Arc<Descriptor> {
        Arc::clone(&self.descriptor)
    }

    async fn run(&self, task: Task) -> Result<Outcome, Failure> {
        let edge = self.connected.registration.id();
        let Some(tool) = self.connected.registration.tools.get(self.tool) else {
            return Err(gone(edge.as_str()));
        };
        let begun = Instant::now();
        let approved = match tool.requires_approval {
            true => Some(self.approved(tool, &task).await?),
            false => None,
        };
        let most = self.timeout(&task.budgets, begun.elapsed());
        if most.is_zero() {
            return Err(Failure::new(ErrorKind::Timeout, "deadline", "there is no time to run it"));
        }
        let (input, approval) = match approved {
            Some((input, approval)) => (input, Some(approval)),
            None => (text(&task)?, None),
        };
        let signed = approval.as_ref().map(written).transpose()?;
        let place = Arc::clone(&self.connected.places).try_acquire_owned().map_err(|_| {
            let text = format!("the edge `{edge}` runs as many tools as it may");
            Failure::new(ErrorKind::Exhausted, "busy", text)
        })?;
        let execution = task.id.to_string();
        let tool = tool.name.clone();
        let request = ToolRequest { execution, tool, input, timeout: most, approval: signed };
        let execution = request.execution.clone();
        let answer = self.connected.ask(request).ok_or_else(|| gone(edge.as_str()))?;
        let (sink, outcome) = Outcome::channel();
        let connected = Arc::clone(&self.connected);
        let run = Run { connected, execution, most, approval, _place: place };
        let output = task.budgets.output.map(|it| it.as_bytes());
        self.scope.spawn("edge tool", move |cancel| async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => run.give_up("context cancelled"),
                () = run.finish(answer, &sink, output) => {}
            }
        });
        Ok(outcome)
    }
}

fn text(task: &Task) -> Result<String, Failure> {
    String::from_utf8(task.input.to_vec()).map_err(|_| {
        Failure::new(ErrorKind::Invalid, "invalid_input", "the input of a tool is JSON text")
    })
}

/// Writes an approval as the edge reads it.
fn written(approval: &Approval) -> Result<String, Failure> {
    let damaged =
        |it: &dyn fmt::Display| Failure::new(ErrorKind::Internal, "unwritable_approval", it);
    let bytes = approval.to_bytes().map_err(|it| damaged(&it))?;
    String::from_utf8(bytes).map_err(|it| damaged(&it))
}

fn gone(edge: &str) -> Failure {
    let text = format!("the edge `{edge}` is not connected, or reads nothing");
    Failure::new(ErrorKind::Unavailable, "edge_gone", text)
}

/// One run that was asked for.
struct Run {
    connected: Arc<Connected>,
    execution: String,
    most: Duration,
    approval: Option<Approval>,
    _place: OwnedSemaphorePermit,
}

impl Run {
    fn give_up(&self, reason: &'static str) {
        self.connected.give_up(&self.execution, reason);
    }

    /// Adds who approved the run.
    fn end(&self, mut end: End) -> End {
        if let Some(Approval { facts, .. }) = &self.approval {
            let told = json!({
                "id": facts.question.nonce,
                "approver": facts.approver,
                "at": facts.issued_at,
            });
            end.detail.insert("approval".to_owned(), told);
        }
        end
    }

    /// Waits for the result, and hands it to the reader.
    async fn finish(
        &self,
        answer: oneshot::Receiver<ToolResult>,
        sink: &Sink,
        output: Option<u64>,
    ) {
        let begun = Instant::now();
        let answered = tokio::select! {
            biased;
            () = sink.gone() => return self.give_up("context cancelled"),
            answered = timeout(self.most, answer) => answered,
        };
        let mut usage = Usage { took_us: micros(begun.elapsed()), ..Usage::default() };
        let end = match answered {
            Err(_) => {
                self.give_up("timeout");
                let text = format!("tool execution timed out after {:?}", self.most);
                let failure = Failure::new(ErrorKind::Timeout, "deadline", text);
                End::failed(Status::Timeout, failure, usage)
            }
            Ok(Err(_)) => {
                let failure = gone(self.connected.registration.id().as_str());
                End::failed(Status::Error, failure, usage)
            }
            Ok(Ok(result)) => {
                let length = result.content.len() as u64;
                if output.is_some_and(|most| length > most) {
                    let text = format!("the tool gave {length} bytes, more than the task allows");
                    let failure = Failure::new(ErrorKind::Exhausted, "output_too_large", text);
                    End::failed(Status::Error, failure, usage)
                } else if result.artifacts.iter().map(|it| it.data.len()).sum::<usize>() > CARRIED {
                    let text = "the tool gave artifacts of more than 256 KiB beside its answer";
                    let failure = Failure::new(ErrorKind::Exhausted, "artifacts_too_large", text);
                    End::failed(Status::Error, failure, usage)
                } else if result.failed {
                    self.end(failed(result, usage))
                } else {
                    usage.output_bytes = length;
                    let ToolResult { content, took, artifacts, .. } = result;
                    if !content.is_empty() && sink.chunk(Bytes::from(content)).await.is_err() {
                        return;
                    }
                    let detail = detail(took, &artifacts);
                    self.end(End { detail, ..End::success(usage) })
                }
            }
        };
        sink.clone().end(end).await;
    }
}

fn failed(result: ToolResult, usage: Usage) -> End {
    let ToolResult { content, details, took, artifacts, .. } = result;
    let text = match (content.as_str(), details.as_str()) {
        ("", "") => "the tool failed without a word".to_owned(),
        (text, "") | ("", text) => text.to_owned(),
        (text, details) => format!("{text}: {details}"),
    };
    let failure = Failure::new(ErrorKind::Failed, "tool_failed", text);
    End { detail: detail(took, &artifacts), ..End::failed(Status::Error, failure, usage) }
}

/// Returns what is told beside the output: the edge's own time, and the artifacts.
fn detail(took: Duration, artifacts: &[Artifact]) -> Map<String, serde_json::Value> {
    let told = artifacts.iter().map(|it| {
        json!({
            "id": it.id,
            "type": it.kind,
            "mime_type": it.mime_type,
            "filename": it.filename,
            "size": it.size,
            "reference": it.reference,
            "data": STANDARD.encode(&it.data),
        })
    });
    let told: Vec<_> = told.collect();
    let mut detail = Map::new();
    detail.insert("edge_took_ms".to_owned(), json!(micros(took) / 1000));
    if !told.is_empty() {
        detail.insert("artifacts".to_owned(), told.into());
    }
    detail
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
