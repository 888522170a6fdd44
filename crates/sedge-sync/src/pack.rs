//! Making bytes smaller without losing any.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use sedge_base::ErrorKind;

use crate::link::Level;

/// Why packed bytes cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the packed bytes do not unpack to {length} bytes")]
pub struct UnpackError {
    /// How many bytes were announced.
    pub length: usize,
}

impl UnpackError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Corrupt
    }
}

/// Packs bytes; returns them with the level that was used, which is lossless and never makes them
/// larger.
pub fn pack(bytes: Vec<u8>, level: Level) -> (Level, Vec<u8>) {
    let level = level.lossless();
    let packed = match level {
        Level::None => return (level, bytes),
        Level::Fast => Some(lz4_flex::block::compress(&bytes)),
        Level::High | Level::Quantized8 | Level::Quantized4 => deflate(&bytes),
    };
    match packed {
        Some(packed) if packed.len() < bytes.len() => (level, packed),
        _ => (Level::None, bytes),
    }
}

fn deflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// Unpacks bytes that had this length, which the caller has bounded.
///
/// # Errors
///
/// [`UnpackError`] when they are something else.
pub fn unpack(bytes: Vec<u8>, level: Level, length: usize) -> Result<Vec<u8>, UnpackError> {
    let wrong = UnpackError { length };
    let plain = match level.lossless() {
        Level::None => bytes,
        Level::Fast => lz4_flex::block::decompress(&bytes, length).map_err(|_| wrong)?,
        Level::High | Level::Quantized8 | Level::Quantized4 => {
            let mut plain = Vec::new();
            let limit = u64::try_from(length).unwrap_or(u64::MAX).saturating_add(1);
            let mut decoder = ZlibDecoder::new(&bytes[..]).take(limit);
            decoder.read_to_end(&mut plain).map_err(|_| wrong)?;
            plain
        }
    };
    (plain.len() == length).then_some(plain).ok_or(wrong)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEVELS: [Level; 5] =
        [Level::None, Level::Fast, Level::High, Level::Quantized8, Level::Quantized4];

    #[test]
    fn text_gets_smaller_and_comes_back() {
        let text = (0..500).map(|it| format!("{{\"soul\":\"lamp-{}\",\"state\":{it}}}", it * it));
        let text = text.collect::<String>().into_bytes();
        let sizes = LEVELS.map(|level| {
            let (used, packed) = pack(text.clone(), level);
            let size = packed.len();
            assert_eq!(unpack(packed, used, text.len()), Ok(text.clone()));
            size
        });
        assert!(sizes[0] > sizes[1] && sizes[1] > sizes[2], "{sizes:?}");
        assert!(sizes[2] == sizes[3] && sizes[3] == sizes[4], "text is never quantised");
    }

    #[test]
    fn what_does_not_shrink_stays() {
        for level in LEVELS {
            assert_eq!(pack(vec![7], level), (Level::None, vec![7]));
        }
    }

    #[test]
    fn a_bomb_is_cut() {
        let (level, bomb) = pack(vec![0; 1 << 20], Level::High);
        assert_eq!(unpack(bomb, level, 100), Err(UnpackError { length: 100 }));
        let (level, bomb) = pack(vec![0; 1 << 20], Level::Fast);
        assert_eq!(unpack(bomb, level, 100), Err(UnpackError { length: 100 }));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            length in 0_usize..1000,
            level in 0_usize..5,
        ) {
            if let Ok(plain) = unpack(bytes, LEVELS[level], length) {
                prop_assert_eq!(plain.len(), length);
            }
        }
    }
}
