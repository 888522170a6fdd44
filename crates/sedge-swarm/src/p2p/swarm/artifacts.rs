//! Artifacts: kept here, asked of others, checked against their name.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sedge_base::{ByteSize, Cancel, ContentId, ErrorKind, Timestamp};
use sedge_net::{Conn, Frame, FrameReader, FrameWriter, Stream};
use sedge_trust::RandomError;
use tokio::time::timeout;

use super::super::artifact::{ArtifactError, MAX_ARTIFACT_BYTES, StoreStats, has_name};
use super::super::envelope::{ArtifactPointer, ArtifactType, Signed};
use super::super::node::Node;
use super::P2PSwarmV2;

/// Asks for an artifact by its name.
const ASK: u8 = 10;
/// The artifact.
const HERE: u8 = 11;
/// It is not kept.
const ABSENT: u8 = 12;
/// The longest name, in bytes.
const MAX_NAME: ByteSize = ByteSize::from_bytes(256);
/// How long a peer may take to ask or to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why an artifact was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// There was no randomness to make keys of.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// What is kept here is damaged.
    #[error(transparent)]
    Store(#[from] ArtifactError),
    /// No connection with this member.
    #[error("no connection with `{agent_id}`")]
    NoLink {
        /// Whom.
        agent_id: String,
    },
    /// The member does not keep it.
    #[error("`{agent_id}` does not have `{cid}`")]
    Absent {
        /// Who.
        agent_id: String,
        /// What.
        cid: String,
    },
    /// The member sent something else under that name.
    #[error("`{agent_id}` sent other bytes than `{cid}`")]
    OtherBytes {
        /// Who.
        agent_id: String,
        /// What.
        cid: String,
    },
    /// The member did not answer, or the connection ended.
    #[error("`{agent_id}` did not send `{cid}`")]
    Cut {
        /// Who.
        agent_id: String,
        /// What.
        cid: String,
    },
}

impl FetchError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Random(err) => err.kind(),
            Self::Store(err) => err.kind(),
            Self::NoLink { .. } | Self::Cut { .. } => ErrorKind::Unavailable,
            Self::Absent { .. } => ErrorKind::NotFound,
            Self::OtherBytes { .. } => ErrorKind::Corrupt,
        }
    }
}

impl P2PSwarmV2 {
    /// Keeps bytes, packed if `compress` says so and it helps, and returns their local name.
    ///
    /// # Errors
    ///
    /// [`ArtifactError`] when they are too many.
    pub fn store_artifact(
        &self,
        data: impl AsRef<[u8]>,
        compress: bool,
    ) -> Result<String, ArtifactError> {
        self.node()?.state().store.store(data.as_ref(), compress)
    }

    /// Returns what is kept here under a name.
    ///
    /// # Errors
    ///
    /// [`ArtifactError`] when it is damaged.
    pub fn retrieve_artifact(&self, cid: &str) -> Result<Option<Bytes>, ArtifactError> {
        self.node()?.state().store.retrieve(cid)
    }

    /// Returns an artifact from here, or from a member with a connection; then it is kept.
    ///
    /// # Errors
    ///
    /// [`FetchError`], which says why there is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the transfer up.
    pub async fn fetch_artifact(&self, agent_id: &str, cid: &str) -> Result<Bytes, FetchError> {
        fetch(self.node()?, agent_id, cid).await
    }

    /// Returns how full this agent's store is.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when there was no randomness to make keys of.
    pub fn artifact_stats(&self) -> Result<StoreStats, RandomError> {
        Ok(self.node()?.state().store.stats())
    }

    /// Signs a pointer to an artifact that is kept here; `None` when it is not.
    pub fn create_artifact_pointer(
        &self,
        artifact_type: ArtifactType,
        cid: &str,
        dimensions: &str,
    ) -> Option<Signed<ArtifactPointer>> {
        let node = self.node().ok()?;
        let bytes = node.state().store.retrieve(cid).ok()??;
        let timestamp: Timestamp = node.clock.now();
        let pointer = ArtifactPointer {
            artifact_type,
            agent_id: node.agent_id.clone(),
            cid: cid.to_owned(),
            version: 1,
            schema_hash: artifact_type.schema_hash(),
            dimensions: dimensions.to_owned(),
            checksum: ArtifactPointer::checksum_of(&ContentId::of(&bytes)),
            timestamp,
        };
        Some(Signed::sign(pointer, &node.identity))
    }
}

/// Returns an artifact from here or from a member.
pub(super) async fn fetch(node: &Node, agent_id: &str, cid: &str) -> Result<Bytes, FetchError> {
    if let Some(bytes) = node.state().store.retrieve(cid)? {
        return Ok(bytes);
    }
    let conn = {
        let state = node.state();
        let link = state.links.values().find(|it| it.agent_id == agent_id);
        link.map(|it| it.conn.clone())
    };
    let (agent_id, cid) = (agent_id.to_owned(), cid.to_owned());
    let Some(conn) = conn else { return Err(FetchError::NoLink { agent_id }) };
    let answer = timeout(PATIENCE, ask(&conn, &cid)).await.ok().flatten();
    match answer {
        Some(Frame { kind: HERE, payload }) if has_name(&payload, &cid) => {
            node.state().store.store(&payload, true)?;
            Ok(payload)
        }
        Some(Frame { kind: HERE, .. }) => Err(FetchError::OtherBytes { agent_id, cid }),
        Some(Frame { kind: ABSENT, .. }) => Err(FetchError::Absent { agent_id, cid }),
        _ => Err(FetchError::Cut { agent_id, cid }),
    }
}

async fn ask(conn: &Conn, cid: &str) -> Option<Frame> {
    let stream = conn.open(PATIENCE).await.ok()?;
    let mut writer = FrameWriter::new(stream.send);
    writer.write(&Frame::new(ASK, cid.to_owned())).await.ok()?;
    writer.into_inner().finish().await.ok()?;
    let limit = ByteSize::from_bytes(MAX_ARTIFACT_BYTES as u64);
    FrameReader::with_limit(stream.recv, limit).next().await.ok().flatten()
}

/// Answers a member's questions, one after the other, as long as its connection lives.
pub(super) async fn serve(node: Arc<Node>, conn: Conn, cancel: Cancel) {
    loop {
        let stream = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            stream = conn.accept() => stream,
        };
        let Ok(stream) = stream else { break };
        // A peer that asks and does not read is given up; what it did not get is its own loss.
        drop(timeout(PATIENCE, answer(&node, stream)).await);
    }
}

async fn answer(node: &Node, stream: Stream) -> Option<()> {
    let mut reader = FrameReader::with_limit(stream.recv, MAX_NAME);
    let asked = reader.next().await.ok().flatten().filter(|it| it.kind == ASK)?;
    let cid = std::str::from_utf8(&asked.payload).ok()?;
    let kept = node.state().store.retrieve(cid).ok().flatten();
    let frame = kept.map_or_else(|| Frame::new(ABSENT, ""), |bytes| Frame::new(HERE, bytes));
    let mut writer = FrameWriter::new(stream.send);
    writer.write(&frame).await.ok()?;
    let sent = writer.into_inner();
    let read = sent.stopped();
    sent.finish().await.ok()?;
    read.await;
    Some(())
}
