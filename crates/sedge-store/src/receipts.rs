//! Receipts: one row per receipt, unique by id and by place in its executor's chain.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sedge_base::{ContentId, ErrorKind, NodeId, TaskId, Timestamp};

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// What this node did in the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It ran the task, for itself or for another node.
    Executed,
    /// It asked another node to run the task.
    Requested,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Requested => "requested",
        }
    }
}

/// A receipt as it is stored: the signed JSON, and what to find it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReceipt {
    /// The receipt's id.
    pub id: ContentId,
    /// Who ran the task.
    pub executor: NodeId,
    /// The place in the executor's chain, from 0.
    pub sequence: u64,
    /// The task.
    pub task: TaskId,
    /// What this node did in it.
    pub role: Role,
    /// Whether the requester signed too.
    pub countersigned: bool,
    /// When it was stored.
    pub at: Timestamp,
    /// The receipt itself.
    pub json: String,
}

/// Why a receipt was not appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// This very receipt is stored already.
    #[error("receipt {id} is stored already")]
    Known {
        /// Its id.
        id: ContentId,
    },
    /// Another receipt has this place in the chain: the executor lost its chain, or made two.
    #[error("place {sequence} in the chain of {executor:?} is taken by receipt {by}")]
    Taken {
        /// Whose chain.
        executor: NodeId,
        /// Which place.
        sequence: u64,
        /// The receipt that has it.
        by: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Fault),
}

impl AppendError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Known { .. } | Self::Taken { .. } => ErrorKind::Conflict,
            Self::Store(fault) => fault.kind(),
        }
    }
}

/// Why the requester's signature was not added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CountersignError {
    /// There is no such receipt.
    #[error("there is no receipt {id}")]
    Unknown {
        /// The id that was given.
        id: ContentId,
    },
    /// It is countersigned already.
    #[error("receipt {id} is countersigned already")]
    Done {
        /// Its id.
        id: ContentId,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Fault),
}

impl CountersignError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown { .. } => ErrorKind::NotFound,
            Self::Done { .. } => ErrorKind::Conflict,
            Self::Store(fault) => fault.kind(),
        }
    }
}

/// The receipts of tasks.
#[derive(Debug, Clone, Copy)]
pub struct Receipts<'a>(pub(crate) &'a Store);

impl Receipts<'_> {
    /// Appends a receipt; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`AppendError`]; nothing was stored then.
    pub async fn append(&self, receipt: StoredReceipt) -> Result<(), AppendError> {
        Fault::check_len("the receipt", receipt.json.len(), row::MAX_JSON)?;
        self.0.write(move |database| append(database, &receipt)).await
    }

    /// Appends receipts, all or none; they are on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`AppendError`] of the first one that fails; nothing was stored then.
    pub async fn append_all(&self, receipts: Vec<StoredReceipt>) -> Result<(), AppendError> {
        for receipt in &receipts {
            Fault::check_len("the receipt", receipt.json.len(), row::MAX_JSON)?;
        }
        let work =
            move |database: &Connection| receipts.iter().try_for_each(|it| append(database, it));
        self.0.write(work).await
    }

    /// Puts the countersigned text in the place of the one that only the executor signed.
    ///
    /// # Errors
    ///
    /// [`CountersignError`]; nothing was changed then.
    pub async fn countersign(&self, id: ContentId, json: String) -> Result<(), CountersignError> {
        Fault::check_len("the receipt", json.len(), row::MAX_JSON)?;
        let work = move |database: &Connection| {
            let sql = "UPDATE receipts SET json = ?2, countersigned = 1 \
                       WHERE id = ?1 AND countersigned = 0";
            if database.execute(sql, params![id.to_string(), json]).map_err(Fault::from)? == 1 {
                return Ok(());
            }
            match one(database, "WHERE id = ?1", [id.to_string()])? {
                Some(_) => Err(CountersignError::Done { id }),
                None => Err(CountersignError::Unknown { id }),
            }
        };
        self.0.write(work).await
    }

    /// Returns a receipt by its id, or `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn get(&self, id: ContentId) -> Result<Option<StoredReceipt>, Fault> {
        self.0.read(move |database| one(database, "WHERE id = ?1", [id.to_string()])).await
    }

    /// Returns the receipts whose id begins with `prefix`, `limit` at most; none for a prefix that
    /// is not written in lower-case hexadecimal digits.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn find(&self, prefix: &str, limit: usize) -> Result<Vec<StoredReceipt>, Fault> {
        let digits = prefix.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
        if !digits || prefix.is_empty() || prefix.len() > 64 {
            return Ok(Vec::new());
        }
        let pattern = format!("{prefix}*");
        let work = move |database: &Connection| {
            let sql = "SELECT * FROM receipts WHERE id GLOB ?1 ORDER BY place DESC LIMIT ?2";
            row::rows(database, sql, params![pattern, row::limit(limit)], read)
        };
        self.0.read(work).await
    }

    /// Returns the newest receipt of a task, or `None` when it has none here.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn of_task(&self, task: &TaskId) -> Result<Option<StoredReceipt>, Fault> {
        let task = task.to_string();
        let rest = "WHERE task = ?1 ORDER BY place DESC LIMIT 1";
        self.0.read(move |database| one(database, rest, [task])).await
    }

    /// Returns the newest receipts first, `limit` at most.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn list(&self, limit: usize) -> Result<Vec<StoredReceipt>, Fault> {
        let work = move |database: &Connection| {
            let sql = "SELECT * FROM receipts ORDER BY place DESC LIMIT ?1";
            row::rows(database, sql, [row::limit(limit)], read)
        };
        self.0.read(work).await
    }

    /// Returns how many receipts are stored.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn count(&self) -> Result<u64, Fault> {
        let work = |database: &Connection| {
            let sql = "SELECT count(*) AS number FROM receipts";
            let counted = row::rows(database, sql, [], |it| row::number(it, "number", "count"))?;
            Ok(counted.into_iter().next().unwrap_or(0))
        };
        self.0.read(work).await
    }

    /// Returns the last receipt of an executor's chain, or `None` when it has none here.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn head(&self, executor: NodeId) -> Result<Option<StoredReceipt>, Fault> {
        let rest = "WHERE executor = ?1 ORDER BY sequence DESC LIMIT 1";
        self.0.read(move |database| one(database, rest, [executor.to_string()])).await
    }

    /// Returns the ids of an executor's chain in order, from place `from`, `limit` at most.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn ids(
        &self,
        executor: NodeId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<ContentId>, Fault> {
        let from = row::to_column("sequence", from)?;
        let work = move |database: &Connection| {
            let sql = "SELECT id FROM receipts WHERE executor = ?1 AND sequence >= ?2 \
                       ORDER BY sequence LIMIT ?3";
            let params = params![executor.to_string(), from, row::limit(limit)];
            row::rows(database, sql, params, |it| row::id(it, "id", "receipt id"))
        };
        self.0.read(work).await
    }

    /// Returns an executor's chain in order, from place `from`, `limit` receipts at most.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn chain(
        &self,
        executor: NodeId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StoredReceipt>, Fault> {
        let from = row::to_column("sequence", from)?;
        let work = move |database: &Connection| {
            let sql = "SELECT * FROM receipts WHERE executor = ?1 AND sequence >= ?2 \
                       ORDER BY sequence LIMIT ?3";
            let params = params![executor.to_string(), from, row::limit(limit)];
            row::rows(database, sql, params, read)
        };
        self.0.read(work).await
    }
}

