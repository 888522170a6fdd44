//! One door to every language model: the local engine, model files, providers, budgets.
//!
//! Invariants: a model's file is used only after its SHA-256 was checked; nothing here reads the
//! environment; the network is used only to bring a model's file, and never when offline, and to ask
//! a provider that the owner has written down; a provider's key goes to that provider's own address
//! and into nothing that is printed, logged or answered.
//!
//! ```
//! use sedge_gateway::{Catalog, DEFAULT_CHAT};
//!
//! let catalog = Catalog::builtin()?;
//! assert_eq!(catalog.find(DEFAULT_CHAT).map(|it| it.size), Some(98_362_432));
//! # Ok::<(), sedge_gateway::CatalogError>(())
//! ```

mod catalog;
mod chat;
mod config;
mod embed;
mod fetch;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod gateway;
mod local;
mod models;
mod providers;
mod remote;
mod shelf;
mod sources;
mod worker;

pub use catalog::{Catalog, CatalogError, DEFAULT_CHAT, DEFAULT_EMBEDDING, Facts, Model, Preset};
pub use chat::{
    ChatInput, ChatInputError, ChatMessage, ChatRole, Image, Tool, ToolCall, ToolChoice,
};
pub use config::{Choice, GatewayConfig, GatewaySection, LoadWhen, SourcesSection};
pub use embed::{EmbedInput, EmbedInputError, EmbedOutput};
pub use fetch::{FetchError, OnProgress, PartError, Progress, SourceFailure};
pub use gateway::{EnsureModelsError, Gateway, GatewayError, ModelStatus};
pub use models::{AddError, EnsureError, IndexError, Installed, Models};
pub use remote::{Environment, Providers, ProvidersError};
pub use sources::{Folder, Https, Hub, Origin, Pip, SourceError, SourceSettings};
