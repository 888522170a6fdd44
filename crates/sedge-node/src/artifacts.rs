//! Large content of this node: stored, listed, removed, given to other members, fetched from them.
//!
//! The bytes are the store's, the verified stream is the net's; here they meet.

mod config;
mod digest;
mod fetch;
mod pointer;
mod put;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use sedge_base::{ArtifactId, ByteSize, ContentId, ErrorKind, Timestamp};
use sedge_capability::Failure;
use sedge_net::artifact::{ArtifactFiles, GROUP, Progress, Server, Shelf, Shelved};
use sedge_store::{Artifact, ArtifactError, Keep, OpenArtifact, Store};
use sedge_trust::seed::local_cid;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::warn;

use crate::node::{Node, internal, with_source};

pub use config::{ArtifactsConfig, ArtifactsSection};
pub use digest::Digest;
pub use fetch::{DrawnFrom, Fetched};
pub use pointer::Point;

/// What doors see of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactView {
    /// Its id: the BLAKE3 hash of its bytes.
    pub id: ArtifactId,
    /// The SHA-256 of its bytes, once somebody asked this node for it.
    pub content: Option<ContentId>,
    /// The older protocol's name for it: `local:` and half of the SHA-256.
    pub cid: Option<String>,
    /// Its size.
    pub size: ByteSize,
    /// In how many groups of 16 KiB it travels.
    pub groups: u64,
    /// Whether all of it is here.
    pub whole: bool,
    /// How many of its bytes are here and proven; `None` while that is not known, because it is
    /// unfinished and nobody fetches it now.
    pub here: Option<u64>,
    /// Whether it stays until it is removed by hand.
    pub pinned: bool,
    /// When it was stored, or its first part.
    pub stored_at: Timestamp,
}

/// All artifacts of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactList {
    /// The artifacts, the last used first.
    pub artifacts: Vec<ArtifactView>,
    /// The largest that is taken.
    pub largest: ByteSize,
    /// What all of them may take together.
    pub room: ByteSize,
    /// What all of them take now; unfinished ones count whole.
    pub used: ByteSize,
    /// How many bytes were given to other members since the node started.
    pub served: u64,
}

/// The node's side of artifacts: who is given what, and what arrives now.
#[derive(Debug)]
pub(crate) struct Depot {
    pub(crate) server: Server,
    arriving: Mutex<HashMap<ArtifactId, Arc<Arriving>>>,
}

/// An artifact that is fetched now, by one caller; others wait at the gate.
#[derive(Debug)]
struct Arriving {
    gate: tokio::sync::Mutex<()>,
    progress: watch::Sender<Progress>,
}

/// Keeps an artifact among those that arrive.
#[derive(Debug)]
struct Ticket<'a> {
    depot: &'a Depot,
    id: ArtifactId,
    arriving: Arc<Arriving>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut list = self.depot.list();
        // The list's and this one's: nobody else waits.
        if Arc::strong_count(&self.arriving) <= 2 {
            list.remove(&self.id);
        }
    }
}

impl Depot {
    pub(crate) fn new(store: Store) -> Self {
        Self { server: Server::new(Arc::new(Stock(store))), arriving: Mutex::default() }
    }

    fn list(&self) -> std::sync::MutexGuard<'_, HashMap<ArtifactId, Arc<Arriving>>> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ticket(&self, id: ArtifactId) -> Ticket<'_> {
        let fresh = || {
            let progress = watch::Sender::new(Progress::default());
            Arc::new(Arriving { gate: tokio::sync::Mutex::default(), progress })
        };
        let arriving = Arc::clone(self.list().entry(id).or_insert_with(fresh));
        Ticket { depot: self, id, arriving }
    }

    /// Returns what must not be evicted because it arrives now.
    fn busy(&self) -> Vec<ArtifactId> {
        self.list().keys().copied().collect()
    }

