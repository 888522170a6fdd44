//! What a node says now that it will do later: schedules, rollouts, batches of tasks.
//!
//! A plan belongs to the node that it was given to, and each step of it is on disk before it is taken
//! (`docs/decisions/0025`).

mod batches;
mod rollouts;
mod schedules;
mod wish;

use std::sync::Arc;

use sedge_capability::Failure;

use crate::deploy::Channels;
use crate::node::Node;
use batches::Batches;
use rollouts::Rollouts;
use schedules::Schedules;

pub use batches::BatchAsk;
pub use rollouts::{
    Before, Phase, Rollout, RolloutAsk, RolloutState, RolloutStrategy, Step, StepState, VersionHeld,
};
pub use schedules::{ScheduleAsk, ScheduleView};
pub use sedge_plans::{
    Batch, BatchState, BatchTask, Gate, Gathered, Measured, Missed, Ran, Run, RunState, Schedule,
    When, WhenError, Wish,
};

/// The plans of a node.
#[derive(Debug)]
pub(crate) struct Plans {
    schedules: Schedules,
    rollouts: Rollouts,
    batches: Batches,
    /// What is done whenever a message comes.
    pub(crate) channels: Channels,
}

impl Plans {
    /// Makes no plans, for a node that runs so many tasks at once.
    pub(crate) fn new(max_tasks: u32) -> Self {
        Self {
            schedules: Schedules::default(),
            rollouts: Rollouts::default(),
            batches: Batches::new(max_tasks),
            channels: Channels::default(),
        }
    }
}

impl Node {
    /// Takes up the plans that were there before the last stop.
    pub(crate) async fn remember_plans(self: &Arc<Self>) -> Result<(), Failure> {
        self.remember_schedules().await?;
        self.watch_schedules();
        self.remember_rollouts().await?;
        self.remember_batches().await
    }
}

/// Feeds a plan to its readers and to what checks it before anything is kept; returns whether one took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(bytes: &[u8]) -> bool {
    let batch = serde_json::from_slice::<BatchAsk>(bytes);
    let batch = batch.is_ok_and(|it| it.tasks.iter().all(|it| it.bytes().is_ok()));
    let rollout = serde_json::from_slice::<RolloutAsk>(bytes);
    let rollout = rollout.is_ok_and(|it| it.gate.wrong().is_none());
    batch || rollout || schedules::feed(bytes)
}

/// Feeds a cron expression and, on a second line, a zone to what finds the next times; returns whether there are some.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed_time(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (cron, zone) = text.split_once('\n').unwrap_or((text, "UTC"));
    schedules::comes(&When::Cron { cron: cron.to_owned(), zone: zone.to_owned() })
}
