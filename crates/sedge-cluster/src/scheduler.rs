//! Functions that run by themselves (seed 000, `EdgeScheduler`), over the node's schedules.
//!
//! The node begins what is due, counts it and moves on; so there is nothing to tick and nothing to mark as executed.

use sedge_base::Timestamp;
use sedge_capability::{Budgets, Failure, Name};
use sedge_node::{Missed, Schedule, ScheduleAsk, ScheduleView, When, Wish};
use serde::{Deserialize, Serialize};

use crate::cluster::EdgeCluster;

/// How a job comes round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleType {
    /// Once, now.
    Once,
    /// Now, and then so long after each run.
    #[default]
    Interval,
    /// As a cron expression says.
    CronLike,
}

impl ScheduleType {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::Once, Self::Interval, Self::CronLike];
}

/// A job to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobAsk {
    /// Its id.
    pub id: String,
    /// The function that runs.
    pub function_id: Name,
    /// How it comes round.
    #[serde(default)]
    pub schedule_type: ScheduleType,
    /// The time between two runs, in seconds: 1 at least.
    #[serde(default = "minute")]
    pub interval_seconds: f64,
    /// The expression of a cron-like job: five fields, or six with seconds in front.
    #[serde(default)]
    pub cron: Option<String>,
    /// The zone whose clocks the expression means.
    #[serde(default)]
    pub zone: Option<String>,
    /// After how many runs it ends; never when left out.
    #[serde(default)]
    pub max_runs: Option<u64>,
    /// The function's input.
    #[serde(default)]
    pub args: String,
}

const fn minute() -> f64 {
    60.0
}

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduledJob {
    /// Its id.
    pub id: String,
    /// The function that runs.
    pub function_id: String,
    /// How it comes round.
    pub schedule_type: ScheduleType,
    /// The time between two runs, in seconds; 60 where there is none.
    pub interval_seconds: f64,
    /// When it is due next, as seconds since 1970; `None` when it has ended.
    pub next_run: Option<f64>,
    /// When it ran last.
    pub last_run: Option<f64>,
    /// How many runs have begun.
    pub run_count: u64,
    /// After how many runs it ends.
    pub max_runs: Option<u64>,
    /// Whether it will run again.
    pub enabled: bool,
    /// The function's input.
    pub args: String,
}

/// How all jobs stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulerSummary {
    /// Jobs.
    pub total_jobs: usize,
    /// Those that will run again.
    pub enabled_jobs: usize,
    /// Those that have run as often as they may.
    pub exhausted_jobs: usize,
    /// Runs of all.
    pub total_runs: u64,
}

impl ScheduledJob {
    /// Returns whether it has run as often as it may.
    pub fn exhausted(&self) -> bool {
        self.max_runs.is_some_and(|most| self.run_count >= most)
    }

    fn of(view: ScheduleView) -> Self {
        let Schedule { id, task, when, max_runs, next, runs, last, .. } = view.schedule;
        let (schedule_type, interval_seconds) = match when {
            When::Once { .. } => (ScheduleType::Once, minute()),
            When::Interval { every_ms } => (ScheduleType::Interval, every_ms as f64 / 1000.0),
            When::Cron { .. } => (ScheduleType::CronLike, minute()),
        };
        Self {
            id,
            function_id: task.function.to_string(),
            schedule_type,
            interval_seconds,
            next_run: next.map(crate::seconds::of),
            last_run: last.back().map(|it| crate::seconds::of(it.began)),
            run_count: runs,
            max_runs,
            enabled: next.is_some(),
            args: task.input,
        }
    }
}

/// The jobs of a cluster: the schedules of its node, which begins them.
#[derive(Debug, Clone)]
pub struct EdgeScheduler(EdgeCluster);

impl EdgeCluster {
    /// Returns the jobs.
    pub fn scheduler(&self) -> EdgeScheduler {
        EdgeScheduler(self.clone())
    }
}

impl EdgeScheduler {
    /// Makes a job; on disk by then. An interval's first run is now.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when its id is taken, or its time cannot be used.
    pub async fn add_job(&self, ask: JobAsk) -> Result<ScheduledJob, Failure> {
        let JobAsk { id, function_id, schedule_type, interval_seconds, cron, zone, .. } = ask;
        let when = match schedule_type {
            ScheduleType::Once => When::Once { at: self.0.now() },
            // What is no time becomes one that is too short, and is refused as such.
            ScheduleType::Interval => {
                When::Interval { every_ms: (interval_seconds * 1000.0) as u64 }
            }
            ScheduleType::CronLike => When::Cron {
                cron: cron.unwrap_or_default(),
                zone: zone.unwrap_or_else(|| "UTC".to_owned()),
            },
        };
        let task = Wish {
            function: function_id,
            input: ask.args,
            input_hex: None,
            on: None,
            budgets: Budgets::default(),
        };
        let (missed, max_runs) = (Missed::default(), ask.max_runs);
        let made = ScheduleAsk { id: Some(id), task, when, missed, max_runs };
        Ok(ScheduledJob::of(self.0.node.schedule(made).await?))
    }

    /// Forgets a job; returns whether it was there.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the store could not forget it.
    pub async fn remove_job(&self, id: &str) -> Result<bool, Failure> {
        self.0.node.unschedule(id).await
    }

    /// Returns a job.
    pub fn get_job(&self, id: &str) -> Option<ScheduledJob> {
        self.list_jobs(false).into_iter().find(|it| it.id == id)
    }

    /// Returns the jobs, or those that will run again.
    pub fn list_jobs(&self, enabled_only: bool) -> Vec<ScheduledJob> {
        let jobs = self.0.node.schedules().into_iter().map(ScheduledJob::of);
        jobs.filter(|it| it.enabled || !enabled_only).collect()
    }

    /// Returns the jobs that are due and that the node is about to begin.
    pub fn get_due_jobs(&self) -> Vec<ScheduledJob> {
        self.due(self.0.now())
    }

    fn due(&self, now: Timestamp) -> Vec<ScheduledJob> {
        let now = crate::seconds::of(now);
        let jobs = self.list_jobs(true).into_iter();
        jobs.filter(|it| !it.exhausted() && it.next_run.is_some_and(|next| next <= now)).collect()
    }

    /// Returns how all jobs stand.
    pub fn summary(&self) -> SchedulerSummary {
        let jobs = self.list_jobs(false);
        SchedulerSummary {
            total_jobs: jobs.len(),
            enabled_jobs: jobs.iter().filter(|it| it.enabled).count(),
            exhausted_jobs: jobs.iter().filter(|it| it.exhausted()).count(),
            total_runs: jobs.iter().map(|it| it.run_count).sum(),
        }
    }
}
