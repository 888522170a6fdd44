//! The keys that make a node itself.

use std::fmt;
use std::path::Path;

use ed25519_dalek::{Signer as _, SigningKey};
use sedge_base::NodeId;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::keyfile::{self, KeyFileError};
use crate::random::{RandomError, random_bytes};
use crate::signature::{SessionPublicKey, Signature};

/// The name of the file that holds a node's keys.
pub const IDENTITY_FILE: &str = "identity.key";

const MAGIC: &[u8; 8] = b"SEDGEID1";

/// A node's Ed25519 signing key and X25519 session secret.
///
/// Both are wiped from memory on drop and never printed.
#[derive(Clone)]
pub struct Identity {
    signing: SigningKey,
    session: StaticSecret,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("node", &self.node_id()).finish_non_exhaustive()
    }
}

impl Identity {
    /// Makes new keys from the operating system's random source.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when that source gives nothing.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self::from_bytes(&Zeroizing::new(random_bytes()?)))
    }

    /// Makes the identity from its stored bytes: the Ed25519 seed, then the X25519 secret.
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let (mut signing, mut session) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
        signing.copy_from_slice(&bytes[..32]);
        session.copy_from_slice(&bytes[32..]);
        Self { signing: SigningKey::from_bytes(&signing), session: StaticSecret::from(*session) }
    }

    /// Returns the bytes to store: the Ed25519 seed, then the X25519 secret.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 64]> {
        let mut bytes = Zeroizing::new([0; 64]);
        bytes[..32].copy_from_slice(self.signing.as_bytes());
        bytes[32..].copy_from_slice(self.session.as_bytes());
        bytes
    }

    /// Reads the keys from [`IDENTITY_FILE`] in `dir`; `None` when there is no such file.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`], which names the file and what is wrong with it.
    pub fn load(dir: &Path) -> Result<Option<Self>, KeyFileError> {
        Ok(keyfile::load(dir, IDENTITY_FILE, MAGIC)?.map(|it| Self::from_bytes(&it)))
    }

    /// Reads the keys from [`IDENTITY_FILE`] in `dir`, or makes and stores new ones there.
    ///
    /// The file has mode 600; a folder that is made has mode 700. The file is written beside its
    /// place, synced and then linked into it, so that it is whole or absent. An existing file is
    /// never replaced, whatever is wrong with it.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`], which names the file or folder and what is wrong with it.
    pub fn load_or_create(dir: &Path) -> Result<Self, KeyFileError> {
        if let Some(found) = Self::load(dir)? {
            return Ok(found);
        }
        let new = Self::generate()?;
        if keyfile::create(dir, IDENTITY_FILE, MAGIC, &new.to_bytes()[..])? {
            return Ok(new);
        }
        match keyfile::load(dir, IDENTITY_FILE, MAGIC)? {
            Some(bytes) => Ok(Self::from_bytes(&bytes)),
            None => Err(KeyFileError::Corrupt { path: dir.join(IDENTITY_FILE) }),
        }
    }

    /// Stores these keys in [`IDENTITY_FILE`] in `dir`, for the next
    /// [`load_or_create`](Identity::load_or_create) there: a restored backup, or a simulation's
    /// machine. Returns whether they were stored: a file that is there already is never replaced.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`], which names the file or folder and what is wrong with it.
    pub fn store(&self, dir: &Path) -> Result<bool, KeyFileError> {
        keyfile::create(dir, IDENTITY_FILE, MAGIC, &self.to_bytes()[..])
    }

    /// Returns the node's id, which is its Ed25519 public key.
    pub fn node_id(&self) -> NodeId {
        NodeId::from_bytes(self.signing.verifying_key().to_bytes())
    }

    /// Returns the node's X25519 public key.
    pub fn session_public_key(&self) -> SessionPublicKey {
        SessionPublicKey::from_bytes(PublicKey::from(&self.session).to_bytes())
    }

    /// Signs a text with the node's Ed25519 key.
    pub fn sign(&self, text: &[u8]) -> Signature {
        Signature::from_bytes(self.signing.sign(text).to_bytes())
    }

    /// Returns the Ed25519 seed, for a transport that makes its own key object from it.
    pub fn signing_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.signing.to_bytes())
    }

    pub(crate) const fn session_secret(&self) -> &StaticSecret {
        &self.session
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn vectors_003_1_and_003_2() {
        let mut bytes = [1; 64];
        bytes[32..].fill(2);
        let identity = Identity::from_bytes(&bytes);
        assert_eq!(
            identity.node_id().to_string(),
            "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
        );
        assert_eq!(
            identity.session_public_key().to_string(),
            "ce8d3ad1ccb633ec7b70c17814a5c76ecd029685050d344745ba05870e587d59"
        );
        assert_eq!(identity.to_bytes()[..], bytes);
    }

    #[test]
    fn stored_keys_are_found_and_never_replaced() {
        let home = tempfile::tempdir().unwrap();
        let (first, second) = (Identity::from_bytes(&[1; 64]), Identity::from_bytes(&[2; 64]));
        assert!(first.store(home.path()).unwrap());
        assert!(!second.store(home.path()).unwrap());
        let found = Identity::load_or_create(home.path()).unwrap();
        assert_eq!(found.node_id(), first.node_id());
    }

    #[test]
    fn the_second_start_finds_the_same_keys_in_a_file_of_mode_600() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("node");
        let (first, second) =
            (Identity::load_or_create(&dir).unwrap(), Identity::load_or_create(&dir).unwrap());
        assert_eq!(first.node_id(), second.node_id());
        assert_eq!(first.session_public_key(), second.session_public_key());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.join(IDENTITY_FILE)), 0o600);
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no temporary file stays behind");
    }

    #[track_caller]
    fn check_refused(spoil: impl FnOnce(&Path), expected: &str) {
        let home = tempfile::tempdir().unwrap();
        Identity::load_or_create(home.path()).unwrap();
        let file = home.path().join(IDENTITY_FILE);
        spoil(&file);
        let before = fs::read(&file).unwrap();
        let refused = Identity::load_or_create(home.path()).unwrap_err().to_string();
        assert_eq!(refused.replace(&file.display().to_string(), "FILE"), expected);
        assert_eq!(fs::read(&file).unwrap(), before, "a refused file is never replaced");
    }

    #[test]
    fn damaged_and_open_files_are_refused_by_name() {
        const DAMAGED: &str = "the key file `FILE` is damaged or is another kind of file";
        for at in [0, 20, 79] {
            check_refused(
                |file| {
                    let mut bytes = fs::read(file).unwrap();
                    bytes[at] ^= 1;
                    fs::write(file, bytes).unwrap();
                },
                DAMAGED,
            );
        }
        check_refused(|file| fs::write(file, b"").unwrap(), DAMAGED);
        check_refused(|file| fs::write(file, [7; 81]).unwrap(), DAMAGED);
        check_refused(
            |file| fs::set_permissions(file, fs::Permissions::from_mode(0o640)).unwrap(),
            "the key file `FILE` has mode 640, it must have 600",
        );
    }

    #[test]
    fn keys_are_not_printed() {
        let identity = Identity::from_bytes(&[9; 64]);
        assert!(!format!("{identity:?}").contains("0909"));
    }
}
