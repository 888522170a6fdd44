//! Secret keys on disk: one small file each, mode 600, never replaced.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sedge_base::ErrorKind;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::random::{RandomError, random_bytes};

const MAGIC_LEN: usize = 8;
const CHECK_LEN: usize = 8;

/// Why a key file could not be read or made. The file named is never replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The folder could not be made or looked at.
    #[error("cannot use the folder `{}`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others may write into the folder, and so put their own key there.
    #[error("others may write into `{}` (mode {mode:03o}); `chmod 700` it", path.display())]
    FolderMode {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file could not be read.
    #[error("cannot read the key file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("cannot write the key file `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is open to others, so the key may be known.
    #[error("the key file `{}` has mode {mode:03o}, it must have 600", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not a plain file, has another length, or its checksum does not match.
    #[error("the key file `{}` is damaged or is another kind of file", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
    },
    /// No random bytes for a new key.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl KeyFileError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Folder { source, .. }
            | Self::Read { source, .. }
            | Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Internal,
            },
            Self::FolderMode { .. } | Self::Mode { .. } => ErrorKind::Denied,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Random(err) => err.kind(),
        }
    }
}

/// Reads `N` secret bytes from `dir/name`, or returns `None` when there is no such file.
pub(crate) fn load<const N: usize>(
    dir: &Path,
    name: &str,
    magic: &[u8; MAGIC_LEN],
) -> Result<Option<Zeroizing<[u8; N]>>, KeyFileError> {
    let path = dir.join(name);
    let read = |source| KeyFileError::Read { path: path.clone(), source };
    let found = match std::fs::symlink_metadata(&path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(read)?,
    };
    let want = MAGIC_LEN + N + CHECK_LEN;
    if !found.is_file() || found.len() != want as u64 {
        return Err(KeyFileError::Corrupt { path });
    }
    let file = File::open(&path).map_err(read)?;
    let mode = file.metadata().map_err(read)?.permissions().mode() & 0o777;
    if mode != 0o600 {
        return Err(KeyFileError::Mode { path, mode });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(want + 1));
    file.take(want as u64 + 1).read_to_end(&mut bytes).map_err(read)?;
    match decode(&bytes, magic) {
        Some(secret) => Ok(Some(secret)),
        None => Err(KeyFileError::Corrupt { path }),
    }
}

/// Writes a new `dir/name`; returns whether it is ours (`false`: another process was first).
///
/// The bytes are on disk, under their final name, when this returns.
pub(crate) fn create(
    dir: &Path,
    name: &str,
    magic: &[u8; MAGIC_LEN],
    secret: &[u8],
) -> Result<bool, KeyFileError> {
    make_dir(dir)?;
    let path = dir.join(name);
    let write = |source| KeyFileError::Write { path: path.clone(), source };
    let temporary = dir.join(format!(".{name}.{}", hex::encode(random_bytes::<8>()?)));
    let linked = fill(&temporary, &encode(magic, secret)).and_then(|()| {
        // A link, unlike a rename, fails when the name is taken: nothing is ever replaced.
        std::fs::hard_link(&temporary, &path)
    });
    let removed = std::fs::remove_file(&temporary);
    match linked {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists && path.exists() => {
            return Ok(false);
        }
        other => other.map_err(write)?,
    }
    removed.map_err(write)?;
    File::open(dir).and_then(|it| it.sync_all()).map_err(write)?;
    Ok(true)
}

fn make_dir(dir: &Path) -> Result<(), KeyFileError> {
    let folder = |source| KeyFileError::Folder { path: dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(folder)?;
    let mode = std::fs::metadata(dir).map_err(folder)?.permissions().mode() & 0o777;
    if mode & 0o022 != 0 {
        return Err(KeyFileError::FolderMode { path: dir.to_owned(), mode });
    }
    Ok(())
}

fn fill(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn encode(magic: &[u8; MAGIC_LEN], secret: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAGIC_LEN + secret.len() + CHECK_LEN));
    bytes.extend_from_slice(magic);
    bytes.extend_from_slice(secret);
    let check = Sha256::digest(&bytes[..]);
    bytes.extend_from_slice(&check[..CHECK_LEN]);
    bytes
}

fn decode<const N: usize>(bytes: &[u8], magic: &[u8; MAGIC_LEN]) -> Option<Zeroizing<[u8; N]>> {
    let (body, check) = bytes.split_at_checked(MAGIC_LEN + N)?;
    let secret = body.strip_prefix(magic.as_slice())?;
    if check != &Sha256::digest(body)[..CHECK_LEN] {
        return None;
    }
    secret.try_into().ok().map(Zeroizing::new)
}
