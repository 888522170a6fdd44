//! The one contract: describe a capability, run a task on it, prove that an implementation conforms.
//!
//! Everything a machine offers is a [`Capability`]; everything anyone wants is a [`Task`]. The same
//! [`Handle`] stands for an engine on this machine and for one on another. An [`Outcome`] is a
//! stream of chunks and exactly one [`End`] record.
//!
//! Invariants: this crate knows no engine, no wire and no door; an [`Outcome`] ends with exactly one
//! [`End`], even when its engine breaks off; dropping an [`Outcome`] asks the engine to stop.

mod budgets;
pub mod conformance;
mod descriptor;
mod failure;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod http;
mod outcome;
mod task;

use std::sync::Arc;

use async_trait::async_trait;

pub use budgets::{Budgets, Usage};
pub use descriptor::{Descriptor, Idempotence, Kind, Name, NameError};
pub use failure::Failure;
pub use outcome::{End, Event, Gone, Outcome, Sink};
pub use task::{Media, Task};

/// One thing that a node can do for a caller, here or on another node.
#[async_trait]
pub trait Capability: Send + Sync + 'static {
    /// Returns what it is called, takes, gives and costs at most.
    fn descriptor(&self) -> Arc<Descriptor>;

    /// Starts one task.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the task was refused before it produced anything. What fails later is
    /// told by the [`End`] of the outcome.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or later the [`Outcome`], asks the engine to stop; what was done stays
    /// done.
    async fn run(&self, task: Task) -> Result<Outcome, Failure>;
}

/// A capability that somebody can run tasks on, wherever it is.
pub type Handle = Arc<dyn Capability>;
