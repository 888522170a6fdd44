//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

use std::str;

use crate::candidate::AgentUrl;
use crate::card::AgentCard;

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] =
    &[("agents_card", card), ("agents_mdns", crate::finders::mdns::feed)];

/// An agent's card, and the addresses in it.
fn card(bytes: &[u8]) -> bool {
    let url = str::from_utf8(bytes).is_ok_and(|it| it.parse::<AgentUrl>().is_ok());
    let Ok(card) = AgentCard::parse(bytes) else { return url };
    drop(card.url.parse::<AgentUrl>());
    card.can("a");
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

    #[test]
    fn every_kept_input_is_taken_or_refused_as_its_name_says() {
        let card = r#"{"name":"a","version":"1","supportedInterfaces":[{"url":"http://a/a2a"}],
            "skills":[{"id":"x","name":"Sum Up","description":"makes texts short"}],"order":1}"#;
        let mut named = json("agents_card", card);
        // What this reader does not ask for may be of any size; what it asks for may not.
        named.retain(|(_, name, _)| *name != "huge.refused");
        let huge = card.replace("Sum Up", &"x".repeat(60_000));
        named.push(("agents_card", "huge.refused", huge.into()));
        named.push(("agents_card", "url.read", b"https://a.b:8443/x".to_vec()));
        let head = [0, 0, 0x84, 0, 0, 0, 0, 2, 0, 0, 0, 0];
        let a2a = b"\x01x\x04_a2a\x04_tcp\x05local\x00";
        let service = [
            &a2a[..],
            &[0, 33, 0, 1, 0, 0, 0, 9, 0, 11, 0, 0, 0, 0, 0x1f, 0x90, 1, b'h', 2, b'l', b'o'],
        ];
        let looping = [&head[..], &[0xc0, 12, 0, 1, 0, 1]].concat();
        let address =
            [&b"\x01h\x05local\x00"[..], &[0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1]].concat();
        let one = [0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        named.extend([
            ("agents_mdns", "truncated.refused", [&head[..], &service.concat()].concat()),
            ("agents_mdns", "deep.refused", looping),
            (
                "agents_mdns",
                "huge.refused",
                [&[0, 0, 0x84, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0][..], &address].concat(),
            ),
            ("agents_mdns", "malformed.refused", vec![0xff; 64]),
            ("agents_mdns", "sound.read", [&one[..], &address].concat()),
        ]);
        all(TARGETS, &named);
    }
}
