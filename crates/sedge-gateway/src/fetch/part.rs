//! A file on its way: the bytes so far, hashed as they come.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sedge_base::{ContentHasher, ContentId};

/// The bytes of a file that is not complete yet.
///
/// Invariant: the hash is that of the first `len` bytes of the file on disk.
#[derive(Debug)]
pub(crate) struct Part {
    file: File,
    path: PathBuf,
    hasher: ContentHasher,
    len: u64,
    total: u64,
}

/// Why bytes could not be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// The disk refuses.
    #[error("cannot write `{path}`")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// There are more bytes than the pinned file has.
    #[error("it sends more than {total} bytes")]
    TooLong {
        /// How many there should be.
        total: u64,
    },
}

impl Part {
    /// Opens or makes the file, and hashes what an earlier attempt left in it.
    pub(crate) fn open(path: &Path, total: u64) -> Result<Self, PartError> {
        let write = |source| PartError::Write { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).map_err(write)?;
        let mut part =
            Self { file, path: path.to_owned(), hasher: ContentHasher::new(), len: 0, total };
        part.read_back().map_err(write)?;
        if part.len > total {
            part.restart()?;
        }
        Ok(part)
    }

    fn read_back(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    self.hasher.update(&buffer[..count]);
                    self.len += count as u64;
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
    }

    /// Returns where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how many bytes are here.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Returns how many bytes there will be.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// Returns the SHA-256 of the bytes that are here.
    pub(crate) fn hash(&self) -> ContentId {
        self.hasher.clone().finish()
    }

    /// Takes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), PartError> {
        if bytes.len() as u64 > self.total - self.len {
            return Err(PartError::TooLong { total: self.total });
        }
        let written = self.file.write_all(bytes);
        written.map_err(|source| PartError::Write { path: self.path.clone(), source })?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Forgets every byte.
    pub(crate) fn restart(&mut self) -> Result<(), PartError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|source| PartError::Write { path: self.path.clone(), source })?;
        self.hasher = ContentHasher::new();
        self.len = 0;
        Ok(())
    }

    /// Returns when every byte is on disk.
    pub(crate) fn sync(&mut self) -> Result<(), PartError> {
        let synced = self.file.sync_all();
        synced.map_err(|source| PartError::Write { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_part_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.part");
        Part::open(&path, 6).unwrap().write(b"abc").unwrap();
        let mut part = Part::open(&path, 6).unwrap();
        assert_eq!(part.len(), 3);
        part.write(b"def").unwrap();
        assert_eq!(part.hash(), ContentId::of(b"abcdef"));
        assert!(matches!(part.write(b"g"), Err(PartError::TooLong { total: 6 })));
        part.restart().unwrap();
        assert_eq!((part.len(), part.hash()), (0, ContentId::of(b"")));
    }

    #[test]
    fn a_part_that_is_too_long_begins_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.part");
        std::fs::write(&path, b"abcdef").unwrap();
        assert_eq!(Part::open(&path, 5).unwrap().len(), 0);
    }
}
