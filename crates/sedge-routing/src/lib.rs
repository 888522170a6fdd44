//! Where a task runs: filters, load, strategies, and the explanation; and where functions lie.
//!
//! Invariants: pure, no clock, file, network or hidden randomness; the same facts give the same
//! decision in whatever order they come; who was rejected never wins. Whether a node offers the
//! capability at all is the caller's knowledge: only such nodes are candidates.
//!
//! ```
//! use sedge_routing::{Request, Strategy, decide};
//!
//! let request = Request::new("fn-1".parse()?);
//! let decision = decide(&request, &[], Strategy::default(), 0);
//! assert_eq!(decision.winner, None);
//! assert_eq!(decision.words(), "nobody offers `fn-1`");
//! # Ok::<(), sedge_capability::NameError>(())
//! ```

mod balance;
mod decision;
mod estimate;
mod filter;
mod placement;
mod request;
mod strategies;

pub use balance::{Holding, Move, rebalance};
pub use decision::{Decision, Scored, decide};
pub use estimate::Estimate;
pub use filter::{Reason, Rejected};
pub use placement::{Need, NeedError, Placement, Site, Unfit, canary_count, place};
pub use request::{Candidate, Load, Path, Request};
pub use strategies::Strategy;
