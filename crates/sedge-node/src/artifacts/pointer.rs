//! A signed word about an artifact: what it is, whose, of which shape.

use sedge_base::{ArtifactId, ErrorKind, NodeId};
use sedge_capability::Failure;
use sedge_net::{Admission as _, Protocol};
use sedge_trust::seed::{ArtifactPointer, ArtifactType, Signed};
use serde::{Deserialize, Serialize};

use crate::node::Node;

/// The longest text that describes a shape, in bytes.
const MAX_DIMENSIONS: usize = 256;

/// What a pointer shall say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// What kind of thing the artifact is.
    pub artifact_type: ArtifactType,
    /// Its shape, in the words of its kind, such as `384` or `128x64`; up to 256 bytes.
    #[serde(default)]
    pub dimensions: String,
}

impl Node {
    /// Points at an artifact of this node, and signs it with the node's key.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when it is not here whole, or the dimensions are too long.
    pub async fn point_at(
        &self,
        id: ArtifactId,
        point: Point,
    ) -> Result<Signed<ArtifactPointer>, Failure> {
        let Point { artifact_type, dimensions } = point;
        if dimensions.len() > MAX_DIMENSIONS {
            let text = format!("dimensions have at most {MAX_DIMENSIONS} bytes");
            return Err(Failure::new(ErrorKind::Invalid, "dimensions_too_long", text));
        }
        let content = self.digest(id).await?.content;
        let pointer = ArtifactPointer {
            artifact_type,
            agent_id: self.id().to_string(),
            cid: id.to_string(),
            version: 1,
            schema_hash: artifact_type.schema_hash(),
            dimensions,
            checksum: ArtifactPointer::checksum_of(&content),
            timestamp: self.clock.now(),
        };
        Ok(Signed::sign(pointer, &self.identity))
    }

    /// Returns whether an artifact that is here is the one that a pointer describes.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the pointer does not hold, or the artifact is not here.
    pub async fn fits(&self, pointer: &Signed<ArtifactPointer>) -> Result<bool, Failure> {
        let id = self.follow(pointer)?;
        Ok(pointer.record.fits(&self.digest(id).await?.content))
    }

    /// Returns the artifact that a pointer leads to, if a member of the swarm signed it.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the signer is no member, did not sign this, or names no artifact.
    pub fn follow(&self, pointer: &Signed<ArtifactPointer>) -> Result<ArtifactId, Failure> {
        let named = &pointer.record;
        let signer: Option<NodeId> = named.agent_id.parse().ok();
        let signer =
            signer.filter(|it| self.members.admits(*it, Protocol::Mesh)).ok_or_else(|| {
                let text = "the pointer's signer is no member of this swarm";
                Failure::new(ErrorKind::Denied, "unknown_signer", text)
            })?;
        pointer.verify_by(&signer).map_err(|error| {
            let text = format!("the pointer does not hold: {error}");
            Failure::new(ErrorKind::Unauthenticated, "bad_pointer", text)
        })?;
        named.cid.parse().map_err(|error| {
            let text = format!("the pointer leads to nothing that can be fetched: {error}");
            Failure::new(ErrorKind::Invalid, "unknown_cid", text)
        })
    }
}
