//! Tasks that run by themselves: once, every so often, or as a cron expression says.
//!
//! Invariants: a schedule is on disk before it is acknowledged, and a run is on disk as begun before
//! it begins, so that no crash repeats it. A schedule belongs to the node that it was given to, which
//! alone begins its runs; where each task runs is for routing to say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sedge_base::{ErrorKind, Timestamp};
use sedge_capability::Failure;
use sedge_plans::{Missed, Ran, Schedule, When, Wish};
use sedge_store::StoredPlan;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::node::{Node, internal, unwritten};

/// How the store calls these plans.
const KIND: &str = "schedule";

/// The most schedules of a node.
const MAX_SCHEDULES: usize = 1000;

/// How long the watch waits at most: a machine's date may jump.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A schedule to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleAsk {
    /// Its name, 1 to 64 letters, digits, dots, hyphens or underscores; made up when left out.
    #[serde(default)]
    pub id: Option<String>,
    /// What runs.
    pub task: Wish,
    /// When.
    pub when: When,
    /// What happens to runs whose time passes while the node is away.
    #[serde(default)]
    pub missed: Missed,
    /// After how many runs it ends; never when left out.
    #[serde(default)]
    pub max_runs: Option<u64>,
}

/// A schedule and its next times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// The schedule.
    #[serde(flatten)]
    pub schedule: Schedule,
    /// The next three times that it is due, as far as they are known.
    pub upcoming: Vec<Timestamp>,
}

/// The schedules of a node.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    list: Mutex<BTreeMap<String, Schedule>>,
    changed: Notify,
}

impl Schedules {
    fn list(&self) -> MutexGuard<'_, BTreeMap<String, Schedule>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how long nothing is due; `None` when nothing ever is.
    fn idle(&self, now: Timestamp) -> Option<Duration> {
        let next = self.list().values().filter_map(|it| it.next).min()?;
        Some(next.since(now).min(LOOK_EVERY))
    }
}

fn view(schedule: &Schedule) -> ScheduleView {
    let upcoming = schedule.next.map_or_else(Vec::new, |it| schedule.when.upcoming(it, 3));
    ScheduleView { schedule: schedule.clone(), upcoming }
}

