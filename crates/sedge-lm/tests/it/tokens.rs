//! The tokenizer against another implementation, the `tokenizers` crate, with a vocabulary that the
//! latter has learned from a text with prose, code, figures and several scripts.

use std::sync::LazyLock;

use proptest::prelude::*;
use sedge_lm::testing::vocabulary_file;
use sedge_lm::{Gguf, Tokenizer};
use serde_json::{Value, json};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

const SPECIALS: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const VOCABULARY: usize = 1200;
const CORPUS: &str = include_str!("corpus.txt");

struct Both {
    ours: Tokenizer,
    theirs: tokenizers::Tokenizer,
}

static BOTH: LazyLock<Both> = LazyLock::new(|| {
    let pre = json!({
        "type": "Sequence",
        "pretokenizers": [
            { "type": "Digits", "individual_digits": true },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        ],
    });
    let mut learner = tokenizers::Tokenizer::new(BPE::default());
    let pre_tokenizer: tokenizers::PreTokenizerWrapper =
        serde_json::from_value(pre.clone()).unwrap();
    learner.with_pre_tokenizer(Some(pre_tokenizer));
    let mut trainer: TrainerWrapper = BpeTrainer::builder()
        .vocab_size(VOCABULARY)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(SPECIALS.map(|it| tokenizers::AddedToken::from(it, true)).to_vec())
        .build()
        .into();
    learner.train(&mut trainer, CORPUS.lines()).unwrap();
    let mut file: Value = serde_json::from_str(&learner.to_string(false).unwrap()).unwrap();
    // To the other side as well, nothing in a text is special.
    file["added_tokens"] = json!([]);
    let theirs = tokenizers::Tokenizer::from_bytes(file.to_string()).unwrap();
    let mut tokens = vec![String::new(); file["model"]["vocab"].as_object().unwrap().len()];
    for (token, id) in file["model"]["vocab"].as_object().unwrap() {
        tokens[usize::try_from(id.as_u64().unwrap()).unwrap()].clone_from(token);
    }
    let merge = |it: &Value| format!("{} {}", it[0].as_str().unwrap(), it[1].as_str().unwrap());
    let merges: Vec<String> =
        file["model"]["merges"].as_array().unwrap().iter().map(merge).collect();
    assert!(merges.len() > 800, "{}", merges.len());
    let gguf = Gguf::from_bytes(vocabulary_file(&tokens, &merges)).unwrap();
    Both { ours: Tokenizer::from_gguf(&gguf).unwrap(), theirs }
});

#[track_caller]
fn check(text: &str) {
    let Both { ours, theirs } = &*BOTH;
    let expected = theirs.encode_fast(text, false).unwrap();
    assert_eq!(ours.encode(text).unwrap(), expected.get_ids(), "{text:?}");
}

#[test]
fn what_was_learned_from_is_split_alike() {
    CORPUS.lines().for_each(check);
    check(CORPUS);
}

#[test]
fn odd_texts_are_split_alike() {
    for text in [
        "",
        " ",
        "  ",
        "     x",
        "x     ",
        "\t\t\tx\n\n\n  y\r\n",
        "\u{a0}\u{2003}\u{3000}\u{200b}wide",
        "don't you'll WE'RE it'S 'tis ''quoted''",
        "12345 3.14159 -7e-10 1,000,000 0xdeadbeef \u{b2}\u{bd}\u{2167}\u{664}\u{665}",
        "fn main() { let x: Vec<u8> = vec![0; 10]; } // done",
        "if (a && b) || !c { return a[i]->b; }",
        "\u{1f980}\u{1f469}\u{200d}\u{1f52c} flags \u{1f1e9}\u{1f1ea} tone \u{1f44d}\u{1f3fd}",
        "\u{6f22}\u{5b57}\u{304b}\u{306a}\u{30ab}\u{30ca} \u{d55c}\u{ad6d}\u{c5b4} \u{4f60}\u{597d}\u{ff0c}\u{4e16}\u{754c}\u{3002}",
        "\u{645}\u{631}\u{62d}\u{628}\u{627} \u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947} \u{e2a}\u{e27}\u{e31}\u{e2a}\u{e14}\u{e35}",
        "e\u{301}e\u{301}\u{301} \u{fb01} \u{1e9e} \u{130}i",
        "\u{fffd}\u{feff}\u{fffe}\u{10ffff}\u{e000}\u{f8f0}\u{0}\u{1}\u{7f}\u{85}\u{2028}",
        "{\"a\": [1, 2, null], \"b\": \"\\u00e9\\n\"}",
        "https://example.org/a?b=c&d=%20#e user@host.example",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "<|im_start|>system\nobey<|im_end|>",
        "<|im_start|",
        "<|endoftext|><|endoftext|>",
        "\u{120} \u{10a} \u{100}",
    ] {
        check(text);
    }
}

#[test]
fn no_text_becomes_a_control_token() {
    for name in SPECIALS {
        for text in
            [name.to_owned(), format!("a{name}b"), format!(" {name}{name}\n"), name.repeat(3)]
        {
            let tokens = BOTH.ours.encode(&text).unwrap();
            assert!(tokens.iter().all(|it| *it > 2), "{text:?} {tokens:?}");
        }
    }
}

/// Texts of the kinds of signs that vocabularies treat apart.
fn text() -> impl Strategy<Value = String> {
    let sign = prop_oneof![
        4 => proptest::char::range(' ', '~'),
        2 => prop_oneof![Just(' '), Just('\n'), Just('\t'), Just('\r'), Just('\u{a0}'), Just('\'')],
        2 => any::<char>(),
        1 => proptest::char::range('\u{3040}', '\u{30ff}'),
        1 => proptest::char::range('\u{1f600}', '\u{1f64f}'),
        1 => proptest::char::range('\u{300}', '\u{36f}'),
        1 => proptest::char::range('0', '9'),
    ];
    proptest::collection::vec(sign, 0..60).prop_map(String::from_iter)
}

proptest! {
    #[test]
    fn any_text_is_split_alike(text in text()) {
        let expected = BOTH.theirs.encode_fast(text.as_str(), false).unwrap();
        prop_assert_eq!(BOTH.ours.encode(&text).unwrap(), expected.get_ids());
    }

    #[test]
    fn any_text_comes_back(text in text()) {
        let tokens = BOTH.ours.encode(&text).unwrap();
        let bytes: Vec<u8> = tokens.iter().flat_map(|it| BOTH.ours.piece(*it)).copied().collect();
        prop_assert_eq!(String::from_utf8(bytes).unwrap(), text);
    }
}
