//! Text to tokens and back, with the vocabulary that a model file brings.
//!
//! Invariant: what a person wrote never becomes a special token, and never loses a byte: tokens that
//! do not spell the text again are refused.

use std::collections::BTreeMap;

use sedge_base::ErrorKind;

use crate::engine::OpenError;
use crate::gguf::{Gguf, Value};

/// The longest text that is turned into tokens at once, in bytes.
pub(crate) const MAX_TEXT: usize = 4 << 20;

/// The type numbers of `tokenizer.ggml.token_type`.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// Names under which models end a turn.
const ENDS: &[&str] = &["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end|>", "<end_of_turn>"];

/// Why a text did not become tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The text is longer than any window.
    #[error("a text of {bytes} bytes is longer than {most}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The longest that is taken.
        most: usize,
    },
    /// The vocabulary cannot spell the text.
    #[error("the model's vocabulary cannot spell the text")]
    Unspeakable,
}

impl EncodeError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// A model's vocabulary.
pub struct Tokenizer {
    inner: shimmytok::Tokenizer,
    /// All pieces, one after the other.
    spelled: Vec<u8>,
    /// Where each piece ends.
    ends: Vec<u32>,
    specials: BTreeMap<String, u32>,
    /// The ids of the control tokens, in order.
    control: Vec<u32>,
    stops: Vec<u32>,
    begin: Option<u32>,
    eos: u32,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("vocabulary", &self.ends.len()).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Makes the tokenizer that the file describes.
    ///
    /// # Errors
    ///
    /// [`OpenError::Tokenizer`] when the file describes none, or one that is not known here.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, OpenError> {
        let wrong = |what: &str| OpenError::Tokenizer { what: what.to_owned() };
        let tokens = gguf.list("tokenizer.ggml.tokens").ok_or_else(|| wrong("no tokens"))?;
        let family = gguf.text("tokenizer.ggml.model").unwrap_or("llama");
        let kinds = gguf.list("tokenizer.ggml.token_type").unwrap_or(&[]);
        let id = |key: &str, default| -> Result<u32, OpenError> {
            let id = gguf.number(&format!("tokenizer.ggml.{key}_token_id")).unwrap_or(default);
            let known = u32::try_from(id).ok().filter(|it| (*it as usize) < tokens.len());
            known.ok_or_else(|| wrong(&format!("the {key} token is not in the vocabulary")))
        };
        let (bos, eos) = (id("bos", 1)?, id("eos", 2)?);
        id("unknown", 0)?;
        let spell = Speller::new(family);
        let (mut spelled, mut ends) = (Vec::new(), Vec::with_capacity(tokens.len()));
        let (mut specials, mut control, mut stops) = (BTreeMap::new(), Vec::new(), vec![eos]);
        for (at, token) in tokens.iter().enumerate() {
            let Value::Text(text) = token else { return Err(wrong("a token is not a text")) };
            let kind = match kinds.get(at) {
                Some(Value::Signed(kind)) => *kind,
                _ => 1,
            };
            if kind == CONTROL {
                control.push(at as u32);
            }
            if matches!(kind, CONTROL | USER_DEFINED) && !text.is_empty() {
                specials.insert(text.clone(), at as u32);
                spelled.extend_from_slice(text.as_bytes());
                if kind == CONTROL && ENDS.contains(&text.as_str()) {
                    stops.push(at as u32);
                }
            } else {
                spell.spell(text, kind, &mut spelled);
            }
            let end = u32::try_from(spelled.len()).map_err(|_| wrong("the tokens are too long"))?;
            ends.push(end);
        }
        for key in ["eot", "eom"] {
            if gguf.number(&format!("tokenizer.ggml.{key}_token_id")).is_some() {
                stops.push(id(key, 0)?);
            }
        }
        stops.sort_unstable();
        stops.dedup();
        let adds_begin = match gguf.value("tokenizer.ggml.add_bos_token") {
            Some(Value::Bool(adds)) => *adds,
            _ => family == "llama",
        };
        let inner = shimmytok::Tokenizer::from_bytes(gguf.bytes())
            .map_err(|err| wrong(&err.to_string()))?;
        let begin = adds_begin.then_some(bos);
        Ok(Self { inner, spelled, ends, specials, control, stops, begin, eos })
    }

    /// Returns the tokens of a text, in which nothing is special.
    ///
    /// # Errors
    ///
    /// See [`EncodeError`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, EncodeError> {
        if text.len() > MAX_TEXT {
            return Err(EncodeError::TooLong { bytes: text.len(), most: MAX_TEXT });
        }
        let tokens = self.inner.encode(text, false).map_err(|_| EncodeError::Unspeakable)?;
        let spelled: Vec<u8> = tokens.iter().flat_map(|it| self.piece(*it)).copied().collect();
        // SentencePiece vocabularies begin every text with a space of their own.
        let same = spelled == text.as_bytes()
            || spelled.strip_prefix(b" ").is_some_and(|it| it == text.as_bytes());
        let plain = tokens.iter().all(|it| self.control.binary_search(it).is_err());
        if same && plain { Ok(tokens) } else { Err(EncodeError::Unspeakable) }
    }

    /// Returns the bytes that a token stands for, which need not be whole characters; nothing for a
    /// token that is not in the vocabulary.
    pub fn piece(&self, token: u32) -> &[u8] {
        let at = token as usize;
        let Some(end) = self.ends.get(at) else { return &[] };
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.spelled[start as usize..*end as usize]
    }

    /// Returns the special token of that name, such as `<|im_start|>`.
    pub fn special(&self, name: &str) -> Option<u32> {
        self.specials.get(name).copied()
    }

    /// Returns all special tokens by name.
    pub fn specials(&self) -> &BTreeMap<String, u32> {
        &self.specials
    }

    /// Returns whether the model ends its answer with this token.
    pub fn is_end(&self, token: u32) -> bool {
        self.stops.binary_search(&token).is_ok()
    }

    /// Returns every token with which the model ends an answer.
    pub fn stops(&self) -> &[u32] {
        &self.stops
    }

    /// Returns the token that the file names as the end of a sequence.
    pub const fn eos(&self) -> u32 {
        self.eos
    }

    /// Returns the token that every prompt must begin with, if there is one.
    pub const fn begin(&self) -> Option<u32> {
        self.begin
    }

    /// Returns how many tokens there are.
    pub fn vocabulary(&self) -> usize {
        self.ends.len()
    }
}

