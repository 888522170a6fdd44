//! The engine inside: models that run on this machine's own processor.

mod chat;
mod embed;

use std::collections::BTreeMap;
use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::Arc;

use sedge_base::ErrorKind;
use sedge_capability::{Budgets, Capability, Descriptor, Failure, Idempotence, Kind, NameError};
use sedge_lm::GgufError;
use sedge_trust::Rung;
use serde_json::Value;
use tracing::warn;

use crate::catalog::Facts;
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
const ENGINES: &[(Kind, Open)] = &[
    (Kind::Chat, chat::open), //
    (Kind::Embedding, embed::open),
];

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

/// What one kind of model says of itself beyond its figures.
struct Says {
    kind: Kind,
    summary: String,
    input: Value,
    output: Value,
    /// The longest conversation or text here, in tokens.
    context: u32,
    limits: Budgets,
    rung: Rung,
}

/// Describes an installed model.
fn describe(installed: &Installed, facts: &Facts, says: Says) -> Result<Described, OpenError> {
    let Says { kind, summary, input, output, context, limits, rung } = says;
    let name = installed.id.parse();
    let labels = [
        ("model.family", facts.family.clone()),
        ("model.quantisation", facts.quantisation.clone()),
        ("model.parameters", facts.parameters.to_string()),
        ("model.context", context.to_string()),
    ];
    Ok(Described::new(Descriptor {
        name: name.map_err(|source| OpenError::Name { id: installed.id.clone(), source })?,
        kind,
        summary,
        input,
        output,
        labels: labels.into_iter().map(|(label, value)| (label.to_owned(), value)).collect(),
        limits,
        idempotence: Idempotence::Idempotent,
        rung,
        content: Some(installed.content),
    }))
}

/// Returns how many threads a model computes with: as the config says, or one less than the
/// machine has, so that the node itself stays awake.
fn threads(config: &GatewayConfig) -> NonZeroUsize {
    let configured = config.threads.and_then(|it| NonZeroUsize::try_from(it).ok());
    configured.unwrap_or_else(|| {
        let all = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        NonZeroUsize::new(all - 1).unwrap_or(NonZeroUsize::MIN)
    })
}

/// Logs why a model was not loaded; strangers are told no paths of this machine.
fn not_loaded(model: &str, kind: ErrorKind, cause: &(dyn Error + 'static)) -> Failure {
    warn!(target: "sedge::events::model_unusable", model, error = cause);
    let text = format!("`{model}` cannot be loaded; the log of its node says why");
    Failure::new(kind, "model_unusable", text)
}
