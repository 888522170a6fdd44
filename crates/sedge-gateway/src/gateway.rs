//! The models of one node: configured, on the shelf, in memory.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sedge_base::{ByteSize, Cancel, Clock, ContentId, ErrorKind, TaskScope};
use sedge_capability::{Handle, Kind};
use serde::Serialize;
use tracing::warn;

use crate::catalog::CatalogError;
use crate::config::{Choice, GatewayConfig, LoadWhen};
use crate::fetch::OnProgress;
use crate::local::{self, Local};
use crate::models::{AddError, EnsureError, IndexError, Installed, Models};
use crate::remote::{self, Link, Provider, Providers};
use crate::worker::Settings;

/// The models of one node.
pub struct Gateway {
    config: GatewayConfig,
    models: Models,
    clock: Clock,
    scope: TaskScope,
    /// The models that are open.
    open: Mutex<BTreeMap<String, Arc<dyn Local>>>,
    /// The models of providers.
    remote: Vec<Handle>,
}

/// One configured model, as a person wants to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelStatus {
    /// Its name.
    pub id: String,
    /// What it is for.
    pub kind: Kind,
    /// Its file, if that is here.
    pub content: Option<ContentId>,
    /// The length of its file, if that is here.
    pub size: Option<ByteSize>,
    /// Whether it is in memory.
    pub loaded: bool,
}

/// Why a node's models cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The built-in list of models is broken.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The index of own models cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The configured file cannot be taken.
    #[error("`gateway.chat` names a file that cannot be used")]
    File(#[source] AddError),
    /// No model has the configured name.
    #[error("`{key}` names the model `{id}`, which is neither known nor one of your own")]
    Unknown {
        /// The key.
        key: &'static str,
        /// The name.
        id: String,
    },
    /// The configured model is for something else.
    #[error("`{key}` names the model `{id}`, which is for {is}")]
    Kind {
        /// The key.
        key: &'static str,
        /// The name.
        id: String,
        /// What it is for.
        is: Kind,
    },
    /// Providers cannot be asked at all.
    #[error("no provider can be asked")]
    Client(#[source] Box<dyn Error + Send + Sync>),
}

impl GatewayError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Catalog(err) => err.kind(),
            Self::Index(err) => err.kind(),
            Self::File(err) => err.kind(),
            Self::Unknown { .. } => ErrorKind::NotFound,
            Self::Kind { .. } => ErrorKind::Invalid,
            Self::Client(_) => ErrorKind::Internal,
        }
    }
}

/// Why not every configured model is here.
#[derive(Debug, thiserror::Error)]
#[error("{}", listed(failures))]
pub struct EnsureModelsError {
    /// Each model that is missing, with its reason.
    pub failures: Vec<(String, EnsureError)>,
}

fn listed(failures: &[(String, EnsureError)]) -> String {
    let texts: Vec<_> = failures.iter().map(|(_, reason)| reason.to_string()).collect();
    texts.join("; ")
}

