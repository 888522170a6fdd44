//! What is said about artifacts between two nodes.

use std::ops::Range;

use sedge_base::ArtifactId;
use serde::{Deserialize, Serialize};

use super::tree::GROUP;

/// The kind of the frame that carries an [`Ask`]; it opens a stream.
pub const ASK: u8 = 16;

/// The kind of the frame that answers with a size.
pub(super) const TOLD: u8 = 17;

/// The kind of a frame that carries a piece of the verified stream.
pub(super) const PIECE: u8 = 18;

/// What one node asks another about an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Which artifact.
    pub id: ArtifactId,
    /// Which of its bytes, in whole groups; `None` asks only whether it is there.
    #[serde(default)]
    pub bytes: Option<Range<u64>>,
}

impl Ask {
    /// Returns the wanted bytes if they are whole groups of an artifact of this size.
    pub(super) fn range(&self, size: u64) -> Option<Range<u64>> {
        let Range { start, end } = self.bytes.clone()?;
        let whole = start.is_multiple_of(GROUP) && (end.is_multiple_of(GROUP) || end == size);
        (start < end && end <= size && whole).then_some(start..end)
    }
}

/// The answer's head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// The artifact's size in bytes, if it is there whole.
    pub(super) size: Option<u64>,
    /// Why no bytes follow although it is there, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
}

/// Feeds a question, or the head of an answer, to its reader; returns whether it took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(bytes: &[u8]) -> bool {
    let told = serde_json::from_slice::<Told>(bytes);
    let asked = serde_json::from_slice::<Ask>(bytes);
    let size = 1 << 40;
    let within = |it: Range<u64>| it.start < it.end && it.end <= size;
    told.is_ok() || asked.is_ok_and(|it| it.range(size).is_none_or(within))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_groups_are_given() {
        let range = |start, end| {
            let id = ArtifactId::from_bytes([1; 32]);
            Ask { id, bytes: Some(start..end) }.range(40_000)
        };
        assert_eq!(range(0, GROUP), Some(0..GROUP));
        assert_eq!(range(2 * GROUP, 40_000), Some(2 * GROUP..40_000));
        for (start, end) in
            [(1, GROUP), (0, 100), (GROUP, GROUP), (2 * GROUP, GROUP), (0, u64::MAX)]
        {
            assert_eq!(range(start, end), None, "{start}..{end}");
        }
    }

    #[test]
    fn garbage_is_refused() {
        for text in ["", "{}", "{\"id\":\"00\"}", "[1]"] {
            assert!(serde_json::from_str::<Ask>(text).is_err(), "{text}");
        }
    }
}
