//! Keys with values of applications: each application has stores of its own, by label.

use rusqlite::{Connection, OptionalExtension as _, params};
use sedge_base::ErrorKind;

use crate::fault::Fault;
use crate::row;
use crate::store::Store;

/// The longest key, in bytes.
const MOST_KEY: usize = 1024;
/// The largest value, in bytes.
const MOST_VALUE: usize = 1 << 20;
/// The most keys of one store.
const MOST_ENTRIES: i64 = 10_000;
/// The most that one store holds, keys and values together, in bytes.
const MOST_BYTES: i64 = 64 << 20;
/// The most bytes of values that are read at once.
const MOST_READ: usize = 16 << 20;
/// The most changes at once.
const MOST_CHANGES: usize = 1000;

/// A key and its new value; `None` removes it.
pub type Change = (String, Option<Vec<u8>>);

/// One store of one application: up to 10,000 keys of up to 1 KiB with values of up to 1 MiB, 64 MiB in all.
#[derive(Debug, Clone)]
pub struct KeyValues {
    store: Store,
    app: String,
    label: String,
}

/// Why keys were not changed; none was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The application's store has as much as it may have.
    #[error("the store of the application is full")]
    Full,
    /// The database beneath.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl ChangeError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Full => ErrorKind::Exhausted,
            Self::Fault(fault) => fault.kind(),
        }
    }
}

impl From<rusqlite::Error> for ChangeError {
    fn from(err: rusqlite::Error) -> Self {
        Self::Fault(err.into())
    }
}

impl KeyValues {
    pub(crate) const fn new(store: Store, app: String, label: String) -> Self {
        Self { store, app, label }
    }

    /// Returns the values of some keys, in their order; 1,000 keys and 16 MiB at most.
    ///
    /// # Errors
    ///
    /// [`Fault`] when there is too much of it, or when the database fails.
    pub async fn get(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        Fault::check_len("the list of keys", keys.len(), MOST_CHANGES)?;
        let Self { store, app, label } = self.clone();
        let work = move |database: &Connection| {
            let mut read = 0;
            let mut values = Vec::with_capacity(keys.len());
            for key in &keys {
                let value = value(database, &app, &label, key)?;
                read += value.as_ref().map_or(0, Vec::len);
                Fault::check_len("what is read", read, MOST_READ)?;
                values.push(value);
            }
            Ok(values)
        };
        store.read(work).await
    }

    /// Returns up to `most` keys, those behind `after`, in their order.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the database fails.
    pub async fn keys(&self, after: Option<String>, most: usize) -> Result<Vec<String>, Fault> {
        let Self { store, app, label } = self.clone();
        let work = move |database: &Connection| {
            let sql = "SELECT key FROM key_values WHERE app = ?1 AND label = ?2
                       AND (?3 IS NULL OR key > ?3) ORDER BY key LIMIT ?4";
            let params = params![app, label, after, row::limit(most)];
            row::rows(database, sql, params, |row| Ok(row.get(0)?))
        };
        store.read(work).await
    }

    /// Makes all of the changes or none, 1,000 at most.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed then.
    pub async fn change(&self, changes: Vec<Change>) -> Result<(), ChangeError> {
        Fault::check_len("the list of changes", changes.len(), MOST_CHANGES)?;
        changes.iter().try_for_each(check)?;
        let Self { store, app, label } = self.clone();
        let work = move |database: &Connection| apply(database, &app, &label, &changes);
        store.write(work).await
    }

    /// Gives a key another value if it has the one that is expected; returns whether it had.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; nothing was changed then.
    pub async fn swap(
        &self,
        key: String,
        expected: Option<Vec<u8>>,
        to: Vec<u8>,
    ) -> Result<bool, ChangeError> {
        let change = (key, Some(to));
        check(&change)?;
        let Self { store, app, label } = self.clone();
        let work = move |database: &Connection| {
            if value(database, &app, &label, &change.0)? != expected {
                return Ok(false);
            }
            apply(database, &app, &label, &[change]).map(|()| true)
        };
        store.write(work).await
    }
}

/// Forgets every key of an application; returns how many there were.
pub(crate) fn forget(database: &Connection, app: &str) -> Result<u64, Fault> {
    database.execute("DELETE FROM key_value_sums WHERE app = ?1", [app])?;
    Ok(database.execute("DELETE FROM key_values WHERE app = ?1", [app])? as u64)
}

fn check((key, value): &Change) -> Result<(), Fault> {
    Fault::check_len("the key", key.len(), MOST_KEY)?;
    Fault::check_len("the value", value.as_ref().map_or(0, Vec::len), MOST_VALUE)
}

fn value(
    database: &Connection,
    app: &str,
    label: &str,
    key: &str,
) -> Result<Option<Vec<u8>>, Fault> {
    let sql = "SELECT value FROM key_values WHERE app = ?1 AND label = ?2 AND key = ?3";
    let mut statement = database.prepare_cached(sql)?;
    Ok(statement.query_row([app, label, key], |row| row.get(0)).optional()?)
}

