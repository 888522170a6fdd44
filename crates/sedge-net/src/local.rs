//! Nodes on one machine: a Unix socket for each, and sealed memory for what is large.
//!
//! A node's socket lies in a folder that only its user can enter; its name tells the node. Both
//! ends check that the other process is of the same user, and both prove their keys. A write from
//! 64 KiB travels as a sealed memory file: written once by the sender, read once by the receiver
//! straight into its own buffer. Mapping it instead would save that last copy and needs `unsafe`.
//! No encryption: the bytes never leave the kernel. Linux only.

mod sealed;
mod socket;

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sedge_base::{ErrorKind, NodeId};
use sedge_trust::Identity;
use tokio::net::{UnixListener, UnixStream};

pub(crate) use self::sealed::Sealed;
use crate::conn::{Conn, PathClass};
use crate::door::{Door, Ends, Fault, Manner};
use crate::events::Metrics;
use crate::handshake::Carrier;
use crate::quic::Liveness;
use crate::transport::{Admission, DialError, PeerAddr, Place, Protocol, Transport};

const SCHEME: &str = "local";
/// Bytes of one stream that may be on their way.
const WINDOW: usize = 2 << 20;
/// Hexadecimal digits of a node's id in its socket's name: a path has room for 107 bytes.
const DIGITS: usize = 32;

/// How to open an end.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// The node's keys.
    pub identity: Arc<Identity>,
    /// The folder where the nodes of this user meet; made if it is missing.
    pub dir: PathBuf,
    /// What is spoken from the start; see [`Local::set_protocols`].
    pub protocols: Vec<Protocol>,
    /// How quickly a frozen peer is noticed; a dead one is noticed at once.
    pub liveness: Liveness,
    /// The most connections that peers may have with this end (those we dial are not counted).
    pub max_accepted: usize,
}

impl LocalOptions {
    /// Returns options for an end that speaks with members only.
    pub fn new(identity: Arc<Identity>, dir: PathBuf) -> Self {
        let liveness =
            Liveness { keep_alive: Duration::from_secs(1), silent_after: Duration::from_secs(5) };
        Self { identity, dir, protocols: vec![Protocol::Mesh], liveness, max_accepted: 64 }
    }
}

/// Why an end could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// Other users can enter the folder, or it is theirs.
    #[error("{} must be a folder that only this user can enter", dir.display())]
    Folder {
        /// Which.
        dir: PathBuf,
    },
    /// A node with this key listens there already.
    #[error("{} is in use", path.display())]
    InUse {
        /// Its socket.
        path: PathBuf,
    },
    /// The system does not let us listen there.
    #[error("cannot listen on {}", path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

impl LocalError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Folder { .. } => ErrorKind::Denied,
            Self::InUse { .. } => ErrorKind::Conflict,
            Self::Listen { .. } => ErrorKind::Unavailable,
        }
    }
}

/// One node's end of the network inside this machine.
#[derive(Debug)]
pub struct Local {
    door: Arc<Door>,
    dir: PathBuf,
}

fn path_of(dir: &Path, node: NodeId) -> PathBuf {
    let mut name = node.to_string();
    name.truncate(DIGITS);
    dir.join(name + ".sock")
}

impl Local {
    /// Opens an end.
    ///
    /// # Errors
    ///
    /// [`LocalError`] when the folder is open to others, or the node listens there already.
    pub async fn bind(
        options: LocalOptions,
        admission: Arc<dyn Admission>,
    ) -> Result<Self, LocalError> {
        let LocalOptions { identity, dir, protocols, liveness, max_accepted } = options;
        let path = path_of(&dir, identity.node_id());
        own_folder(&dir)?;
        let listener = listen(&path).await?;
        let manner = Manner { window: WINDOW, sealed: true, liveness };
        let door = Arc::new(Door::new(identity, admission, protocols, manner, max_accepted));
        let here = Arc::clone(&door);
        let scope = door.scope.clone();
        scope.spawn("local acceptor", |cancel| async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = accept_all(&here, &listener) => {}
            }
            drop(listener);
            // Somebody may have removed it already.
            drop(std::fs::remove_file(&path));
        });
        Ok(Self { door, dir })
    }

    /// Switches protocols on and off for connections that others begin from now on.
    pub fn set_protocols(&self, protocols: &[Protocol]) {
        self.door.set_protocols(protocols);
    }

    /// Returns the counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.door.metrics
    }

    async fn connect(&self, peer: NodeId) -> Result<(PathClass, Carrier, Ends), Fault> {
        // It fails where there is no socket, or one that its owner left behind.
        let Ok(socket) = UnixStream::connect(path_of(&self.dir, peer)).await else {
            return Err(Fault::NoAddress);
        };
        let (carrier, ends) = same_user(socket)?;
        Ok((PathClass::Local, carrier, ends))
    }
}

