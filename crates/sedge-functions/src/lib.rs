//! Untrusted code under limits: Wasm components, and sandboxes for eight languages.
//!
//! A [`Runtime`] makes a [`Function`] of a component that exports `process` (see
//! `wit/function.wit`) or `wasi:http/incoming-handler`. A function is a
//! [`Capability`](sedge_capability::Capability): each task runs in a fresh instance under limits of
//! fuel, memory, time and output.
//!
//! What [`code`] runs for others is in a fresh instance as well, or in a sandbox of `sedge-sandbox`.
//!
//! An application ([`App`]) is several functions; what it keeps is in the node's store, by its name.
//!
//! Invariants: guests reach no file, no other guest, of what is kept only their application's, and of
//! the network the places alone that their deployment names and the node allows; no guest listens; no guest is ever given a secret that is sent for it; no guest runs without all four
//! limits, nor holds a thread longer than a tick of 10 ms; no deployed component is compiled when a
//! task comes in; machine code from disk is run only when this node wrote it.
//!
//! ```
//! use sedge_functions::{Deployment, FunctionsConfig, FunctionsSection, Runtime};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let folder = tempfile::tempdir()?;
//! let section = FunctionsSection { pool: 4, ..FunctionsSection::default() };
//! let config = FunctionsConfig::try_from(section)?;
//! let runtime = Runtime::new(config, folder.path(), &sedge_base::TaskScope::new())?;
//! let refused = runtime.deploy(Deployment::new("f".parse()?, "no Wasm".into())).await;
//! assert_eq!(refused.unwrap_err().code(), "not_wasm");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod bench;
mod cache;
mod call;
pub mod code;
mod component;
mod config;
mod deploy;
mod engine;
mod events;
mod function;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod guard;
mod host;
mod limits;
mod metrics;
mod nesting;
mod outbound;
mod precompiled;
mod redis;
pub mod repair;
mod runtime;
mod spin;
mod ticker;

pub use cache::CacheError;
pub use call::CallError;
pub use config::{FunctionsConfig, FunctionsSection};
pub use deploy::{DeployError, Deployment};
pub use function::{Function, Summary};
pub use metrics::{Metrics, Stats};
pub use outbound::{
    Added, Bound, LEAST_SECRET, MOST_SECRET, NoSecrets, Outbound, OutboundError, Place, Reach,
    Secrets, check_secret_name,
};
pub use redis::{Address, AddressError, Channel, Hearing, RedisError, WireError};
pub use runtime::{Runtime, RuntimeError};
pub use spin::{App, AppError, Given, Match, Part, Route, RouteError, Share, pick, share_of};
