//! The audit: what happened that somebody may have to answer for; only ever added to.
//!
//! It has an end: the newest [`MAX_AUDIT`] entries stay, and how many went is known.

use rusqlite::{Connection, Row, params};
use sedge_base::Timestamp;

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// How many entries are kept; the oldest go first.
pub const MAX_AUDIT: u64 = 10_000;

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

/// The newest part of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    /// Each entry with its number, the newest first; numbers are never given twice.
    pub entries: Vec<(u64, AuditEntry)>,
    /// How many older entries made room.
    pub gone: u64,
}

/// The audit.
#[derive(Debug, Clone, Copy)]
pub struct Audit<'a>(pub(crate) &'a Store);

impl Audit<'_> {
    /// Adds an entry; returns its number. The oldest beyond [`MAX_AUDIT`] go.
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
            let place = database.last_insert_rowid();
            let place = u64::try_from(place).map_err(|_| Fault::Value { what: "place" })?;
            let last_to_go = row::to_column("place", place.saturating_sub(MAX_AUDIT))?;
            let sql = "DELETE FROM audit WHERE place <= ?1";
            database.prepare_cached(sql)?.execute([last_to_go])?;
            Ok(place)
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

    /// Returns the newest entries with their numbers, `limit` at most, and how many are gone.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn trail(&self, limit: usize) -> Result<Trail, Fault> {
        let work = move |database: &Connection| {
            let sql = "SELECT * FROM audit ORDER BY place DESC LIMIT ?1";
            let entries = row::rows(database, sql, [row::limit(limit)], read_numbered)?;
            let sql = "SELECT place FROM audit ORDER BY place LIMIT 1";
            let first = row::rows(database, sql, [], |it| row::number(it, "place", "place"))?;
            let gone = first.first().map_or(0, |it| it.saturating_sub(1));
            Ok(Trail { entries, gone })
        };
        self.0.read(work).await
    }
}

fn read_numbered(row: &Row<'_>) -> Result<(u64, AuditEntry), Fault> {
    Ok((row::number(row, "place", "place")?, read(row)?))
}

fn read(row: &Row<'_>) -> Result<AuditEntry, Fault> {
    Ok(AuditEntry {
        at: row::date(row, "at_ms")?,
        kind: row.get("kind")?,
        subject: row.get("subject")?,
        detail: row.get("detail")?,
    })
}
