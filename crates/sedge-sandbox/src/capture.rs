//! What a program writes: its beginning is kept, the rest is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;

/// The most characters of each stream that are kept: the seed's limit.
pub const MOST_CHARACTERS: usize = 100_000;
/// The most bytes that so many characters take.
const MOST_BYTES: usize = MOST_CHARACTERS * 4;

/// What was kept of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// Its beginning; what is no UTF-8 became U+FFFD.
    pub text: String,
    /// How many bytes were written in all.
    pub bytes: u64,
    /// Whether characters are missing at the end.
    pub cut: bool,
}

impl Captured {
    /// Keeps at most [`MOST_CHARACTERS`] of the beginning of a stream of `bytes` bytes.
    pub fn of(beginning: &[u8], bytes: u64) -> Self {
        let mut text = String::from_utf8_lossy(beginning).into_owned();
        let mut cut = beginning.len() as u64 != bytes;
        if let Some((end, _)) = text.char_indices().nth(MOST_CHARACTERS) {
            text.truncate(end);
            cut = true;
        }
        Self { text, bytes, cut }
    }
}

/// Counts what both streams of a program bring, and says when it is too much.
#[derive(Debug)]
pub(crate) struct Flood {
    limit: u64,
    seen: AtomicU64,
    over: Notify,
}

impl Flood {
    /// Makes a count that allows `limit` bytes.
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, seen: AtomicU64::new(0), over: Notify::new() })
    }

    /// Waits until more came than is allowed.
    pub(crate) async fn over(&self) {
        self.over.notified().await;
    }

    fn add(&self, bytes: u64) {
        let before = self.seen.fetch_add(bytes, Ordering::Relaxed);
        if before <= self.limit && before.saturating_add(bytes) > self.limit {
            self.over.notify_one();
        }
    }
}

/// Reads a stream to its end; a stream that breaks ends there.
///
/// # Cancel safety
///
/// Dropping the future loses what was read.
pub(crate) async fn capture(mut stream: impl AsyncRead + Unpin, flood: Arc<Flood>) -> Captured {
    let mut kept = Vec::new();
    let mut bytes = 0;
    let mut piece = vec![0; 64 << 10];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        bytes += count as u64;
        flood.add(count as u64);
        let room = MOST_BYTES.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(&piece[..room]);
    }
    Captured::of(&kept, bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn the_beginning_is_kept_and_the_rest_is_counted() {
        let flood = Flood::new(1000);
        let long = vec![b'x'; 900_000];
        let got = capture(&long[..], Arc::clone(&flood)).await;
        assert_eq!((got.text.len(), got.bytes, got.cut), (100_000, 900_000, true));
        flood.over().await;
        let got = capture(&b"short \xff"[..], Flood::new(1000)).await;
        assert_eq!((got.text.as_str(), got.bytes, got.cut), ("short \u{fffd}", 7, false));
    }

    #[test]
    fn characters_are_counted_and_not_bytes() {
        let all = "é".repeat(100_000);
        assert!(!Captured::of(all.as_bytes(), 200_000).cut);
        let more = format!("{all}é");
        let got = Captured::of(more.as_bytes(), 200_002);
        assert_eq!((got.text, got.cut), (all, true));
    }

    proptest! {
        #[test]
        fn any_bytes_are_kept_within_bounds(bytes: Vec<u8>) {
            let got = Captured::of(&bytes, bytes.len() as u64);
            prop_assert!(got.text.chars().count() <= MOST_CHARACTERS);
        }
    }
}
