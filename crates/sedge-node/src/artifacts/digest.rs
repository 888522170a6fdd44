//! The SHA-256 of an artifact, computed when somebody needs it.
//!
//! The id alone proves every byte, so nothing waits for a second hash.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use sedge_base::{ArtifactId, ContentHasher, ContentId};
use sedge_capability::Failure;
use sedge_trust::seed::local_cid;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::put::disk;
use super::{failed, not_here};
use crate::node::{Node, internal};

/// How much is read at once.
const READ_AT_ONCE: usize = 1 << 20;

/// An artifact under its other names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Its id.
    pub id: ArtifactId,
    /// The SHA-256 of its bytes, by which receipts name content.
    pub content: ContentId,
    /// The older protocol's name: `local:` and half of the SHA-256.
    pub cid: String,
}

impl Node {
    /// Returns the names of an artifact that is here whole; reads all of it the first time.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when it is not here or cannot be read.
    pub async fn digest(&self, id: ArtifactId) -> Result<Digest, Failure> {
        let found = self.store.artifacts().open(id).await.map_err(|it| failed(&it))?;
        let found = found.filter(|(it, _)| it.whole);
        let (artifact, files) = found.ok_or_else(|| not_here(id))?;
        let content = match artifact.content {
            Some(content) => content,
            None => {
                let content = spawn_blocking(move || sha256(&files.data))
                    .await
                    .map_err(internal)?
                    .map_err(disk)?;
                self.store.artifacts().name(id, content).await.map_err(internal)?;
                content
            }
        };
        Ok(Digest { id, content, cid: local_cid(&content) })
    }
}

/// Returns the SHA-256 of a whole file. Blocks.
fn sha256(file: &File) -> io::Result<ContentId> {
    let mut sha = ContentHasher::new();
    let mut buffer = vec![0; READ_AT_ONCE];
    let mut at = 0;
    loop {
        match file.read_at(&mut buffer, at)? {
            0 => return Ok(sha.finish()),
            got => {
                sha.update(&buffer[..got]);
                at += got as u64;
            }
        }
    }
}
