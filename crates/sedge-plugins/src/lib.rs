//! What owners add to a node: found, validated, agreed to, called by hooks, replaced while it runs.
//!
//! [`Plugins`] looks into folders for manifests ([`scan`]), lets its [`Host`] make each entry point
//! ready, judges it ([`Issue`]), and hands hooks to those that an owner has enabled.
//!
//! Invariants: this crate runs nothing itself, and an entry point that no sandbox takes is not called;
//! a plugin that its validation refuses is never active; nobody's plugin gets a right that the owner
//! has not agreed to, and what asks for more waits; whatever a plugin does, those that call hooks go
//! on; a new version is called only when it is ready, and until then the old one is.
//!
//! ```
//! use sedge_plugins::{Format, Reading};
//!
//! let text = r#"{"name": "a", "version": "1.0.0", "entry_point": "a.wasm", "hooks": ["task.finished"]}"#;
//! let Reading { manifest, issues, .. } = Reading::of(Format::Json, text, None);
//! assert_eq!(manifest.map(|it| it.entry_point), Some("a.wasm".to_owned()));
//! assert!(issues.is_empty());
//! ```

mod config;
mod emit;
mod events;
mod folder;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod hooks;
mod host;
mod issue;
mod manifest;
mod plugins;
mod right;
mod source;
mod view;

pub use config::{PluginsConfig, PluginsSection};
pub use emit::{Called, EmitError, Emitted};
pub use folder::{Entry, EntryKind, Found, Scan, scan};
pub use hooks::Hooks;
pub use host::{Host, Ready};
pub use issue::{Issue, score};
pub use manifest::{Format, Manifest, Reading};
pub use plugins::{Agreement, ChangeError, Parts, Plugins, State};
pub use right::{Right, RightError};
pub use view::{IssueView, PluginList, PluginView, RightView, VersionView};
