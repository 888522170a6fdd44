//! The last routing decisions, for those who ask why.

use rusqlite::{Connection, Row, params};
use sedge_base::{TaskId, Timestamp};

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// How many are kept.
const KEPT: i64 = 1_000;

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDecision {
    /// The task that it was about.
    pub task: TaskId,
    /// When it was made.
    pub at: Timestamp,
    /// The decision as JSON; up to 1 MiB.
    pub json: String,
}

/// The last 1,000 routing decisions.
#[derive(Debug, Clone, Copy)]
pub struct Decisions<'a>(pub(crate) &'a Store);

impl Decisions<'_> {
    /// Stores a decision and forgets those before the last 1,000; a second one about the same task
    /// replaces the first, and is counted like another one.
    ///
    /// It shares the commit of the next write, such as the receipt of its task, and is not waited for:
    /// whoever reads decisions sees it, and a crash before that commit loses it.
    ///
    /// # Errors
    ///
    /// [`Fault`] when it is too long, or the store was closed.
    pub async fn put(&self, decision: StoredDecision) -> Result<(), Fault> {
        Fault::check_len("the decision", decision.json.len(), row::MAX_JSON)?;
        let work = move |database: &Connection| {
            let StoredDecision { task, at, json } = decision;
            let at = row::to_column("date", at.as_millis())?;
            let sql = "INSERT OR REPLACE INTO decisions (task, at_ms, json) VALUES (?1, ?2, ?3)";
            database.prepare_cached(sql)?.execute(params![task.as_str(), at, json])?;
            // By place, not by counting: every task comes here, and counting reads all that is kept.
            let oldest = database.last_insert_rowid() - KEPT;
            let sql = "DELETE FROM decisions WHERE place <= ?1";
            database.prepare_cached(sql)?.execute([oldest])?;
            Ok(())
        };
        self.0.write_along(work).await
    }

    /// Returns the decision about a task, or `None` when it is not kept.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn get(&self, task: &TaskId) -> Result<Option<StoredDecision>, Fault> {
        let task = task.to_string();
        let work = move |database: &Connection| {
            let sql = "SELECT * FROM decisions WHERE task = ?1";
            Ok(row::rows(database, sql, [task], read)?.into_iter().next())
        };
        self.0.settle().await?;
        self.0.read(work).await
    }

    /// Returns the newest decisions first, `limit` at most.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn list(&self, limit: usize) -> Result<Vec<StoredDecision>, Fault> {
        let work = move |database: &Connection| {
            let sql = "SELECT * FROM decisions ORDER BY place DESC LIMIT ?1";
            row::rows(database, sql, [row::limit(limit)], read)
        };
        self.0.settle().await?;
        self.0.read(work).await
    }
}

fn read(row: &Row<'_>) -> Result<StoredDecision, Fault> {
    Ok(StoredDecision {
        task: row::id(row, "task", "task id")?,
        at: row::date(row, "at_ms")?,
        json: row.get("json")?,
    })
}
