//! Answers of a given shape: tokens that would break it are never taken.
//!
//! The grammars are llguidance's; the trie of the vocabulary is built once for each model.

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use sedge_base::ErrorKind;
use serde_json::Value;
use toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};

use crate::tokenizer::Tokenizer;

/// The shape that an answer must have.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// JSON that fits this JSON schema. Strings should have a `maxLength`, or the answer may use up
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
            Self::Shape { .. } | Self::Stuck => ErrorKind::Invalid,
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
    /// [`ConstrainError::Shape`].
    pub fn begin(&self, shape: &Shape) -> Result<Constraint, ConstrainError> {
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
