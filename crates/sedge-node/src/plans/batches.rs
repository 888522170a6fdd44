//! Many tasks handed in at once, and their results gathered later, in order (seed 000,
//! `AsyncEdgeOrchestrator`).
//!
//! Invariants: a batch is on disk before it is acknowledged, all of it or nothing; a task is on disk
//! as begun before it begins, so that no crash repeats it; the queue has an end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sedge_base::{ErrorKind, Timestamp};
use sedge_capability::Failure;
use sedge_plans::{Batch, BatchState, Gathered, KeptTask, Ran, Wish};
use sedge_store::StoredPlan;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};
use tracing::warn;

use crate::node::{Node, internal, unwritten};

/// How the store calls batches; the tasks of one have the kind `batch:ID`.
const KIND: &str = "batch";

/// The most tasks of one batch.
const MAX_TASKS: usize = 1000;

/// The most tasks of a node that have not ended.
const MAX_WAITING: usize = 10_000;

/// The most batches that are kept.
const MAX_BATCHES: usize = 1000;

/// How long results are kept after the last task of a batch has ended.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// Whether a batch waited while the node was away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TakenUp {
    Yes,
    No,
}

/// The tasks of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchAsk {
    /// 1 to 1,000 tasks.
    pub tasks: Vec<Wish>,
}

/// The batches of a node.
#[derive(Debug)]
pub(crate) struct Batches {
    list: Mutex<BTreeMap<String, watch::Sender<Batch>>>,
    /// Tasks of batches that run at once: half of the node's, so that others find room, too.
    places: Arc<Semaphore>,
}

impl Batches {
    /// Makes an empty list for a node that runs so many tasks at once.
    pub(crate) fn new(max_tasks: u32) -> Self {
        let places = (max_tasks / 2).max(1) as usize;
        Self { list: Mutex::default(), places: Arc::new(Semaphore::new(places)) }
    }

    fn list(&self) -> MutexGuard<'_, BTreeMap<String, watch::Sender<Batch>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for a batch, if there is any.
    fn admit(&self, batch: &Batch) -> Result<(), Failure> {
        let mut list = self.list();
        let waiting: usize = list
            .values()
            .map(|it| {
                let it = it.borrow();
                it.tasks - it.ended
            })
            .sum();
        let full = |text: String| Err(Failure::new(ErrorKind::Exhausted, "queue_full", text));
        if waiting + batch.tasks > MAX_WAITING {
            return full(format!("{waiting} tasks wait already, {MAX_WAITING} is the limit"));
        }
        if list.len() >= MAX_BATCHES {
            return full(format!("{MAX_BATCHES} batches are kept; remove some, or wait"));
        }
        list.insert(batch.id.clone(), watch::Sender::new(batch.clone()));
        Ok(())
    }

    fn get(&self, id: &str) -> Result<watch::Receiver<Batch>, Failure> {
        self.list().get(id).map(watch::Sender::subscribe).ok_or_else(|| {
            let text = format!("there is no batch `{id}`; results are kept for an hour");
            Failure::new(ErrorKind::NotFound, "unknown_batch", text)
        })
    }
}

