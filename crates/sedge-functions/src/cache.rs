//! Precompiled code on disk, believed only when this node wrote it.
//!
//! A file is named by the component's content and the engine's settings. It holds a MAC under a key
//! that never leaves the folder, and the code. Whoever can write the folder but not read the key
//! cannot make this node run their code.

use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use sedge_base::{ByteSize, ContentId, ErrorKind};
use sedge_trust::random_bytes;
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::precompiled;

const KEY_FILE: &str = "cache.key";
const MAC_LENGTH: usize = 32;
/// No component within the limits compiles to more.
const MOST_CODE: u64 = 2 << 30;

/// A folder of precompiled code.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    key: [u8; 32],
    engine: [u8; 32],
    most: ByteSize,
}

/// Bytes whose MAC was checked.
#[derive(Debug)]
pub(crate) struct Authentic<'a>(&'a [u8]);

impl Authentic<'_> {
    /// Returns the bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0
    }
}

/// Why the folder for precompiled code cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The folder cannot be made.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The key file cannot be read or made.
    #[error("cannot read or make {}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The key file has another length than a key.
    #[error("{} is not a key; remove it and the precompiled code is made anew", path.display())]
    KeyDamaged {
        /// Which file.
        path: PathBuf,
    },
    /// Others can read the key, so it proves nothing.
    #[error("{} can be read by others; remove it, or allow its owner only", path.display())]
    KeyExposed {
        /// Which file.
        path: PathBuf,
    },
    /// The operating system gave no random bytes for a key.
    #[error(transparent)]
    Random(#[from] sedge_trust::RandomError),
}

impl CacheError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Folder { .. } | Self::Key { .. } => ErrorKind::Unavailable,
            Self::KeyDamaged { .. } => ErrorKind::Corrupt,
            Self::KeyExposed { .. } => ErrorKind::Denied,
            Self::Random(_) => ErrorKind::Internal,
        }
    }
}

/// Why a file of precompiled code was not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// It cannot be read.
    #[error("cannot read it")]
    Unreadable(#[source] io::Error),
    /// This node did not write it, or it was changed since.
    #[error("this node did not write it, or it was changed since")]
    Forged,
    /// The engine does not take it.
    #[error("the engine does not take it")]
    Engine(#[source] wasmtime::Error),
}

impl Cache {
    /// Opens the folder, making it and its key when they are missing.
    ///
    /// # Errors
    ///
    /// See [`CacheError`].
    pub(crate) fn open(folder: &Path, engine: &Engine, most: ByteSize) -> Result<Self, CacheError> {
        make_private_folder(folder)
            .map_err(|source| CacheError::Folder { path: folder.to_owned(), source })?;
        let key = read_or_make_key(&folder.join(KEY_FILE))?;
        let mut settings = Settings(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut settings);
        Ok(Self { folder: folder.to_owned(), key, engine: settings.0.finalize().into(), most })
    }

    /// Returns the file of a component's code.
    pub(crate) fn path(&self, id: ContentId) -> PathBuf {
        let engine = ContentId::from_bytes(self.engine).short();
        self.folder.join(format!("{id}-{engine}.cwasm"))
    }

    /// Returns the component when its code is here, and `None` when it is not.
    ///
    /// # Errors
    ///
    /// [`Refused`] when there is a file that cannot be believed or used.
    pub(crate) fn load(
        &self,
        engine: &Engine,
        id: ContentId,
    ) -> Result<Option<Component>, Refused> {
        let mut file = match File::open(self.path(id)) {
            Ok(file) => file.take(MOST_CODE),
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(Refused::Unreadable(err)),
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(Refused::Unreadable)?;
        let code = self.authenticate(id, &bytes).ok_or(Refused::Forged)?;
        precompiled::load(engine, &code).map(Some).map_err(Refused::Engine)
    }

    /// Keeps a component's code; the oldest files give way to it.
    ///
    /// # Errors
    ///
    /// When the disk does not take it. The component works without.
    pub(crate) fn store(&self, id: ContentId, component: &Component) -> io::Result<()> {
        let code = component.serialize().map_err(io::Error::other)?;
        let unique: [u8; 8] = random_bytes().map_err(io::Error::other)?;
        let new = self.folder.join(format!("{:016x}.new", u64::from_be_bytes(unique)));
        let written = self.write(&new, id, &code).and_then(|()| fs::rename(&new, self.path(id)));
        if written.is_err() {
            // Whatever is left of it is useless; that it cannot be removed either adds nothing.
            drop(fs::remove_file(&new));
        }
        written?;
        self.make_room(&self.path(id))
    }

    fn write(&self, path: &Path, id: ContentId, code: &[u8]) -> io::Result<()> {
        let mut file = private_file().open(path)?;
        file.write_all(&self.mac(id, code).finalize().into_bytes())?;
        file.write_all(code)?;
        file.sync_all()
    }

    fn authenticate<'a>(&self, id: ContentId, bytes: &'a [u8]) -> Option<Authentic<'a>> {
        let (mac, code) = bytes.split_at_checked(MAC_LENGTH)?;
        self.mac(id, code).verify_slice(mac).ok()?;
        Some(Authentic(code))
    }

    fn mac(&self, id: ContentId, code: &[u8]) -> Hmac<Sha256> {
        // HMAC fills a short key up to a block with zeros.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&self.key);
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
        mac.update(b"sedge precompiled 1");
        mac.update(&self.engine);
        mac.update(id.as_bytes());
        mac.update(code);
        mac
    }

    /// Removes the oldest files until the folder fits its bound; `newest` stays.
    fn make_room(&self, newest: &Path) -> io::Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            if path.extension().is_some_and(|it| it == "cwasm") && path != newest {
                let about = entry.metadata()?;
                files.push((about.modified()?, about.len(), path));
            }
        }
        files.sort();
        let kept = fs::metadata(newest)?.len();
        let mut total = files.iter().fold(kept, |sum, it| sum.saturating_add(it.1));
        for (_, length, path) in files {
            if total <= self.most.as_bytes() {
                break;
            }
            fs::remove_file(path)?;
            total -= length;
        }
        Ok(())
    }
}