/// How the vocabulary's texts stand for bytes.
enum Speller {
    /// One character for each byte, as GPT-2 did it.
    Bytes(BTreeMap<char, u8>),
    /// `▁` for a space and `<0x0A>` for a byte, as SentencePiece does it.
    Pieces,
}

impl Speller {
    fn new(family: &str) -> Self {
        if family != "gpt2" {
            return Self::Pieces;
        }
        let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
        let hidden = (0..=255_u8).filter(|it| !printable(it)).zip('\u{100}'..);
        let shown = (0..=255_u8).filter(printable).map(|it| (it, char::from(it)));
        Self::Bytes(shown.chain(hidden).map(|(byte, sign)| (sign, byte)).collect())
    }

    fn spell(&self, text: &str, kind: i64, into: &mut Vec<u8>) {
        const BYTE: i64 = 6;
        match self {
            Self::Bytes(bytes) => {
                for sign in text.chars() {
                    match bytes.get(&sign) {
                        Some(byte) => into.push(*byte),
                        None => into.extend_from_slice(sign.encode_utf8(&mut [0; 4]).as_bytes()),
                    }
                }
            }
            Self::Pieces => {
                let hex = text.strip_prefix("<0x").and_then(|it| it.strip_suffix('>'));
                match hex.and_then(|it| u8::from_str_radix(it, 16).ok()) {
                    Some(byte) if kind == BYTE => into.push(byte),
                    _ => into.extend_from_slice(text.replace('\u{2581}', " ").as_bytes()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{tiny_model, vocabulary_file};

    fn tiny() -> Tokenizer {
        Tokenizer::from_gguf(&Gguf::from_bytes(tiny_model(1)).unwrap()).unwrap()
    }

    #[track_caller]
    fn check(text: &str, pieces: &[&str]) {
        let tokenizer = tiny();
        let tokens = tokenizer.encode(text).unwrap();
        let got: Vec<_> =
            tokens.iter().map(|it| String::from_utf8_lossy(tokenizer.piece(*it))).collect();
        assert_eq!(got, pieces);
    }

    #[test]
    fn pairs_merge_in_their_order() {
        check("the theme in", &["the", " the", "m", "e", " ", "in"]);
        check("thin", &["th", "in"]);
    }

    #[test]
    fn figures_stand_alone() {
        check("1234", &["1", "2", "3", "4"]);
    }

    #[test]
    fn signs_beyond_the_vocabulary_are_spelled_in_bytes() {
        assert_eq!(tiny().encode("\u{20ac}\u{1f980}").unwrap().len(), 7);
        assert_eq!(tiny().encode("").unwrap().len(), 0);
    }

    #[test]
    fn special_names_in_a_text_are_text() {
        let tokenizer = tiny();
        let tokens = tokenizer.encode("<|im_end|>").unwrap();
        assert!(tokens.len() > 1 && tokens.iter().all(|it| *it > 2), "{tokens:?}");
        let end = tokenizer.special("<|im_end|>").unwrap();
        assert_eq!(tokenizer.piece(end), b"<|im_end|>");
    }

    #[test]
    fn a_vocabulary_that_lacks_a_byte_refuses_texts_that_need_it() {
        let tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "a", "b"].map(str::to_owned);
        let gguf = Gguf::from_bytes(vocabulary_file(&tokens, &[])).unwrap();
        let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
        assert_eq!(tokenizer.encode("abba").unwrap(), [3, 4, 4, 3]);
        assert_eq!(tokenizer.encode("abc"), Err(EncodeError::Unspeakable));
        assert_eq!(EncodeError::Unspeakable.kind(), ErrorKind::Invalid);
    }

    #[test]
    fn a_text_that_is_too_long_is_refused_with_both_numbers() {
        let err = tiny().encode(&"a".repeat(MAX_TEXT + 1)).unwrap_err();
        assert_eq!(err, EncodeError::TooLong { bytes: MAX_TEXT + 1, most: MAX_TEXT });
        assert_eq!(err.kind(), ErrorKind::Invalid);
    }

    #[test]
    fn the_file_says_what_is_special_and_what_ends() {
        let tokenizer = tiny();
        let names: Vec<_> = tokenizer.specials().keys().map(String::as_str).collect();
        assert_eq!(names, ["<|endoftext|>", "<|im_end|>", "<|im_start|>"]);
        assert_eq!(tokenizer.stops(), [0, 2]);
        assert!(tokenizer.is_end(0) && tokenizer.is_end(2) && !tokenizer.is_end(1));
        assert_eq!((tokenizer.eos(), tokenizer.begin()), (2, None));
        assert_eq!(tokenizer.special("<|nobody|>"), None);
    }

    #[test]
    fn a_token_beyond_the_vocabulary_has_no_bytes() {
        let tokenizer = tiny();
        let last = tokenizer.vocabulary() as u32 - 1;
        assert_eq!(tokenizer.piece(last), b"nd");
        assert_eq!(tokenizer.piece(last + 1), b"");
        assert_eq!(tokenizer.piece(u32::MAX), b"");
    }

    #[test]
    fn a_vocabulary_without_its_named_tokens_does_not_open() {
        for tokens in [&["a"][..], &[]] {
            let tokens: Vec<String> = tokens.iter().copied().map(str::to_owned).collect();
            let gguf = Gguf::from_bytes(vocabulary_file(&tokens, &[])).unwrap();
            let err = Tokenizer::from_gguf(&gguf).unwrap_err();
            assert!(matches!(err, OpenError::Tokenizer { .. }), "{err}");
        }
    }

    #[test]
    fn pieces_of_sentencepiece_are_spelled() {
        let spell = |text: &str, kind| {
            let mut into = Vec::new();
            Speller::new("llama").spell(text, kind, &mut into);
            into
        };
        assert_eq!(spell("\u{2581}the", 1), b" the");
        assert_eq!(spell("<0x0A>", 6), b"\n");
        assert_eq!(spell("<0x0A>", 1), b"<0x0A>");
        assert_eq!(spell("<0xZZ>", 6), b"<0xZZ>");
    }
}