impl EnsureModelsError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.failures.first().map_or(ErrorKind::Internal, |(_, reason)| reason.kind())
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Sets a node's models up; the network is not used.
    ///
    /// A configured file is taken onto the shelf, which reads it once and may take a second.
    ///
    /// # Errors
    ///
    /// [`GatewayError`] when the config names a model that cannot be.
    pub fn new(
        config: GatewayConfig,
        models: PathBuf,
        scope: &TaskScope,
    ) -> Result<Self, GatewayError> {
        let models = Models::open(&models, config.sources.clone())?;
        Self::with_models(config, models, Clock::machine(), scope)
    }

    /// Sets a node's models up from another list, with a clock of its own for deadlines.
    ///
    /// # Errors
    ///
    /// [`GatewayError`] when the config names a model that cannot be.
    pub fn with_models(
        mut config: GatewayConfig,
        models: Models,
        clock: Clock,
        scope: &TaskScope,
    ) -> Result<Self, GatewayError> {
        if let Choice::File(path) = &config.chat {
            let taken = models.add_file(path).map_err(GatewayError::File)?;
            config.chat = Choice::Named(taken.id);
        }
        let wanted = [
            ("gateway.chat", &config.chat, Kind::Chat),
            ("gateway.embedding", &config.embedding, Kind::Embedding),
        ];
        for (key, choice, kind) in wanted {
            let Choice::Named(id) = choice else { continue };
            match models.kind_of(id)? {
                Some(is) if is == kind => {}
                Some(is) => return Err(GatewayError::Kind { key, id: id.clone(), is }),
                None => return Err(GatewayError::Unknown { key, id: id.clone() }),
            }
        }
        let (scope, open) = (scope.clone(), Mutex::default());
        Ok(Self { config, models, clock, scope, open, remote: Vec::new() })
    }

    /// Adds the models of the owner's providers; no provider is asked yet.
    ///
    /// # Errors
    ///
    /// [`GatewayError`] when this build cannot speak TLS.
    pub fn with_providers(mut self, providers: Providers) -> Result<Self, GatewayError> {
        if providers.all.is_empty() {
            return Ok(self);
        }
        let client = remote::client().map_err(GatewayError::Client)?;
        for Provider { name, api, base_url, key, silence, models } in providers.all {
            let client = client.clone();
            let link = Arc::new(Link { provider: name, api, base_url, key, silence, client });
            for (name, offered) in models {
                self.remote.push(remote::open(name, offered, &link, self.settings()));
            }
        }
        Ok(self)
    }

    /// Returns the model files of this machine.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// Returns the names of the configured models, chat first.
    pub fn wanted(&self) -> Vec<&str> {
        [&self.config.chat, &self.config.embedding]
            .into_iter()
            .filter_map(|it| match it {
                Choice::Named(id) => Some(id.as_str()),
                Choice::Nothing | Choice::File(_) => None,
            })
            .collect()
    }

    /// Brings the files of all configured models here; one that fails does not keep the other away.
    ///
    /// Blocks until they are here; run it on a thread that may block.
    ///
    /// # Errors
    ///
    /// [`EnsureModelsError`] with the reasons of each model that is missing.
    pub fn ensure_models(
        &self,
        cancel: &Cancel,
        report: &mut OnProgress<'_>,
    ) -> Result<Vec<Installed>, EnsureModelsError> {
        let (mut here, mut failures) = (Vec::new(), Vec::new());
        for id in self.wanted() {
            match self.models.ensure(id, cancel, report) {
                Ok(installed) => here.push(installed),
                Err(reason) => failures.push((id.to_owned(), reason)),
            }
        }
        if failures.is_empty() { Ok(here) } else { Err(EnsureModelsError { failures }) }
    }

    /// Returns a handle for each configured model whose file is here, and for each of a provider's; the
    /// same one each time.
    ///
    /// A file that is here and cannot be opened is left out and logged as a warning.
    pub fn capabilities(&self) -> Vec<Handle> {
        let mut open = self.open();
        for id in self.wanted() {
            if !open.contains_key(id)
                && let Some(local) = self.open_one(id)
            {
                open.insert(id.to_owned(), local);
            }
        }
        let opened = self.wanted().into_iter().filter_map(|id| open.get(id).cloned());
        opened.map(|it| it as Handle).chain(self.remote.iter().cloned()).collect()
    }

    /// Returns the state of each configured model.
    pub fn status(&self) -> Vec<ModelStatus> {
        let open = self.open();
        let choices = [(&self.config.chat, Kind::Chat), (&self.config.embedding, Kind::Embedding)];
        let mut all = Vec::new();
        for (choice, kind) in choices {
            let Choice::Named(id) = choice else { continue };
            // An index that cannot be read holds no model of this name, as far as anyone can tell.
            let here = self.models.find(id).ok().flatten();
            all.push(ModelStatus {
                id: id.clone(),
                kind,
                content: here.as_ref().map(|it| it.content),
                size: here.map(|it| it.size),
                loaded: open.get(id).is_some_and(|it| it.is_loaded()),
            });
        }
        all
    }

    fn open_one(&self, id: &str) -> Option<Arc<dyn Local>> {
        let unusable = |error: &(dyn Error + 'static)| {
            warn!(target: "sedge::events::model_unusable", model = id, error);
        };
        let installed = self.models.find(id).map_err(|err| unusable(&err)).ok()??;
        let opened = local::open(&installed, &self.config, self.settings());
        let local = opened.map_err(|err| unusable(&err)).ok()?;
        if self.config.load == LoadWhen::Start {
            local.load().map_err(|err| unusable(&err)).ok()?;
        }
        Some(local)
    }

    fn settings(&self) -> Settings {
        let (clock, scope) = (self.clock.clone(), self.scope.clone());
        Settings { idle: self.config.idle_unload, clock, scope }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Arc<dyn Local>>> {
        // Nothing panics while it holds the lock; if it did, the map would still be right.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::config::GatewaySection;

    #[track_caller]
    fn check(section: &str, expected: Expect) {
        let folder = tempfile::tempdir().unwrap();
        let section: GatewaySection = toml::from_str(section).unwrap();
        let config = GatewayConfig::try_from(section).unwrap();
        let gateway = Gateway::new(config, folder.path().to_owned(), &TaskScope::new());
        expected.assert_eq(&match gateway {
            Ok(gateway) => {
                assert!(gateway.capabilities().is_empty(), "no file is here");
                let status = gateway.status();
                status.iter().fold(String::new(), |all, it| format!("{all}{} {}\n", it.kind, it.id))
            }
            Err(err) => err.to_string(),
        });
    }

    #[test]
    fn the_default_wants_both_models() {
        let both = expect![[r#"
            chat smollm2-135m-instruct
            embedding all-minilm-l6-v2
        "#]];
        check("", both);
    }

    #[test]
    fn none_is_none() {
        check("chat = \"none\"\nembedding = \"none\"", expect![""]);
    }

    #[test]
    fn models_that_cannot_be_are_named() {
        check(
            "chat = \"gpt-99\"",
            expect![
                "`gateway.chat` names the model `gpt-99`, which is neither known nor one of your own"
            ],
        );
        check(
            "embedding = \"smollm2-135m-instruct\"",
            expect![
                "`gateway.embedding` names the model `smollm2-135m-instruct`, which is for chat"
            ],
        );
        check(
            "chat = \"/nowhere/x.gguf\"",
            expect!["`gateway.chat` names a file that cannot be used"],
        );
    }
}
