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
