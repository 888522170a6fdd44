//! What is too large for one post, cut into several and put together again.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use sedge_base::NodeId;
use tokio::time::Instant;

/// The largest body of a post.
const BODY: usize = 4096;
/// A serial (8 bytes), the piece's place and how many pieces there are (2 each), little-endian.
const HEAD: usize = 12;
/// The most pieces of one text.
const MOST: usize = 64;
/// Of how many authors pieces are kept.
const AUTHORS: usize = 64;
/// How long the other pieces of a text may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Cuts a text; `None` when it is too large or empty.
pub fn cut(serial: u64, text: &[u8]) -> Option<Vec<Bytes>> {
    let pieces: Vec<&[u8]> = text.chunks(BODY - HEAD).collect();
    let count = u16::try_from(pieces.len()).ok().filter(|it| (1..=MOST).contains(&(*it).into()))?;
    let post = |(at, piece): (u16, &[u8])| {
        let (serial, at, count) = (serial.to_le_bytes(), at.to_le_bytes(), count.to_le_bytes());
        [&serial[..], &at, &count, piece].concat().into()
    };
    Some((0..count).zip(pieces).map(post).collect())
}

/// A text of which pieces have come.
#[derive(Debug)]
struct Text {
    serial: u64,
    began: Instant,
    pieces: Vec<Option<Bytes>>,
}

/// Texts that have not come whole; the newest of each author.
#[derive(Debug, Default)]
pub struct Pieces(BTreeMap<NodeId, Text>);

impl Pieces {
    /// Takes a piece in; returns the text with which it is whole. What makes no sense is passed over.
    pub fn add(&mut self, author: NodeId, body: &Bytes) -> Option<Vec<u8>> {
        let head: [u8; HEAD] = body.get(..HEAD)?.try_into().ok()?;
        let [a, b, c, d, e, f, g, h, at_low, at_high, count_low, count_high] = head;
        let serial = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let at = usize::from(u16::from_le_bytes([at_low, at_high]));
        let count = usize::from(u16::from_le_bytes([count_low, count_high]));
        if body.len() > BODY || at >= count || count > MOST {
            return None;
        }
        let now = Instant::now();
        self.0.retain(|_, it| now < it.began + PATIENCE);
        if self.0.len() >= AUTHORS && !self.0.contains_key(&author) {
            return None;
        }
        let fresh = || Text { serial, began: now, pieces: vec![None; count] };
        let text = self.0.entry(author).or_insert_with(fresh);
        if serial > text.serial {
            *text = fresh();
        }
        if serial < text.serial || count != text.pieces.len() {
            return None;
        }
        *text.pieces.get_mut(at)? = Some(body.slice(HEAD..));
        let whole: Option<Vec<&[u8]>> = text.pieces.iter().map(Option::as_deref).collect();
        let whole = whole?.concat();
        self.0.remove(&author);
        Some(whole)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(id: u8) -> NodeId {
        NodeId::from_bytes([id; 32])
    }

    fn text(length: usize) -> Vec<u8> {
        (0..length).map(|it| (it % 251) as u8).collect()
    }

    #[test]
    fn a_text_is_whole_when_its_last_piece_has_come_in_whatever_order() {
        for length in [1, BODY - HEAD, BODY - HEAD + 1, 100_000] {
            let mut pieces = Pieces::default();
            let mut posts = cut(7, &text(length)).unwrap();
            posts.reverse();
            assert!(posts.iter().all(|it| it.len() <= BODY));
            let last = posts.pop().unwrap();
            for post in &posts {
                assert_eq!(pieces.add(node(1), post), None);
                assert_eq!(pieces.add(node(1), post), None, "a second time changes nothing");
            }
            assert_eq!(pieces.add(node(1), &last), Some(text(length)));
        }
        assert!(cut(7, &[]).is_none() && cut(7, &text(MOST * BODY)).is_none());
    }

    #[test]
    fn a_newer_text_replaces_an_older_one() {
        let mut pieces = Pieces::default();
        let (old, new) = (cut(7, &text(9000)).unwrap(), cut(8, &text(5000)).unwrap());
        assert_eq!(pieces.add(node(1), &old[0]), None);
        assert_eq!(pieces.add(node(1), &new[0]), None);
        assert_eq!(pieces.add(node(1), &old[1]), None);
        assert_eq!(pieces.add(node(1), &new[1]), Some(text(5000)));
    }

    #[test]
    fn no_more_authors_are_waited_for_than_there_is_room_for() {
        let mut pieces = Pieces::default();
        let posts = cut(7, &text(5000)).unwrap();
        for id in 0..100 {
            assert_eq!(pieces.add(node(id), &posts[0]), None);
        }
        assert_eq!(pieces.0.len(), AUTHORS);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut pieces = Pieces::default();
            for body in bodies {
                let whole = pieces.add(node(1), &body.into());
                prop_assert!(whole.is_none_or(|it| it.len() <= MOST * BODY));
            }
        }
    }
}