impl Node {
    /// Takes tasks to run, as many at once as there is room for; returns before they have run.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when a task cannot be used, [`ErrorKind::Exhausted`] when too many wait.
    /// Nothing runs then.
    pub async fn dispatch(self: &Arc<Self>, ask: BatchAsk) -> Result<Batch, Failure> {
        let BatchAsk { tasks } = ask;
        if !(1..=MAX_TASKS).contains(&tasks.len()) {
            let text = format!("a batch has 1 to {MAX_TASKS} tasks");
            return Err(Failure::new(ErrorKind::Invalid, "invalid_batch", text));
        }
        for (index, wish) in tasks.iter().enumerate() {
            wish.bytes()
                .map_err(|it| Failure { message: format!("task {index}: {}", it.message), ..it })?;
        }
        self.forget_old_batches().await;
        let batch = Batch {
            id: uuid::Uuid::new_v4().simple().to_string()[..12].to_owned(),
            tasks: tasks.len(),
            ended: 0,
            failed: 0,
            created: self.clock.now(),
            done: None,
        };
        self.plans.batches.admit(&batch)?;
        let wishes: Vec<_> = tasks.into_iter().enumerate().collect();
        let kept: Vec<_> =
            wishes.iter().map(|(index, it)| KeptTask::queued(*index, it.clone())).collect();
        if let Err(failure) = self.keep_batch(&batch, &kept).await {
            self.plans.batches.list().remove(&batch.id);
            return Err(failure);
        }
        self.run_batch(batch.id.clone(), wishes, TakenUp::No);
        Ok(batch)
    }

