//! Running a task on this node: admission, the engine, and the receipt at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sedge_base::{Clock, ContentHasher, ContentId, ErrorKind, TaskScope, Timestamp};
use sedge_capability::{Descriptor, End, Event, Failure, Outcome, Sink, Task, Usage};
use sedge_ledger::{Facts, Ledger};
use sedge_plugins::Hooks;
use sedge_trust::receipt::Status;
use serde_json::json;
use tokio::sync::oneshot;

use crate::registry::{Place, Registry};

/// Runs tasks on this node's own capabilities and seals a receipt for each.
#[derive(Debug, Clone)]
pub(crate) struct Executor {
    registry: Arc<Registry>,
    ledger: Arc<Ledger>,
    clock: Clock,
    scope: TaskScope,
    /// Tasks that ended well.
    finished: Arc<AtomicU64>,
    /// Where plugins are told of it.
    hooks: Arc<Hooks>,
}

impl Executor {
    pub(crate) fn new(
        registry: Arc<Registry>,
        ledger: Arc<Ledger>,
        clock: Clock,
        scope: TaskScope,
    ) -> Self {
        let (finished, hooks) = (Arc::default(), Arc::default());
        Self { registry, ledger, clock, scope, finished, hooks }
    }

    /// Returns how many tasks ended well since the node started.
    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Returns the registry that it runs.
    pub(crate) const fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Returns where the dates of its receipts come from.
    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns where plugins are told of what happens.
    pub(crate) const fn hooks(&self) -> &Arc<Hooks> {
        &self.hooks
    }

    /// Starts a task here. The outcome's end carries the receipt, which is on disk by then.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the task was refused: it did not run, and has no receipt.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the outcome later, stops the engine; the receipt then says
    /// `Cancelled`.
    pub(crate) async fn run(&self, task: Task) -> Result<Outcome, Failure> {
        let entry = self.registry.get(&task.capability).ok_or_else(|| {
            let text = format!("this node does not offer `{}`", task.capability);
            Failure::new(ErrorKind::NotFound, "unknown_capability", text)
        })?;
        entry.check_input(&task)?;
        let place = entry.take_place()?;
        let descriptor = entry.handle().descriptor();
        let task_hash = task.hash().map_err(|it| {
            Failure::new(ErrorKind::Invalid, "task_too_large", format!("the task: {it}"))
        })?;
        let started = self.clock.now();

        let (sink, outcome) = Outcome::channel();
        let (told, begun) = oneshot::channel();
        let run = Run { task, task_hash, descriptor, started };
        let (ledger, clock) = (Arc::clone(&self.ledger), self.clock.clone());
        let (finished, hooks) = (Arc::clone(&self.finished), Arc::clone(&self.hooks));
        self.scope.spawn("task", async move |cancel| {
            let watched = tokio::select! {
                biased;
                begun = entry.handle().run(run.task.clone()) => match begun {
                    Ok(inner) => {
                        // A caller that left meanwhile is noticed by the sink.
                        drop(told.send(Ok(())));
                        tokio::select! {
                            biased;
                            watched = forward(inner, &sink) => watched,
                            () = cancel.cancelled() => Watched::broken_off("the node stops"),
                        }
                    }
                    Err(refusal) => {
                        drop(told.send(Err(refusal)));
                        return drop::<Place>(place);
                    }
                },
                () = sink.gone() => Watched::broken_off("the requester went away"),
                () = cancel.cancelled() => Watched::broken_off("the node stops"),
            };
            if let Some(end) = &watched.end {
                entry.learn(end);
                if end.failure.is_none() {
                    finished.fetch_add(1, Ordering::Relaxed);
                }
            }
            if let Some(end) = &watched.end {
                // Neither input nor output, nor who asked.
                hooks.tell("task.finished", || {
                    let took_us = end.usage.took_us;
                    json!({ "capability": run.task.capability, "status": end.status, "took_us": took_us })
                });
            }
            finish(run, watched, sink, (&ledger, &clock)).await;
            drop::<Place>(place);
        });
        // A task that was stopped before it began says so at the end of its outcome.
        begun.await.unwrap_or(Ok(()))?;
        Ok(outcome)
    }
}

/// What is known of a task from its start.
struct Run {
    task: Task,
    task_hash: ContentId,
    descriptor: Arc<Descriptor>,
    started: Timestamp,
}

/// What was seen of an outcome on its way to the reader.
struct Watched {
    output_hash: ContentId,
    /// `None` when the reader left before the end.
    end: Option<End>,
}

impl Watched {
    fn broken_off(why: &'static str) -> Self {
        let failure = Failure::new(ErrorKind::Cancelled, "cancelled", why);
        let end = End::failed(Status::Cancelled, failure, Usage::default());
        Self { output_hash: ContentId::of(b""), end: Some(end) }
    }
}

/// Hands chunks on while hashing them; stops when the reader leaves.
async fn forward(mut inner: Outcome, sink: &Sink) -> Watched {
    let mut hash = ContentHasher::default();
    let end = loop {
        let event = tokio::select! {
            biased;
            () = sink.gone() => break None,
            event = inner.next() => event,
        };
        match event {
            Some(Event::Chunk(bytes)) => {
                hash.update(&bytes);
                if sink.chunk(bytes).await.is_err() {
                    break None;
                }
            }
            Some(Event::End(end)) => break Some(*end),
            None => break None,
        }
    };
    Watched { output_hash: hash.finish(), end }
}

/// Seals the receipt and hands out the end.
async fn finish(run: Run, watched: Watched, sink: Sink, (ledger, clock): (&Ledger, &Clock)) {
    let Run { task, task_hash, descriptor, started } = run;
    let mut end = watched.end.unwrap_or_else(|| {
        let failure = Failure::new(ErrorKind::Cancelled, "cancelled", "the requester went away");
        End::failed(Status::Cancelled, failure, Usage::default())
    });
    let facts = Facts {
        task: &task,
        task_hash,
        descriptor: &descriptor,
        output_hash: watched.output_hash,
        status: end.status,
        usage: end.usage,
        profile: end.profile.as_deref(),
        started,
        ended: clock.now().max(started),
    };
    match ledger.seal(facts).await {
        Ok(receipt) => end.receipt = Some(Box::new(receipt)),
        Err(error) => {
            // Without a receipt on disk there is no answer: acknowledged means on disk.
            let text = format!("the receipt could not be written: {error}");
            let failure = match error.kind() {
                kind @ ErrorKind::Exhausted => Failure::new(kind, "disk_full", text),
                _ => Failure::new(ErrorKind::Internal, "no_receipt", text),
            };
            end = End::failed(Status::Error, failure, end.usage);
        }
    }
    sink.end(end).await;
}
