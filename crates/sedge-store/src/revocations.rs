//! What the owner of the swarm took back.

use rusqlite::{Connection, Row, params};
use sedge_base::{NodeId, Timestamp};

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// What a revocation is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The memberships of a node up to an epoch.
    Node {
        /// The node.
        node: NodeId,
        /// The highest epoch that is void.
        epoch: u64,
    },
    /// A token, by its id; up to 200 bytes.
    Token(String),
}

/// One revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRevocation {
    /// What it is about; of one node, the last one counts.
    pub subject: Subject,
    /// When the owner signed it.
    pub at: Timestamp,
    /// The signed record as JSON; up to 1 MiB.
    pub json: String,
}

/// What the owner of the swarm took back.
#[derive(Debug, Clone, Copy)]
pub struct Revocations<'a>(pub(crate) &'a Store);

impl Revocations<'_> {
    /// Stores a revocation in place of an older one of the same subject; the records of a revoked
    /// member are marked so with it.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn put(&self, revocation: StoredRevocation) -> Result<(), Fault> {
        let StoredRevocation { subject, at, json } = revocation;
        Fault::check_len("the revocation", json.len(), row::MAX_JSON)?;
        let key = match &subject {
            Subject::Node { node, .. } => format!("node:{node}"),
            Subject::Token(id) => format!("token:{id}"),
        };
        Fault::check_len("the id", key.len(), row::MAX_NAME)?;
        let work = move |database: &Connection| {
            let at = row::to_column("date", at.as_millis())?;
            let sql = "INSERT OR REPLACE INTO revocations VALUES (?1, ?2, ?3)";
            database.execute(sql, params![key, at, json])?;
            if let Subject::Node { node, epoch } = subject {
                let sql = "UPDATE members SET revoked = 1 WHERE node = ?1 AND epoch <= ?2";
                let epoch = row::to_column("epoch", epoch)?;
                database.execute(sql, params![node.to_string(), epoch])?;
            }
            Ok(())
        };
        self.0.write(work).await
    }

    /// Returns the signed records as JSON, by subject; 10,000 at most.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn list(&self) -> Result<Vec<String>, Fault> {
        let sql = "SELECT json FROM revocations ORDER BY subject LIMIT 10000";
        let read = |row: &Row<'_>| Ok(row.get(0)?);
        self.0.read(move |database| row::rows(database, sql, [], read)).await
    }
}
