//! What was said now to be done later: wishes for tasks, schedules, batches, and what a new version of
//! a function has to show before it goes everywhere.
//!
//! Invariants: records and rules alone, no clock, file, network or task; the time is an argument. The
//! node that keeps a plan writes it down, takes its steps and tells what came of them.
//!
//! ```
//! use sedge_base::Timestamp;
//! use sedge_plans::When;
//!
//! let when = When::Cron { cron: "*/5 * * * *".to_owned(), zone: "UTC".to_owned() };
//! let first = when.first("2026-11-21T12:02:00Z".parse::<Timestamp>()?)?;
//! assert_eq!(first, "2026-11-21T12:05:00Z".parse()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod gate;
mod measured;
mod schedule;
mod when;
mod wish;

pub use batch::{Batch, BatchState, BatchTask, Gathered, KeptTask};
pub use gate::{Gate, Verdict};
pub use measured::{Measured, Tally};
pub use schedule::{Missed, Run, RunState, Schedule};
pub use when::{When, WhenError};
pub use wish::{Ran, Wish};
