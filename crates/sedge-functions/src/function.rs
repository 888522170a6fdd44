//! A deployed component: a capability that runs each task in a fresh instance.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::{Request, Response};
use sedge_base::{Cancel, ContentId, ErrorKind};
use sedge_capability::http::{read_request, write_response};
use sedge_capability::{
    Capability, Descriptor, End, Failure, Idempotence, Kind, Media, Name, Outcome, Sink, Task,
    Usage,
};
use sedge_trust::receipt::{Rung, Status};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use wasmtime::Store;

use crate::call::{self, CallError, Spent};
use crate::deploy::Entry;
use crate::events::CallEnded;
use crate::guard::{self, Guard, Guarded};
use crate::host::{Bare, Wasi};
use crate::limits::Limits;
use crate::metrics::{Metrics, Recorder, Stats};
use crate::runtime::Shared;

/// A deployed component.
///
/// A task that ends within the first tick (10 ms) runs where it was asked for; a longer one moves
/// to the runtime's scope and gives way every tick.
pub struct Function(Arc<Inner>);

pub(crate) struct Inner {
    descriptor: Arc<Descriptor>,
    pub(crate) entry: Entry,
    pub(crate) limits: Limits,
    shared: Arc<Shared>,
    recorder: Recorder,
    warm: AtomicBool,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Function").field(&self.0.descriptor.name).finish()
    }
}

/// What a task gives when nobody refused it: output and end.
type Answer = Result<(Bytes, End), Failure>;
type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What a set of functions did; the names are those of origins 1.1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The node that the functions are deployed on.
    pub node_id: String,
    /// How many there are.
    pub functions_deployed: u64,
    /// Successful calls of all together.
    pub total_invocations: u64,
    /// Cold calls of all together.
    pub cold_starts: u64,
    /// How many have succeeded once, or were warmed up.
    pub warm_functions: u64,
}

impl Summary {
    /// Sums up what the functions of a node did.
    pub fn of<'a>(
        node_id: impl Into<String>,
        functions: impl IntoIterator<Item = &'a Function>,
    ) -> Self {
        let mut summary = Self {
            node_id: node_id.into(),
            functions_deployed: 0,
            total_invocations: 0,
            cold_starts: 0,
            warm_functions: 0,
        };
        for function in functions {
            let stats = function.stats();
            summary.functions_deployed += 1;
            summary.total_invocations += stats.successes.unwrap_or(0);
            summary.cold_starts += stats.cold_starts.unwrap_or(0);
            summary.warm_functions += u64::from(function.is_warm());
        }
        summary
    }
}

/// A description that lacks what the component itself decides.
pub(crate) struct Description {
    name: Name,
    summary: String,
    labels: BTreeMap<String, String>,
    limits: Limits,
}

impl Description {
    /// Adds what the component decides.
    pub(crate) fn with_proof(
        self,
        idempotence: Idempotence,
        replayable: bool,
        content: ContentId,
    ) -> Descriptor {
        let Self { name, summary, labels, limits } = self;
        Descriptor {
            summary: if summary.is_empty() { format!("the function {name}") } else { summary },
            name,
            kind: Kind::Function,
            input: Descriptor::bytes_schema(),
            output: Descriptor::bytes_schema(),
            labels,
            limits: limits.to_budgets(),
            idempotence,
            rung: if replayable { Rung::ReRunnable } else { Rung::Attested },
            content: Some(content),
        }
    }
}

impl Function {
    pub(crate) fn describe(
        name: Name,
        summary: String,
        labels: BTreeMap<String, String>,
        limits: Limits,
    ) -> Description {
        Description { name, summary, labels, limits }
    }

    pub(crate) fn new(
        descriptor: Descriptor,
        entry: Entry,
        limits: Limits,
        shared: Arc<Shared>,
    ) -> Self {
        Self(Arc::new(Inner {
            descriptor: Arc::new(descriptor),
            entry,
            limits,
            shared,
            recorder: Recorder::default(),
            warm: AtomicBool::new(false),
        }))
    }

    /// Returns the component behind it.
    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Returns whether it has succeeded once, or was warmed up, since it was deployed.
    pub fn is_warm(&self) -> bool {
        self.0.warm.load(Ordering::Relaxed)
    }

