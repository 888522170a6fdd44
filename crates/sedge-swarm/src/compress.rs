//! LZ4 with the size of the plain text before it, read under a limit.

use sedge_base::ErrorKind;

/// Why bytes were not unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// They would become more than allowed.
    #[error("the packed bytes would become {size}, at most {limit} are read")]
    TooLarge {
        /// How many they say they become.
        size: usize,
        /// The most that is read.
        limit: usize,
    },
    /// They are no LZ4 block of the size that they name.
    #[error("the bytes are not packed as they should be")]
    Damaged,
}

impl UnpackError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::Exhausted,
            Self::Damaged => ErrorKind::Corrupt,
        }
    }
}

/// Packs bytes: 4 bytes with their number (least significant first), then the LZ4 block.
pub(crate) fn pack(bytes: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress_prepend_size(bytes)
}

/// Unpacks what [`pack`] made; nothing is allocated before the size was checked.
pub(crate) fn unpack(bytes: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
    let (prefix, _) = bytes.split_first_chunk().ok_or(UnpackError::Damaged)?;
    let size = usize::try_from(u32::from_le_bytes(*prefix)).unwrap_or(usize::MAX);
    if size > limit {
        return Err(UnpackError::TooLarge { size, limit });
    }
    let plain =
        lz4_flex::block::decompress_size_prepended(bytes).map_err(|_| UnpackError::Damaged)?;
    if plain.len() == size { Ok(plain) } else { Err(UnpackError::Damaged) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_size_beyond_the_limit_is_refused_before_it_is_allocated() {
        let packed = pack(&[7; 1000]);
        assert!(packed.len() < 100);
        assert_eq!(unpack(&packed, 1000).unwrap(), [7; 1000]);
        assert_eq!(unpack(&packed, 999), Err(UnpackError::TooLarge { size: 1000, limit: 999 }));
        assert_eq!(unpack(&packed[..3], 1000), Err(UnpackError::Damaged));
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            prop_assert_eq!(unpack(&pack(&bytes), 2048).unwrap(), bytes);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            if let Ok(plain) = unpack(&bytes, 4096) {
                prop_assert!(plain.len() <= 4096);
            }
        }
    }
}
