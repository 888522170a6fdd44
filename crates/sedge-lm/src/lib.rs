//! A small language model on this machine's processor; deterministic; knows no network.

mod chat;
mod constrain;
mod embed;
mod engine;
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
pub use constrain::{ConstrainError, Constraint, Shape, Shaper};
pub use embed::{EmbedError, Embedded, Embedder, OpenEmbedderError};
pub use engine::{
    Engine, EngineError, EngineOptions, ModelInfo, OpenError, SequenceId, open_engine,
};
pub use gguf::{Format, Gguf, GgufError, Tensor, Value};
pub use kernels::Kernel;
pub use sample::{Sampler, Sampling};
pub use template::{ChatTemplate, DEFAULT_SYSTEM, Message, RenderError, Role};
pub use tokenizer::{EncodeError, Tokenizer};