    /// Returns what the component imports, such as `wasi:clocks/wall-clock@0.2.0`.
    pub fn imports(&self) -> Vec<String> {
        let component = match &self.0.entry {
            Entry::Bare(_) => return Vec::new(),
            Entry::Process(it, _) => it.instances.component(),
            Entry::Http(it, _) => it.instance_pre().component(),
        };
        let kind = component.component_type();
        kind.imports(&self.0.shared.engine).map(|(name, _)| name.to_owned()).collect()
    }

    /// Returns whether it handles HTTP and has no `process`.
    pub fn handles_http(&self) -> bool {
        matches!(self.0.entry, Entry::Http(..))
    }

    /// Returns its counts since it was deployed.
    pub fn stats(&self) -> Stats {
        self.0.recorder.stats()
    }

    /// Returns its rates and percentiles since it was deployed.
    pub fn metrics(&self) -> Metrics {
        self.0.recorder.metrics()
    }

    /// Makes one instance and throws it away, so that the next call is not a cold one.
    ///
    /// The function itself is not called, and nothing is counted. As in the seed, the function is
    /// warm afterwards even when this failed; the next call says why.
    pub async fn warm_up(&self) {
        self.0.warm_up().await;
        self.0.warm.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Capability for Function {
    fn descriptor(&self) -> Arc<Descriptor> {
        Arc::clone(&self.0.descriptor)
    }

    async fn run(&self, task: Task) -> Result<Outcome, Failure> {
        let limits = self.0.limits.within(&task.budgets);
        let mut answering: Answering =
            Box::pin(Arc::clone(&self.0).answer(task.input, task.media, limits));
        // Most tasks end before the first tick; they need no future of their own.
        match poll_fn(|context| Poll::Ready(answering.as_mut().poll(context))).await {
            Poll::Ready(answer) => answer.map(|(output, end)| Outcome::ready(output, end)),
            Poll::Pending => {
                let (sink, outcome) = Outcome::channel();
                let scope = &self.0.shared.scope;
                scope.spawn("function", |cancel| deliver(answering, sink, cancel));
                Ok(outcome)
            }
        }
    }
}

/// Waits for a long task; it ends early when nobody reads its outcome or the node stops.
async fn deliver(answering: Answering, sink: Sink, cancel: Cancel) {
    let answer = tokio::select! {
        biased;
        () = sink.gone() => return,
        () = cancel.cancelled() => Err(CallError::Stopping.into()),
        answer = answering => answer,
    };
    match answer {
        Ok((output, end)) => {
            if output.is_empty() || sink.chunk(output).await.is_ok() {
                sink.end(end).await;
            }
        }
        Err(failure) => {
            let status = match failure.kind {
                ErrorKind::Timeout => Status::Timeout,
                _ => Status::Cancelled,
            };
            sink.end(End::failed(status, failure, Usage::default())).await;
        }
    }
}

impl Inner {
    /// Runs one task from its place in the queue to its end record.
    async fn answer(self: Arc<Self>, input: Bytes, media: Media, limits: Limits) -> Answer {
        if let Entry::Http(..) = self.entry {
            return self.answer_http(input, media, limits).await;
        }
        if media != Media::Plain {
            return Err(CallError::NotHttp.into());
        }
        let begun = self.begin(&limits).await?;
        let (answer, spent) = match &self.entry {
            Entry::Bare(program) => {
                let state = Bare { guard: begun.guard };
                call::process(program, state, &input, &limits, begun.deadline).await
            }
            Entry::Process(program, surroundings) => {
                let state = Wasi::new(begun.guard, surroundings);
                call::process(program, state, &input, &limits, begun.deadline).await
            }
            Entry::Http(..) => (Err(CallError::NotHttp), Spent::default()),
        };
        let output_bytes = answer.as_ref().map_or(0, Bytes::len);
        let end = begun.counted.end(answer.as_ref().err(), spent, output_bytes);
        Ok((answer.unwrap_or_default(), end))
    }

    /// Runs one task of a function that handles HTTP; plain input is posted to `/`.
    async fn answer_http(&self, input: Bytes, media: Media, limits: Limits) -> Answer {
        let request = match media {
            Media::Http => read_request(&input).map_err(CallError::Message)?,
            Media::Plain => Request::post("http://function.local/")
                .body(input)
                .map_err(|_| CallError::BadRequest)?,
        };
        let (answer, mut end) = self.run_http(request, limits).await?;
        let Ok(response) = answer else { return Ok((Bytes::new(), end)) };
        end.detail.insert("http_status".to_owned(), response.status().as_u16().into());
        let output = match media {
            Media::Http => write_response(&response),
            Media::Plain => response.into_body(),
        };
        Ok((output, end))
    }

    /// Runs one HTTP request; the answer is beside its end record.
    async fn run_http(
        &self,
        request: Request<Bytes>,
        limits: Limits,
    ) -> Result<(Result<Response<Bytes>, CallError>, End), CallError> {
        let Entry::Http(proxy, surroundings) = &self.entry else { return Err(CallError::NotHttp) };
        let begun = self.begin(&limits).await?;
        let state = Wasi::new(begun.guard, surroundings);
        let (answer, spent) =
            call::http::handle(proxy, state, request, &limits, begun.deadline).await;
        let output_bytes = answer.as_ref().map_or(0, |it| it.body().len());
        let end = begun.counted.end(answer.as_ref().err(), spent, output_bytes);
        Ok((answer, end))
    }

    async fn begin(&self, limits: &Limits) -> Result<Begun<'_>, CallError> {
        let started = Instant::now();
        let deadline = started + limits.time;
        let cold = !self.warm.load(Ordering::Relaxed);
        let counted = Counted { function: self, started, cold, ended: false };
        let place = self.shared.admit(deadline, limits).await?;
        Ok(Begun { counted, deadline, guard: Guard::new(limits, deadline), _place: place })
    }

    async fn warm_up(&self) {
        let Ok(begun) = self.begin(&self.limits).await else { return };
        let Begun { mut counted, deadline, guard, _place } = begun;
        counted.ended = true;
        // It may fail; the next call will tell.
        drop(match &self.entry {
            Entry::Bare(program) => {
                instantiate(&program.instances, Bare { guard }, &self.limits, deadline).await
            }
            Entry::Process(program, surroundings) => {
                let state = Wasi::new(guard, surroundings);
                instantiate(&program.instances, state, &self.limits, deadline).await
            }
            Entry::Http(proxy, surroundings) => {
                let state = Wasi::new(guard, surroundings);
                instantiate(proxy.instance_pre(), state, &self.limits, deadline).await
            }
        });
    }
}

async fn instantiate<T: Guarded>(
    instances: &wasmtime::component::InstancePre<T>,
    state: T,
    limits: &Limits,
    deadline: Instant,
) -> wasmtime::Result<()> {
    let mut store = Store::new(instances.engine(), state);
    guard::arm(&mut store, limits)?;
    timeout_at(deadline, instances.instantiate_async(&mut store)).await??;
    Ok(())
}

/// A task that has its place.
struct Begun<'a> {
    counted: Counted<'a>,
    deadline: Instant,
    guard: Guard,
    _place: crate::runtime::Place<'a>,
}

/// Counts a task exactly once, also when its future is dropped.
struct Counted<'a> {
    function: &'a Inner,
    started: Instant,
    cold: bool,
    ended: bool,
}

impl Counted<'_> {
    fn end(mut self, err: Option<&CallError>, spent: Spent, output_bytes: usize) -> End {
        self.ended = true;
        let usage = Usage {
            fuel: Some(spent.fuel),
            peak_memory: Some(spent.peak),
            took_us: micros(self.started.elapsed()),
            output_bytes: output_bytes as u64,
            cold: Some(self.cold),
            ..Usage::default()
        };
        let end = match err {
            None => End::success(usage),
            Some(err) => End::failed(err.status(), err.clone().into(), usage),
        };
        if err.is_none() && self.cold {
            self.function.warm.store(true, Ordering::Relaxed);
        }
        self.emit(end.status, &end.usage);
        end
    }

    fn emit(&self, status: Status, usage: &Usage) {
        let name = &self.function.descriptor.name;
        CallEnded { name, status, usage }.emit(&self.function.recorder);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let took_us = micros(self.started.elapsed());
        let usage = Usage { took_us, cold: Some(self.cold), ..Usage::default() };
        self.emit(Status::Cancelled, &usage);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
