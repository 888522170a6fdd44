//! What a node says now that it will do later: schedules, rollouts, batches of tasks.
//!
//! A plan belongs to the node that it was given to, and each step of it is on disk before it is taken
//! (`docs/decisions/0025`).

mod batches;
pub(crate) mod measure;
mod rollouts;
mod schedules;
mod wish;

use std::sync::Arc;

use sedge_capability::Failure;

use crate::node::Node;
use batches::Batches;
use rollouts::Rollouts;
use schedules::Schedules;

pub use batches::{Batch, BatchAsk, BatchState, BatchTask, Gathered};
pub use rollouts::{
    Before, Gate, Phase, Rollout, RolloutAsk, RolloutState, RolloutStrategy, Step, StepState,
};
pub use schedules::{Missed, Run, RunState, Schedule, ScheduleAsk, ScheduleView, When, WhenError};
pub use wish::{Ran, Wish};

/// The plans of a node.
#[derive(Debug)]
pub(crate) struct Plans {
    schedules: Schedules,
    rollouts: Rollouts,
    batches: Batches,
}

impl Plans {
    /// Makes no plans, for a node that runs so many tasks at once.
    pub(crate) fn new(max_tasks: u32) -> Self {
        Self {
            schedules: Schedules::default(),
            rollouts: Rollouts::default(),
            batches: Batches::new(max_tasks),
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
