//! The seam for engines: tokens in, logits out. What is above it (sampling, templates, constraints,
//! caches) is written once, for every engine.

use std::num::NonZeroUsize;

use sedge_base::ErrorKind;

use crate::gguf::{Gguf, GgufError};
use crate::kernels::{Chosen, Kernel};
use crate::llama::Llama;

/// The name of the arithmetic by which the built-in engine turns tokens into logits.
///
/// The same model file, tokens, seed and arithmetic give the same output, bit by bit, whichever
/// kernel computes, on however many threads and on whatever machine; a receipt that carries the name
/// beside the others can be replayed. A build that computes other bits has another name.
pub const ARITHMETIC: &str = "sedge-lm-1";

/// A conversation in progress: tokens whose keys and values the engine remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(pub u64);

/// What is known about a model from its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// The architecture, such as `llama`.
    pub architecture: String,
    /// The name that its makers gave it.
    pub name: String,
    /// The most tokens of prompt and answer together.
    pub window: usize,
    /// How many tokens there are.
    pub vocabulary: usize,
    /// How many numbers it has learned.
    pub parameters: u64,
    /// How most of its weights are stored, such as `Q4_1`.
    pub quantisation: String,
    /// How many layers it has.
    pub layers: usize,
    /// The width of its hidden state.
    pub width: usize,
    /// The kernel that computes, such as `avx512-vnni`.
    pub kernel: &'static str,
    /// The name of the arithmetic, such as [`ARITHMETIC`]: what the output depends on besides file,
    /// tokens and seed.
    pub arithmetic: &'static str,
    /// Memory that its weights take, in bytes.
    pub weights_bytes: usize,
    /// Memory that one remembered token takes, in bytes.
    pub token_bytes: usize,
}

/// How an engine computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// How many threads; the result does not depend on it.
    pub threads: NonZeroUsize,
    /// Which kernel; the result does not depend on it.
    pub kernel: Kernel,
    /// The most tokens that are remembered, if fewer than the model's own window.
    pub window: Option<usize>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { threads: NonZeroUsize::MIN, kernel: Kernel::Auto, window: None }
    }
}

/// Why a model does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file is not what it should be.
    #[error(transparent)]
    File(#[from] GgufError),
    /// There is no memory for the weights.
    #[error("there is no memory for the model's weights")]
    Memory {
        /// What the system says.
        source: std::io::Error,
    },
    /// The architecture is not computed here.
    #[error("architecture `{architecture}` is not computed here, only llama")]
    Architecture {
        /// The file's architecture.
        architecture: String,
    },
    /// The processor lacks what the chosen kernel needs.
    #[error("this processor cannot run the {kernel} kernel")]
    Kernel {
        /// The kernel's name.
        kernel: &'static str,
    },
    /// A number of the model's shape cannot be.
    #[error("the model's shape is wrong: {what}")]
    Shape {
        /// What is wrong with it.
        what: String,
    },
    /// The tokenizer cannot be made from the file.
    #[error("the model's tokenizer cannot be used: {what}")]
    Tokenizer {
        /// What is wrong with it.
        what: String,
    },
    /// The chat template cannot be used.
    #[error("the model's chat template cannot be used: {what}")]
    Template {
        /// What is wrong with it.
        what: String,
    },
}

impl OpenError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::File(it) => it.kind(),
            Self::Memory { .. } => ErrorKind::Exhausted,
            Self::Architecture { .. } | Self::Kernel { .. } => ErrorKind::Unsupported,
            Self::Shape { .. } | Self::Tokenizer { .. } | Self::Template { .. } => {
                ErrorKind::Corrupt
            }
        }
    }
}

/// Why tokens could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The sequence would grow beyond the window.
    #[error("{tokens} tokens do not fit into a window of {window}")]
    Full {
        /// How long the sequence would be.
        tokens: usize,
        /// How long it may be.
        window: usize,
    },
    /// There is no such sequence.
    #[error("there is no such sequence")]
    UnknownSequence,
    /// There is no such token.
    #[error("token {token} is not in the vocabulary")]
    UnknownToken {
        /// The token.
        token: u32,
    },
    /// Nothing was given to compute.
    #[error("there are no tokens to compute")]
    Nothing,
}

impl EngineError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// A model that computes.
pub trait Engine: Send {
    /// Returns what is known about the model.
    fn info(&self) -> &ModelInfo;

    /// Begins an empty sequence.
    fn new_sequence(&mut self) -> SequenceId;

    /// Forgets all but the first `len` tokens of a sequence; 0 frees its memory and ends it.
    fn truncate(&mut self, sequence: SequenceId, len: usize);

    /// Appends tokens to a sequence and writes the logits that follow the last one.
    ///
    /// # Errors
    ///
    /// [`EngineError`]; the sequence is unchanged then.
    fn decode(
        &mut self,
        sequence: SequenceId,
        tokens: &[u32],
        logits: &mut Vec<f32>,
    ) -> Result<(), EngineError>;
}

/// Opens the built-in engine for a model file.
///
/// # Errors
///
/// See [`OpenError`].
pub fn open_engine(gguf: &Gguf, options: &EngineOptions) -> Result<Box<dyn Engine>, OpenError> {
    let kernel =
        Chosen::new(options.kernel).ok_or(OpenError::Kernel { kernel: options.kernel.name() })?;
    let missing = || GgufError::Missing { what: "architecture".to_owned() };
    match gguf.text("general.architecture").ok_or_else(missing)? {
        "llama" => Ok(Box::new(Llama::load(gguf, options, kernel)?)),
        other => Err(OpenError::Architecture { architecture: other.to_owned() }),
    }
}
