//! The audit: what happened that somebody may have to answer for; only ever added to.

use rusqlite::{Connection, Row, params};
use sedge_base::Timestamp;

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// What sort of thing, such as `registration.refused`; up to 256 bytes.
    pub kind: String,
    /// Whom or what it is about, such as a node id; up to 256 bytes.
    pub subject: String,
    /// What else is known, as JSON; up to 1 MiB.
    pub detail: String,
}

/// The audit.
#[derive(Debug, Clone, Copy)]
pub struct Audit<'a>(pub(crate) &'a Store);

impl Audit<'_> {
    /// Adds an entry; returns its number.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was added then.
    pub async fn append(&self, entry: AuditEntry) -> Result<u64, Fault> {
        Fault::check_len("the kind", entry.kind.len(), row::MAX_NAME)?;
        Fault::check_len("the subject", entry.subject.len(), row::MAX_NAME)?;
        Fault::check_len("the detail", entry.detail.len(), row::MAX_JSON)?;
        let work = move |database: &Connection| {
            let AuditEntry { at, kind, subject, detail } = entry;
            let at = row::to_column("date", at.as_millis())?;
            let sql = "INSERT INTO audit (at_ms, kind, subject, detail) VALUES (?1, ?2, ?3, ?4)";
            database.prepare_cached(sql)?.execute(params![at, kind, subject, detail])?;
            u64::try_from(database.last_insert_rowid()).map_err(|_| Fault::Value { what: "place" })
        };
        self.0.write(work).await
    }

    /// Returns the newest entries first, `limit` at most.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn list(&self, limit: usize) -> Result<Vec<AuditEntry>, Fault> {
        let work = move |database: &Connection| {
            let sql = "SELECT * FROM audit ORDER BY place DESC LIMIT ?1";
            row::rows(database, sql, [row::limit(limit)], read)
        };
        self.0.read(work).await
    }
}

fn read(row: &Row<'_>) -> Result<AuditEntry, Fault> {
    Ok(AuditEntry {
        at: row::date(row, "at_ms")?,
        kind: row.get("kind")?,
        subject: row.get("subject")?,
        detail: row.get("detail")?,
    })
}
