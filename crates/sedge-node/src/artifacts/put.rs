//! Taking in an artifact from a door: written, hashed, then listed.

use std::io::{self, Write as _};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use sedge_base::{ArtifactId, ByteSize, ErrorKind};
use sedge_capability::Failure;
use sedge_net::artifact::{ArtifactFiles, plant};
use sedge_store::{Artifact, ArtifactError, Keep, OpenArtifact, Staged};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::{ArtifactView, failed, view};
use crate::node::{Node, internal};

/// How many pieces wait for the disk.
const AHEAD: usize = 8;

/// What was written.
struct Written {
    staged: Staged,
    size: u64,
}

impl Node {
    /// Stores an artifact; it is on disk and proven when this returns.
    ///
    /// It is pinned: this may be the only copy. `announced` is its size in bytes if the sender
    /// said it; one that is too large is refused before a byte was read.
    ///
    /// # Errors
    ///
    /// A [`Failure`]; nothing was kept then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future keeps nothing.
    pub async fn put_artifact<E: std::fmt::Display>(
        &self,
        announced: Option<u64>,
        bytes: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<ArtifactView, Failure> {
        let limits = self.config.artifacts.limits;
        let fits = |size: u64| {
            let (got, most) = (ByteSize::from_bytes(size), limits.largest);
            if got > most { Err(failed(&ArtifactError::TooLarge { got, most })) } else { Ok(()) }
        };
        fits(announced.unwrap_or(0))?;
        let staged = self.store.artifacts().stage().await.map_err(|it| failed(&it))?;
        let (sender, pieces) = mpsc::channel(AHEAD);
        let writing = spawn_blocking(move || write(staged, pieces));
        let mut bytes = std::pin::pin!(bytes);
        let mut size = 0;
        while let Some(piece) = bytes.next().await {
            let piece = piece.map_err(|error| {
                let text = format!("the artifact broke off: {error}");
                Failure::new(ErrorKind::Invalid, "artifact_broke_off", text)
            })?;
            size += piece.len() as u64;
            fits(size)?;
            // The writer stops at its first fault, which it tells below.
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        drop(sender);
        let Written { staged, size } = writing.await.map_err(internal)?.map_err(disk)?;
        if size == 0 || announced.is_some_and(|it| it != size) {
            let text = match announced {
                Some(announced) if announced != size => {
                    format!("{announced} bytes were announced and {size} came")
                }
                _ => "an artifact has at least one byte".to_owned(),
            };
            return Err(Failure::new(ErrorKind::Invalid, "artifact_wrong_size", text));
        }
        let (staged, id) =
            spawn_blocking(move || grow(staged, size)).await.map_err(internal)?.map_err(disk)?;
        let stored_at = self.clock.now();
        let (content, whole, keep) = (None, true, Keep::Pinned);
        let artifact = Artifact { id, content, size, whole, keep, stored_at };
        let kept = view(artifact.clone(), None);
        let busy = self.depot.busy();
        let keeping = self.store.artifacts().keep(staged, artifact, limits, busy).await;
        super::fetch::tell_evicted(&keeping.map_err(|it| failed(&it))?);
        Ok(kept)
    }
}

/// Writes what comes, until no more comes. Blocks.
fn write(mut staged: Staged, mut pieces: mpsc::Receiver<Bytes>) -> io::Result<Written> {
    let mut size = 0;
    while let Some(piece) = pieces.blocking_recv() {
        staged.files.data.write_all(&piece)?;
        size += piece.len() as u64;
    }
    Ok(Written { staged, size })
}

/// Makes the tree above the bytes. Blocks.
fn grow(staged: Staged, size: u64) -> io::Result<(Staged, ArtifactId)> {
    let OpenArtifact { data, tree } = &staged.files;
    let files = ArtifactFiles { data: data.try_clone()?, tree: tree.try_clone()? };
    let id = plant(&files, size)?;
    Ok((staged, id))
}

/// Turns what the system says about the staged files into what a caller sees.
pub(super) fn disk(source: io::Error) -> Failure {
    let kind = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
        _ => ErrorKind::Internal,
    };
    Failure::new(kind, "artifact_not_written", format!("the artifact cannot be written: {source}"))
}
