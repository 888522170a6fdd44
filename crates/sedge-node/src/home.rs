//! The folder that a node lives in: who may read it, what lies where, one node at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sedge_base::{ErrorKind, NodeId, Secret, Timestamp};
use sedge_net::tls::{Authority, AuthorityError};
use sedge_trust::random_bytes;
use serde::{Deserialize, Serialize};

/// The most that a small file of the home may hold: far above what we write.
const MAX_SMALL_FILE: u64 = 64 * 1024;

/// A node's folder, locked for the life of this value.
///
/// | path | what |
/// | --- | --- |
/// | `config.toml` | what the owner wrote; made empty at first start, never changed by the node |
/// | `identity.key`, `owner.key` | secret keys, mode 600 |
/// | `tls.key`, `tls.pem` | the authority for foreign clients, mode 600; made when first needed |
/// | `api.key` | the bearer key of the local API, mode 600 |
/// | `sedge.db`, `blobs/`, `artifacts/` | durable state |
/// | `cache/` | compiled components; may be deleted |
/// | `run/node.json` | how to reach the running node, mode 600 |
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    /// Held open: the lock ends with the process, even with `kill -9`.
    _lock: File,
}

/// How to reach the node that runs in a home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The process.
    pub pid: u32,
    /// Where its API listens, on loopback.
    pub api: SocketAddr,
    /// Whether the API speaks TLS, by the authority in the home.
    #[serde(default)]
    pub tls: bool,
    /// The node's id.
    pub id: NodeId,
    /// The node's name.
    pub name: String,
    /// When it started.
    pub started: Timestamp,
}

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// The operating system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried, such as `create`.
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process runs a node in this home.
    #[error("another node runs in {}", path.display())]
    Locked {
        /// The home.
        path: PathBuf,
    },
    /// Somebody else could read the keys.
    #[error("{} must not be open to others: its mode is {mode:o}", path.display())]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file of the home does not hold what it should.
    #[error("{} does not hold {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The authority's key is damaged, or no certificate can be made of it.
    #[error("`tls.key` in the home cannot be used")]
    Authority(#[from] AuthorityError),
    /// The operating system gave no random numbers.
    #[error("no random numbers for a new key")]
    Random(#[source] sedge_trust::RandomError),
}

impl HomeError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                ErrorKind::Denied
            }
            Self::Io { .. } | Self::Random(_) => ErrorKind::Internal,
            Self::Authority(it) => it.kind(),
            Self::Locked { .. } => ErrorKind::Conflict,
            Self::Open { .. } => ErrorKind::Denied,
            Self::Damaged { .. } => ErrorKind::Corrupt,
        }
    }

    /// Returns the next step for the person, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("choose a folder that you may write with `--home DIR`".to_owned())
            }
            Self::Locked { path } => Some(format!(
                "`sedge status --home {0}` shows it, `sedge down --home {0}` stops it",
                path.display()
            )),
            Self::Open { path, .. } => Some(format!("`chmod go-rwx {}`", path.display())),
            Self::Damaged { path, .. } => {
                Some(format!("restore {} from a backup, or move it away", path.display()))
            }
            Self::Authority(_) => {
                Some("restore `tls.key` from a backup, or move it away: clients then need the new `tls.pem`".to_owned())
            }
            Self::Io { .. } | Self::Random(_) => None,
        }
    }
}

fn io_error<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> HomeError + 'a {
    move |source| HomeError::Io { what, path: path.to_owned(), source }
}

impl Home {
    /// Opens a home and takes its lock; makes it at the first start, open to its owner alone.
    ///
    /// # Errors
    ///
    /// See [`HomeError`]. Nothing that exists is changed.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        make_private_dir(path)?;
        for inner in ["run", "cache", "blobs"] {
            make_private_dir(&path.join(inner))?;
        }
        let lock_path = path.join("run/lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io_error("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(HomeError::Locked { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &lock_path)(source)),
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where the owner's configuration lies.
    pub fn config_path(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// Returns where the API's bearer key lies.
    pub fn api_key_path(&self) -> PathBuf {
        Self::api_key_path_in(&self.path)
    }

    /// Returns where the API's bearer key of any home lies.
    pub fn api_key_path_in(home: &Path) -> PathBuf {
        home.join("api.key")
    }

    /// Returns the API's bearer key; makes one at the first start.
    ///
    /// # Errors
    ///
    /// See [`HomeError`].
    pub fn api_key(&self) -> Result<Secret<String>, HomeError> {
        let path = self.api_key_path();
        if !path.exists() {
            let key: [u8; 24] = random_bytes().map_err(HomeError::Random)?;
            write_private(&path, format!("sedge-{}\n", hex::encode(key)).as_bytes())?;
        }
        Self::read_api_key(&self.path)
    }

    /// Reads the API's bearer key of any home; for those who talk to its node.
    ///
    /// # Errors
    ///
    /// See [`HomeError`].
    pub fn read_api_key(home: &Path) -> Result<Secret<String>, HomeError> {
        let path = Self::api_key_path_in(home);
        let meta = fs::metadata(&path).map_err(io_error("read", &path))?;
        let mode = meta.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(HomeError::Open { path, mode });
        }
        let text = read_small(&path)?;
        let key = text.trim();
        if key.len() < 16 || key.len() > 256 || !key.bytes().all(|it| it.is_ascii_graphic()) {
            return Err(HomeError::Damaged { path, what: "a key of 16 to 256 visible characters" });
        }
        Ok(Secret::new(key.to_owned()))
    }

    /// Reads a file of the home that holds secrets: small, and of mode 600.
    pub(crate) fn read_secret_file(&self, name: &str) -> Result<Secret<String>, HomeError> {
        let path = self.path.join(name);
        let meta = fs::metadata(&path).map_err(io_error("read", &path))?;
        let mode = meta.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(HomeError::Open { path, mode });
        }
        if meta.len() > MAX_SMALL_FILE {
            return Err(HomeError::Damaged { path, what: "at most 64 KiB" });
        }
        read_small(&path).map(Secret::new)
    }