fn append(database: &Connection, receipt: &StoredReceipt) -> Result<(), AppendError> {
    let sequence = row::to_column("sequence", receipt.sequence)?;
    let (id, executor) = (receipt.id.to_string(), receipt.executor.to_string());
    if one(database, "WHERE id = ?1", [&id])?.is_some() {
        return Err(AppendError::Known { id: receipt.id });
    }
    let sql = "SELECT id FROM receipts WHERE executor = ?1 AND sequence = ?2";
    let taken = database.prepare_cached(sql).and_then(|mut it| {
        it.query_row(params![executor, sequence], |row| row.get::<_, String>(0)).optional()
    });
    if let Some(by) = taken.map_err(Fault::from)? {
        let StoredReceipt { executor, sequence, .. } = *receipt;
        return Err(AppendError::Taken { executor, sequence, by });
    }
    let sql = "INSERT INTO receipts (id, executor, sequence, task, role, countersigned, at_ms, json) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let at = row::to_column("date", receipt.at.as_millis())?;
    let insert = database.prepare_cached(sql).and_then(|mut it| {
        it.execute(params![
            id,
            executor,
            sequence,
            receipt.task.as_str(),
            receipt.role.name(),
            receipt.countersigned,
            at,
            receipt.json
        ])
    });
    insert.map_err(Fault::from)?;
    Ok(())
}

fn one(
    database: &Connection,
    rest: &str,
    params: impl rusqlite::Params,
) -> Result<Option<StoredReceipt>, Fault> {
    let found = row::rows(database, &format!("SELECT * FROM receipts {rest}"), params, read)?;
    Ok(found.into_iter().next())
}

fn read(row: &Row<'_>) -> Result<StoredReceipt, Fault> {
    let role = match row.get::<_, String>("role")?.as_str() {
        "executed" => Role::Executed,
        "requested" => Role::Requested,
        _ => return Err(Fault::Value { what: "role" }),
    };
    Ok(StoredReceipt {
        id: row::id(row, "id", "receipt id")?,
        executor: row::id(row, "executor", "node id")?,
        sequence: row::number(row, "sequence", "sequence")?,
        task: row::id(row, "task", "task id")?,
        role,
        countersigned: row.get("countersigned")?,
        at: row::date(row, "at_ms")?,
        json: row.get("json")?,
    })
}