/// Feeds what is hashed into SHA-256, so that a name made of it means the same in every process.
struct Settings(Sha256);

impl Hasher for Settings {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest: [u8; 32] = self.0.clone().finalize().into();
        digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

fn read_or_make_key(path: &Path) -> Result<[u8; 32], CacheError> {
    let failed = |source| CacheError::Key { path: path.to_owned(), source };
    match private_file().open(path) {
        Ok(mut file) => {
            let key = random_bytes::<32>()?;
            file.write_all(&key).and_then(|()| file.sync_all()).map_err(failed)?;
            Ok(key)
        }
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {
            let file = File::open(path).map_err(failed)?;
            if !is_private(&file).map_err(failed)? {
                return Err(CacheError::KeyExposed { path: path.to_owned() });
            }
            let mut key = Vec::new();
            file.take(33).read_to_end(&mut key).map_err(failed)?;
            key.try_into().map_err(|_| CacheError::KeyDamaged { path: path.to_owned() })
        }
        Err(err) => Err(failed(err)),
    }
}

#[cfg(unix)]
fn private_file() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
}

#[cfg(unix)]
fn make_private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(unix)]
fn is_private(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.metadata()?.permissions().mode() & 0o077 == 0)
}

#[cfg(not(unix))]
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    options
}

#[cfg(not(unix))]
fn make_private_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(not(unix))]
fn is_private(_file: &File) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use wasmtime::Config;

    use super::*;

    /// The smallest component: the header and nothing else.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn engine() -> Engine {
        Engine::new(&Config::new()).unwrap()
    }

    fn open(folder: &Path, most: ByteSize) -> Cache {
        Cache::open(folder, &engine(), most).unwrap()
    }

    #[test]
    fn what_was_stored_is_loaded_by_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let component = Component::from_binary(&engine(), EMPTY).unwrap();
        let id = ContentId::of(EMPTY);
        open(folder.path(), ByteSize::from_mib(1)).store(id, &component).unwrap();
        let next = open(folder.path(), ByteSize::from_mib(1));
        assert!(next.load(&engine(), id).unwrap().is_some());
        assert!(next.load(&engine(), ContentId::of(b"another")).unwrap().is_none());
    }

    #[test]
    fn a_changed_or_renamed_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let cache = open(folder.path(), ByteSize::from_mib(1));
        let component = Component::from_binary(&engine(), EMPTY).unwrap();
        let (id, other) = (ContentId::of(EMPTY), ContentId::of(b"another"));
        cache.store(id, &component).unwrap();
        fs::copy(cache.path(id), cache.path(other)).unwrap();
        assert!(matches!(cache.load(&engine(), other), Err(Refused::Forged)));
        let mut bytes = fs::read(cache.path(id)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(cache.path(id), &bytes).unwrap();
        assert!(matches!(cache.load(&engine(), id), Err(Refused::Forged)));
        fs::write(cache.path(id), b"short").unwrap();
        assert!(matches!(cache.load(&engine(), id), Err(Refused::Forged)));
    }

    #[test]
    fn the_oldest_gives_way() {
        let folder = tempfile::tempdir().unwrap();
        let cache = open(folder.path(), ByteSize::from_bytes(1));
        let component = Component::from_binary(&engine(), EMPTY).unwrap();
        let (one, two) = (ContentId::of(b"one"), ContentId::of(b"two"));
        cache.store(one, &component).unwrap();
        cache.store(two, &component).unwrap();
        assert!(!cache.path(one).exists());
        assert!(cache.path(two).exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_read_or_that_is_damaged_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), ByteSize::from_mib(1));
        let key = folder.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let most = ByteSize::from_mib(1);
        let exposed = Cache::open(folder.path(), &engine(), most).unwrap_err();
        assert_eq!(exposed.kind(), ErrorKind::Denied);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&key, b"short").unwrap();
        let damaged = Cache::open(folder.path(), &engine(), most).unwrap_err();
        assert_eq!(damaged.kind(), ErrorKind::Corrupt);
    }
}
