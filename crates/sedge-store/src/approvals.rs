//! What people are asked to approve, and what they said, until it is over.

use rusqlite::{Connection, OptionalExtension, Row, params};
use sedge_base::{ErrorKind, Timestamp};

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// One thing that a person is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredApproval {
    /// What it is known by; up to 256 bytes.
    pub id: String,
    /// How far it is, such as `pending`; up to 256 bytes.
    pub state: String,
    /// When it was asked.
    pub at: Timestamp,
    /// From when on it is of no use.
    pub ends: Timestamp,
    /// The record as JSON; up to 1 MiB.
    pub json: String,
}

impl StoredApproval {
    fn check(&self) -> Result<(), Fault> {
        Fault::check_len("the id", self.id.len(), row::MAX_NAME)?;
        Fault::check_len("the state", self.state.len(), row::MAX_NAME)?;
        Fault::check_len("the approval", self.json.len(), row::MAX_JSON)
    }
}

/// Why nothing more can be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// There are as many as there may be.
    #[error("{most} approvals are open, which is the limit")]
    Full {
        /// How many there may be.
        most: u32,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Fault),
}

impl AskError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Full { .. } => ErrorKind::Exhausted,
            Self::Store(fault) => fault.kind(),
        }
    }
}

impl From<rusqlite::Error> for AskError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What people are asked to approve.
#[derive(Debug, Clone, Copy)]
pub struct Approvals<'a>(pub(crate) &'a Store);

impl Approvals<'_> {
    /// Stores what is asked; on disk before it returns. There are at most `most` in the store.
    ///
    /// # Errors
    ///
    /// [`AskError`]; nothing was changed then.
    pub async fn ask(&self, asked: StoredApproval, most: u32) -> Result<(), AskError> {
        asked.check()?;
        let work = move |database: &Connection| -> Result<bool, AskError> {
            let sql = "SELECT count(*) FROM approvals";
            let open: u32 = database.prepare_cached(sql)?.query_row([], |it| it.get(0))?;
            if open >= most {
                return Ok(false);
            }
            let StoredApproval { id, state, at, ends, json } = asked;
            let at = row::to_column("date", at.as_millis())?;
            let ends = row::to_column("date", ends.as_millis())?;
            let sql = "INSERT INTO approvals VALUES (?1, ?2, ?3, ?4, ?5)";
            database.prepare_cached(sql)?.execute(params![id, state, at, ends, json])?;
            Ok(true)
        };
        match self.0.write(work).await? {
            true => Ok(()),
            false => Err(AskError::Full { most }),
        }
    }

    /// Puts `next` in the place of the record with its id if that is in the state `from` still;
    /// returns whether it was.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn change(&self, from: &str, next: StoredApproval) -> Result<bool, Fault> {
        next.check()?;
        let from = from.to_owned();
        let work = move |database: &Connection| {
            let StoredApproval { id, state, at: _, ends, json } = next;
            let ends = row::to_column("date", ends.as_millis())?;
            let sql = "UPDATE approvals SET state = ?1, ends_ms = ?2, json = ?3 \
                       WHERE id = ?4 AND state = ?5";
            Ok(database.prepare_cached(sql)?.execute(params![state, ends, json, id, from])? == 1)
        };
        self.0.write(work).await
    }

    /// Returns one record.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn get(&self, id: &str) -> Result<Option<StoredApproval>, Fault> {
        let id = id.to_owned();
        let work = move |database: &Connection| {
            let sql = "SELECT * FROM approvals WHERE id = ?1";
            let found =
                database.prepare_cached(sql)?.query_row([id], |it| Ok(read(it))).optional()?;
            found.transpose()
        };
        self.0.read(work).await
    }

    /// Returns every record, oldest first; 10,000 at most.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn list(&self) -> Result<Vec<StoredApproval>, Fault> {
        let sql = "SELECT * FROM approvals ORDER BY at_ms, id LIMIT 10000";
        self.0.read(move |database| row::rows(database, sql, [], read)).await
    }

    /// Forgets what is over; returns it.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn sweep(&self, now: Timestamp) -> Result<Vec<StoredApproval>, Fault> {
        let work = move |database: &Connection| {
            let now = row::to_column("date", now.as_millis())?;
            let sql = "SELECT * FROM approvals WHERE ends_ms <= ?1 ORDER BY at_ms, id";
            let over = row::rows(database, sql, [now], read)?;
            let sql = "DELETE FROM approvals WHERE ends_ms <= ?1";
            database.prepare_cached(sql)?.execute([now])?;
            Ok(over)
        };
        self.0.write(work).await
    }
}

fn read(row: &Row<'_>) -> Result<StoredApproval, Fault> {
    Ok(StoredApproval {
        id: row.get("id")?,
        state: row.get("state")?,
        at: row::date(row, "at_ms")?,
        ends: row::date(row, "ends_ms")?,
        json: row.get("json")?,
    })
}
