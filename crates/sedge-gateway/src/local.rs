//! The engine inside: models that run on this machine's own processor.

use std::collections::BTreeMap;
use std::sync::Arc;

use sedge_capability::{Capability, Descriptor, Failure, Kind, NameError};
use sedge_lm::GgufError;

use crate::config::GatewayConfig;
use crate::models::Installed;
use crate::worker::Settings;

/// A model of this machine that is loaded when it is needed.
pub(crate) trait Local: Capability {
    /// Returns whether it is in memory.
    fn is_loaded(&self) -> bool;

    /// Asks for it to be loaded, without waiting.
    fn load(&self) -> Result<(), Failure>;
}

/// Opens an installed model far enough to describe it.
type Open = fn(&Installed, &GatewayConfig, Settings) -> Result<Arc<dyn Local>, OpenError>;

/// The engines, by what their models are for: one line for each.
const ENGINES: &[(Kind, Open)] = &[];

/// Opens an installed model with the engine for its kind.
pub(crate) fn open(
    installed: &Installed,
    config: &GatewayConfig,
    settings: Settings,
) -> Result<Arc<dyn Local>, OpenError> {
    let engine = ENGINES.iter().find(|(kind, _)| *kind == installed.kind);
    let Some((_, open)) = engine else {
        return Err(OpenError::NoEngine { kind: installed.kind });
    };
    open(installed, config, settings)
}

/// Why an installed model cannot be offered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// There is no engine for this kind of model.
    #[error("this program has no engine for {kind} models")]
    NoEngine {
        /// The kind.
        kind: Kind,
    },
    /// Its id is not a capability's name.
    #[error("`{id}` is not a name that a capability can have")]
    Name {
        /// The id.
        id: String,
        /// What a name is.
        source: NameError,
    },
    /// Its file cannot be read.
    #[error("the file of `{id}` cannot be used: {source}")]
    File {
        /// The id.
        id: String,
        /// What is wrong with it.
        source: GgufError,
    },
    /// Its file lacks a figure that the engine needs.
    #[error("the file of `{id}` does not say {what}")]
    Missing {
        /// The id.
        id: String,
        /// What is missing.
        what: &'static str,
    },
}

/// A descriptor in both of its states: with the model in memory and without.
#[derive(Debug)]
struct Described {
    loaded: Arc<Descriptor>,
    unloaded: Arc<Descriptor>,
}

impl Described {
    /// Makes both; the label `loaded` tells them apart.
    fn new(descriptor: Descriptor) -> Self {
        let with = |loaded: bool| {
            let mut labels: BTreeMap<_, _> = descriptor.labels.clone();
            labels.insert("loaded".to_owned(), loaded.to_string());
            Arc::new(Descriptor { labels, ..descriptor.clone() })
        };
        Self { loaded: with(true), unloaded: with(false) }
    }

    fn get(&self, loaded: bool) -> Arc<Descriptor> {
        Arc::clone(if loaded { &self.loaded } else { &self.unloaded })
    }
}

/// Returns how many threads a model computes with when the config does not say: one less than the
/// machine has, so that the node itself stays awake.
fn threads_of_machine() -> usize {
    std::thread::available_parallelism().map_or(1, |it| it.get().saturating_sub(1).max(1))
}
