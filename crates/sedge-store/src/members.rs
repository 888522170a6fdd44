//! Members of the swarm: the newest record of each, and whether it was revoked.

use rusqlite::{Connection, Row, params};
use sedge_base::{ErrorKind, NodeId, Timestamp};

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// One member's newest record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The member.
    pub node: NodeId,
    /// The record's epoch; a newer record has a higher one.
    pub epoch: u64,
    /// Whether the owner took the membership back.
    pub revoked: bool,
    /// When this node stored the record.
    pub at: Timestamp,
    /// The signed record as JSON; up to 1 MiB.
    pub json: String,
}

/// Why a record was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutMemberError {
    /// A record of a newer epoch is stored, or a revocation of the same one.
    #[error("the record of {node:?} has epoch {got}, epoch {known} is stored")]
    Stale {
        /// The member.
        node: NodeId,
        /// The epoch that was given.
        got: u64,
        /// The epoch that is stored.
        known: u64,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Fault),
}

impl PutMemberError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Stale { .. } => ErrorKind::Conflict,
            Self::Store(fault) => fault.kind(),
        }
    }
}

/// The members of the swarm.
#[derive(Debug, Clone, Copy)]
pub struct Members<'a>(pub(crate) &'a Store);

impl Members<'_> {
    /// Stores a member's record in place of an older one.
    ///
    /// The same epoch again is taken, so that repeated gossip changes nothing; but it never brings
    /// back a revoked member.
    ///
    /// # Errors
    ///
    /// [`PutMemberError`]; nothing was changed then.
    pub async fn put(&self, member: Member) -> Result<(), PutMemberError> {
        Fault::check_len("the record", member.json.len(), row::MAX_JSON)?;
        let work = move |database: &Connection| {
            let Member { node, epoch, revoked, at, json } = member;
            if let Some(known) = one(database, node)? {
                let comes_back = known.epoch == epoch && known.revoked && !revoked;
                if known.epoch > epoch || comes_back {
                    return Err(PutMemberError::Stale { node, got: epoch, known: known.epoch });
                }
            }
            let epoch = row::to_column("epoch", epoch)?;
            let at = row::to_column("date", at.as_millis())?;
            let sql = "INSERT OR REPLACE INTO members VALUES (?1, ?2, ?3, ?4, ?5)";
            let params = params![node.to_string(), epoch, revoked, at, json];
            database.execute(sql, params).map_err(Fault::from)?;
            Ok(())
        };
        self.0.write(work).await
    }

    /// Returns a node's record, or `None` when it was never a member.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn get(&self, node: NodeId) -> Result<Option<Member>, Fault> {
        self.0.read(move |database| one(database, node)).await
    }

    /// Returns every record, revoked ones too, by node id; 10,000 at most.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn list(&self) -> Result<Vec<Member>, Fault> {
        let sql = "SELECT * FROM members ORDER BY node LIMIT 10000";
        self.0.read(move |database| row::rows(database, sql, [], read)).await
    }
}

fn one(database: &Connection, node: NodeId) -> Result<Option<Member>, Fault> {
    let sql = "SELECT * FROM members WHERE node = ?1";
    Ok(row::rows(database, sql, [node.to_string()], read)?.into_iter().next())
}

fn read(row: &Row<'_>) -> Result<Member, Fault> {
    Ok(Member {
        node: row::id(row, "node", "node id")?,
        epoch: row::number(row, "epoch", "epoch")?,
        revoked: row.get("revoked")?,
        at: row::date(row, "at_ms")?,
        json: row.get("json")?,
    })
}
