//! How many calls were made with tokens that limit them.

use rusqlite::{Connection, OptionalExtension as _, params};
use sedge_base::{ErrorKind, Timestamp};

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// The most tokens that are counted at once; those that have ended make room.
const MAX_COUNTED: i64 = 65_536;

/// One limit of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLimit {
    /// The token, by its id; up to 256 bytes.
    pub token: String,
    /// The most calls.
    pub most: u64,
    /// When the token ends and its count is of no more use.
    pub ends: Option<Timestamp>,
}

/// Why a call was not counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeCallError {
    /// Every call that the token allows was made.
    #[error("the token allows {most} calls, and {used} were made")]
    UsedUp {
        /// The most calls.
        most: u64,
        /// The calls that were made.
        used: u64,
    },
    /// There are more tokens than this node counts.
    #[error("this node counts the calls of {MAX_COUNTED} tokens already")]
    Full,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Fault),
}

impl TakeCallError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::UsedUp { .. } | Self::Full => ErrorKind::Exhausted,
            Self::Store(fault) => fault.kind(),
        }
    }
}

/// The counts of calls by token.
#[derive(Debug, Clone, Copy)]
pub struct Calls<'a>(pub(crate) &'a Store);

impl Calls<'_> {
    /// Counts one call against every limit, or against none if one of them is used up. Two at the
    /// same moment never share the last call, and a count that was acknowledged survives a crash.
    ///
    /// # Errors
    ///
    /// [`TakeCallError`]; nothing was counted then.
    pub async fn take(&self, limits: Vec<CallLimit>, now: Timestamp) -> Result<(), TakeCallError> {
        for limit in &limits {
            Fault::check_len("the token's id", limit.token.len(), row::MAX_NAME)?;
        }
        // An error undoes what this work has written so far.
        let work = move |database: &Connection| {
            limits.into_iter().try_for_each(|limit| take_one(database, limit, now))
        };
        self.0.write(work).await
    }

    /// Returns how many calls were made with a token.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn used(&self, token: String) -> Result<u64, Fault> {
        self.0.read(move |database| Ok(used(database, &token)?.unwrap_or(0))).await
    }
}

fn used(database: &Connection, token: &str) -> Result<Option<u64>, Fault> {
    let sql = "SELECT used FROM calls WHERE token = ?1";
    let mut statement = database.prepare_cached(sql)?;
    let found: Option<i64> = statement.query_row([token], |row| row.get(0)).optional()?;
    found.map(|it| u64::try_from(it).map_err(|_| Fault::Value { what: "count" })).transpose()
}

fn take_one(database: &Connection, limit: CallLimit, now: Timestamp) -> Result<(), TakeCallError> {
    let CallLimit { token, most, ends } = limit;
    let known = used(database, &token)?;
    let used = known.unwrap_or(0);
    if used >= most {
        return Err(TakeCallError::UsedUp { most, used });
    }
    if known.is_none() {
        make_room(database, now)?;
    }
    let ends = ends.map(|it| row::to_column("date", it.as_millis())).transpose()?;
    let sql = "INSERT INTO calls VALUES (?1, 1, ?2) ON CONFLICT DO UPDATE SET used = used + 1";
    let mut statement = database.prepare_cached(sql).map_err(Fault::from)?;
    statement.execute(params![token, ends]).map_err(Fault::from)?;
    Ok(())
}

/// Forgets the counts of tokens that have ended when there is no room for another one.
fn make_room(database: &Connection, now: Timestamp) -> Result<(), TakeCallError> {
    let counted = || -> Result<i64, Fault> {
        Ok(database.query_row("SELECT count(*) FROM calls", [], |row| row.get(0))?)
    };
    if counted()? < MAX_COUNTED {
        return Ok(());
    }
    let now = row::to_column("date", now.as_millis())?;
    database.execute("DELETE FROM calls WHERE ends_ms <= ?1", [now]).map_err(Fault::from)?;
    if counted()? < MAX_COUNTED { Ok(()) } else { Err(TakeCallError::Full) }
}
