//! What is remembered about nodes that asked to be admitted: approvals, bans, pairing tokens.

use rusqlite::{Connection, Row, params};
use sedge_base::Timestamp;

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// The most records of one kind; of those that end, the ones that end first make room.
const MAX_RECORDS: i64 = 10_000;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAdmission {
    /// What sort of record, such as `approval`; up to 256 bytes.
    pub kind: String,
    /// Whom or what it is about, such as a node id; up to 256 bytes.
    pub subject: String,
    /// When it was made.
    pub at: Timestamp,
    /// When it is of no more use; `None`: until it is removed.
    pub ends: Option<Timestamp>,
    /// The record as JSON; up to 1 MiB.
    pub json: String,
}

/// What is remembered about nodes that asked to be admitted.
#[derive(Debug, Clone, Copy)]
pub struct Admissions<'a>(pub(crate) &'a Store);

impl Admissions<'_> {
    /// Stores records, each in place of the one of the same kind and subject: all of them, or none.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn put(&self, records: Vec<StoredAdmission>) -> Result<(), Fault> {
        for record in &records {
            Fault::check_len("the kind", record.kind.len(), row::MAX_NAME)?;
            Fault::check_len("the subject", record.subject.len(), row::MAX_NAME)?;
            Fault::check_len("the record", record.json.len(), row::MAX_JSON)?;
        }
        let work = move |database: &Connection| {
            records.into_iter().try_for_each(|record| put_one(database, record))
        };
        self.0.write(work).await
    }

    /// Forgets a record; returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn remove(&self, kind: &str, subject: &str) -> Result<bool, Fault> {
        let (kind, subject) = (kind.to_owned(), subject.to_owned());
        let work = move |database: &Connection| {
            let sql = "DELETE FROM admission WHERE kind = ?1 AND subject = ?2";
            Ok(database.execute(sql, params![kind, subject])? == 1)
        };
        self.0.write(work).await
    }

    /// Returns every record, oldest first; 100,000 at most.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn list(&self) -> Result<Vec<StoredAdmission>, Fault> {
        let sql = "SELECT * FROM admission ORDER BY at_ms, kind, subject LIMIT 100000";
        self.0.read(move |database| row::rows(database, sql, [], read)).await
    }
}

fn put_one(database: &Connection, record: StoredAdmission) -> Result<(), Fault> {
    let StoredAdmission { kind, subject, at, ends, json } = record;
    let at = row::to_column("date", at.as_millis())?;
    let ends = ends.map(|it| row::to_column("date", it.as_millis())).transpose()?;
    let sql = "INSERT OR REPLACE INTO admission VALUES (?1, ?2, ?3, ?4, ?5)";
    database.prepare_cached(sql)?.execute(params![kind, subject, at, ends, json])?;
    let sql = "DELETE FROM admission WHERE kind = ?1 AND subject IN \
               (SELECT subject FROM admission WHERE kind = ?1 AND ends_ms IS NOT NULL \
                ORDER BY ends_ms DESC LIMIT -1 OFFSET ?2)";
    database.prepare_cached(sql)?.execute(params![kind, MAX_RECORDS])?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<StoredAdmission, Fault> {
    let ends: Option<i64> = row.get("ends_ms")?;
    let ends = ends.map(|it| u64::try_from(it).map_err(|_| Fault::Value { what: "date" }));
    Ok(StoredAdmission {
        kind: row.get("kind")?,
        subject: row.get("subject")?,
        at: row::date(row, "at_ms")?,
        ends: ends.transpose()?.map(Timestamp::from_millis),
        json: row.get("json")?,
    })
}
