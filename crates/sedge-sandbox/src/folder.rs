//! A folder that contained programs write to, opened from outside without believing it.
//!
//! Whatever a program leaves there (links, pipes, folders that change under the reader) leads nowhere
//! but into the folder itself: the kernel resolves every name below it and follows no link.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, fchown};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;
use rustix::process::geteuid;
use sedge_base::{ByteSize, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::memory;

/// The user that programs run as when the node is root's.
const NOBODY: u32 = 65_534;
/// The deepest name.
const MOST_PARTS: usize = 16;
/// The most files that are listed.
const MOST_LISTED: usize = 1000;
/// So many folders are looked into for a list.
const MOST_FOLDERS: usize = 4096;

/// A folder that contained programs write to. Removed when it is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    room: ByteSize,
}

/// A file in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path below the folder.
    pub path: String,
    /// Its length.
    pub bytes: u64,
}

/// Why a file is not put or got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// The name leads elsewhere, or is too long.
    #[error("`{name}` is no path below the folder")]
    Name {
        /// The name.
        name: String,
    },
    /// There is no such file, or something else under its name.
    #[error("there is no file `{name}`")]
    NotFound {
        /// The name.
        name: String,
    },
    /// It does not fit.
    #[error("`{name}` does not fit: {limit} is the most")]
    TooLarge {
        /// The name.
        name: String,
        /// The most.
        limit: ByteSize,
    },
    /// The operating system refused.
    #[error("the folder cannot be used at `{name}`")]
    Io {
        /// The name.
        name: String,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

impl FolderError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. } => ErrorKind::Invalid,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::TooLarge { .. } => ErrorKind::Exhausted,
            Self::Io { .. } => ErrorKind::Internal,
        }
    }

    fn io(name: &str, source: impl Into<io::Error>) -> Self {
        Self::Io { name: name.to_owned(), source: source.into() }
    }

    fn of(name: &str, errno: Errno) -> Self {
        let name = name.to_owned();
        match errno {
            Errno::NOENT
            | Errno::LOOP
            | Errno::NOTDIR
            | Errno::XDEV
            | Errno::NXIO
            | Errno::ISDIR => Self::NotFound { name },
            errno => Self::Io { name, source: errno.into() },
        }
    }
}

impl Folder {
    /// Makes a new folder that takes `room` at most, for its owner and contained programs alone.
    ///
    /// # Errors
    ///
    /// [`FolderError::Io`], also when there is something already.
    pub fn create(path: PathBuf, room: ByteSize) -> Result<Self, FolderError> {
        let failed = |err| FolderError::io("", err);
        DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        let folder = Self { path, room };
        if geteuid().is_root() {
            chown(&folder.path, Some(NOBODY), Some(NOBODY)).map_err(failed)?;
        }
        Ok(folder)
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file, in place of what was there, and the folders above it.
    ///
    /// # Errors
    ///
    /// See [`FolderError`].
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let parts = parts(name)?;
        let left = memory::of_folder(&self.path, self.room.as_bytes());
        let left = left.map(|it| self.room.as_bytes().saturating_sub(it));
        if left.is_none_or(|it| bytes.len() as u64 > it) {
            return Err(FolderError::TooLarge { name: name.to_owned(), limit: self.room });
        }
        let (file, above) = parts.split_last().ok_or_else(|| wrong(name))?;
        let mut folder = self.open()?;
        for part in above {
            match mkdirat(&folder, *part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(FolderError::of(name, errno)),
            }
            folder = below(&folder, part, OFlags::DIRECTORY, name)?;
            hand_over(&folder).map_err(|it| FolderError::io(name, it))?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let mut opened = File::from(below(&folder, file, flags, name)?);
        if !opened.metadata().is_ok_and(|it| it.is_file()) {
            return Err(FolderError::NotFound { name: name.to_owned() });
        }
        let written = opened.write_all(bytes).and_then(|()| hand_over(&opened));
        written.map_err(|it| FolderError::io(name, it))
    }

    /// Reads a file of at most `most` bytes.
    ///
    /// # Errors
    ///
    /// See [`FolderError`].
    pub fn get(&self, name: &str, most: ByteSize) -> Result<Vec<u8>, FolderError> {
        let path = parts(name)?.join("/");
        let mut file = File::from(below(&self.open()?, &path, OFlags::RDONLY, name)?);
        let seen = file.metadata().map_err(|it| FolderError::io(name, it))?;
        if !seen.is_file() {
            return Err(FolderError::NotFound { name: name.to_owned() });
        }
        let mut bytes = Vec::new();
        let limit = most.as_bytes();
        (&mut file)
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|it| FolderError::io(name, it))?;
        if bytes.len() as u64 > limit {
            return Err(FolderError::TooLarge { name: name.to_owned(), limit: most });
        }
        Ok(bytes)
    }

