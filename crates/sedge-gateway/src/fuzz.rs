//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

use std::str;

use crate::chat::ChatInput;
use crate::embed::EmbedInput;
use crate::providers::APIS;
use crate::remote::Decoder;

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] = &[
    ("gateway_input", input),
    ("gateway_provider", provider),
    ("gateway_providers", providers),
    ("gateway_range", range),
];

/// What a task gives to a model: a conversation, or texts.
fn input(bytes: &[u8]) -> bool {
    ChatInput::read(bytes).is_ok() || EmbedInput::read(bytes).is_ok()
}

/// What a provider answers: the first byte says in which API, the second in which pieces.
fn provider(bytes: &[u8]) -> bool {
    let [api, piece, stream @ ..] = bytes else { return false };
    let api = &APIS[usize::from(*api) % APIS.len()];
    let mut decoder = Decoder::new("it", api);
    for piece in stream.chunks(usize::from(*piece).max(1)) {
        if decoder.is_ended() {
            break;
        }
        if decoder.push(piece).is_err() {
            return false;
        }
    }
    if let Ok(body) = serde_json::from_slice(stream) {
        // An embedding's answer is one document.
        drop(api.wire.vectors(&body));
    }
    decoder.finish().is_ok()
}

/// What the owner writes about providers.
fn providers(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_ok_and(crate::remote::feed)
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
    use crate::providers::recordings::CHATS;

    /// The names of kept inputs are literals elsewhere.
    fn leaked(name: String) -> &'static str {
        name.leak()
    }

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
        for (at, (name, recorded)) in CHATS.iter().enumerate() {
            let whole = [&[at as u8, 7], recorded.as_bytes()].concat();
            let cut = [&[at as u8, 7], &recorded.as_bytes()[..recorded.len() / 2]].concat();
            let odd = [&[at as u8, 7], b"data: {\n\n{\n".as_slice()].concat();
            named.push(("gateway_provider", leaked(format!("{name}.read")), whole));
            named.push(("gateway_provider", leaked(format!("{name}-truncated.refused")), cut));
            named.push(("gateway_provider", leaked(format!("{name}-malformed.refused")), odd));
        }
        let file = "providers:\n  ollama:\n    models:\n      - llama\n";
        named.extend([
            ("gateway_providers", "sound.read", file.into()),
            ("gateway_providers", "unknown.refused", file.replace("models", "model").into()),
            ("gateway_providers", "truncated.refused", file[..file.len() - 14].into()),
            ("gateway_providers", "deep.refused", "[".repeat(2000).into()),
        ]);
        all(TARGETS, &named);
    }
}
