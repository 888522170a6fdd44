//! The folder of artifacts: two files for each, and unfinished ones that a crash leaves behind.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sedge_base::ArtifactId;

use crate::open::sync_folder;

const STAGED: &str = ".new-";
const TREE: &str = ".tree";

/// The two open files of an artifact; they stay usable when it is removed meanwhile.
#[derive(Debug)]
pub struct OpenArtifact {
    /// Its bytes.
    pub data: File,
    /// The hashes above them.
    pub tree: File,
}

/// Two new, empty files for an artifact whose id is not known yet; removed when dropped.
#[derive(Debug)]
pub struct Staged {
    /// The files.
    pub files: OpenArtifact,
    rack: Arc<Rack>,
    data: PathBuf,
    kept: bool,
}

impl Staged {
    /// Gives the files their names; they are on disk when this returns. Blocks.
    pub(super) fn keep(mut self, id: ArtifactId) -> io::Result<()> {
        self.files.data.sync_all()?;
        self.files.tree.sync_all()?;
        fs::rename(with_tree(&self.data), with_tree(&self.rack.path(id)))?;
        fs::rename(&self.data, self.rack.path(id))?;
        self.kept = true;
        sync_folder(&self.rack.folder)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is removed at the next start.
            drop(fs::remove_file(&self.data));
            drop(fs::remove_file(with_tree(&self.data)));
        }
    }
}

/// The folder, for blocking threads.
#[derive(Debug)]
pub(crate) struct Rack {
    pub(super) folder: PathBuf,
    /// Makes the names of unfinished files differ.
    next: AtomicU64,
}

impl Rack {
    /// Opens or makes the folder.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self { folder: folder.to_owned(), next: AtomicU64::new(0) })
    }

    /// Removes every file that belongs to none of these, such as what a crash left unfinished;
    /// returns which of them have no file.
    pub(crate) fn tidy(&self, known: &[ArtifactId]) -> io::Result<Vec<ArtifactId>> {
        let mut lost: BTreeSet<_> = known.iter().copied().collect();
        let known = lost.clone();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let id = name.strip_suffix(TREE).unwrap_or(&name).parse::<ArtifactId>().ok();
            match id.filter(|it| known.contains(it)) {
                Some(id) if !name.ends_with(TREE) => drop(lost.remove(&id)),
                Some(_) => {}
                None => fs::remove_file(entry.path())?,
            }
        }
        Ok(lost.into_iter().collect())
    }

    pub(super) fn path(&self, id: ArtifactId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    /// Makes two files for an artifact that comes.
    pub(super) fn stage(self: &Arc<Self>) -> io::Result<Staged> {
        let data = self.folder.join(format!("{STAGED}{}", self.next.fetch_add(1, Relaxed)));
        let files = open(&data, File::options().create_new(true))?;
        Ok(Staged { files, rack: Arc::clone(self), data, kept: false })
    }

    /// Opens the files of an artifact that comes in parts; makes what is not there.
    pub(super) fn begin(&self, id: ArtifactId, size: u64) -> io::Result<OpenArtifact> {
        let files = open(&self.path(id), File::options().create(true))?;
        files.data.set_len(size)?;
        Ok(files)
    }

    /// Opens the files of an artifact.
    pub(super) fn read(&self, id: ArtifactId) -> io::Result<OpenArtifact> {
        open(&self.path(id), &mut File::options())
    }

    /// Removes the files of artifacts; those that are not there are no matter.
    pub(super) fn remove(&self, ids: &[ArtifactId]) -> io::Result<()> {
        for id in ids {
            let data = self.path(*id);
            for path in [with_tree(&data), data] {
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        sync_folder(&self.folder)
    }
}

fn open(data: &Path, how: &mut OpenOptions) -> io::Result<OpenArtifact> {
    let how = how.read(true).write(true).mode(0o600);
    Ok(OpenArtifact { data: how.open(data)?, tree: how.open(with_tree(data))? })
}

fn with_tree(data: &Path) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(TREE);
    PathBuf::from(name)
}
