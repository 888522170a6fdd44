//! Content by its id: one file each in `blobs` beside the database.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sedge_base::{ByteSize, ContentId, ErrorKind};

use crate::open::sync_folder;
use crate::store::Store;

const TEMPORARY: &str = ".new-";

/// Why content was not stored; nothing of it is there under its id then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutBlobError {
    /// It is larger than the store takes.
    #[error("the content has {got}, {most} are the most")]
    TooLarge {
        /// Its size.
        got: ByteSize,
        /// The largest that is taken.
        most: ByteSize,
    },
    /// It is not the content that was announced.
    #[error("the content has id {got}, not {expected}")]
    WrongContent {
        /// The announced id.
        expected: ContentId,
        /// The id of what came.
        got: ContentId,
    },
    /// The file could not be written.
    #[error("cannot write {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl PutBlobError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::Exhausted,
            Self::WrongContent { .. } => ErrorKind::Corrupt,
            Self::Io { source, .. } => io_kind(source),
        }
    }
}

/// Why content could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetBlobError {
    /// It is not stored here.
    #[error("content {id} is not here")]
    Missing {
        /// The id that was asked for.
        id: ContentId,
    },
    /// The file holds something else.
    #[error("the file of content {id} is damaged")]
    Damaged {
        /// The id that was asked for.
        id: ContentId,
    },
    /// The file could not be read.
    #[error("cannot read {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl GetBlobError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing { .. } => ErrorKind::NotFound,
            Self::Damaged { .. } => ErrorKind::Corrupt,
            Self::Io { source, .. } => io_kind(source),
        }
    }
}

fn io_kind(err: &io::Error) -> ErrorKind {
    match err.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        _ => ErrorKind::Internal,
    }
}

/// Content by its id.
#[derive(Debug, Clone, Copy)]
pub struct Blobs<'a>(pub(crate) &'a Store);

impl Blobs<'_> {
    /// The largest content that is taken.
    pub const MAX: ByteSize = ByteSize::from_mib(256);

    /// Stores content; it is on disk under its id when this returns.
    ///
    /// # Errors
    ///
    /// [`PutBlobError`], among others when the content is not the `expected` one.
    pub async fn put(
        &self,
        content: Vec<u8>,
        expected: Option<ContentId>,
    ) -> Result<ContentId, PutBlobError> {
        let got = ByteSize::from_bytes(content.len() as u64);
        if got > Self::MAX {
            return Err(PutBlobError::TooLarge { got, most: Self::MAX });
        }
        let shelf = self.0.shelf();
        let stopped = |source| PutBlobError::Io { path: self.0.shelf().folder.clone(), source };
        if self.0.disk().is_full() {
            return Err(stopped(io::ErrorKind::StorageFull.into()));
        }
        let writing = self.0.disk().run(move || shelf.put(&content, expected));
        writing.await.unwrap_or_else(|err| Err(stopped(err.into())))
    }

    /// Returns content after comparing it with its id.
    ///
    /// # Errors
    ///
    /// [`GetBlobError`] when it is not here or damaged.
    pub async fn get(&self, id: ContentId) -> Result<Vec<u8>, GetBlobError> {
        let shelf = self.0.shelf();
        let stopped = |source| GetBlobError::Io { path: self.0.shelf().folder.clone(), source };
        let reading = self.0.disk().run(move || shelf.get(id));
        reading.await.unwrap_or_else(|err| Err(stopped(err.into())))
    }

    /// Returns whether content of that id is stored, without reading it.
    pub async fn has(&self, id: ContentId) -> bool {
        let shelf = self.0.shelf();
        self.0.disk().run(move || shelf.path(id).is_file()).await.unwrap_or(false)
    }

    /// Removes content; returns whether it was there.
    ///
    /// # Errors
    ///
    /// [`PutBlobError::Io`] when the file cannot be removed.
    pub async fn remove(&self, id: ContentId) -> Result<bool, PutBlobError> {
        let shelf = self.0.shelf();
        let stopped = |source| PutBlobError::Io { path: self.0.shelf().folder.clone(), source };
        let removing = self.0.disk().run(move || shelf.remove(id));
        removing.await.unwrap_or_else(|err| Err(stopped(err.into())))
    }
}

/// The folder, for blocking threads.
#[derive(Debug)]
pub(crate) struct Shelf {
    folder: PathBuf,
    /// Makes the names of unfinished files differ.
    next: AtomicU64,
}

impl Shelf {
    /// Opens or makes the folder and removes what a crash left unfinished.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { folder: folder.to_owned(), next: AtomicU64::new(0) })
    }

    fn path(&self, id: ContentId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    fn put(&self, content: &[u8], expected: Option<ContentId>) -> Result<ContentId, PutBlobError> {
        let id = ContentId::of(content);
        if let Some(expected) = expected.filter(|it| *it != id) {
            return Err(PutBlobError::WrongContent { expected, got: id });
        }
        if self.get(id).is_ok() {
            return Ok(id);
        }
        let new = self.folder.join(format!("{TEMPORARY}{}", self.next.fetch_add(1, Relaxed)));
        let written = write(&new, content).and_then(|()| fs::rename(&new, self.path(id)));
        if let Err(source) = written {
            // What cannot be removed now is removed at the next start.
            drop(fs::remove_file(&new));
            return Err(PutBlobError::Io { path: new, source });
        }
        sync_folder(&self.folder)
            .map_err(|source| PutBlobError::Io { path: self.folder.clone(), source })?;
        Ok(id)
    }

    fn get(&self, id: ContentId) -> Result<Vec<u8>, GetBlobError> {
        let path = self.path(id);
        let io = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => GetBlobError::Missing { id },
            _ => GetBlobError::Io { path: path.clone(), source },
        };
        // A file that grew behind our back is not read into memory.
        if fs::metadata(&path).map_err(io)?.len() > Blobs::MAX.as_bytes() {
            return Err(GetBlobError::Damaged { id });
        }
        let content = fs::read(&path).map_err(io)?;
        if ContentId::of(&content) != id {
            return Err(GetBlobError::Damaged { id });
        }
        Ok(content)
    }

    fn remove(&self, id: ContentId) -> Result<bool, PutBlobError> {
        let path = self.path(id);
        match fs::remove_file(&path).and_then(|()| sync_folder(&self.folder)) {
            Ok(()) => Ok(true),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(PutBlobError::Io { path, source }),
        }
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
