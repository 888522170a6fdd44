//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

use std::str;

use crate::message::{Answer, Message};
use crate::state::State;
use crate::text::{Key, Text};

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] = &[("quorum", quorum)];

/// Messages of the engine and of members, their answers, a snapshot's state, keys and texts.
fn quorum(bytes: &[u8]) -> bool {
    let text = str::from_utf8(bytes).unwrap_or_default();
    drop((text.parse::<Key>(), text.parse::<Text>()));
    let answer = serde_json::from_slice::<Answer>(bytes).is_ok_and(|it| it.check().is_ok());
    let state = serde_json::from_slice::<State>(bytes).is_ok();
    let Ok(message) = Message::decode(bytes) else { return answer || state };
    let again = message.encode().map(|it| Message::decode(&it));
    assert!(again.is_ok_and(|it| it.is_ok()), "what was read can be said again");
    true
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
    use super::replay::all;
    use super::*;
    use crate::message::tests::samples;

    #[test]
    fn every_kept_input_is_taken_or_refused_as_its_name_says() {
        let texts: Vec<Vec<u8>> = samples().iter().map(|it| it.encode().unwrap()).collect();
        let mut named = json("quorum", texts[2].clone());
        let names = ["vote.read", "append.read", "", "empty.read", "part.read", "claim.read"];
        let others = names.into_iter().zip(texts).filter(|(name, _)| !name.is_empty());
        named.extend(others.map(|(name, text)| ("quorum", name, text)));
        let state = serde_json::to_vec(&State::default()).unwrap();
        named.push(("quorum", "state.read", state));
        all(TARGETS, &named);
    }
}
