//! Inputs of tasks that can be run again: by their id, within a bound, the oldest go first.
//!
//! They stand in the database and not beside it, so that keeping one shares the commit of its
//! receipt.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sedge_base::{ByteSize, ContentId};

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// An input, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredInput {
    /// SHA-256 of the content.
    pub id: ContentId,
    /// What the content is, such as `plain`; up to 256 bytes.
    pub media: String,
    /// The input itself.
    pub content: Bytes,
}

/// Inputs by their id.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a>(pub(crate) &'a Store);

impl Inputs<'_> {
    /// The largest input that is kept.
    pub const MAX: ByteSize = ByteSize::from_mib(1);

    /// Keeps inputs, as far as they are not larger than [`Inputs::MAX`], and forgets the oldest ones
    /// until all of them together have `most` bytes at most.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn keep(&self, mut inputs: Vec<StoredInput>, most: ByteSize) -> Result<(), Fault> {
        let largest = Self::MAX.min(most).as_len();
        inputs.retain(|it| it.content.len() <= largest);
        for input in &inputs {
            Fault::check_len("the media", input.media.len(), row::MAX_NAME)?;
        }
        if inputs.is_empty() {
            return Ok(());
        }
        let work = move |database: &Connection| {
            let sql = "INSERT OR IGNORE INTO inputs (id, media, content) VALUES (?1, ?2, ?3)";
            let mut insert = database.prepare_cached(sql)?;
            for StoredInput { id, media, content } in inputs {
                insert.execute(params![id.to_string(), media, &content[..]])?;
            }
            trim(database, most)
        };
        self.0.write(work).await
    }

    /// Returns an input, or `None` when it is not kept or not kept any more.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails or holds something else under that id.
    pub async fn get(&self, id: ContentId) -> Result<Option<StoredInput>, Fault> {
        let work = move |database: &Connection| {
            let sql = "SELECT media, content FROM inputs WHERE id = ?1";
            let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?));
            let found = database.query_row(sql, [id.to_string()], read).optional()?;
            match found {
                Some((_, content)) if ContentId::of(&content) != id => {
                    Err(Fault::Value { what: "input" })
                }
                found => Ok(found.map(|(media, content)| StoredInput {
                    id,
                    media,
                    content: content.into(),
                })),
            }
        };
        self.0.read(work).await
    }

    /// Forgets the oldest inputs until all of them together have `most` bytes at most.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn trim(&self, most: ByteSize) -> Result<(), Fault> {
        self.0.write(move |database| trim(database, most)).await
    }

    /// Returns how much is kept.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn size(&self) -> Result<ByteSize, Fault> {
        self.0.read(size).await
    }
}

fn size(database: &Connection) -> Result<ByteSize, Fault> {
    let mut counted = database.prepare_cached("SELECT bytes FROM inputs_size")?;
    let bytes = counted.query_row([], |row| row.get::<_, i64>(0))?;
    let bytes = u64::try_from(bytes).map_err(|_| Fault::Value { what: "size" })?;
    Ok(ByteSize::from_bytes(bytes))
}

fn trim(database: &Connection, most: ByteSize) -> Result<(), Fault> {
    let oldest = "DELETE FROM inputs WHERE place = (SELECT min(place) FROM inputs)";
    while size(database)? > most {
        if database.prepare_cached(oldest)?.execute([])? == 0 {
            break;
        }
    }
    Ok(())
}
