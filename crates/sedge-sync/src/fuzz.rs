//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

use crate::entry::Entry;
use crate::graph::Listed;
use crate::link::Level;
use crate::pack::unpack;
use crate::wire::{Ask, Head, MAX_BODY, Refusal};

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] =
    &[("sync_body", body), ("sync_entries", entries), ("sync_head", head)];

const LEVELS: [Level; 5] =
    [Level::None, Level::Fast, Level::High, Level::Quantized8, Level::Quantized4];

/// A packed body: a byte for the level, three for the length that is said, then what travels.
fn body(bytes: &[u8]) -> bool {
    let Some((&[level, high, middle, low], body)) = bytes.split_first_chunk() else { return false };
    let said = u32::from_be_bytes([0, high, middle, low]);
    let length = usize::try_from(said).unwrap_or(MAX_BODY).min(MAX_BODY);
    let level = LEVELS[usize::from(level) % LEVELS.len()];
    let Ok(plain) = unpack(body.to_vec(), level, length) else { return false };
    assert_eq!(plain.len(), length, "the length that was said");
    drop(serde_json::from_slice::<Vec<Listed>>(&plain));
    true
}

/// What is given and taken: entries of the graph, and lists of them.
fn entries(bytes: &[u8]) -> bool {
    let listed = serde_json::from_slice::<Vec<Listed>>(bytes).is_ok_and(|it| !it.is_empty());
    let Ok(entries) = serde_json::from_slice::<Vec<Entry>>(bytes) else { return listed };
    let checked = entries.into_iter().map(|it| {
        let text = it.fact.value.text();
        let fine = it.check().is_ok();
        fine && !text.is_empty()
    });
    checked.collect::<Vec<_>>().contains(&true) || listed
}

/// A question, the head of an answer, a refusal.
fn head(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Ask>(bytes).is_ok()
        || serde_json::from_slice::<Head>(bytes).is_ok()
        || serde_json::from_slice::<Refusal>(bytes).is_ok()
}

#[cfg(test)]
#[path = "../../../fuzz/src/named.rs"]
mod named;

#[cfg(test)]
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use sedge_base::{SwarmId, Timestamp};
    use sedge_trust::Identity;

    use super::named::json;
    use super::replay::all;
    use super::*;
    use crate::{Fact, Space, State, Value, pack};

    #[test]
    fn every_kept_input_is_taken_or_refused_as_its_name_says() {
        let identity = Identity::from_bytes(&[5; 64]);
        let fact = |value| Fact {
            swarm: SwarmId::of_key(&[1; 32]),
            space: Space::Open,
            soul: "lamp".to_owned(),
            key: "state".to_owned(),
            value,
            state: State::at(Timestamp::from_millis(9)),
            author: identity.node_id(),
        };
        let values = [Value::Number(1.5), Value::Text("on".to_owned()), Value::Null];
        let entries: Vec<_> = values.map(|it| fact(it).sign(&identity).unwrap()).into();
        let mut named = json("sync_entries", serde_json::to_vec(&entries).unwrap());
        let ask = serde_json::json!({ "ask": "list", "buckets": [1, 2], "level": "fast" });
        named.extend(json("sync_head", ask.to_string()));
        let text = vec![b'a'; 3000];
        for (at, level) in LEVELS.into_iter().enumerate().take(3) {
            let (used, packed) = pack(text.clone(), level);
            assert_eq!(used, level);
            let at = u8::try_from(at).unwrap();
            let name = ["plain.read", "fast.read", "sound.read"][usize::from(at)];
            named.push(("sync_body", name, [&[at, 0, 11, 184][..], &packed].concat()));
            if at > 0 {
                let name = ["", "bomb-fast.refused", "huge.refused"][usize::from(at)];
                named.push(("sync_body", name, [&[at, 0, 0, 9][..], &packed].concat()));
                let name = ["", "truncated-fast.refused", "truncated.refused"][usize::from(at)];
                let cut = &packed[..packed.len() - 3];
                named.push(("sync_body", name, [&[at, 0, 11, 184][..], cut].concat()));
            }
        }
        named.push(("sync_body", "malformed.refused", vec![2, 0, 1, 0, 0xff, 0xff]));
        all(TARGETS, &named);
    }
}