/// Makes changes, and keeps count of what the store holds.
fn apply(
    database: &Connection,
    app: &str,
    label: &str,
    changes: &[Change],
) -> Result<(), ChangeError> {
    let sql = "SELECT entries, bytes FROM key_value_sums WHERE app = ?1 AND label = ?2";
    let sums = database.query_row(sql, [app, label], |row| Ok((row.get(0)?, row.get(1)?)));
    let (mut entries, mut bytes): (i64, i64) = sums.optional()?.unwrap_or_default();
    let mut measure = database.prepare_cached(
        "SELECT length(CAST(key AS BLOB)) + length(value) FROM key_values WHERE app = ?1 AND label = ?2 AND key = ?3",
    )?;
    let mut put =
        database.prepare_cached("INSERT OR REPLACE INTO key_values VALUES (?1, ?2, ?3, ?4)")?;
    let mut remove = database
        .prepare_cached("DELETE FROM key_values WHERE app = ?1 AND label = ?2 AND key = ?3")?;
    for (key, value) in changes {
        let before: Option<i64> =
            measure.query_row([app, label, key], |row| row.get(0)).optional()?;
        entries -= i64::from(before.is_some());
        bytes -= before.unwrap_or(0);
        match value {
            Some(value) => {
                put.execute(params![app, label, key, value])?;
                entries += 1;
                bytes += row::to_column("length", (key.len() + value.len()) as u64)?;
            }
            None => drop(remove.execute([app, label, key])?),
        }
    }
    let grows = changes.iter().any(|it| it.1.is_some());
    if grows && (entries > MOST_ENTRIES || bytes > MOST_BYTES) {
        return Err(ChangeError::Full);
    }
    let sql = "INSERT OR REPLACE INTO key_value_sums VALUES (?1, ?2, ?3, ?4)";
    database.execute(sql, params![app, label, entries, bytes])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("sedge.db")).await.unwrap();
        (folder, store)
    }

    fn set(key: &str, value: &[u8]) -> Change {
        (key.to_owned(), Some(value.to_vec()))
    }

    #[tokio::test]
    async fn each_application_and_label_has_its_own_keys() {
        let (_folder, store) = store().await;
        let ours = store.key_values("shop", "default");
        ours.change(vec![set("a", b"1"), set("b", b"2"), ("c".to_owned(), None)]).await.unwrap();
        ours.change(vec![set("a", b""), ("b".to_owned(), None)]).await.unwrap();
        let keys = || vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(ours.get(keys()).await.unwrap(), [Some(Vec::new()), None]);
        for other in [store.key_values("shop", "other"), store.key_values("club", "default")] {
            assert_eq!(other.get(keys()).await.unwrap(), [None, None]);
            assert_eq!(other.keys(None, 10).await.unwrap(), [""; 0]);
        }
    }

    #[tokio::test]
    async fn keys_come_in_pages() {
        let (_folder, store) = store().await;
        let ours = store.key_values("shop", "default");
        ours.change(["c", "a", "b"].map(|it| set(it, b"")).into()).await.unwrap();
        assert_eq!(ours.keys(None, 2).await.unwrap(), ["a", "b"]);
        assert_eq!(ours.keys(Some("b".to_owned()), 2).await.unwrap(), ["c"]);
    }

    #[tokio::test]
    async fn a_swap_needs_the_value_that_was_seen() {
        let (_folder, store) = store().await;
        let ours = store.key_values("shop", "default");
        let swap = |from: Option<&[u8]>, to: &[u8]| {
            ours.swap("a".to_owned(), from.map(<[u8]>::to_vec), to.to_vec())
        };
        assert!(swap(None, b"1").await.unwrap());
        assert!(!swap(None, b"2").await.unwrap());
        assert!(!swap(Some(b"0"), b"2").await.unwrap());
        assert!(swap(Some(b"1"), b"2").await.unwrap());
    }

    #[tokio::test]
    async fn a_full_store_takes_no_more_and_gives_room_again() {
        let (_folder, store) = store().await;
        let ours = store.key_values("shop", "default");
        let large = vec![0; MOST_VALUE];
        for at in 0..63 {
            ours.change(vec![set(&format!("{at}"), &large)]).await.unwrap();
        }
        let two = || vec![set("x", &large), set("y", b"")];
        assert!(matches!(ours.change(two()).await, Err(ChangeError::Full)));
        assert_eq!(ours.get(vec!["y".to_owned()]).await.unwrap(), [None], "all or nothing");
        ours.change(vec![("0".to_owned(), None)]).await.unwrap();
        ours.change(two()).await.unwrap();
        let over = vec![set("x", &vec![0; MOST_VALUE + 1])];
        assert_eq!(ours.change(over).await.unwrap_err().kind(), ErrorKind::Invalid);
        let many = (0..17).map(|at| format!("{}", at + 1)).collect();
        assert!(ours.get(many).await.is_err(), "too much at once");
    }
}