impl Node {
    /// Makes a schedule; on disk by then.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when its name is taken, its time cannot be read, or there are a thousand.
    pub async fn schedule(&self, ask: ScheduleAsk) -> Result<ScheduleView, Failure> {
        let ScheduleAsk { id, task, when, missed, max_runs } = ask;
        task.bytes()?;
        let id = id.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string()[..8].to_owned());
        if crate::config::check_name(&id).is_none() {
            let text = format!("a schedule's name is {}", crate::config::NAME_RULE);
            return Err(Failure::new(ErrorKind::Invalid, "invalid_id", text));
        }
        if max_runs == Some(0) {
            return Err(Failure::new(
                ErrorKind::Invalid,
                "invalid_runs",
                "`max_runs` is at least 1",
            ));
        }
        let made = Schedule::new(id.clone(), task, when, self.clock.now())
            .map_err(|it| Failure::new(it.kind(), "invalid_time", it))?;
        let made = Schedule { missed, max_runs, ..made };
        // The name is taken before the disk is asked, so that two who come at once cannot both have it;
        // it is not due before it is on disk.
        {
            let mut list = self.plans.schedules.list();
            if list.contains_key(&id) {
                let text = format!("there is a schedule `{id}` already");
                return Err(Failure::new(ErrorKind::Conflict, "schedule_exists", text));
            }
            if list.len() >= MAX_SCHEDULES {
                let text = format!("this node has {MAX_SCHEDULES} schedules, which is its limit");
                return Err(Failure::new(ErrorKind::Exhausted, "too_many_schedules", text));
            }
            list.insert(id.clone(), Schedule { next: None, ..made.clone() });
        }
        if let Err(failure) = self.keep_schedule(&made).await {
            self.plans.schedules.list().remove(&id);
            return Err(failure);
        }
        self.plans.schedules.list().insert(id, made.clone());
        self.plans.schedules.changed.notify_one();
        Ok(view(&made))
    }

    /// Returns every schedule of this node, by name.
    pub fn schedules(&self) -> Vec<ScheduleView> {
        self.plans.schedules.list().values().map(view).collect()
    }

    /// Forgets a schedule; a run that has begun goes on. Returns whether it was there.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the store could not forget it.
    pub async fn unschedule(&self, id: &str) -> Result<bool, Failure> {
        let was = self.store.plans().remove(KIND, id).await.map_err(internal)?;
        Ok(self.plans.schedules.list().remove(id).is_some() || was)
    }

    /// Begins a run that is not due, beside those that are; returns the schedule with that run.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is no such schedule, [`ErrorKind::Conflict`] when a run of
    /// it has not ended.
    pub async fn run_schedule(self: &Arc<Self>, id: &str) -> Result<ScheduleView, Failure> {
        let now = self.clock.now();
        let taken = self.plans.schedules.list().get_mut(id).map(|it| {
            let number = it.take_by_hand(now);
            (number, it.clone())
        });
        let Some((number, schedule)) = taken else {
            let text = format!("there is no schedule `{id}`");
            return Err(Failure::new(ErrorKind::NotFound, "unknown_schedule", text));
        };
        let Some(number) = number else {
            let text = format!("a run of `{id}` has not ended");
            return Err(Failure::new(ErrorKind::Conflict, "still_running", text));
        };
        self.begin_run(schedule.clone(), number).await?;
        Ok(view(&schedule))
    }

    /// Takes up the schedules that were there before the last stop.
    pub(crate) async fn remember_schedules(&self) -> Result<(), Failure> {
        let now = self.clock.now();
        for stored in self.store.plans().list(KIND).await.map_err(internal)? {
            match serde_json::from_str::<Schedule>(&stored.json) {
                Ok(mut schedule) => {
                    schedule.taken_up(now);
                    self.keep_schedule(&schedule).await?;
                    self.plans.schedules.list().insert(stored.id, schedule);
                }
                Err(error) => {
                    warn!(target: "sedge::events::schedule_unreadable", id = stored.id, %error);
                }
            }
        }
        Ok(())
    }

    async fn keep_schedule(&self, schedule: &Schedule) -> Result<(), Failure> {
        let stored = StoredPlan {
            kind: KIND.to_owned(),
            id: schedule.id.clone(),
            at: schedule.created,
            json: serde_json::to_string(schedule).map_err(internal)?,
        };
        let put = self.store.plans().put(vec![stored]).await;
        put.map_err(|it| unwritten(it.kind(), it))
    }

    /// Puts a run that was taken on disk, and then lets it go.
    async fn begin_run(self: &Arc<Self>, schedule: Schedule, number: u64) -> Result<(), Failure> {
        let id = schedule.id.clone();
        if let Err(failure) = self.keep_schedule(&schedule).await {
            // What is not on disk as begun does not begin.
            if let Some(it) = self.plans.schedules.list().get_mut(&id) {
                it.ended(number, Ran::refused(failure.clone()));
            }
            return Err(failure);
        }
        let node = Arc::clone(self);
        self.scope.spawn("scheduled task", async move |cancel| {
            let ran = tokio::select! {
                biased;
                // The record says that it runs: the next start finds it interrupted.
                () = cancel.cancelled() => return,
                ran = node.run_wish(&schedule.task) => ran,
            };
            let failure = ran.failure.clone();
            info!(target: "sedge::events::schedule_ran", id, number, failed = failure.is_some());
            let ended = node.plans.schedules.list().get_mut(&id).map(|it| {
                it.ended(number, ran);
                it.clone()
            });
            if let Some(ended) = ended
                && let Err(failure) = node.keep_schedule(&ended).await
            {
                warn!(target: "sedge::events::schedule_not_kept", id, %failure);
            }
        });
        Ok(())
    }

    /// Begins what is due until the node stops.
    pub(crate) fn watch_schedules(self: &Arc<Self>) {
        let node = Arc::clone(self);
        self.scope.spawn("schedules", async move |cancel| {
            if node.plans.schedules.idle(node.clock.now()).is_some() {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    // What was missed is due at once, and may need what others offer.
                    () = node.hear_others() => {}
                }
            }
            loop {
                node.begin_what_is_due().await;
                let idle = node.plans.schedules.idle(node.clock.now());
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    () = node.plans.schedules.changed.notified() => {}
                    () = pause(idle) => {}
                }
            }
        });
    }

    async fn begin_what_is_due(self: &Arc<Self>) {
        let now = self.clock.now();
        let due: Vec<_> = {
            let mut list = self.plans.schedules.list();
            let due = list.values_mut().filter(|it| it.is_due(now));
            due.map(|it| (it.take(now), it.clone())).collect()
        };
        for (number, schedule) in due {
            let id = schedule.id.clone();
            let begun = match number {
                Some(number) => self.begin_run(schedule, number).await,
                None => self.keep_schedule(&schedule).await,
            };
            if let Err(failure) = begun {
                warn!(target: "sedge::events::schedule_not_begun", id, %failure);
            }
        }
    }
}

/// Waits so long; for ever when nothing is due.
async fn pause(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Feeds a schedule to its reader and makes it; returns whether it comes true.
#[cfg(any(test, fuzzing))]
pub(super) fn feed(bytes: &[u8]) -> bool {
    let Ok(ask) = serde_json::from_slice::<ScheduleAsk>(bytes) else { return false };
    ask.task.bytes().is_ok() && comes(&ask.when)
}

/// Returns whether there is a first time, and no later one is before it.
#[cfg(any(test, fuzzing))]
pub(super) fn comes(when: &When) -> bool {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let Ok(first) = when.first(now) else { return false };
    let upcoming = when.upcoming(first, 3);
    assert!(upcoming.is_sorted(), "time goes on");
    true
}
