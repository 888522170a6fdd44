//! Answers of a given shape: tokens that would break it are never taken.
//!
//! The grammars are llguidance's; the trie of the vocabulary is built once for each model.

use std::io::{self, Write};
use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use sedge_base::ErrorKind;
use serde_json::Value;
use toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};

use crate::tokenizer::Tokenizer;

/// The longest shape, in bytes: a schema as it is written, or the text itself.
pub const MAX_SHAPE: usize = 256 << 10;
/// How deep a schema may nest.
pub const MAX_SHAPE_DEPTH: usize = 64;

/// The shape that an answer must have: up to [`MAX_SHAPE`] long.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// JSON that fits this JSON schema, up to [`MAX_SHAPE_DEPTH`] deep. Strings should have a `maxLength`, or the answer may use up
    /// its tokens before it is whole.
    Schema(Value),
    /// Text that fits this regular expression from its first to its last character.
    Regex(String),
    /// Text of this grammar, in llguidance's dialect of Lark.
    Lark(String),
}

/// Why an answer cannot be given its shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConstrainError {
    /// The shape is too long to be looked at.
    #[error("the shape of the answer is longer than {most} bytes")]
    TooLong {
        /// The longest that is taken.
        most: usize,
    },
    /// The schema nests too deep.
    #[error("the shape of the answer nests deeper than {most}")]
    TooDeep {
        /// The deepest that is taken.
        most: usize,
    },
    /// The shape is not understood.
    #[error("the shape of the answer is not understood: {reason}")]
    Shape {
        /// Why not.
        reason: String,
    },
    /// No token fits any more.
    #[error("no token of the vocabulary fits the shape of the answer")]
    Stuck,
    /// The vocabulary cannot be searched.
    #[error("the model's vocabulary cannot be searched: {reason}")]
    Vocabulary {
        /// Why not.
        reason: String,
    },
}

impl ConstrainError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLong { .. } | Self::TooDeep { .. } | Self::Shape { .. } | Self::Stuck => {
                ErrorKind::Invalid
            }
            Self::Vocabulary { .. } => ErrorKind::Unsupported,
        }
    }
}

/// A vocabulary prepared for constraints; about 0.1 s for 50,000 tokens.
pub struct Shaper {
    factory: ParserFactory,
}

impl std::fmt::Debug for Shaper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shaper").finish_non_exhaustive()
    }
}

impl Shaper {
    /// Prepares a vocabulary.
    ///
    /// # Errors
    ///
    /// [`ConstrainError::Vocabulary`].
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, ConstrainError> {
        let count = tokenizer.vocabulary() as u32;
        let mut words: Vec<Vec<u8>> = (0..count).map(|it| tokenizer.piece(it).to_vec()).collect();
        for id in tokenizer.specials().values() {
            if let Some(word) = words.get_mut(*id as usize) {
                // The trie's mark for tokens that no text spells.
                word.insert(0, TokTrie::SPECIAL_TOKEN_MARKER);
            }
        }
        let info = TokRxInfo::new(count, tokenizer.eos());
        let trie = TokTrie::from(&info, &words).with_eos_tokens(tokenizer.stops());
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&env)
            .map_err(|err| ConstrainError::Vocabulary { reason: err.to_string() })?;
        factory.quiet();
        Ok(Self { factory })
    }

    /// Begins an answer of a shape.
    ///
    /// # Errors
    ///
    /// [`ConstrainError::TooLong`], [`ConstrainError::TooDeep`], [`ConstrainError::Shape`].
    pub fn begin(&self, shape: &Shape) -> Result<Constraint, ConstrainError> {
        bounded(shape)?;
        let grammar = match shape {
            Shape::Schema(schema) => TopLevelGrammar::from_json_schema(tight(schema)),
            Shape::Regex(regex) => TopLevelGrammar::from_regex(regex),
            Shape::Lark(grammar) => TopLevelGrammar::from_lark(grammar.clone()),
        };
        let matcher = Matcher::new(self.factory.create_parser(grammar));
        match matcher.get_error() {
            Some(reason) => Err(ConstrainError::Shape { reason }),
            None => Ok(Constraint { matcher }),
        }
    }
}

