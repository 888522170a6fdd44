//! Opening the file: ours, whole, not newer than us, and nobody else's at the moment.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use sedge_base::ErrorKind;

use crate::fault::Fault;
use crate::migrations;

/// How long a connection waits for another one's lock.
const BUSY: Duration = Duration::from_secs(5);

/// Why a store could not be opened; an existing file is left as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder or file cannot be made, read or synced.
    #[error("cannot use {path}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others than the owner may read or write the file.
    #[error("{path} has mode {mode:o}; it must be 600")]
    Mode {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process has the store open.
    #[error("{path} is in use by another process")]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// The file is not a database of this program.
    #[error("{path} is not a sedge database")]
    NotOurs {
        /// Which file.
        path: PathBuf,
    },
    /// A newer program wrote the file.
    #[error("{path} has schema {found}, this program knows up to {known}")]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The file's schema.
        found: u32,
        /// The newest one that this program knows.
        known: u32,
    },
    /// The file is damaged.
    #[error("{path} is damaged")]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: rusqlite::Error,
    },
    /// The list of artifacts could not be read.
    #[error("the artifacts listed in {path} cannot be read")]
    Artifacts {
        /// Which file.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: Fault,
    },
    /// The database could not be set up.
    #[error("cannot open {path}")]
    Database {
        /// Which file.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: rusqlite::Error,
    },
}

impl OpenError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    ErrorKind::Denied
                }
                io::ErrorKind::StorageFull => ErrorKind::Exhausted,
                _ => ErrorKind::Internal,
            },
            Self::Mode { .. } => ErrorKind::Denied,
            Self::InUse { .. } => ErrorKind::Conflict,
            Self::NotOurs { .. } | Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Newer { .. } => ErrorKind::Unsupported,
            Self::Artifacts { source, .. } => source.kind(),
            Self::Database { .. } => ErrorKind::Internal,
        }
    }
}

/// The open writing connection, its schema and the lock that keeps other processes out.
pub(crate) struct Opened {
    pub(crate) database: Connection,
    pub(crate) schema: u32,
    pub(crate) lock: File,
}

/// Opens or makes the file at `path`.
pub(crate) fn open(path: &Path) -> Result<Opened, OpenError> {
    let lock = lock(path)?;
    make_file(path)?;
    let wrong = |source: rusqlite::Error| {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => OpenError::NotOurs { path },
            Some(ErrorCode::DatabaseCorrupt) => OpenError::Corrupt { path, source },
            _ => OpenError::Database { path, source },
        }
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut database = Connection::open_with_flags(path, flags).map_err(wrong)?;
    // Nothing is changed before the file is known to be ours.
    let schema = check(&database, path).map_err(|err| match err {
        Unfit::Refused(refused) => refused,
        Unfit::Database(source) => wrong(source),
    })?;
    database
        .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .and_then(|()| set_up(&database))
        .and_then(|()| migrations::run(&mut database, schema))
        .map_err(wrong)?;
    Ok(Opened { database, schema: migrations::newest(), lock })
}

/// Sets what every connection needs.
pub(crate) fn set_up(database: &Connection) -> Result<(), rusqlite::Error> {
    database.busy_timeout(BUSY)?;
    database.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; \
         PRAGMA cache_size = -1024; PRAGMA temp_store = MEMORY;",
    )
}

enum Unfit {
    Refused(OpenError),
    Database(rusqlite::Error),
}

fn check(database: &Connection, path: &Path) -> Result<u32, Unfit> {
    let number = |sql: &str| {
        database.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(Unfit::Database)
    };
    let application = number("PRAGMA application_id")?;
    let schema = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let new = application == 0 && schema == 0 && tables == 0;
    if !new && application != i64::from(migrations::APPLICATION_ID) {
        return Err(Unfit::Refused(OpenError::NotOurs { path: path.to_owned() }));
    }
    let (found, known) = (u32::try_from(schema).unwrap_or(u32::MAX), migrations::newest());
    if found > known {
        return Err(Unfit::Refused(OpenError::Newer { path: path.to_owned(), found, known }));
    }
    Ok(found)
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let io = |source| OpenError::Io { path: beside.clone(), source };
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&beside);
    let file = file.map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Makes an empty file of mode 600, or checks the mode of the one that is there.
fn make_file(path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            file.sync_all().map_err(io)?;
            let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
            sync_folder(folder.unwrap_or(Path::new("."))).map_err(io)
        }
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {
            let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(OpenError::Mode { path: path.to_owned(), mode });
            }
            Ok(())
        }
        Err(err) => Err(io(err)),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
