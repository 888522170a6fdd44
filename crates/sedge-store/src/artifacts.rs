//! Artifacts: large content in files beside the database, and what is known of each in it.
//!
//! Invariants: an artifact that is listed as whole has its bytes on disk; the sizes of all of them,
//! unfinished ones included, never exceed the room; what is pinned or deployed is never evicted.

mod rack;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use sedge_base::{ArtifactId, ByteSize, ContentId, ErrorKind, Timestamp};

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

pub(crate) use rack::Rack;
pub use rack::{OpenArtifact, Staged};

/// What is known of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its id, by which it travels.
    pub id: ArtifactId,
    /// The SHA-256 of its bytes, by which receipts and deployments name them; `None` until somebody
    /// computed it.
    pub content: Option<ContentId>,
    /// Its size in bytes, at least 1.
    pub size: u64,
    /// Whether all of it is here.
    pub whole: bool,
    /// Whether it stays until it is removed by hand.
    pub keep: Keep,
    /// When it was stored, or its first part.
    pub stored_at: Timestamp,
}

/// How long an artifact stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Until somebody removes it.
    Pinned,
    /// Until its room is needed: the one that was not used for the longest time goes first.
    WhileThereIsRoom,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactLimits {
    /// The largest artifact.
    pub largest: ByteSize,
    /// All artifacts together.
    pub room: ByteSize,
}

/// Why something could not be done with an artifact.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// It is larger than allowed.
    #[error("the artifact is too large: {got} > {most}")]
    TooLarge {
        /// Its size.
        got: ByteSize,
        /// The largest that is taken.
        most: ByteSize,
    },
    /// What is pinned, deployed or arriving leaves too little room.
    #[error("no room for {got}: of {room}, {held} are pinned, deployed or arriving")]
    NoRoom {
        /// Its size.
        got: ByteSize,
        /// The room for all artifacts together.
        room: ByteSize,
        /// How much of it cannot be evicted.
        held: ByteSize,
    },
    /// Its files could not be made, read or removed.
    #[error("cannot use the artifact's files in {folder}")]
    Io {
        /// Where.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Fault),
}

impl ArtifactError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } | Self::NoRoom { .. } => ErrorKind::Exhausted,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
                io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                _ => ErrorKind::Internal,
            },
            Self::Store(fault) => fault.kind(),
        }
    }
}

/// Artifacts by their id.
#[derive(Debug, Clone, Copy)]
pub struct Artifacts<'a>(pub(crate) &'a Store);

