//! The schema, step by step; a step that was released is never edited.

use rusqlite::{Connection, TransactionBehavior};

/// `sedg` in ASCII: SQLite's `application_id` of our files.
pub(crate) const APPLICATION_ID: i32 = 0x7365_6467;

/// Step `n` (from 1) brings a file from `user_version` n-1 to n.
const STEPS: &[&str] = &[
    include_str!("migrations/0001_areas.sql"),
    include_str!("migrations/0002_proofs.sql"),
    include_str!("migrations/0003_artifacts.sql"),
    include_str!("migrations/0004_tokens.sql"),
    include_str!("migrations/0005_admission.sql"),
    include_str!("migrations/0006_audit.sql"),
    include_str!("migrations/0007_quorum.sql"),
    include_str!("migrations/0008_graph.sql"),
    include_str!("migrations/0009_plans.sql"),
    include_str!("migrations/0010_approvals.sql"),
    include_str!("migrations/0011_applications.sql"),
];

/// The schema that this program writes.
pub(crate) fn newest() -> u32 {
    u32::try_from(STEPS.len()).unwrap_or(u32::MAX)
}

/// Brings a file of schema `from` to the newest one, each step in a transaction of its own.
pub(crate) fn run(database: &mut Connection, from: u32) -> Result<(), rusqlite::Error> {
    for (number, step) in (1_u32..).zip(STEPS).filter(|(number, _)| *number > from) {
        let change = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        change.execute_batch(step)?;
        change.pragma_update(None, "application_id", APPLICATION_ID)?;
        change.pragma_update(None, "user_version", number)?;
        change.commit()?;
    }
    Ok(())
}
