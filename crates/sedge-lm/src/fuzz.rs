//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

use std::str;

use serde_json::Value;

use crate::constrain::{Shape, Shaper};
use crate::gguf::Gguf;
use crate::template::{ChatTemplate, Message, Role};
use crate::testing::vocabulary_file;
use crate::tokenizer::Tokenizer;

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] = &[("lm_gguf", gguf), ("lm_shape", shape), ("lm_template", template)];

/// A model file: its entries, its tensors, its tokenizer.
fn gguf(bytes: &[u8]) -> bool {
    let Ok(gguf) = Gguf::from_bytes(bytes.to_vec()) else { return false };
    gguf.parameters();
    let names: Vec<_> = gguf.tensor_names().map(str::to_owned).collect();
    for name in names {
        drop(gguf.tensor(&name));
    }
    if let Ok(tokenizer) = Tokenizer::from_gguf(&gguf) {
        let tokens = tokenizer.encode("a text <|im_end|> \u{2581}").unwrap_or_default();
        for token in tokens {
            tokenizer.piece(token);
        }
    }
    true
}

/// A small vocabulary: three control tokens, and one for each sign that byte-level vocabularies spell bytes with.
fn tokenizer() -> Option<Tokenizer> {
    let control = ["<unk>", "<s>", "<|im_end|>"].map(str::to_owned);
    let letters = ('!'..='~').chain('\u{a1}'..='\u{143}').map(String::from);
    let tokens: Vec<String> = control.into_iter().chain(letters).collect();
    Tokenizer::from_gguf(&Gguf::from_bytes(vocabulary_file(&tokens, &[])).ok()?).ok()
}

/// The shape that an answer shall have, as a caller gives it.
fn shape(bytes: &[u8]) -> bool {
    let Ok(schema) = serde_json::from_slice::<Value>(bytes) else { return false };
    let Some(shaper) = tokenizer().and_then(|it| Shaper::new(&it).ok()) else { return false };
    shaper.begin(&Shape::Schema(schema)).is_ok()
}

/// A model's template for conversations.
fn template(bytes: &[u8]) -> bool {
    let Ok(source) = str::from_utf8(bytes) else { return false };
    let Ok(template) = ChatTemplate::new(source) else { return false };
    let Some(tokenizer) = tokenizer() else { return false };
    let message = Message { role: Role::User, content: "hello".to_owned() };
    template.render(&[message], &tokenizer).is_ok()
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
        let tokens: Vec<String> =
            ["<unk>", "<s>", "</s>", "a", "b", "ab"].map(str::to_owned).into();
        let file = vocabulary_file(&tokens, &["a b".to_owned()]);
        let mut version = file.clone();
        version[4] = 9;
        let mut huge = file[..8].to_vec();
        huge.extend([0xff; 16]);
        let mut long = file[..24].to_vec();
        long.extend(u64::MAX.to_le_bytes());
        // An entry whose value is a list in a list in a list.
        let mut deep = file[..8].to_vec();
        deep.extend(0_u64.to_le_bytes());
        deep.extend(1_u64.to_le_bytes());
        deep.extend([1, 0, 0, 0, 0, 0, 0, 0, b'k', 9, 0, 0, 0]);
        deep.extend([9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0].repeat(2000));
        let mut named = vec![
            ("lm_gguf", "truncated.refused", file[..file.len() * 2 / 3].to_vec()),
            ("lm_gguf", "malformed.refused", b"GGML".to_vec()),
            ("lm_gguf", "version.refused", version),
            ("lm_gguf", "huge.refused", huge),
            ("lm_gguf", "huge-key.refused", long),
            ("lm_gguf", "deep.refused", deep),
            ("lm_gguf", "sound.read", file),
        ];
        let schema = r#"{"type":"object","properties":{"a":{"type":"integer","maximum":9}},"required":["a"]}"#;
        named.extend(json("lm_shape", schema));
        let template = "{% for m in messages %}{{ m['content'] }}{% endfor %}";
        named.extend([
            ("lm_template", "truncated.refused", b"{% for m in messages %}{{ m".to_vec()),
            ("lm_template", "malformed.refused", b"{% nothing %}".to_vec()),
            (
                "lm_template",
                "huge.refused",
                b"{% for a in range(99999999) %}{{ a }}{% endfor %}".to_vec(),
            ),
            ("lm_template", "deep.refused", "{{ ".bytes().chain(vec![b'('; 2000]).collect()),
            ("lm_template", "sound.read", template.into()),
        ]);
        all(TARGETS, &named);
    }
}
