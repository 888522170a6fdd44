//! What ails a script, and what small change might mend it. Nothing here runs anything.
//!
//! The repair is generate-and-validate: [`proposals`] makes changed scripts, the caller runs each in a sandbox and keeps
//! what passes. A change never touches the script's own checks (asserts, what it throws, how it exits), because a script
//! that checks less always passes.

mod checks;
mod diff;
mod javascript;
mod names;
mod operators;
mod prompt;
mod proposal;
mod python;
mod review;
mod tokens;
mod trouble;

pub use checks::keeps_checks;
pub use diff::unified;
pub use prompt::{code_of, prompt};
pub use proposal::{Proposal, Rank, proposals};
pub use review::{Finding, review};
pub use trouble::Trouble;
