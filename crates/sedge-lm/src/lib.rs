//! A small language model on this machine's processor: model files, kernels, tokens, templates,
//! constrained output, embeddings.
//!
//! Invariants: the same file, tokens and seed give the same answer on every kernel and any number of
//! threads; what a person wrote never becomes a role marker; a prompt that does not fit is refused
//! with both numbers, never cut. Nothing here knows a network, and no thread outlives its model.
//!
//! ```
//! use sedge_lm::{EngineOptions, Gguf, open_engine, testing::tiny_model};
//!
//! let file = Gguf::from_bytes(tiny_model(1))?;
//! let mut engine = open_engine(&file, &EngineOptions::default())?;
//! let sequence = engine.new_sequence();
//! let mut logits = Vec::new();
//! engine.decode(sequence, &[5, 6, 7], &mut logits)?;
//! assert_eq!(logits.len(), engine.info().vocabulary);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activations;
mod chat;
mod constrain;
mod embed;
mod engine;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod gguf;
mod kept;
mod kernels;
mod llama;
mod maths;
mod pool;
mod sample;
mod template;
pub mod testing;
mod text;
mod tiles;
mod tokenizer;

pub use chat::{ChatError, ChatRequest, Finish, Finished, Model, Options, Piece};
pub use constrain::{ConstrainError, Constraint, MAX_SHAPE, MAX_SHAPE_DEPTH, Shape, Shaper};
pub use embed::{EmbedError, Embedded, Embedder, OpenEmbedderError};
pub use engine::{
    ARITHMETIC, Engine, EngineError, EngineOptions, ModelInfo, OpenError, SequenceId, open_engine,
};
pub use gguf::{Format, Gguf, GgufError, Tensor, Value};
pub use kernels::Kernel;
pub use sample::{Sampler, Sampling};
pub use template::{ChatTemplate, DEFAULT_SYSTEM, Message, RenderError, Role};
pub use tokenizer::{EncodeError, Tokenizer};
