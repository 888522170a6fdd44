//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use sedge_base::{NodeId, Timestamp};

use crate::notice::FED;
use crate::{AddressBook, Advert, BookLimits, Notice, Pieces, Pulse, Source};

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] = &[("members_book", book), ("members_post", post)];

/// Feeds what a member tells of others to the book; returns whether it could be read.
fn book(bytes: &[u8]) -> bool {
    type Told = BTreeMap<NodeId, Vec<SocketAddr>>;

    let Ok(told) = serde_json::from_slice::<Told>(bytes) else { return false };
    let limits = BookLimits { each: 4, all: 8 };
    let mut book = AddressBook::new(limits);
    for (at, (member, addrs)) in (0..).zip(&told) {
        for source in [Source::Others, Source::Itself] {
            book.note(*member, addrs, source, Timestamp::from_millis(at));
            assert!(
                book.of(member).len() <= limits.each && book.len() <= limits.all,
                "the book ends"
            );
        }
    }
    true
}

/// Feeds the body of a post, or of an answer, to its reader; the first byte says which: `n` for a notice,
/// `p` for a pulse, `c` for pieces of a notice, each behind its length in two bytes. Returns whether it was
/// taken.
fn post(bytes: &[u8]) -> bool {
    let Some((which, body)) = bytes.split_first() else { return false };
    match which {
        b'n' => notice(body),
        b'p' => pulse(body),
        b'c' => pieces(body),
        _ => false,
    }
}

fn notice(body: &[u8]) -> bool {
    let Ok(notice) = serde_json::from_slice::<Notice>(body) else { return false };
    // The fuzzer signs nothing: what a member signs is read all the same.
    let read = serde_json::from_str::<Advert>(&notice.text).is_ok();
    let opened = notice.open(FED).is_ok();
    assert!(read || !opened, "what is opened is an advert");
    opened
}

fn pulse(body: &[u8]) -> bool {
    let Ok(pulse) = serde_json::from_slice::<Pulse>(body) else { return false };
    let mut advert = crate::pulse::example();
    let before = advert.clone();
    pulse.bring(&mut advert);
    assert_eq!(crate::pulse::lasting(&advert), crate::pulse::lasting(&before));
    true
}

fn pieces(mut body: &[u8]) -> bool {
    let (mut kept, mut whole) = (Pieces::default(), false);
    while let Some((length, rest)) = body.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        let author = NodeId::from_bytes([piece.first().copied().unwrap_or(0) % 80; 32]);
        whole |= kept.add(author, &Bytes::copy_from_slice(piece)).is_some();
        body = rest;
    }
    whole
}

#[cfg(test)]
#[path = "../../../fuzz/src/named.rs"]
mod named;

#[cfg(test)]
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::named::json;
    use super::replay::{Named, all};
    use super::*;
    use crate::cut;
    use crate::pulse::example;

    /// What members post of themselves: notices whole and in pieces, and pulses.
    fn posts() -> Vec<Named> {
        let fed = |which: u8, name: &'static str, body: &[u8]| {
            ("members_post", name, [&[which][..], body].concat())
        };
        let identity = sedge_trust::Identity::from_bytes(&[5; 64]);
        let advert = example();
        let notice = Notice::sign(&advert, FED, &identity).unwrap();
        let forged = Notice { text: notice.text.replace("one", "two"), ..notice.clone() };
        let texts = [serde_json::to_string(&notice), serde_json::to_string(&forged)];
        let [notice, forged] = texts.map(Result::unwrap);
        let framed = |posts: &[Bytes]| -> Vec<u8> {
            let length = |it: &Bytes| (it.len() as u16).to_le_bytes();
            posts.iter().flat_map(|it| [&length(it), &it[..]].concat()).collect()
        };
        let mut pieces = cut(7, &[b'x'; 9000]).unwrap();
        pieces.reverse();
        let pulse = serde_json::to_string(&Pulse::of(&advert, &advert)).unwrap();
        let mut named = vec![
            fed(b'n', "notice.read", notice.as_bytes()),
            fed(b'n', "forged.refused", forged.as_bytes()),
            fed(b'c', "pieces.read", &framed(&pieces)),
            fed(b'c', "missing.refused", &framed(&pieces[1..])),
        ];
        named.extend(
            json("members_post", pulse).into_iter().map(|(_, name, body)| fed(b'p', name, &body)),
        );
        named
    }

    #[test]
    fn every_kept_input_is_taken_or_refused_as_its_name_says() {
        let mut named = posts();
        let told = format!("{{\"{}\":[\"192.0.2.1:7\",\"[2001:db8::1]:9\"]}}", "ab".repeat(32));
        named.extend(json("members_book", told));
        all(TARGETS, &named);
    }
}
