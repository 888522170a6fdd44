//! How the older protocol names content and its kind, vectors 003-15 and 003-16.

use sedge_base::ContentId;
use serde::{Deserialize, Serialize};

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

#[cfg(test)]
mod tests {
    use super::*;

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