/// Refuses what would take long only to look at.
fn bounded(shape: &Shape) -> Result<(), ConstrainError> {
    let fits = match shape {
        Shape::Schema(schema) => {
            // The depth first: writing it out goes as deep as it does.
            if depth(schema) > MAX_SHAPE_DEPTH {
                return Err(ConstrainError::TooDeep { most: MAX_SHAPE_DEPTH });
            }
            serde_json::to_writer(Room { left: MAX_SHAPE }, schema).is_ok()
        }
        Shape::Regex(text) | Shape::Lark(text) => text.len() <= MAX_SHAPE,
    };
    if fits { Ok(()) } else { Err(ConstrainError::TooLong { most: MAX_SHAPE }) }
}

/// Returns how deep a value nests; 1 for a plain one.
fn depth(value: &Value) -> usize {
    let (mut deepest, mut open) = (0, vec![(value, 1)]);
    while let Some((value, depth)) = open.pop() {
        deepest = deepest.max(depth);
        match value {
            Value::Array(items) => open.extend(items.iter().map(|it| (it, depth + 1))),
            Value::Object(items) => open.extend(items.values().map(|it| (it, depth + 1))),
            _ => {}
        }
    }
    deepest
}

/// Counts what is written to it, up to a limit.
struct Room {
    left: usize,
}

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len());
        self.left = left.ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Forbids free white space between the parts, which weak models would write for ever.
fn tight(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(object) = &mut schema {
        object
            .entry("x-guidance")
            .or_insert_with(|| serde_json::json!({ "whitespace_flexible": false }));
    }
    schema
}

/// An answer under way.
pub struct Constraint {
    matcher: Matcher,
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Constraint").finish_non_exhaustive()
    }
}

impl Constraint {
    /// Sets the logit of every token that does not fit to minus infinity.
    ///
    /// # Errors
    ///
    /// [`ConstrainError::Stuck`] when nothing fits.
    pub fn allow(&mut self, logits: &mut [f32]) -> Result<(), ConstrainError> {
        let mask = self.matcher.compute_mask_or_eos().map_err(|_| ConstrainError::Stuck)?;
        let mut any = false;
        for (token, logit) in (0_u32..).zip(logits.iter_mut()) {
            if mask.is_allowed(token) {
                any = true;
            } else {
                *logit = f32::NEG_INFINITY;
            }
        }
        if any { Ok(()) } else { Err(ConstrainError::Stuck) }
    }

    /// Takes note of the token that was chosen.
    ///
    /// # Errors
    ///
    /// [`ConstrainError::Stuck`] when it does not fit.
    pub fn accept(&mut self, token: u32) -> Result<(), ConstrainError> {
        self.matcher.consume_token(token).map_err(|_| ConstrainError::Stuck)
    }

