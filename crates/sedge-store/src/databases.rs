//! Databases of applications: a file for each application and label, and SQL of strangers under limits.
//!
//! Invariant: a statement reaches its own file alone. It cannot attach another, load code or change how the
//! database is kept; its length, its time, its answer and the file have an end.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql, params_from_iter};
use sedge_base::ErrorKind;
use tokio::time::Instant;

use crate::disk::Disk;
use crate::open::sync_folder;

/// The most pages of one file: 64 MiB.
const MOST_PAGES: u32 = 16_384;
/// The most rows of one answer.
const MOST_ROWS: usize = 10_000;
/// The most bytes of one answer.
const MOST_ANSWER: usize = 4 << 20;
/// How long a statement waits for another one's lock.
const BUSY: Duration = Duration::from_secs(2);
/// After how many steps of the database its time is looked at.
const STEPS: i32 = 1000;
/// What one statement may be.
const LIMITS: [(Limit, i32); 9] = [
    (Limit::SQLITE_LIMIT_LENGTH, 1 << 20),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 64 << 10),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100),
    (Limit::SQLITE_LIMIT_VDBE_OP, 100_000),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100),
    (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 1000),
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 50),
];
/// The pragmas that tell about a schema and change nothing but `user_version`.
const PRAGMAS: [&str; 11] = [
    "foreign_key_check",
    "foreign_key_list",
    "foreign_keys",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
];

/// One value of a row or of a statement's parameters.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// None.
    Null,
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// What a statement answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// The names of its columns.
    pub columns: Vec<String>,
    /// Its rows, each as long as `columns`.
    pub rows: Vec<Vec<Value>>,
}

/// Why a database gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The application's name or the label cannot be a file's.
    #[error("`{name}` is no name of up to 64 small letters, digits or ._-")]
    Name {
        /// The name, cut.
        name: String,
    },
    /// The file or its folder cannot be used.
    #[error("the file of the database cannot be used")]
    Io(#[source] io::Error),
    /// The file is as large as it may be.
    #[error("the database has reached its 64 MiB")]
    Full,
    /// The statement took too long.
    #[error("the statement was broken off: its time is over")]
    Late,
    /// The answer is too large.
    #[error("the answer has more than 10,000 rows or 4 MiB")]
    Answer,
    /// What the database says: of the statement, mostly.
    #[error("{reason}")]
    Database {
        /// Its words.
        reason: String,
    },
    /// The program is stopping.
    #[error("the store is closed")]
    Closed,
}

impl DatabaseError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. } | Self::Database { .. } => ErrorKind::Invalid,
            Self::Io(source) if source.kind() == io::ErrorKind::StorageFull => ErrorKind::Exhausted,
            Self::Io(_) => ErrorKind::Internal,
            Self::Full | Self::Answer => ErrorKind::Exhausted,
            Self::Late => ErrorKind::Timeout,
            Self::Closed => ErrorKind::Unavailable,
        }
    }
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(err: rusqlite::Error) -> Self {
        match err.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::OperationInterrupted) => Self::Late,
            _ => Self::Database {
                reason: match err {
                    // Without the statement, which whoever is told knows.
                    rusqlite::Error::SqlInputError { msg, .. } => msg,
                    other => other.to_string(),
                },
            },
        }
    }
}

/// A connection to one database; what it did not commit is undone when it is dropped.
#[derive(Debug, Clone)]
pub struct Database {
    connection: Arc<Mutex<Connection>>,
    disk: Disk,
}

impl Database {
    /// Executes one statement, until then at most.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]; the statement changed nothing then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the statement to its end or to its time's.
    pub async fn execute(
        &self,
        statement: String,
        values: Vec<Value>,
        until: Instant,
    ) -> Result<Table, DatabaseError> {
        let connection = Arc::clone(&self.connection);
        let work = move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            connection.progress_handler(STEPS, Some(move || Instant::now() >= until))?;
            answer(&connection, &statement, &values)
        };
        self.disk.run(work).await.unwrap_or(Err(DatabaseError::Closed))
    }
}

/// Returns where an application's database is.
pub(crate) fn path(store: &Path, app: &str, label: &str) -> Result<PathBuf, DatabaseError> {
    for name in [app, label] {
        let sound = name.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-.".contains(&it));
        if !sound || name.len() > 64 || name.is_empty() || name.starts_with('.') {
            return Err(DatabaseError::Name { name: name.chars().take(80).collect() });
        }
    }
    Ok(store.with_file_name("databases").join(app).join(format!("{label}.db")))
}

