//! A small language model on this machine's processor; deterministic; knows no network.

mod engine;
mod gguf;
mod kernels;
mod llama;
mod maths;
mod pool;
mod tiles;

pub use engine::{
    Engine, EngineError, EngineOptions, ModelInfo, OpenError, SequenceId, open_engine,
};
pub use gguf::{Format, Gguf, GgufError, Tensor, Value};
pub use kernels::Kernel;