async fn accept_all(door: &Arc<Door>, listener: &UnixListener) {
    // Errors such as "too many open files" pass; a pause keeps them from filling the processor.
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    // Whoever comes when many are being greeted waits in the socket's queue, as one of this user.
    while let Some(turn) = door.next_turn().await {
        match listener.accept().await {
            Ok((socket, _)) => {
                door.greet_in(turn, None, PathClass::Local, || async { same_user(socket) });
            }
            Err(_) => {
                door.failed(None, "the system gives no socket");
                pause.tick().await;
            }
        }
    }
}

/// Refuses processes of other users, whatever keys they have.
fn same_user(socket: UnixStream) -> io::Result<(Carrier, Ends)> {
    if socket.peer_cred()?.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let (outlet, inlet) = socket::halves(socket);
    let carrier = Carrier { scheme: SCHEME, binding: Vec::new() };
    Ok((carrier, (Box::new(outlet), Box::new(inlet))))
}

fn own_folder(dir: &Path) -> Result<(), LocalError> {
    // It may exist; what it is, is checked below.
    drop(std::fs::DirBuilder::new().mode(0o700).create(dir));
    let found = std::fs::symlink_metadata(dir)
        .map_err(|source| LocalError::Listen { path: dir.to_owned(), source })?;
    let ours = found.is_dir()
        && found.uid() == rustix::process::geteuid().as_raw()
        && found.mode() & 0o077 == 0;
    if ours { Ok(()) } else { Err(LocalError::Folder { dir: dir.to_owned() }) }
}

/// Listens; a socket that a killed process left behind is replaced.
async fn listen(path: &Path) -> Result<UnixListener, LocalError> {
    let failed = |source| LocalError::Listen { path: path.to_owned(), source };
    match UnixListener::bind(path) {
        Err(err) if err.kind() == io::ErrorKind::AddrInUse => {}
        bound => return bound.map_err(failed),
    }
    if UnixStream::connect(path).await.is_ok() {
        return Err(LocalError::InUse { path: path.to_owned() });
    }
    std::fs::remove_file(path).map_err(failed)?;
    UnixListener::bind(path).map_err(failed)
}

#[async_trait]
impl Transport for Local {
    fn place(&self) -> Place {
        Place { scheme: SCHEME, node: self.door.identity.node_id(), direct: Vec::new() }
    }

    async fn dial(
        &self,
        to: &PeerAddr,
        protocol: Protocol,
        within: Duration,
    ) -> Result<Conn, DialError> {
        self.door.dial(to, protocol, within, self.connect(to.node)).await
    }

    async fn accept(&self) -> Option<Conn> {
        self.door.accept().await
    }

    async fn close(&self, within: Duration) {
        self.door.close(within).await;
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.door.scope.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[derive(Debug)]
    struct Nobody;

    impl Admission for Nobody {
        fn admits(&self, _: NodeId, _: Protocol) -> bool {
            false
        }
    }

    fn options(dir: &Path) -> LocalOptions {
        LocalOptions::new(Arc::new(Identity::from_bytes(&[1; 64])), dir.to_owned())
    }

    #[tokio::test]
    async fn a_folder_that_others_can_enter_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o750)).unwrap();
        let err = Local::bind(options(dir.path()), Arc::new(Nobody)).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Denied);
    }

    #[tokio::test]
    async fn one_key_listens_once() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("nodes");
        let first = Local::bind(options(&dir), Arc::new(Nobody)).await.unwrap();
        let err = Local::bind(options(&dir), Arc::new(Nobody)).await.unwrap_err();
        assert!(matches!(err, LocalError::InUse { .. }), "{err}");
        first.close(Duration::from_secs(5)).await;
        drop(Local::bind(options(&dir), Arc::new(Nobody)).await.unwrap());
    }
}
