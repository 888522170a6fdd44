//! What this node has promised to a quorum: its vote, the replicated log, the newest snapshot.

use rusqlite::{Connection, Row, params};
use sedge_base::SwarmId;

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// The largest snapshot, in bytes of JSON.
const MAX_SNAPSHOT: usize = 4 << 20;

const VOTE: &str = "vote";
const PURGED: &str = "purged";
const SNAPSHOT: &str = "snapshot";

/// One change of what is kept; every text is JSON, up to 1 MiB unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuorumChange {
    /// Whom this node voted for.
    Vote(String),
    /// An entry of the log, in place of the one that stood there.
    Entry {
        /// Its position.
        position: u64,
        /// The entry.
        json: String,
    },
    /// The entries from this position on never were.
    CutFrom(u64),
    /// The entries up to and with this position are in the snapshot.
    Purge {
        /// The last position that goes.
        upto: u64,
        /// What is remembered of the last one.
        json: String,
    },
    /// The newest snapshot, up to 4 MiB.
    Snapshot(String),
}

/// All that is kept for a quorum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredQuorum {
    /// Whom this node voted for.
    pub vote: Option<String>,
    /// The last entry that was purged.
    pub purged: Option<String>,
    /// The newest snapshot.
    pub snapshot: Option<String>,
    /// The entries of the log, by position.
    pub entries: Vec<String>,
}

/// What this node keeps for the quorum of one swarm. Promises to another swarm stay as they are: a
/// node that comes back to it has broken none.
#[derive(Debug, Clone, Copy)]
pub struct Quorum<'a> {
    pub(crate) store: &'a Store,
    pub(crate) swarm: SwarmId,
}

impl Quorum<'_> {
    /// Makes changes, all or none, in their order; they are on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn change(&self, changes: Vec<QuorumChange>) -> Result<(), Fault> {
        for change in &changes {
            let (text, most) = match change {
                QuorumChange::Vote(json)
                | QuorumChange::Entry { json, .. }
                | QuorumChange::Purge { json, .. } => (json, row::MAX_JSON),
                QuorumChange::Snapshot(json) => (json, MAX_SNAPSHOT),
                QuorumChange::CutFrom(_) => continue,
            };
            Fault::check_len("what the quorum keeps", text.len(), most)?;
        }
        let swarm = self.swarm.to_string();
        let work = move |database: &Connection| {
            changes.iter().try_for_each(|it| make(database, &swarm, it))
        };
        self.store.write(work).await
    }

    /// Returns all that is kept.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn load(&self) -> Result<StoredQuorum, Fault> {
        let swarm = self.swarm.to_string();
        let work = move |database: &Connection| {
            let fact = |name: &str| {
                let sql = "SELECT json FROM quorum_facts WHERE swarm = ?1 AND fact = ?2";
                let found = row::rows(database, sql, [swarm.as_str(), name], read)?;
                Ok::<_, Fault>(found.into_iter().next())
            };
            let sql = "SELECT json FROM quorum_log WHERE swarm = ?1 ORDER BY position";
            Ok(StoredQuorum {
                vote: fact(VOTE)?,
                purged: fact(PURGED)?,
                snapshot: fact(SNAPSHOT)?,
                entries: row::rows(database, sql, [&swarm], read)?,
            })
        };
        self.store.read(work).await
    }
}

fn read(row: &Row<'_>) -> Result<String, Fault> {
    Ok(row.get("json")?)
}

fn make(database: &Connection, swarm: &str, change: &QuorumChange) -> Result<(), Fault> {
    let fact = |name: &str, json: &str| {
        let sql = "INSERT OR REPLACE INTO quorum_facts VALUES (?1, ?2, ?3)";
        database.prepare_cached(sql)?.execute(params![swarm, name, json]).map(drop)
    };
    match change {
        QuorumChange::Vote(json) => fact(VOTE, json)?,
        QuorumChange::Snapshot(json) => fact(SNAPSHOT, json)?,
        QuorumChange::Entry { position, json } => {
            let position = row::to_column("position", *position)?;
            let sql = "INSERT OR REPLACE INTO quorum_log VALUES (?1, ?2, ?3)";
            database.prepare_cached(sql)?.execute(params![swarm, position, json])?;
        }
        QuorumChange::CutFrom(position) => {
            let position = row::to_column("position", *position)?;
            let sql = "DELETE FROM quorum_log WHERE swarm = ?1 AND position >= ?2";
            database.execute(sql, params![swarm, position])?;
        }
        QuorumChange::Purge { upto, json } => {
            let upto = row::to_column("position", *upto)?;
            let sql = "DELETE FROM quorum_log WHERE swarm = ?1 AND position <= ?2";
            database.execute(sql, params![swarm, upto])?;
            fact(PURGED, json)?;
        }
    }
    Ok(())
}