    /// Returns a batch with the results that are there, in order; waits up to `wait` for the others.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is none of that id.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn gather(&self, id: &str, wait: Duration) -> Result<Gathered, Failure> {
        let mut seen = self.plans.batches.get(id)?;
        // Whether it ended or the time did is told by what is gathered.
        drop(tokio::time::timeout(wait, seen.wait_for(|it| it.done.is_some())).await);
        let batch = seen.borrow().clone();
        let results = self.kept_tasks(id).await?.into_iter().map(|it| it.task).collect();
        Ok(Gathered { batch, results })
    }

    /// Returns every batch that is kept, the newest last.
    pub async fn batches(&self) -> Vec<Batch> {
        self.forget_old_batches().await;
        let mut all: Vec<_> =
            self.plans.batches.list().values().map(|it| it.borrow().clone()).collect();
        all.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        all
    }

    /// Forgets a batch and its results; tasks that wait do not begin, those that run go on unseen.
    /// Returns whether it was there.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the store could not forget it.
    pub async fn forget_batch(&self, id: &str) -> Result<bool, Failure> {
        let was = self.plans.batches.list().remove(id).is_some();
        self.store.plans().remove(KIND, id).await.map_err(internal)?;
        self.store.plans().clear(&kind_of(id)).await.map_err(internal)?;
        Ok(was)
    }

    /// Takes up the batches that were there before the last stop; what waits goes on.
    pub(crate) async fn remember_batches(self: &Arc<Self>) -> Result<(), Failure> {
        for stored in self.store.plans().list(KIND).await.map_err(internal)? {
            let Ok(mut batch) = serde_json::from_str::<Batch>(&stored.json) else {
                warn!(target: "sedge::events::batch_unreadable", id = stored.id);
                continue;
            };
            let mut kept = self.kept_tasks(&batch.id).await?;
            kept.iter_mut().for_each(KeptTask::take_up);
            batch.recount(&kept, self.clock.now());
            self.keep_batch(&batch, &kept).await?;
            let sender = watch::Sender::new(batch.clone());
            self.plans.batches.list().insert(batch.id.clone(), sender);
            let waiting = kept.into_iter().filter_map(|it| Some((it.task.index, it.wish?)));
            let waiting: Vec<_> = waiting.collect();
            if !waiting.is_empty() {
                self.run_batch(batch.id, waiting, TakenUp::Yes);
            }
        }
        Ok(())
    }

    fn run_batch(self: &Arc<Self>, id: String, wishes: Vec<(usize, Wish)>, taken_up: TakenUp) {
        let node = Arc::clone(self);
        self.scope.spawn("batch", async move |cancel| {
            if taken_up == TakenUp::Yes {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    // What waits may need what others offer.
                    () = node.hear_others() => {}
                }
            }
            for (index, wish) in wishes {
                let places = Arc::clone(&node.plans.batches.places);
                let place = tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    place = places.acquire_owned() => place,
                };
                // A batch that was forgotten meanwhile does not go on.
                if place.is_err() || node.plans.batches.get(&id).is_err() {
                    return;
                }
                let (running, id) = (Arc::clone(&node), id.clone());
                node.scope.spawn("task of a batch", async move |cancel| {
                    tokio::select! {
                        biased;
                        // The record says that it runs: the next start finds it interrupted.
                        () = cancel.cancelled() => {}
                        () = running.run_one(&id, index, wish) => {}
                    }
                    drop(place);
                });
            }
        });
    }

    async fn run_one(self: &Arc<Self>, id: &str, index: usize, wish: Wish) {
        let begun = self.keep_task(id, &KeptTask::begun(index, wish.clone())).await;
        let ran = match begun {
            Ok(()) => self.run_wish_in_turn(&wish).await,
            // What is not on disk as begun does not begin.
            Err(failure) => Ran::refused(failure),
        };
        let ended = KeptTask::ended(index, ran);
        if let Err(failure) = self.keep_task(id, &ended).await {
            warn!(target: "sedge::events::result_not_kept", id, index, %failure);
        }
        self.count_ended(id, &ended, self.clock.now()).await;
    }

    async fn count_ended(&self, id: &str, ended: &KeptTask, now: Timestamp) {
        let changed = self.plans.batches.list().get(id).map(|sender| {
            sender.send_modify(|batch| {
                batch.ended += 1;
                batch.failed += usize::from(ended.task.state != BatchState::Success);
                if batch.ended == batch.tasks {
                    batch.done = Some(now);
                }
            });
            sender.borrow().clone()
        });
        if let Some(batch) = changed.filter(|it| it.done.is_some())
            && let Err(failure) = self.keep_batch(&batch, &[]).await
        {
            warn!(target: "sedge::events::batch_not_kept", id, %failure);
        }
    }

    async fn keep_batch(&self, batch: &Batch, tasks: &[KeptTask]) -> Result<(), Failure> {
        let mut plans = vec![StoredPlan {
            kind: KIND.to_owned(),
            id: batch.id.clone(),
            at: batch.created,
            json: serde_json::to_string(batch).map_err(internal)?,
        }];
        for task in tasks {
            plans.push(self.stored(&batch.id, task)?);
        }
        self.store.plans().put(plans).await.map_err(|it| unwritten(it.kind(), it))
    }

    async fn keep_task(&self, id: &str, task: &KeptTask) -> Result<(), Failure> {
        // A batch that was forgotten meanwhile leaves nothing behind.
        if self.plans.batches.get(id).is_err() {
            return Ok(());
        }
        let put = self.store.plans().put(vec![self.stored(id, task)?]).await;
        put.map_err(|it| unwritten(it.kind(), it))
    }

    fn stored(&self, batch: &str, task: &KeptTask) -> Result<StoredPlan, Failure> {
        Ok(StoredPlan {
            kind: kind_of(batch),
            id: format!("{:05}", task.task.index),
            at: self.clock.now(),
            json: serde_json::to_string(task).map_err(internal)?,
        })
    }

    async fn kept_tasks(&self, id: &str) -> Result<Vec<KeptTask>, Failure> {
        let stored = self.store.plans().list(&kind_of(id)).await.map_err(internal)?;
        stored.iter().map(|it| serde_json::from_str(&it.json).map_err(internal)).collect()
    }

    async fn forget_old_batches(&self) {
        let now = self.clock.now();
        let old: Vec<_> = {
            let list = self.plans.batches.list();
            let done = |it: &watch::Sender<Batch>| it.borrow().done;
            let is_old = |at: Timestamp| now.since(at) > KEPT_FOR;
            let old = list.iter().filter(|it| done(it.1).is_some_and(is_old));
            old.map(|it| it.0.clone()).collect()
        };
        for id in old {
            if let Err(failure) = self.forget_batch(&id).await {
                warn!(target: "sedge::events::batch_not_forgotten", id, %failure);
            }
        }
    }
}

fn kind_of(batch: &str) -> String {
    format!("{KIND}:{batch}")
}
