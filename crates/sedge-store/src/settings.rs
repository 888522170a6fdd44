//! Small settings by key.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// Small settings by key: keys up to 256 bytes, values up to 1 MiB.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a>(pub(crate) &'a Store);

impl Settings<'_> {
    /// Stores a value in place of the one that the key had.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn set(&self, key: &str, value: &str) -> Result<(), Fault> {
        Fault::check_len("the key", key.len(), row::MAX_NAME)?;
        Fault::check_len("the value", value.len(), row::MAX_JSON)?;
        let (key, value) = (key.to_owned(), value.to_owned());
        let work = move |database: &Connection| {
            let sql = "INSERT OR REPLACE INTO settings VALUES (?1, ?2)";
            database.execute(sql, params![key, value])?;
            Ok(())
        };
        self.0.write(work).await
    }

    /// Returns the key's value, or `None` when it has none.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn get(&self, key: &str) -> Result<Option<String>, Fault> {
        let key = key.to_owned();
        let work = move |database: &Connection| {
            let sql = "SELECT value FROM settings WHERE key = ?1";
            Ok(database.query_row(sql, [key], |row| row.get(0)).optional()?)
        };
        self.0.read(work).await
    }

    /// Forgets the key; returns whether it had a value.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    pub async fn remove(&self, key: &str) -> Result<bool, Fault> {
        let key = key.to_owned();
        let work = move |database: &Connection| {
            Ok(database.execute("DELETE FROM settings WHERE key = ?1", [key])? == 1)
        };
        self.0.write(work).await
    }
}