    /// Returns whether the answer is whole and nothing may follow.
    pub fn is_done(&self) -> bool {
        self.matcher.is_stopped()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gguf::Gguf;
    use crate::testing::tiny_model;

    fn begin(shape: &Shape) -> Result<Constraint, ConstrainError> {
        let gguf = Gguf::from_bytes(tiny_model(1)).unwrap();
        Shaper::new(&Tokenizer::from_gguf(&gguf).unwrap()).unwrap().begin(shape)
    }

    /// Tries a text byte by byte, as the tiny vocabulary has a token for each: how many bytes fit,
    /// and whether the answer may end after them.
    fn take(shape: &Shape, text: &str) -> (usize, bool) {
        let gguf = Gguf::from_bytes(tiny_model(1)).unwrap();
        let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
        let mut constraint = Shaper::new(&tokenizer).unwrap().begin(shape).unwrap();
        let allowed = |constraint: &mut Constraint, token: u32| {
            let mut logits = vec![0.0; tokenizer.vocabulary()];
            constraint.allow(&mut logits).is_ok() && logits[token as usize] == 0.0
        };
        for (at, byte) in text.bytes().enumerate() {
            let token =
                (0..tokenizer.vocabulary() as u32).find(|it| tokenizer.piece(*it) == [byte]);
            if constraint.is_done() || !allowed(&mut constraint, token.unwrap()) {
                return (at, constraint.is_done());
            }
            constraint.accept(token.unwrap()).unwrap();
        }
        let ends = constraint.is_done() || allowed(&mut constraint, tokenizer.eos());
        (text.len(), ends)
    }

    #[test]
    fn a_regex_is_kept_from_first_to_last() {
        let date = Shape::Regex("[0-9]{4}-[0-9]{2}".to_owned());
        assert_eq!(take(&date, "2026-11"), (7, true));
        assert_eq!(take(&date, "2026-1"), (6, false));
        assert_eq!(take(&date, "2026-115"), (7, true));
        assert_eq!(take(&date, "x2026-11"), (0, false));
        let signs = Shape::Regex("(\u{e4}|\u{1f980})+!?".to_owned());
        assert_eq!(take(&signs, "\u{e4}\u{1f980}\u{e4}!"), (9, true));
        assert_eq!(take(&signs, "\u{e4}\u{e5}").0, 3);
    }

    #[test]
    fn a_grammar_is_kept() {
        let sums =
            "start: term (\"+\" term)*\nterm: NUMBER | \"(\" start \")\"\nNUMBER: /[0-9]{1,3}/\n";
        let sums = Shape::Lark(sums.to_owned());
        assert_eq!(take(&sums, "1+(22+(3))"), (10, true));
        assert_eq!(take(&sums, "1+(22"), (5, false));
        assert_eq!(take(&sums, "1+)"), (2, false));
        assert_eq!(take(&sums, "1234").0, 3);
    }

    #[test]
    fn a_schema_is_kept_without_free_space() {
        let schema = Shape::Schema(json!({
            "type": "object",
            "properties": { "n": { "type": "integer", "minimum": 0, "maximum": 99 } },
            "required": ["n"],
            "additionalProperties": false,
        }));
        assert_eq!(take(&schema, r#"{"n":42}"#).0, 8);
        assert_eq!(take(&schema, r#"{"n":420}"#).0, 7);
        assert_eq!(take(&schema, r#"{ "n":1}"#).0, 1);
    }

    #[track_caller]
    fn refused(shape: &Shape) -> ConstrainError {
        let err = begin(shape).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Invalid);
        err
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for shape in [
            Shape::Regex("[0-9".to_owned()),
            Shape::Regex("(?=x)x".to_owned()),
            Shape::Lark("start: nowhere".to_owned()),
            Shape::Lark("start: (\"a\"".to_owned()),
            Shape::Schema(json!({ "type": "nonsense" })),
            Shape::Schema(json!(7)),
        ] {
            assert!(matches!(refused(&shape), ConstrainError::Shape { .. }), "{shape:?}");
        }
    }

    #[test]
    fn a_shape_that_is_too_long_is_not_looked_at() {
        let long = ConstrainError::TooLong { most: MAX_SHAPE };
        let names: Vec<String> = (0..MAX_SHAPE / 8).map(|it| format!("name{it}")).collect();
        assert_eq!(refused(&Shape::Schema(json!({ "enum": names }))), long);
        assert_eq!(refused(&Shape::Regex("a".repeat(MAX_SHAPE + 1))), long);
        assert_eq!(refused(&Shape::Lark("a".repeat(MAX_SHAPE + 1))), long);
        assert!(begin(&Shape::Schema(json!({ "enum": names[..100] }))).is_ok());
    }

    #[test]
    fn a_shape_that_nests_too_deep_is_not_looked_at() {
        let nested = |depth: usize| {
            let inner = json!({ "type": "integer" });
            let wrap = |it, _| json!({ "type": "array", "items": it, "maxItems": 1 });
            Shape::Schema((2..depth).fold(inner, wrap))
        };
        assert!(begin(&nested(MAX_SHAPE_DEPTH)).is_ok());
        let deep = refused(&nested(MAX_SHAPE_DEPTH + 1));
        assert_eq!(deep, ConstrainError::TooDeep { most: MAX_SHAPE_DEPTH });
    }

    #[test]
    fn brackets_without_end_are_refused() {
        for shape in [
            Shape::Regex("(".repeat(100_000)),
            Shape::Regex(format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000))),
            Shape::Lark(format!("start: {}", "(".repeat(100_000))),
            Shape::Lark(format!("start: /{}a{}/", "(".repeat(100_000), ")".repeat(100_000))),
        ] {
            assert!(matches!(refused(&shape), ConstrainError::Shape { .. }));
        }
    }
}
