//! What an agent keeps by its content, in memory.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use sedge_base::{ContentId, ErrorKind};
use sedge_trust::seed::local_cid;

use crate::compress::{UnpackError, pack, unpack};

/// The largest artifact, in bytes.
pub const MAX_ARTIFACT_BYTES: usize = 10 << 20;
/// The most bytes that are kept at once, packed where they are.
pub const MAX_STORE_BYTES: usize = 100 << 20;
/// Below this many bytes nothing is packed.
const WORTH_PACKING: usize = 1024;

/// Why an artifact was not stored or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// It is larger than [`MAX_ARTIFACT_BYTES`].
    #[error("artifact too large: {size} > {limit}")]
    TooLarge {
        /// How many bytes it has.
        size: usize,
        /// The most it may have.
        limit: usize,
    },
    /// What is kept cannot be unpacked any more.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// There are no keys for what was asked.
    #[error(transparent)]
    Random(#[from] sedge_trust::RandomError),
}

impl ArtifactError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::Exhausted,
            Self::Unpack(err) => err.kind(),
            Self::Random(err) => err.kind(),
        }
    }
}

/// How full a store is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoreStats {
    /// Artifacts that are kept.
    pub artifact_count: usize,
    /// Their bytes as they are kept.
    pub current_size: usize,
    /// The most bytes that are kept.
    pub max_size: usize,
    /// The share of that which is taken, 0 to 1.
    pub utilization: f64,
}

#[derive(Debug, Clone)]
struct Kept {
    bytes: Bytes,
    packed: bool,
}

/// Artifacts by their local name; the longest unused goes when room is needed.
#[derive(Debug, Default)]
pub struct ArtifactStore {
    kept: HashMap<String, Kept>,
    /// The longest unused first; each name once.
    order: VecDeque<String>,
    size: usize,
}

impl ArtifactStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps an artifact and returns its local name, which is that of the plain bytes. The same
    /// bytes are kept once.
    ///
    /// # Errors
    ///
    /// [`ArtifactError::TooLarge`].
    pub fn store(&mut self, data: &[u8], compress: bool) -> Result<String, ArtifactError> {
        let (size, limit) = (data.len(), MAX_ARTIFACT_BYTES);
        if size > limit {
            return Err(ArtifactError::TooLarge { size, limit });
        }
        let cid = local_cid(&ContentId::of(data));
        if self.kept.contains_key(&cid) {
            self.touch(&cid);
            return Ok(cid);
        }
        let packed = (compress && size > WORTH_PACKING).then(|| pack(data));
        let kept = match packed.filter(|it| it.len() < size) {
            Some(packed) => Kept { bytes: packed.into(), packed: true },
            None => Kept { bytes: Bytes::copy_from_slice(data), packed: false },
        };
        while self.size + kept.bytes.len() > MAX_STORE_BYTES {
            let Some(oldest) = self.order.front().cloned() else { break };
            self.delete(&oldest);
        }
        self.size += kept.bytes.len();
        self.order.push_back(cid.clone());
        self.kept.insert(cid.clone(), kept);
        Ok(cid)
    }

    /// Returns an artifact's plain bytes; `None` when it is not kept.
    ///
    /// # Errors
    ///
    /// [`ArtifactError::Unpack`] when what is kept is damaged.
    pub fn retrieve(&mut self, cid: &str) -> Result<Option<Bytes>, ArtifactError> {
        let Some(kept) = self.kept.get(cid).cloned() else { return Ok(None) };
        self.touch(cid);
        if !kept.packed {
            return Ok(Some(kept.bytes));
        }
        Ok(Some(unpack(&kept.bytes, MAX_ARTIFACT_BYTES)?.into()))
    }

    /// Returns whether an artifact is kept.
    pub fn exists(&self, cid: &str) -> bool {
        self.kept.contains_key(cid)
    }

    /// Forgets an artifact; `false` when it is not kept.
    pub fn delete(&mut self, cid: &str) -> bool {
        let Some(kept) = self.kept.remove(cid) else { return false };
        self.size -= kept.bytes.len();
        self.order.retain(|it| it != cid);
        true
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Returns how full the store is.
    pub fn stats(&self) -> StoreStats {
        #[expect(clippy::cast_precision_loss, reason = "a share for people's eyes")]
        let utilization = self.size as f64 / MAX_STORE_BYTES as f64;
        let (artifact_count, current_size) = (self.kept.len(), self.size);
        StoreStats { artifact_count, current_size, max_size: MAX_STORE_BYTES, utilization }
    }

    fn touch(&mut self, cid: &str) {
        if let Some(at) = self.order.iter().position(|it| it == cid)
            && let Some(name) = self.order.remove(at)
        {
            self.order.push_back(name);
        }
    }
}

/// Returns whether these bytes have this local name.
pub(crate) fn has_name(bytes: &[u8], cid: &str) -> bool {
    local_cid(&ContentId::of(bytes)) == cid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_kept_once_and_come_back() {
        let mut store = ArtifactStore::new();
        let cid = store.store(b"Q-table data here", true).unwrap();
        assert_eq!(cid, "local:03e1c93219004c0d5f10f904b02a40f6");
        assert_eq!(store.store(b"Q-table data here", false).unwrap(), cid);
        assert_eq!((store.stats().artifact_count, store.stats().current_size), (1, 17));
        let long = vec![7; 100_000];
        let packed = store.store(&long, true).unwrap();
        assert!(store.stats().current_size < 2000);
        assert_eq!(store.retrieve(&packed).unwrap().unwrap(), long);
        assert_eq!(store.retrieve("local:none"), Ok(None));
        assert!(store.delete(&packed) && !store.delete(&packed));
        assert_eq!(store.stats().current_size, 17);
    }

    #[test]
    fn the_longest_unused_goes() {
        let mut store = ArtifactStore::new();
        let name = |it: u8| local_cid(&ContentId::of(&vec![it; MAX_ARTIFACT_BYTES]));
        for it in 0..10 {
            store.store(&vec![it; MAX_ARTIFACT_BYTES], false).unwrap();
        }
        assert!(store.retrieve(&name(0)).unwrap().is_some());
        store.store(b"one more", false).unwrap();
        assert!(store.exists(&name(0)) && !store.exists(&name(1)));
        let size = MAX_ARTIFACT_BYTES + 1;
        let refused = store.store(&vec![0; size], true).unwrap_err();
        assert_eq!(refused.to_string(), "artifact too large: 10485761 > 10485760");
    }
}
