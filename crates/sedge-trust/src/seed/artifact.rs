//! How the older protocol names content and its kind and points at it, vectors 003-15 and 003-16.

use sedge_base::{ContentId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Record;
use crate::canonical;

/// Returns the local name of content: `local:` and the first 32 hexadecimal digits of its
/// SHA-256. It keeps 16 of 32 bytes, so compare whole hashes where it matters.
pub fn local_cid(id: &ContentId) -> String {
    let (kept, _) = id.as_bytes().split_at(16);
    format!("local:{}", hex::encode(kept))
}

/// The kind of a stored artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ArtifactType {
    /// Learned values of states and actions.
    QTable,
    /// Entries of a vector memory.
    MemoryVectors,
    /// A model's weights.
    ModelWeights,
    /// Steps of an agent.
    Trajectory,
}

impl ArtifactType {
    /// Returns the name as it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QTable => "QTable",
            Self::MemoryVectors => "MemoryVectors",
            Self::ModelWeights => "ModelWeights",
            Self::Trajectory => "Trajectory",
        }
    }

    /// Returns the schema hash: the first 8 bytes of the SHA-256 of the name, in hexadecimal.
    pub fn schema_hash(self) -> String {
        let hash = ContentId::of(self.name().as_bytes());
        let (kept, _) = hash.as_bytes().split_at(8);
        hex::encode(kept)
    }
}

/// A member's word that a stored artifact is what it says (`ArtifactPointer`): what kind of thing,
/// whose, where, of which shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactPointer {
    /// What kind of thing it is.
    pub artifact_type: ArtifactType,
    /// The registered id of the member whose word it is.
    pub agent_id: String,
    /// The artifact's name, as [`local_cid`] or as the store that keeps it names it.
    pub cid: String,
    /// The version of this form; 1.
    pub version: u32,
    /// As [`ArtifactType::schema_hash`].
    pub schema_hash: String,
    /// The shape of the content, in the words of its kind, such as `384` or `128x64`.
    pub dimensions: String,
    /// The first 16 bytes of the SHA-256 of the content, in hexadecimal; compare whole hashes
    /// where it matters.
    pub checksum: String,
    /// When it was written, in ms since 1970.
    pub timestamp: Timestamp,
}

impl ArtifactPointer {
    /// Returns the checksum of content with this id.
    pub fn checksum_of(content: &ContentId) -> String {
        let (kept, _) = content.as_bytes().split_at(16);
        hex::encode(kept)
    }

    /// Returns whether this content is the one that is pointed at, and the form is known.
    pub fn fits(&self, content: &ContentId) -> bool {
        self.version == 1
            && self.schema_hash == self.artifact_type.schema_hash()
            && self.checksum == Self::checksum_of(content)
    }
}

impl Record for ArtifactPointer {
    fn signer(&self) -> &str {
        &self.agent_id
    }

    fn signed_text(&self) -> String {
        let Self {
            artifact_type,
            agent_id,
            cid,
            version,
            schema_hash,
            dimensions,
            checksum,
            timestamp,
        } = self;
        canonical::seed(&json!({
            "agent_id": agent_id,
            "artifact_type": artifact_type,
            "checksum": checksum,
            "cid": cid,
            "dimensions": dimensions,
            "schema_hash": schema_hash,
            "timestamp": timestamp,
            "version": version,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Signed;
    use super::*;
    use crate::registration::tests::{identity, registry};

    fn pointer() -> ArtifactPointer {
        let content = ContentId::of(b"Q-table data here");
        ArtifactPointer {
            artifact_type: ArtifactType::QTable,
            agent_id: "peer-001".to_owned(),
            cid: local_cid(&content),
            version: 1,
            schema_hash: ArtifactType::QTable.schema_hash(),
            dimensions: "100x4".to_owned(),
            checksum: ArtifactPointer::checksum_of(&content),
            timestamp: Timestamp::from_millis(1_700_000_000_000),
        }
    }

    #[test]
    fn row_095_a_pointer_whose_dimensions_were_changed_fails() {
        let mut signed = Signed::sign(pointer(), &identity(1));
        assert_eq!(signed.verify(&registry()), Ok(()));
        assert!(signed.record.fits(&ContentId::of(b"Q-table data here")));
        assert!(!signed.record.fits(&ContentId::of(b"other data")));
        signed.record.dimensions = "100x5".to_owned();
        assert!(signed.verify(&registry()).is_err());
    }

    #[test]
    fn a_pointer_is_written_with_the_listed_fields() {
        let signed = serde_json::to_value(Signed::sign(pointer(), &identity(1))).unwrap();
        assert_eq!(signed["cid"], "local:03e1c93219004c0d5f10f904b02a40f6");
        assert_eq!(signed["schema_hash"], "746392643972fa6b");
        assert_eq!(signed["checksum"], "03e1c93219004c0d5f10f904b02a40f6");
        assert_eq!(signed["version"], 1);
        assert_eq!(signed["signature"].as_array().map(Vec::len), Some(64));
    }

    #[test]
    fn another_member_did_not_sign_it() {
        let forged = Signed::sign(pointer(), &identity(3));
        assert!(forged.verify(&registry()).is_err());
        assert!(forged.verify_by(&identity(3).node_id()).is_ok());
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_refused_or_says_the_same(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let honest = Signed::sign(pointer(), &identity(1));
            let mut bytes = serde_json::to_vec(&honest).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let Ok(read) = serde_json::from_slice::<Signed<ArtifactPointer>>(&bytes) else { return Ok(()) };
            prop_assert_eq!(read.verify(&registry()).is_ok(), read == honest, "byte {}, bit {}", at, bit);
        }
    }

    #[test]
    fn vector_003_15() {
        let cid = |content: &[u8]| local_cid(&ContentId::of(content));
        assert_eq!(cid(b"Q-table data here"), "local:03e1c93219004c0d5f10f904b02a40f6");
        assert_eq!(cid(b"Hello, World!"), "local:dffd6021bb2bd5b0af676290809ec3a5");
    }

    #[test]
    fn vector_003_16() {
        use ArtifactType::{MemoryVectors, ModelWeights, QTable, Trajectory};
        let hashes = [QTable, MemoryVectors, ModelWeights, Trajectory].map(|it| it.schema_hash());
        assert_eq!(
            hashes,
            ["746392643972fa6b", "2059917888a25112", "d0b2e5203b61e24e", "244af232c4769e3a"]
        );
        assert_eq!(serde_json::to_string(&QTable).unwrap(), "\"QTable\"");
    }
}