/// Removes every database of an application; returns how many there were.
pub(crate) fn forget(store: &Path, app: &str) -> Result<u64, DatabaseError> {
    let file = path(store, app, "label")?;
    let Some(folder) = file.parent() else { return Ok(0) };
    let inside = match fs::read_dir(folder) {
        Ok(inside) => inside,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(DatabaseError::Io(error)),
    };
    let ours = inside.flatten().filter(|it| it.path().extension().is_some_and(|it| it == "db"));
    let count = ours.count() as u64;
    fs::remove_dir_all(folder).map_err(DatabaseError::Io)?;
    folder.parent().map_or(Ok(()), sync_folder).map_err(DatabaseError::Io)?;
    Ok(count)
}

/// Opens or makes the file, and closes what a stranger's SQL must not reach.
pub(crate) fn open(path: &Path, disk: Disk) -> Result<Database, DatabaseError> {
    make(path).map_err(DatabaseError::Io)?;
    // Not through a link that somebody has put there.
    if !fs::symlink_metadata(path).map_err(DatabaseError::Io)?.is_file() {
        return Err(DatabaseError::Io(io::Error::other("it is no file")));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.query_row(&format!("PRAGMA max_page_count = {MOST_PAGES}"), [], |_| Ok(()))?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; \
         PRAGMA cache_size = -1024; PRAGMA cell_size_check = ON;",
    )?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    for (limit, most) in LIMITS {
        connection.set_limit(limit, most)?;
    }
    connection.authorizer(Some(|context: AuthContext<'_>| judge(&context.action)))?;
    Ok(Database { connection: Arc::new(Mutex::new(connection)), disk })
}

/// Makes the file and its folders durable, unless it is there.
fn make(path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    let folders: Vec<&Path> = path.ancestors().skip(1).take(3).collect();
    if let Some(folder) = folders.first() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file.sync_all()?,
        // Another task was faster.
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(err) => return Err(err),
    }
    folders.into_iter().try_for_each(sync_folder)
}

/// Says whether a statement may do something.
fn judge(action: &AuthAction<'_>) -> Authorization {
    let allowed = match action {
        AuthAction::Pragma { pragma_name, .. } => {
            PRAGMAS.iter().any(|it| it.eq_ignore_ascii_case(pragma_name))
        }
        AuthAction::CreateVtable { module_name, .. } => module_name.eq_ignore_ascii_case("fts5"),
        // What is temporary has no bound of its own.
        AuthAction::Attach { .. }
        | AuthAction::Detach { .. }
        | AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. }
        | AuthAction::Unknown { .. } => false,
        AuthAction::Function { function_name } => {
            !["load_extension", "fts3_tokenizer"].contains(function_name)
        }
        _ => true,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}

fn answer(connection: &Connection, sql: &str, values: &[Value]) -> Result<Table, DatabaseError> {
    let mut statement = connection.prepare(sql)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut size: usize = columns.iter().map(String::len).sum();
    let mut rows = Vec::new();
    let mut found = statement.query(params_from_iter(values))?;
    while let Some(row) = found.next()? {
        let mut values = Vec::with_capacity(columns.len());
        for at in 0..columns.len() {
            let value = row.get_ref(at)?;
            size += 16 + value.as_bytes_or_null().ok().flatten().map_or(0, <[u8]>::len);
            values.push(value.into());
        }
        if rows.len() == MOST_ROWS || size > MOST_ANSWER {
            return Err(DatabaseError::Answer);
        }
        rows.push(values);
    }
    Ok(Table { columns, rows })
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(it) => ValueRef::Integer(*it),
            Self::Real(it) => ValueRef::Real(*it),
            Self::Text(it) => ValueRef::Text(it.as_bytes()),
            Self::Blob(it) => ValueRef::Blob(it),
        }))
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(it) => Self::Integer(it),
            ValueRef::Real(it) => Self::Real(it),
            ValueRef::Text(it) => Self::Text(String::from_utf8_lossy(it).into_owned()),
            ValueRef::Blob(it) => Self::Blob(it.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::store::{Forgotten, Store};

    async fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("sedge.db")).await.unwrap();
        (folder, store)
    }

    async fn run(database: &Database, sql: &str) -> Result<Table, DatabaseError> {
        let until = Instant::now() + Duration::from_secs(60);
        database.execute(sql.to_owned(), Vec::new(), until).await
    }

    #[tokio::test]
    async fn rows_are_kept_for_each_application_and_label() {
        let (folder, store) = store().await;
        let ours = store.database("shop", "default").await.unwrap();
        run(&ours, "CREATE TABLE t (a INTEGER, b REAL, c TEXT, d BLOB, e)").await.unwrap();
        let row = vec![
            Value::Integer(7),
            Value::Real(0.5),
            Value::Text("x".to_owned()),
            Value::Blob(vec![0, 255]),
            Value::Null,
        ];
        let until = Instant::now() + Duration::from_secs(60);
        let insert = "INSERT INTO t VALUES (?, ?, ?, ?, ?)".to_owned();
        ours.execute(insert, row.clone(), until).await.unwrap();
        let again = store.database("shop", "default").await.unwrap();
        let found = run(&again, "SELECT * FROM t").await.unwrap();
        assert_eq!(
            found,
            Table { columns: ["a", "b", "c", "d", "e"].map(str::to_owned).into(), rows: vec![row] }
        );
        let other = store.database("club", "default").await.unwrap();
        assert!(run(&other, "SELECT * FROM t").await.is_err());
        let file = folder.path().join("databases/shop/default.db");
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn what_an_application_has_kept_is_forgotten_when_it_is_asked_for_and_no_other_s() {
        let (folder, store) = store().await;
        for app in ["shop", "club"] {
            let database = store.database(app, "default").await.unwrap();
            run(&database, "CREATE TABLE t (a)").await.unwrap();
            let keys = store.key_values(app, "default");
            keys.change(vec![("a".to_owned(), Some(b"1".to_vec()))]).await.unwrap();
        }
        assert_eq!(store.forget_app("shop").await.unwrap(), Forgotten { keys: 1, databases: 1 });
        assert_eq!(store.forget_app("shop").await.unwrap(), Forgotten::default());
        assert!(store.forget_app("../databases").await.is_err());
        assert!(!folder.path().join("databases/shop").exists());
        assert!(folder.path().join("databases/club/default.db").is_file());
        let get = async |app: &str| {
            store.key_values(app, "default").get(vec!["a".to_owned()]).await.unwrap()
        };
        assert_eq!((get("shop").await, get("club").await), (vec![None], vec![Some(b"1".to_vec())]));
        let again = store.database("shop", "default").await.unwrap();
        assert!(run(&again, "SELECT * FROM t").await.is_err(), "a new one");
    }

    #[tokio::test]
    async fn what_was_not_committed_is_undone() {
        let (_folder, store) = store().await;
        let ours = store.database("shop", "default").await.unwrap();
        run(&ours, "CREATE TABLE t (a)").await.unwrap();
        let begun = store.database("shop", "default").await.unwrap();
        run(&begun, "BEGIN").await.unwrap();
        run(&begun, "INSERT INTO t VALUES (1)").await.unwrap();
        drop(begun);
        assert_eq!(run(&ours, "SELECT * FROM t").await.unwrap().rows, [[]; 0]);
    }

    #[tokio::test]
    async fn a_statement_reaches_nothing_but_its_own_file() {
        let (folder, store) = store().await;
        let ours = store.database("shop", "default").await.unwrap();
        run(&ours, "CREATE TABLE t (a)").await.unwrap();
        let main = store.path().to_str().unwrap();
        let beside = folder.path().join("out.db");
        for refused in [
            format!("ATTACH '{main}' AS other"),
            format!("VACUUM INTO '{}'", beside.display()),
            "PRAGMA journal_mode = OFF".to_owned(),
            "PRAGMA max_page_count = 1000000".to_owned(),
            "PRAGMA temp_store_directory = '/'".to_owned(),
            "PRAGMA writable_schema = ON".to_owned(),
            "SELECT load_extension('x')".to_owned(),
            "CREATE TEMP TABLE x (a)".to_owned(),
            "CREATE VIRTUAL TABLE x USING dbstat".to_owned(),
            "UPDATE sqlite_schema SET sql = ''".to_owned(),
        ] {
            assert!(run(&ours, &refused).await.is_err(), "{refused}");
        }
        assert!(!beside.exists());
        assert_eq!(run(&ours, "PRAGMA table_info(t)").await.unwrap().rows.len(), 1);
        for name in ["", ".", "..", "a/b", "../a", ".hidden"] {
            assert!(store.database(name, "default").await.is_err(), "{name}");
            assert!(store.database("shop", name).await.is_err(), "{name}");
        }
    }

    #[tokio::test]
    async fn time_answer_and_file_have_an_end() {
        let (_folder, store) = store().await;
        let ours = store.database("shop", "default").await.unwrap();
        let endless =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n";
        let late = ours.execute(endless.to_owned(), Vec::new(), Instant::now()).await;
        assert!(matches!(late, Err(DatabaseError::Late)), "{late:?}");
        let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10001) SELECT i FROM n";
        assert!(matches!(run(&ours, many).await, Err(DatabaseError::Answer)));
        let large = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5) SELECT zeroblob(1000000) FROM n";
        assert!(matches!(run(&ours, large).await, Err(DatabaseError::Answer)));
        run(&ours, "CREATE TABLE t (a)").await.unwrap();
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 70) \
                    INSERT INTO t SELECT zeroblob(1000000) FROM n";
        assert!(matches!(run(&ours, fill).await, Err(DatabaseError::Full)));
        assert_eq!(run(&ours, "SELECT count(*) FROM t").await.unwrap().rows, [[Value::Integer(0)]]);
    }
}
