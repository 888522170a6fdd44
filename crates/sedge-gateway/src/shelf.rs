//! Model files by content: `sha256/<hash>`, each with a stamp that says it was checked.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sedge_base::{ContentHasher, ContentId};
use serde::{Deserialize, Serialize};

/// The folder with all model files.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    folder: PathBuf,
}

/// What a checked file looked like; a file that looks otherwise is checked again.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    changed_ms: u64,
}

impl Shelf {
    /// Names the folder; nothing is made yet.
    pub(crate) fn new(models: &Path) -> Self {
        Self { folder: models.join("sha256") }
    }

    /// Returns the folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder.
    pub(crate) fn make(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)
    }

    /// Returns where the content is or will be.
    pub(crate) fn path(&self, content: ContentId) -> PathBuf {
        self.folder.join(content.to_string())
    }

    /// Returns where the content is while it is not complete.
    pub(crate) fn part(&self, content: ContentId) -> PathBuf {
        self.folder.join(format!("{content}.part"))
    }

    /// Returns where the content is while a person's own file is taken, which needs no lock.
    pub(crate) fn own_part(&self, content: ContentId) -> PathBuf {
        self.folder.join(format!("{content}.own-{}", std::process::id()))
    }

    /// Returns the file whose lock is the right to write the part.
    pub(crate) fn lock(&self, content: ContentId) -> PathBuf {
        self.folder.join(format!("{content}.lock"))
    }

    fn stamp(&self, content: ContentId) -> PathBuf {
        self.folder.join(format!("{content}.checked"))
    }

    /// Returns the content's path when it is here, has that size and is as it was when checked.
    pub(crate) fn find(&self, content: ContentId, size: u64) -> Option<PathBuf> {
        let path = self.path(content);
        let now = look(&path).ok()?;
        let stamped = fs::read(self.stamp(content)).ok()?;
        let then: Stamp = serde_json::from_slice(&stamped).ok()?;
        (now == then && now.size == size).then_some(path)
    }

    /// Checks a file that is here without a valid stamp, and stamps it; a wrong file is removed.
    /// Returns whether the content is here.
    pub(crate) fn restamp(&self, content: ContentId, size: u64) -> io::Result<bool> {
        let path = self.path(content);
        let right = match look(&path) {
            Ok(found) => found.size == size && hash(&path)? == content,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(err) => return Err(err),
        };
        if right {
            self.write_stamp(content)?;
        } else {
            fs::remove_file(&path)?;
        }
        Ok(right)
    }

    /// Moves a complete, checked file that is on disk in its place.
    pub(crate) fn put(&self, from: &Path, content: ContentId) -> io::Result<()> {
        fs::rename(from, self.path(content))?;
        self.write_stamp(content)
    }

    fn write_stamp(&self, content: ContentId) -> io::Result<()> {
        let stamp = look(&self.path(content))?;
        replace(&self.stamp(content), &serde_json::to_vec(&stamp)?)
    }
}

fn look(path: &Path) -> io::Result<Stamp> {
    let meta = fs::metadata(path)?;
    let changed = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let changed_ms = u64::try_from(changed.as_millis()).unwrap_or(u64::MAX);
    Ok(Stamp { size: meta.len(), changed_ms })
}

/// Returns the SHA-256 of a file, reading it once.
pub(crate) fn hash(path: &Path) -> io::Result<ContentId> {
    let mut file = File::open(path)?;
    let mut hasher = ContentHasher::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
}

/// Writes a small file so that a reader finds the old or the new one, even after a power cut.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf_with(content: &[u8]) -> (tempfile::TempDir, Shelf, ContentId) {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path());
        shelf.make().unwrap();
        let id = ContentId::of(content);
        fs::write(shelf.part(id), content).unwrap();
        shelf.put(&shelf.part(id), id).unwrap();
        (folder, shelf, id)
    }

    #[test]
    fn what_was_put_is_found() {
        let (_folder, shelf, id) = shelf_with(b"abc");
        assert_eq!(shelf.find(id, 3), Some(shelf.path(id)));
        assert_eq!(shelf.find(id, 4), None);
        assert_eq!(shelf.find(ContentId::of(b"other"), 5), None);
    }

    #[test]
    fn a_changed_file_is_not_believed() {
        let (_folder, shelf, id) = shelf_with(b"abc");
        fs::write(shelf.path(id), b"abcd").unwrap();
        assert_eq!(shelf.find(id, 3), None);
        assert!(!shelf.restamp(id, 3).unwrap());
        assert!(!shelf.path(id).exists());
    }

    #[test]
    fn a_lost_stamp_costs_one_reading() {
        let (_folder, shelf, id) = shelf_with(b"abc");
        fs::remove_file(shelf.stamp(id)).unwrap();
        assert_eq!(shelf.find(id, 3), None);
        assert!(shelf.restamp(id, 3).unwrap());
        assert_eq!(shelf.find(id, 3), Some(shelf.path(id)));
    }
}