    /// Returns the files, the first thousand of them, in the order of their paths.
    ///
    /// # Errors
    ///
    /// [`FolderError::Io`].
    pub fn list(&self) -> Result<Vec<Entry>, FolderError> {
        let mut found = Vec::new();
        let root = self.open()?;
        let mut next = vec![(String::new(), 0)];
        let mut looked = 0;
        while let Some((prefix, depth)) = next.pop() {
            looked += 1;
            if looked > MOST_FOLDERS {
                break;
            }
            let folder = match prefix.strip_suffix('/') {
                None => self.open()?,
                Some(path) => match below(&root, path, OFlags::RDONLY | OFlags::DIRECTORY, path) {
                    Ok(folder) => folder,
                    // Gone meanwhile, or closed to this node.
                    Err(_) => continue,
                },
            };
            // By its number: its name may lead elsewhere by now.
            let inside = fs::read_dir(format!("/proc/self/fd/{}", folder.as_raw_fd()));
            for entry in inside.map_err(|it| FolderError::io(&prefix, it))?.flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = format!("{prefix}{name}");
                let Ok(opened) = below(&folder, &name, OFlags::RDONLY, &path) else { continue };
                let opened = File::from(opened);
                let Ok(seen) = opened.metadata() else { continue };
                if seen.is_dir() && depth < MOST_PARTS {
                    next.push((format!("{path}/"), depth + 1));
                } else if seen.is_file() && found.len() < MOST_LISTED {
                    found.push(Entry { path, bytes: seen.len() });
                }
            }
        }
        found.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(found)
    }

    fn open(&self) -> Result<OwnedFd, FolderError> {
        File::open(&self.path).map(OwnedFd::from).map_err(|it| FolderError::io("", it))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if fs::remove_dir_all(&self.path).is_err() {
            // A program may have closed its folders to everybody, its owner included.
            open_up(&self.path);
            // What cannot be removed now is removed with everything else at the next start.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

/// Lets the owner of folders look into them again; no link is followed.
fn open_up(path: &Path) {
    let mut next = vec![path.to_owned()];
    while let Some(folder) = next.pop() {
        drop(fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)));
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                next.push(entry.path());
            }
        }
    }
}

/// Opens something below a folder; no link is followed, and nothing is waited for.
fn below(folder: &OwnedFd, path: &str, flags: OFlags, name: &str) -> Result<OwnedFd, FolderError> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mode = if flags.contains(OFlags::CREATE) { 0o644 } else { 0 };
    openat2(folder, path, flags, Mode::from_raw_mode(mode), resolve)
        .map_err(|it| FolderError::of(name, it))
}

/// Gives something that the node made to those who run in the sandbox.
fn hand_over(it: impl std::os::fd::AsFd) -> io::Result<()> {
    if geteuid().is_root() { fchown(it, Some(NOBODY), Some(NOBODY)) } else { Ok(()) }
}

/// Returns the parts of a path below the folder.
fn parts(name: &str) -> Result<Vec<&str>, FolderError> {
    let mut parts = Vec::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str().ok_or_else(|| wrong(name))?),
            _ => return Err(wrong(name)),
        }
    }
    let fits = (1..=MOST_PARTS).contains(&parts.len())
        && name.len() < 1024
        && !name.ends_with('/')
        && !name.contains('\0');
    if fits { Ok(parts) } else { Err(wrong(name)) }
}

fn wrong(name: &str) -> FolderError {
    FolderError::Name { name: name.chars().take(100).collect() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let around = tempfile::tempdir().unwrap();
        let folder = Folder::create(around.path().join("it"), ByteSize::from_mib(1)).unwrap();
        (around, folder)
    }

    #[test]
    fn what_is_put_is_got_and_listed() {
        let (_around, folder) = folder();
        folder.put("a/b.txt", b"one").unwrap();
        folder.put("a/b.txt", b"two").unwrap();
        folder.put("c", b"").unwrap();
        assert_eq!(folder.get("a/b.txt", ByteSize::from_bytes(3)).unwrap(), b"two");
        let listed: Vec<_> =
            folder.list().unwrap().into_iter().map(|it| (it.path, it.bytes)).collect();
        assert_eq!(listed, [("a/b.txt".to_owned(), 3), ("c".to_owned(), 0)]);
        let kind = |it: Result<Vec<u8>, FolderError>| it.unwrap_err().kind();
        assert_eq!(kind(folder.get("a/b.txt", ByteSize::from_bytes(2))), ErrorKind::Exhausted);
        assert_eq!(kind(folder.get("a", ByteSize::from_bytes(2))), ErrorKind::NotFound);
        let large = vec![0; 2 << 20];
        assert_eq!(folder.put("d", &large).unwrap_err().kind(), ErrorKind::Exhausted);
    }

    #[test]
    fn links_and_pipes_lead_nowhere() {
        let (around, folder) = folder();
        let outside = around.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        symlink(&outside, folder.path().join("link")).unwrap();
        symlink(outside.join("secret"), folder.path().join("file")).unwrap();
        symlink("/proc/self/environ", folder.path().join("proc")).unwrap();
        let opened = folder.open().unwrap();
        rustix::fs::mkfifoat(&opened, "pipe", Mode::RWXU).unwrap();
        for name in ["link/secret", "file", "proc", "pipe"] {
            let got = folder.get(name, ByteSize::from_mib(1));
            assert!(matches!(got, Err(FolderError::NotFound { .. })), "{name}: {got:?}");
            assert!(folder.put(name, b"x").is_err(), "{name}");
        }
        assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
        assert_eq!(folder.list().unwrap(), []);
    }

    #[test]
    fn a_folder_that_was_closed_to_its_owner_is_removed_all_the_same() {
        let (_around, folder) = folder();
        folder.put("a/b/c", b"x").unwrap();
        let (path, closed) = (folder.path().to_owned(), folder.path().join("a"));
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn names_stay_below() {
        let (_around, folder) = folder();
        for name in ["", "/etc/passwd", "../x", "a/../../x", "a/", ".", "a\0b"] {
            let got = folder.put(name, b"x");
            assert!(matches!(got, Err(FolderError::Name { .. })), "{name:?}: {got:?}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_refused_or_stays_below(name: String) {
            if let Ok(parts) = parts(&name) {
                prop_assert!(parts.iter().all(|it| !it.is_empty() && *it != ".." && !it.contains('/')));
            }
        }
    }
}