impl Artifacts<'_> {
    /// Makes two empty files for an artifact whose id is not known yet.
    ///
    /// # Errors
    ///
    /// [`ArtifactError::Io`].
    pub async fn stage(&self) -> Result<Staged, ArtifactError> {
        self.on_disk(|rack| rack.stage()).await
    }

    /// Takes in a whole artifact; it is on disk under its id when this returns. One that is there
    /// already stays, and is pinned if this one is to be.
    ///
    /// Returns what was evicted for it.
    ///
    /// # Errors
    ///
    /// [`ArtifactError`]; nothing was evicted or kept then.
    pub async fn keep(
        &self,
        staged: Staged,
        artifact: Artifact,
        limits: ArtifactLimits,
        busy: Vec<ArtifactId>,
    ) -> Result<Vec<ArtifactId>, ArtifactError> {
        let id = artifact.id;
        let there = self.get(id).await?.is_some_and(|it| it.whole);
        let evicted = self.admit(artifact, limits, busy).await?;
        if !there && let Err(error) = self.on_disk(move |_| staged.keep(id)).await {
            self.forget(id).await?;
            return Err(error);
        }
        self.drop_files(evicted).await
    }

    /// Opens the files of an artifact that comes in parts, and reserves its room.
    ///
    /// Returns what was evicted for it.
    ///
    /// # Errors
    ///
    /// [`ArtifactError`]; nothing was evicted or reserved then.
    pub async fn begin(
        &self,
        artifact: Artifact,
        limits: ArtifactLimits,
        busy: Vec<ArtifactId>,
    ) -> Result<(OpenArtifact, Vec<ArtifactId>), ArtifactError> {
        let Artifact { id, size, .. } = artifact;
        let evicted = self.admit(artifact, limits, busy).await?;
        let evicted = self.drop_files(evicted).await?;
        match self.on_disk(move |rack| rack.begin(id, size)).await {
            Ok(files) => Ok((files, evicted)),
            Err(error) => {
                self.forget(id).await?;
                Err(error)
            }
        }
    }

    /// Notes that an artifact that came in parts is whole, after its files are on disk.
    ///
    /// # Errors
    ///
    /// [`ArtifactError`]; it is not whole then.
    pub async fn finish(&self, id: ArtifactId) -> Result<(), ArtifactError> {
        let sync = move |rack: &Arc<Rack>| {
            let OpenArtifact { data, tree } = rack.read(id)?;
            data.sync_all()?;
            tree.sync_all()?;
            crate::open::sync_folder(&rack.folder)
        };
        self.on_disk(sync).await?;
        let work = move |database: &Connection| {
            database.execute("UPDATE artifacts SET whole = 1 WHERE id = ?1", [id.to_string()])?;
            Ok::<_, Fault>(())
        };
        Ok(self.0.write(work).await?)
    }

    /// Notes the SHA-256 of an artifact, computed from its bytes here.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn name(&self, id: ArtifactId, content: ContentId) -> Result<(), Fault> {
        let work = move |database: &Connection| {
            let sql = "UPDATE artifacts SET content = ?2 WHERE id = ?1";
            database.execute(sql, params![id.to_string(), content.to_string()])?;
            Ok(())
        };
        self.0.write(work).await
    }

    /// Returns what is known of an artifact, or `None` when nothing of it is here.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn get(&self, id: ArtifactId) -> Result<Option<Artifact>, Fault> {
        self.0.read(move |database| one(database, id)).await
    }

    /// Returns every artifact, the last used first; 10,000 at most.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn list(&self) -> Result<Vec<Artifact>, Fault> {
        let sql = "SELECT * FROM artifacts ORDER BY used DESC LIMIT 10000";
        self.0.read(move |database| row::rows(database, sql, [], read)).await
    }

    /// Opens an artifact that is here, whole or in part, and counts this as a use of it; `None`
    /// when nothing of it is here.
    ///
    /// # Errors
    ///
    /// [`ArtifactError`] when its files cannot be opened.
    pub async fn open(
        &self,
        id: ArtifactId,
    ) -> Result<Option<(Artifact, OpenArtifact)>, ArtifactError> {
        let work = move |database: &Connection| {
            let sql =
                "UPDATE artifacts SET used = (SELECT max(used) + 1 FROM artifacts) WHERE id = ?1";
            database.execute(sql, [id.to_string()])?;
            one(database, id)
        };
        let Some(artifact) = self.0.write(work).await? else { return Ok(None) };
        match self.on_disk(move |rack| rack.read(id)).await {
            Ok(files) => Ok(Some((artifact, files))),
            // Evicted meanwhile.
            Err(ArtifactError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Lets an artifact stay until it is removed by hand.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn pin(&self, id: ArtifactId) -> Result<(), Fault> {
        let work = move |database: &Connection| {
            let sql = "UPDATE artifacts SET pinned = 1 WHERE id = ?1";
            database.execute(sql, [id.to_string()])?;
            Ok(())
        };
        self.0.write(work).await
    }

    /// Removes an artifact, pinned or not; returns whether it was there.
    ///
    /// # Errors
    ///
    /// [`ArtifactError`]; when only its files could not be removed, the next start does it.
    pub async fn remove(&self, id: ArtifactId) -> Result<bool, ArtifactError> {
        let was = self.forget(id).await?;
        self.drop_files(vec![id]).await?;
        Ok(was)
    }

    /// Makes room and writes the row, or changes the one that is there.
    async fn admit(
        &self,
        artifact: Artifact,
        limits: ArtifactLimits,
        busy: Vec<ArtifactId>,
    ) -> Result<Vec<ArtifactId>, ArtifactError> {
        let ArtifactLimits { largest, room } = limits;
        let got = ByteSize::from_bytes(artifact.size);
        if got > largest {
            return Err(ArtifactError::TooLarge { got, most: largest });
        }
        let work = move |database: &Connection| {
            let evicted = evict(database, &artifact, room, &busy)?;
            insert(database, &artifact)?;
            Ok(evicted)
        };
        self.0.write(work).await
    }

    async fn forget(&self, id: ArtifactId) -> Result<bool, Fault> {
        let work = move |database: &Connection| {
            Ok(database.execute("DELETE FROM artifacts WHERE id = ?1", [id.to_string()])? == 1)
        };
        self.0.write(work).await
    }

    async fn drop_files(&self, ids: Vec<ArtifactId>) -> Result<Vec<ArtifactId>, ArtifactError> {
        if ids.is_empty() {
            return Ok(ids);
        }
        self.on_disk(move |rack| rack.remove(&ids).map(|()| ids)).await
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Rack>) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ArtifactError> {
        let rack = self.0.rack();
        let folder = rack.folder.clone();
        let done = self.0.disk().run(move || work(&rack)).await;
        let done = done.unwrap_or_else(|error| Err(error.into()));
        done.map_err(|source| ArtifactError::Io { folder, source })
    }
}

/// Removes rows, the longest unused first, until `artifact` fits.
fn evict(
    database: &Connection,
    artifact: &Artifact,
    room: ByteSize,
    busy: &[ArtifactId],
) -> Result<Vec<ArtifactId>, ArtifactError> {
    let me = artifact.id.to_string();
    let sum = "SELECT coalesce(sum(size), 0) AS size FROM artifacts WHERE id <> ?1";
    let sizes = row::rows(database, sum, [&me], |row| row::number(row, "size", "size"))?;
    let mut held = sizes.into_iter().next().unwrap_or(0);
    let fits = |held: u64| held.saturating_add(artifact.size) <= room.as_bytes();
    let sql = "SELECT * FROM artifacts WHERE id <> ?1 AND pinned = 0 \
               AND (content IS NULL OR content NOT IN (SELECT content FROM deployments)) \
               ORDER BY used";
    let mut evicted = Vec::new();
    if fits(held) {
        return Ok(evicted);
    }
    for victim in row::rows(database, sql, [&me], read)? {
        if fits(held) {
            break;
        }
        if !busy.contains(&victim.id) {
            database
                .execute("DELETE FROM artifacts WHERE id = ?1", [victim.id.to_string()])
                .map_err(Fault::from)?;
            held = held.saturating_sub(victim.size);
            evicted.push(victim.id);
        }
    }
    if fits(held) {
        return Ok(evicted);
    }
    let [got, held] = [artifact.size, held].map(ByteSize::from_bytes);
    Err(ArtifactError::NoRoom { got, room, held })
}

fn insert(database: &Connection, artifact: &Artifact) -> Result<(), Fault> {
    let Artifact { id, content, size, whole, keep, stored_at } = artifact;
    let sql = "INSERT INTO artifacts \
               SELECT ?1, ?2, ?3, ?4, ?5, coalesce(max(used), 0) + 1, ?6 FROM artifacts WHERE true \
               ON CONFLICT (id) DO UPDATE SET content = coalesce(excluded.content, content), \
               whole = max(whole, excluded.whole), pinned = max(pinned, excluded.pinned), \
               used = excluded.used";
    let size = row::to_column("size", *size)?;
    let at = row::to_column("date", stored_at.as_millis())?;
    let pinned = *keep == Keep::Pinned;
    let content = content.map(|it| it.to_string());
    database.execute(sql, params![id.to_string(), content, size, whole, pinned, at])?;
    Ok(())
}

/// Removes rows without files and files without rows, as a crash leaves them.
pub(crate) fn tidy(database: &Connection, rack: &Rack) -> Result<(), TidyError> {
    let known = row::rows(database, "SELECT * FROM artifacts", [], read)?;
    let known: Vec<_> = known.into_iter().map(|it| it.id).collect();
    for lost in rack.tidy(&known)? {
        let sql = "DELETE FROM artifacts WHERE id = ?1";
        database.execute(sql, [lost.to_string()]).map_err(Fault::from)?;
    }
    Ok(())
}

/// Why files and rows could not be brought together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TidyError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] Fault),
}

fn one(database: &Connection, id: ArtifactId) -> Result<Option<Artifact>, Fault> {
    let sql = "SELECT * FROM artifacts WHERE id = ?1";
    Ok(row::rows(database, sql, [id.to_string()], read)?.into_iter().next())
}

fn read(row: &Row<'_>) -> Result<Artifact, Fault> {
    let content: Option<String> = row.get("content")?;
    let content = content.map(|it| it.parse()).transpose();
    Ok(Artifact {
        id: row::id(row, "id", "artifact id")?,
        content: content.map_err(|_| Fault::Value { what: "content id" })?,
        size: row::number(row, "size", "size")?,
        whole: row.get("whole")?,
        keep: if row.get("pinned")? { Keep::Pinned } else { Keep::WhileThereIsRoom },
        stored_at: row::date(row, "stored_ms")?,
    })
}

#[cfg(test)]
mod tests;
