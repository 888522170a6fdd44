//! Sentences to vectors whose angle tells how near their meanings are (all-MiniLM-L6-v2).
//!
//! Invariants: a text that does not fit is refused, never cut; a text's vector does not depend on
//! the texts beside it, because each is computed by itself.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use rten::{NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;
use sedge_base::ErrorKind;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;

/// The WordPiece vocabulary, one entry a line; see `assets/NOTICE`.
const VOCABULARY: &str = include_str!("../assets/minilm-vocab.txt");
/// The numbers that BERT's vocabulary has for the beginning and the end of a text.
const BEGIN: u32 = 101;
const END: u32 = 102;
const UNKNOWN: &str = "[UNK]";
/// The length of a vector.
const DIMENSIONS: usize = 384;
/// The most tokens of a text, beginning and end included: what the model has positions for.
const WINDOW: usize = 512;
/// The longest text that is looked at, in bytes; more cannot fit the window but by white space.
const MAX_TEXT: usize = 1 << 16;

/// Why an embedding model does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenEmbedderError {
    /// The file is not a model that can be computed.
    #[error("{path} is not an embedding model: {reason}")]
    Model {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The vocabulary inside this program is damaged.
    #[error("the vocabulary is damaged: {reason}")]
    Vocabulary {
        /// How.
        reason: String,
    },
}

impl OpenEmbedderError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Model { .. } => ErrorKind::Corrupt,
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::Read { .. } => ErrorKind::Unavailable,
            Self::Vocabulary { .. } => ErrorKind::Internal,
        }
    }
}

/// Why texts did not become vectors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// A text has more tokens than the model reads.
    #[error("text {text} has {tokens} tokens, and the window has {window}")]
    TooLong {
        /// Which text, from 0.
        text: usize,
        /// Its tokens, beginning and end included.
        tokens: usize,
        /// Tokens of the window.
        window: usize,
    },
    /// A text has more bytes than are looked at.
    #[error("text {text} has {bytes} bytes, and at most {most} are read")]
    TooLarge {
        /// Which text, from 0.
        text: usize,
        /// Its length in bytes.
        bytes: usize,
        /// The longest that is read, in bytes.
        most: usize,
    },
    /// The model failed.
    #[error("the embedding model failed: {reason}")]
    Failed {
        /// What it said.
        reason: String,
    },
}

impl EmbedError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLong { .. } | Self::TooLarge { .. } => ErrorKind::Invalid,
            Self::Failed { .. } => ErrorKind::Internal,
        }
    }
}

/// The vectors of some texts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Embedded {
    /// One vector of length one for each text, in order.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of all texts together.
    pub tokens: u32,
}

/// An embedding model in memory. Dropping it frees everything, its threads included.
pub struct Embedder {
    model: rten::Model,
    inputs: Vec<NodeId>,
    output: NodeId,
    pool: Arc<ThreadPool>,
    tokenizer: tokenizers::Tokenizer,
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder").finish_non_exhaustive()
    }
}

impl Embedder {
    /// Opens an ONNX file of all-MiniLM-L6-v2 that computes with this many threads.
    ///
    /// # Errors
    ///
    /// See [`OpenEmbedderError`].
    pub fn open(path: &Path, threads: NonZeroUsize) -> Result<Self, OpenEmbedderError> {
        let name = || path.display().to_string();
        let bytes = std::fs::read(path)
            .map_err(|source| OpenEmbedderError::Read { path: name(), source })?;
        let wrong = |reason: String| OpenEmbedderError::Model { path: name(), reason };
        let model = rten::Model::load(bytes).map_err(|err| wrong(err.to_string()))?;
        let node = |id: &str| model.node_id(id).map_err(|err| wrong(err.to_string()));
        let inputs = ["input_ids", "attention_mask", "token_type_ids"].map(node);
        let inputs = inputs.into_iter().collect::<Result<Vec<_>, _>>()?;
        let output = node("last_hidden_state")?;
        let pool = Arc::new(ThreadPool::with_num_threads(threads.get()));
        Ok(Self { inputs, output, model, pool, tokenizer: tokenizer()? })
    }

    /// Returns the length of a vector.
    pub const fn dimensions(&self) -> usize {
        DIMENSIONS
    }

    /// Returns the most tokens of a text.
    pub const fn window(&self) -> usize {
        WINDOW
    }