    /// Returns how much of an artifact is here, if it arrives now.
    fn here(&self, id: &ArtifactId) -> Option<u64> {
        self.list().get(id).map(|it| it.progress.borrow().here)
    }
}

/// The store, as those see it who are given artifacts.
#[derive(Debug)]
struct Stock(Store);

#[async_trait]
impl Shelf for Stock {
    async fn size(&self, id: ArtifactId) -> Option<u64> {
        let found = self.0.artifacts().get(id).await.ok().flatten();
        found.filter(|it| it.whole).map(|it| it.size)
    }

    async fn open(&self, id: ArtifactId) -> Option<Shelved> {
        match self.0.artifacts().open(id).await {
            Ok(found) => {
                let (artifact, files) = found.filter(|(it, _)| it.whole)?;
                Some(Shelved { size: artifact.size, files: travelling(files) })
            }
            Err(error) => {
                let error = with_source(&error);
                warn!(target: "sedge::events::artifact_unreadable", %id, error);
                None
            }
        }
    }
}

/// The same files, as the net takes them.
fn travelling(files: OpenArtifact) -> ArtifactFiles {
    let OpenArtifact { data, tree } = files;
    ArtifactFiles { data, tree }
}

fn view(artifact: Artifact, here: Option<u64>) -> ArtifactView {
    let Artifact { id, content, size, whole, keep, stored_at } = artifact;
    ArtifactView {
        id,
        content,
        cid: content.map(|it| local_cid(&it)),
        size: ByteSize::from_bytes(size),
        groups: size.div_ceil(GROUP),
        whole,
        here: if whole { Some(size) } else { here },
        pinned: keep == Keep::Pinned,
        stored_at,
    }
}

impl Node {
    /// Returns every artifact of this node, whole or arriving.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the store cannot be read.
    pub async fn artifacts(&self) -> Result<ArtifactList, Failure> {
        let found = self.store.artifacts().list().await.map_err(internal)?;
        let limits = self.config.artifacts.limits;
        let used = found.iter().map(|it| it.size).sum();
        let artifacts = found.into_iter().map(|it| {
            let here = self.depot.here(&it.id);
            view(it, here)
        });
        Ok(ArtifactList {
            artifacts: artifacts.collect(),
            largest: limits.largest,
            room: limits.room,
            used: ByteSize::from_bytes(used),
            served: self.depot.server.served(),
        })
    }

    /// Opens an artifact that is here whole.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of kind `NotFound` when it is not.
    pub async fn open_artifact(
        &self,
        id: ArtifactId,
    ) -> Result<(ArtifactView, std::fs::File), Failure> {
        let found = self.store.artifacts().open(id).await.map_err(|it| failed(&it))?;
        match found.filter(|(it, _)| it.whole) {
            Some((artifact, files)) => Ok((view(artifact, None), files.data)),
            None => Err(not_here(id)),
        }
    }

    /// Removes an artifact from this node, pinned or not; other nodes keep theirs.
    ///
    /// Returns whether it was there.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when it arrives just now, or the store fails.
    pub async fn remove_artifact(&self, id: ArtifactId) -> Result<bool, Failure> {
        if self.depot.here(&id).is_some() {
            let text = "the artifact arrives just now; end that first";
            return Err(Failure::new(ErrorKind::Conflict, "artifact_arriving", text));
        }
        self.store.artifacts().remove(id).await.map_err(|it| failed(&it))
    }
}

fn not_here(id: ArtifactId) -> Failure {
    let text = format!("this node does not have artifact {id}");
    Failure::new(ErrorKind::NotFound, "unknown_artifact", text)
}

/// Turns a refusal of the store into what a caller sees.
fn failed(error: &ArtifactError) -> Failure {
    let code = match error {
        ArtifactError::TooLarge { .. } => "artifact_too_large",
        ArtifactError::NoRoom { .. } => "artifact_no_room",
        _ => "store_failed",
    };
    Failure::new(error.kind(), code, with_source(error))
}
