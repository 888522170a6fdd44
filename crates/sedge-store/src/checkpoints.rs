//! Checkpoints of receipt chains: the newest of each node, and what contradicts it.

use rusqlite::{Connection, Row, params};
use sedge_base::{NodeId, Timestamp};

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// The newest checkpoint of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Whose chain.
    pub node: NodeId,
    /// How many receipts it counts.
    pub count: u64,
    /// When it was stored.
    pub at: Timestamp,
    /// The signed checkpoint as JSON; up to 1 MiB.
    pub json: String,
    /// What the node said that contradicts it, as JSON; up to 1 MiB.
    pub contradiction: Option<String>,
}

/// The newest checkpoint of each node.
#[derive(Debug, Clone, Copy)]
pub struct Checkpoints<'a>(pub(crate) &'a Store);

impl Checkpoints<'_> {
    /// Stores a checkpoint in place of a shorter one; a longer one stays. What contradicts it stays
    /// in any case.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn put(
        &self,
        node: NodeId,
        count: u64,
        at: Timestamp,
        json: String,
    ) -> Result<(), Fault> {
        Fault::check_len("the checkpoint", json.len(), row::MAX_JSON)?;
        let count = row::to_column("count", count)?;
        let at = row::to_column("date", at.as_millis())?;
        let work = move |database: &Connection| {
            let sql = "INSERT INTO checkpoints (node, count, at_ms, json) VALUES (?1, ?2, ?3, ?4) \
                       ON CONFLICT (node) DO UPDATE SET count = ?2, at_ms = ?3, json = ?4 \
                       WHERE count < ?2";
            database.prepare_cached(sql)?.execute(params![node.to_string(), count, at, json])?;
            Ok(())
        };
        self.0.write(work).await
    }

    /// Notes what a node said that contradicts its stored checkpoint, if nothing was noted yet.
    /// Returns whether it was noted.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn contradict(&self, node: NodeId, json: String) -> Result<bool, Fault> {
        Fault::check_len("the contradiction", json.len(), row::MAX_JSON)?;
        let work = move |database: &Connection| {
            let sql = "UPDATE checkpoints SET contradiction = ?2 \
                       WHERE node = ?1 AND contradiction IS NULL";
            Ok(database.execute(sql, params![node.to_string(), json])? == 1)
        };
        self.0.write(work).await
    }

    /// Returns a node's newest checkpoint, or `None` when it never showed one.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn get(&self, node: NodeId) -> Result<Option<StoredCheckpoint>, Fault> {
        let work = move |database: &Connection| {
            let sql = "SELECT * FROM checkpoints WHERE node = ?1";
            Ok(row::rows(database, sql, [node.to_string()], read)?.into_iter().next())
        };
        self.0.read(work).await
    }

    /// Returns every node's newest checkpoint, by node id; 10,000 at most.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn list(&self) -> Result<Vec<StoredCheckpoint>, Fault> {
        let sql = "SELECT * FROM checkpoints ORDER BY node LIMIT 10000";
        self.0.read(move |database| row::rows(database, sql, [], read)).await
    }
}

fn read(row: &Row<'_>) -> Result<StoredCheckpoint, Fault> {
    Ok(StoredCheckpoint {
        node: row::id(row, "node", "node id")?,
        count: row::number(row, "count", "count")?,
        at: row::date(row, "at_ms")?,
        json: row.get("json")?,
        contradiction: row.get("contradiction")?,
    })
}