    /// Returns the vectors of texts.
    ///
    /// # Errors
    ///
    /// See [`EmbedError`]; lengths are checked before anything is computed.
    pub fn embed<T: AsRef<str>>(&self, texts: &[T]) -> Result<Embedded, EmbedError> {
        let read = |(at, text): (usize, &T)| self.tokens(at, text.as_ref());
        let all = texts.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        let tokens = all.iter().map(|it| it.len() as u32).sum();
        let vectors = all.into_iter().map(|it| self.vector(it)).collect::<Result<_, _>>()?;
        Ok(Embedded { vectors, tokens })
    }

    fn tokens(&self, text: usize, words: &str) -> Result<Vec<i32>, EmbedError> {
        if words.len() > MAX_TEXT {
            return Err(EmbedError::TooLarge { text, bytes: words.len(), most: MAX_TEXT });
        }
        let encoding = self.tokenizer.encode_fast(words, false);
        let encoding = encoding.map_err(|err| EmbedError::Failed { reason: err.to_string() })?;
        let tokens = encoding.get_ids().len() + 2;
        if tokens > WINDOW {
            return Err(EmbedError::TooLong { text, tokens, window: WINDOW });
        }
        let inner = encoding.get_ids().iter().copied();
        Ok(std::iter::once(BEGIN).chain(inner).chain([END]).map(|it| it as i32).collect())
    }

    fn vector(&self, tokens: Vec<i32>) -> Result<Vec<f32>, EmbedError> {
        let failed = |reason: String| EmbedError::Failed { reason };
        let count = tokens.len();
        let rows = [tokens, vec![1; count], vec![0; count]];
        let inputs = self
            .inputs
            .iter()
            .zip(rows)
            .map(|(id, row)| (*id, Value::from(NdTensor::from_data([1, count], row)).into()));
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.pool)));
        let hidden = self
            .model
            .run(inputs.collect(), &[self.output], Some(options))
            .map_err(|err| failed(err.to_string()))?;
        let hidden: NdTensor<f32, 3> = hidden
            .into_iter()
            .next()
            .and_then(|it| it.try_into().ok())
            .ok_or_else(|| failed("its output has no vectors".to_owned()))?;
        if hidden.shape() != [1, count, DIMENSIONS] {
            return Err(failed(format!("its output has the shape {:?}", hidden.shape())));
        }
        // The mean over all tokens, made one long.
        let mut sums = vec![0.0_f64; DIMENSIONS];
        for (at, value) in hidden.iter().enumerate() {
            sums[at % DIMENSIONS] += f64::from(*value);
        }
        let length = sums.iter().map(|it| it * it).sum::<f64>().sqrt();
        if !(length.is_finite() && length > 0.0) {
            return Err(failed("its output is not a direction".to_owned()));
        }
        Ok(sums.into_iter().map(|it| (it / length) as f32).collect())
    }
}

/// Makes BERT's tokenizer: clean, lower case, without accents, split at white space and
/// punctuation, then into the longest known pieces.
fn tokenizer() -> Result<tokenizers::Tokenizer, OpenEmbedderError> {
    let wrong = |err: tokenizers::Error| OpenEmbedderError::Vocabulary { reason: err.to_string() };
    let vocabulary = WordPiece::read_bytes(VOCABULARY.as_bytes()).map_err(wrong)?;
    let pieces = WordPiece::builder()
        .vocab(vocabulary)
        .unk_token(UNKNOWN.to_owned())
        .build()
        .map_err(wrong)?;
    let mut tokenizer = tokenizers::Tokenizer::new(pieces);
    let normaliser = BertNormalizer::new(true, true, None, true);
    tokenizer.with_normalizer(Some(normaliser)).map_err(wrong)?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    Ok(tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[u32]) {
        let encoding = tokenizer().unwrap().encode(text, false).unwrap();
        assert_eq!(encoding.get_ids(), expected);
    }

    #[test]
    fn words_and_punctuation() {
        // As the reference tokenizer of the model has it.
        check("Hello, World!", &[7592, 1010, 2088, 999]);
        check("caf\u{e9}", &[7668]);
    }

    #[test]
    fn special_names_are_text() {
        assert!(!tokenizer().unwrap().encode("[CLS]", false).unwrap().get_ids().contains(&BEGIN));
    }
}
