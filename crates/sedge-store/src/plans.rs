//! What a node means to do, and how far it is: schedules, rollouts, batches of tasks.

use rusqlite::{Connection, Row, params};
use sedge_base::Timestamp;

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// The most records that are written at once.
const MAX_AT_ONCE: usize = 10_001;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPlan {
    /// What sort of plan, such as `schedule`; up to 256 bytes.
    pub kind: String,
    /// Its id among those of its kind; up to 256 bytes.
    pub id: String,
    /// When it was made.
    pub at: Timestamp,
    /// The record as JSON; up to 1 MiB.
    pub json: String,
}

/// What a node means to do.
#[derive(Debug, Clone, Copy)]
pub struct Plans<'a>(pub(crate) &'a Store);

impl Plans<'_> {
    /// Stores records, each in place of the one of the same kind and id: all of them, or none.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn put(&self, plans: Vec<StoredPlan>) -> Result<(), Fault> {
        Fault::check_len("the number of plans", plans.len(), MAX_AT_ONCE)?;
        for plan in &plans {
            Fault::check_len("the kind", plan.kind.len(), row::MAX_NAME)?;
            Fault::check_len("the id", plan.id.len(), row::MAX_NAME)?;
            Fault::check_len("the plan", plan.json.len(), row::MAX_JSON)?;
        }
        let work = move |database: &Connection| {
            let sql = "INSERT OR REPLACE INTO plans VALUES (?1, ?2, ?3, ?4)";
            let mut statement = database.prepare_cached(sql)?;
            for StoredPlan { kind, id, at, json } in plans {
                let at = row::to_column("date", at.as_millis())?;
                statement.execute(params![kind, id, at, json])?;
            }
            Ok(())
        };
        self.0.write(work).await
    }

    /// Returns the records of a kind by their ids, 10,001 at most.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn list(&self, kind: &str) -> Result<Vec<StoredPlan>, Fault> {
        let kind = kind.to_owned();
        let sql = "SELECT * FROM plans WHERE kind = ?1 ORDER BY id LIMIT 10001";
        self.0.read(move |database| row::rows(database, sql, [kind], read)).await
    }

    /// Forgets a record; returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was removed then.
    pub async fn remove(&self, kind: &str, id: &str) -> Result<bool, Fault> {
        let (kind, id) = (kind.to_owned(), id.to_owned());
        let work = move |database: &Connection| {
            let sql = "DELETE FROM plans WHERE kind = ?1 AND id = ?2";
            Ok(database.execute(sql, params![kind, id])? == 1)
        };
        self.0.write(work).await
    }

    /// Forgets every record of a kind; returns how many there were.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was removed then.
    pub async fn clear(&self, kind: &str) -> Result<usize, Fault> {
        let kind = kind.to_owned();
        let work = move |database: &Connection| {
            Ok(database.execute("DELETE FROM plans WHERE kind = ?1", [kind])?)
        };
        self.0.write(work).await
    }
}

fn read(row: &Row<'_>) -> Result<StoredPlan, Fault> {
    Ok(StoredPlan {
        kind: row.get("kind")?,
        id: row.get("id")?,
        at: row::date(row, "at_ms")?,
        json: row.get("json")?,
    })
}
