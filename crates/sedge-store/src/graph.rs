//! The graph that members share: the newest signed entry of each key, and the tensors they name.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sedge_base::ContentId;

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// How many entries are read at once.
const PAGE: usize = 1000;

/// The largest tensor, in bytes.
const MAX_TENSOR: usize = 8 << 20;

/// A key's newest entry. A space's, soul's and key's names have up to 256 bytes each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// The space that it lies in.
    pub space: String,
    /// The node of the graph.
    pub soul: String,
    /// The key of that node.
    pub key: String,
    /// The signed entry as JSON; up to 1 MiB.
    pub json: String,
}

/// A tensor as far as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    /// Its id.
    pub id: ContentId,
    /// In which form it is here.
    pub form: String,
    /// Its bytes in that form; up to 8 MiB.
    pub bytes: Bytes,
}

/// The graph that members share.
#[derive(Debug, Clone, Copy)]
pub struct GraphArea<'a>(pub(crate) &'a Store);

impl GraphArea<'_> {
    /// Stores entries, each in place of the one that its key had: all of them, or none.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn put(&self, entries: Vec<StoredEntry>) -> Result<(), Fault> {
        for StoredEntry { space, soul, key, json } in &entries {
            for name in [space, soul, key] {
                Fault::check_len("the name", name.len(), row::MAX_NAME)?;
            }
            Fault::check_len("the entry", json.len(), row::MAX_JSON)?;
        }
        let work = move |database: &Connection| {
            let sql = "INSERT OR REPLACE INTO graph_entries VALUES (?1, ?2, ?3, ?4)";
            let mut statement = database.prepare_cached(sql)?;
            for StoredEntry { space, soul, key, json } in entries {
                statement.execute(params![space, soul, key, json])?;
            }
            Ok(())
        };
        self.0.write(work).await
    }

    /// Returns the entries after a key, in the order of their keys; 1,000 at most.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn page(&self, after: Option<&StoredEntry>) -> Result<Vec<StoredEntry>, Fault> {
        let after = after.cloned().map(|it| (it.space, it.soul, it.key)).unwrap_or_default();
        let work = move |database: &Connection| {
            let sql = "SELECT space, soul, key, json FROM graph_entries \
                       WHERE (space, soul, key) > (?1, ?2, ?3) ORDER BY space, soul, key LIMIT ?4";
            let (space, soul, key) = after;
            row::rows(database, sql, params![space, soul, key, row::limit(PAGE)], entry)
        };
        self.0.read(work).await
    }

    /// Stores a tensor in place of the form that was here.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn put_tensor(&self, tensor: StoredTensor) -> Result<(), Fault> {
        let StoredTensor { id, form, bytes } = tensor;
        Fault::check_len("the form", form.len(), row::MAX_NAME)?;
        Fault::check_len("the tensor", bytes.len(), MAX_TENSOR)?;
        let work = move |database: &Connection| {
            let sql = "INSERT OR REPLACE INTO graph_tensors VALUES (?1, ?2, ?3)";
            database.execute(sql, params![id.to_string(), form, &bytes[..]])?;
            Ok(())
        };
        self.0.write(work).await
    }

    /// Returns a tensor, or `None` when it is not here in any form.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn tensor(&self, id: ContentId) -> Result<Option<StoredTensor>, Fault> {
        let work = move |database: &Connection| {
            let sql = "SELECT form, bytes FROM graph_tensors WHERE id = ?1";
            let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?));
            let found = database.query_row(sql, [id.to_string()], read).optional()?;
            Ok::<_, Fault>(found.map(|(form, bytes)| StoredTensor {
                id,
                form,
                bytes: bytes.into(),
            }))
        };
        self.0.read(work).await
    }

    /// Returns which tensors are here, in which form and how many bytes each has; 100,000 at most.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn tensors(&self) -> Result<Vec<(ContentId, String, u64)>, Fault> {
        let sql = "SELECT id, form, length(bytes) AS length FROM graph_tensors LIMIT 100000";
        let read = |row: &Row<'_>| {
            Ok((
                row::id(row, "id", "tensor id")?,
                row.get("form")?,
                row::number(row, "length", "length")?,
            ))
        };
        self.0.read(move |database| row::rows(database, sql, [], read)).await
    }

    /// Removes tensors; those that are not here are passed over.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn remove_tensors(&self, ids: Vec<ContentId>) -> Result<(), Fault> {
        let work = move |database: &Connection| {
            let mut statement =
                database.prepare_cached("DELETE FROM graph_tensors WHERE id = ?1")?;
            for id in ids {
                statement.execute([id.to_string()])?;
            }
            Ok(())
        };
        self.0.write(work).await
    }
}

fn entry(row: &Row<'_>) -> Result<StoredEntry, Fault> {
    Ok(StoredEntry {
        space: row.get("space")?,
        soul: row.get("soul")?,
        key: row.get("key")?,
        json: row.get("json")?,
    })
}
