//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

use std::str;

use crate::chat::ChatInput;
use crate::embed::EmbedInput;

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] = &[("gateway_input", input), ("gateway_range", range)];

/// What a task gives to a model: a conversation, or texts.
fn input(bytes: &[u8]) -> bool {
    ChatInput::read(bytes).is_ok() || EmbedInput::read(bytes).is_ok()
}

/// What a server says of the piece that it sends.
fn range(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_ok_and(crate::sources::https::feed)
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
        let chat = r#"{"messages":[{"role":"user","content":"hello"}],"max_tokens":9,"schema":{"type":"object"}}"#;
        let mut named = json("gateway_input", chat);
        named.push(("gateway_input", "texts.read", b"{\"texts\":[\"a\",\"b\"]}".to_vec()));
        named.extend([
            ("gateway_range", "truncated.refused", b"bytes 0-9/".to_vec()),
            ("gateway_range", "malformed.refused", b"bytes 9-0/10".to_vec()),
            ("gateway_range", "huge.refused", format!("bytes 0-{}/1", "9".repeat(400)).into()),
            ("gateway_range", "sound.read", b"bytes 0-9/10".to_vec()),
        ]);
        all(TARGETS, &named);
    }
}
