//! Bytes that the fuzzer makes up, fed to whatever reads posts and notices.

use bytes::Bytes;
use sedge_base::{NodeId, SwarmId};

use super::{Notice, Pieces, Pulse};
use crate::wire::Advert;

/// The swarm of the notices that are fed.
pub(crate) const FED: SwarmId = SwarmId::from_bytes([7; 8]);

/// Feeds the body of a post, or of an answer, to its reader; the first byte says which: `n` for a notice,
/// `p` for a pulse, `c` for pieces of a notice, each behind its length in two bytes. Returns whether it was
/// taken.
pub(crate) fn feed(bytes: &[u8]) -> bool {
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
    let mut advert = super::pulse::example();
    let before = advert.clone();
    pulse.bring(&mut advert);
    assert_eq!(super::pulse::lasting(&advert), super::pulse::lasting(&before));
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn garbage_never_panics(which in prop::sample::select(&b"npcx"[..]), body in prop::collection::vec(any::<u8>(), 0..300)) {
            feed(&[&[which][..], &body].concat());
        }
    }
}