    /// Returns where the certificate lies that foreign clients are told to trust.
    pub fn authority_path(home: &Path) -> PathBuf {
        home.join("tls.pem")
    }

    /// Returns the node's authority for foreign clients; makes one when first asked for, and writes
    /// its certificate.
    ///
    /// # Errors
    ///
    /// See [`HomeError`].
    pub fn authority(&self, node: NodeId) -> Result<Authority, HomeError> {
        let path = self.path.join("tls.key");
        let authority = if path.exists() {
            let mode = fs::metadata(&path).map_err(io_error("read", &path))?.mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(HomeError::Open { path, mode });
            }
            Authority::from_key(&read_small(&path)?, node)?
        } else {
            let new = Authority::generate(node)?;
            write_private(&path, new.key().reveal().as_bytes())?;
            new
        };
        let certificate = authority.certificate()?;
        write_private(&Self::authority_path(&self.path), certificate.as_bytes())?;
        Ok(authority)
    }

    /// Tells others how to reach the node that runs here.
    ///
    /// # Errors
    ///
    /// See [`HomeError`].
    pub fn announce(&self, running: &Running) -> Result<(), HomeError> {
        let path = self.path.join("run/node.json");
        let text = serde_json::to_vec_pretty(running)
            .map_err(|it| io_error("write", &path)(io::Error::other(it)))?;
        write_private(&path, &text)
    }

    /// Takes back what [`Home::announce`] told.
    pub fn withdraw(&self) {
        // A file that is gone already is what we want; one that stays names a dead process.
        drop(fs::remove_file(self.path.join("run/node.json")));
    }

    /// Reads how to reach the node that runs in a home; `None` when none was announced.
    ///
    /// # Errors
    ///
    /// See [`HomeError`].
    pub fn running(home: &Path) -> Result<Option<Running>, HomeError> {
        let path = home.join("run/node.json");
        if !path.exists() {
            return Ok(None);
        }
        let text = read_small(&path)?;
        let running = serde_json::from_str(&text)
            .map_err(|_| HomeError::Damaged { path, what: "a running node's address" })?;
        Ok(Some(running))
    }
}

fn read_small(path: &Path) -> Result<String, HomeError> {
    let file = File::open(path).map_err(io_error("read", path))?;
    let mut text = String::new();
    file.take(MAX_SMALL_FILE).read_to_string(&mut text).map_err(io_error("read", path))?;
    Ok(text)
}

fn make_private_dir(path: &Path) -> Result<(), HomeError> {
    if !path.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(io_error("create", path))?;
    }
    let meta = fs::metadata(path).map_err(io_error("read", path))?;
    if !meta.is_dir() {
        return Err(HomeError::Damaged { path: path.to_owned(), what: "a folder" });
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(HomeError::Open { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Writes a file of mode 600 that is either whole or not there.
fn write_private(path: &Path, content: &[u8]) -> Result<(), HomeError> {
    let part = path.with_extension("part");
    drop(fs::remove_file(&part));
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&part)
        .map_err(io_error("create", &part))?;
    file.write_all(content).map_err(io_error("write", &part))?;
    file.sync_all().map_err(io_error("write", &part))?;
    fs::rename(&part, path).map_err(io_error("create", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_private_and_has_one_node_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("home");
        let home = Home::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        assert!(matches!(Home::open(&path), Err(HomeError::Locked { .. })));

        let key = home.api_key().unwrap();
        assert_eq!(fs::metadata(home.api_key_path()).unwrap().mode() & 0o777, 0o600);
        assert_eq!(Home::read_api_key(&path).unwrap(), key);
        drop(home);
        assert_eq!(Home::open(&path).unwrap().api_key().unwrap(), key);
    }

    #[test]
    fn a_home_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("home");
        drop(Home::open(&path).unwrap());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Home::open(&path), Err(HomeError::Open { mode: 0o755, .. })));
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("home");
        fs::write(&path, "not a folder").unwrap();
        let error = Home::open(&path).unwrap_err();
        assert!(error.to_string().contains("home"), "{error}");
    }

    #[test]
    fn a_damaged_api_key_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("home");
        let home = Home::open(&path).unwrap();
        write_private(&home.api_key_path(), b"short").unwrap();
        assert!(matches!(home.api_key(), Err(HomeError::Damaged { .. })));
        assert_eq!(fs::read(home.api_key_path()).unwrap(), b"short");
    }
}
