//! What the owner wrote in `providers.yaml`: as written and as checked.
//!
//! A provider is used when it stands there and is not switched off, and never else.

mod preset;

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{ErrorKind, Secret};
use sedge_capability::{Kind, Name};
use serde::Deserialize;
use serde_json::Value;
use tracing::warn;

use crate::config::web;
use crate::providers::{self, APIS, Api, Key};
use crate::sources::is_loopback;

pub(crate) use preset::Preset;
use preset::PresetName;

/// The largest file, in bytes.
const LARGEST: u64 = 1 << 20;

/// The most providers, and the most models of one.
const MOST: usize = 64;

/// How long a provider may send nothing when the owner does not say.
const USUAL_SILENCE: Duration = Duration::from_secs(60);

/// Looks a variable up by its name.
type LookUp = dyn Fn(&str) -> Option<Secret<String>> + Send + Sync;

/// Reads variables of the environment, which only the program does.
#[derive(Clone)]
pub struct Environment(Arc<LookUp>);

impl Environment {
    /// Wraps what looks a variable up by its name.
    pub fn new(look_up: impl Fn(&str) -> Option<Secret<String>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(look_up))
    }
}

impl Default for Environment {
    /// Returns an environment without any variable.
    fn default() -> Self {
        Self::new(|_| None)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

/// The file, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileWritten {
    /// Each provider under the name that its models begin with.
    providers: Option<BTreeMap<String, Value>>,
}

/// One provider, as written.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ProviderWritten {
    /// Whether it is used.
    enabled: bool,
    /// What it speaks; its own name unless told otherwise.
    api: Option<String>,
    /// Where it is; where the vendor has it unless told otherwise.
    #[serde(alias = "api_base")]
    base_url: Option<String>,
    /// Who asks; `${NAME}` is a variable of the environment.
    api_key: Option<String>,
    /// How long it may send nothing at all.
    #[serde(with = "humantime_serde")]
    timeout: Option<Duration>,
    /// Its models: names, or objects with more.
    models: Vec<Value>,
}

impl Default for ProviderWritten {
    fn default() -> Self {
        let (api, base_url, api_key, timeout) = (None, None, None, None);
        Self { enabled: true, api, base_url, api_key, timeout, models: Vec::new() }
    }
}

/// One model, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ModelWritten {
    /// What the provider calls it.
    name: String,
    /// What it is for.
    kind: ModelKind,
    /// Its longest conversation in tokens, as far as the owner knows.
    context: Option<u32>,
    /// Whether it takes tools.
    tools: Option<bool>,
    /// Whether it sees images.
    images: Option<bool>,
    /// A set of values for what a conversation leaves open.
    preset: Option<PresetName>,
    /// How freely to choose when a conversation leaves it open.
    temperature: Option<f32>,
    /// The share of the probability when a conversation leaves it open.
    top_p: Option<f32>,
    /// The most tokens of an answer when a conversation leaves it open.
    max_tokens: Option<u32>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ModelKind {
    #[default]
    Chat,
    Embedding,
}

/// The providers that the owner wants used, as checked.
#[derive(Debug, Default)]
pub struct Providers {
    pub(crate) all: Vec<Provider>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) name: String,
    pub(crate) api: &'static Api,
    /// Without a slash at the end.
    pub(crate) base_url: String,
    pub(crate) key: Option<Secret<String>>,
    pub(crate) silence: Duration,
    /// Its models, under the names that they are offered by.
    pub(crate) models: Vec<(Name, Offered)>,
}

/// A model that the owner wants offered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Offered {
    /// What the provider calls it.
    pub(crate) model: String,
    pub(crate) kind: Kind,
    pub(crate) context: Option<u32>,
    pub(crate) tools: bool,
    pub(crate) images: bool,
    pub(crate) preset: Preset,
}

/// Why the file of providers is refused. It is never repaired, and no part of it is used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvidersError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It is not YAML of this shape, or a key is unknown.
    #[error("{path} is wrong{}: {says}", at(place))]
    Written {
        /// The file.
        path: String,
        /// The key above what is wrong; empty when it is the file as a whole.
        place: String,
        /// What is wrong.
        says: String,
    },
    /// A value cannot be used.
    #[error("`{key}` in {path} must be {must_be}")]
    Value {
        /// The file.
        path: String,
        /// The key.
        key: String,
        /// What it must be.
        must_be: String,
    },
    /// A variable of the environment that a provider needs is not set.
    #[error(
        "`{key}` in {path} needs the variable `{variable}`, which the environment does not have"
    )]
    Variable {
        /// The file.
        path: String,
        /// The key.
        key: String,
        /// The variable.
        variable: String,
    },
}

fn at(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!(" at `{place}`") }
}

impl ProvidersError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } => ErrorKind::Unavailable,
            Self::Written { .. } | Self::Value { .. } | Self::Variable { .. } => ErrorKind::Invalid,
        }
    }

    /// Returns the next step for the person.
    pub fn hint(&self) -> String {
        match self {
            Self::Variable { variable, .. } => {
                format!("set `{variable}`, or write `enabled: false` under the provider")
            }
            _ => "correct the file; nothing was changed".to_owned(),
        }
    }
}

impl Providers {
    /// Reads and checks the file of providers; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`ProvidersError`], which names the key and never its value.
    pub fn read(path: &Path, env: &Environment) -> Result<Option<Self>, ProvidersError> {
        let shown = path.display().to_string();
        let failed = |source| ProvidersError::Read { path: shown.clone(), source };
        let meta = match std::fs::metadata(path) {
            Ok(meta) => meta,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(failed(err)),
        };
        if meta.len() > LARGEST {
            let must_be = "a file of at most 1 MiB".to_owned();
            return Err(ProvidersError::Value {
                path: shown,
                key: "providers".to_owned(),
                must_be,
            });
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let read = Reading { path: &shown, env }.file(&text)?;
        if read.has_keys && meta.mode() & 0o077 != 0 {
            warn!(
                target: "sedge::events::providers_open_to_others",
                path = shown,
                "a key stands in a file that others may read: chmod 600, or write `${{NAME}}`"
            );
        }
        Ok(Some(read.providers))
    }
}

/// What came of the text.
struct Read {
    providers: Providers,
    /// Whether a key stands in the file itself.
    has_keys: bool,
}

/// The reading of one file.
struct Reading<'a> {
    path: &'a str,
    env: &'a Environment,
}

impl Reading<'_> {
    fn file(&self, text: &str) -> Result<Read, ProvidersError> {
        let written =
            self.shape::<FileWritten>("", yaml(text).map_err(|it| self.wrong("", &it))?)?;
        let written = written.providers.unwrap_or_default();
        if written.len() > MOST {
            return Err(self.value("providers", "at most 64 providers"));
        }
        let mut read = Read { providers: Providers::default(), has_keys: false };
        for (name, written) in written {
            let place = format!("providers.{name}");
            let written = self.shape::<ProviderWritten>(&place, written)?;
            let literal = written.api_key.as_ref().is_some_and(|it| !it.contains("${"));
            read.has_keys |= literal;
            if written.enabled {
                read.providers.all.push(self.provider(name, written)?);
            }
        }
        Ok(read)
    }

    fn provider(&self, name: String, written: ProviderWritten) -> Result<Provider, ProvidersError> {
        let ProviderWritten { enabled: _, api, base_url, api_key, timeout, models } = written;
        let key = |field: &str| format!("providers.{name}.{field}");
        let plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"-_".contains(&it);
        let first = name.bytes().next().is_some_and(|it| it.is_ascii_alphanumeric());
        if !first || name.len() > 32 || !name.bytes().all(plain) {
            let must_be = "named by at most 32 small letters, digits, hyphens or underscores";
            return Err(self.value(&format!("providers.{name}"), must_be));
        }
        let known: Vec<&str> = APIS.iter().map(|it| it.name).collect();
        let Some(api) = providers::find(api.as_deref().unwrap_or(&name)) else {
            return Err(self.value(&key("api"), &format!("one of {}", known.join(", "))));
        };
        let own = base_url.is_some();
        let base_url = match base_url {
            Some(text) => self.expand(&key("base_url"), &text)?,
            None => match api.base_url {
                Some(usual) => usual.to_owned(),
                None => return Err(self.value(&key("base_url"), "set: it is anybody's server")),
            },
        };
        let base_url = web(&base_url).ok_or_else(|| {
            self.value(&key("base_url"), "an address that begins with https:// or http://")
        })?;
        let secret = match api_key {
            None => None,
            Some(text) => Some(self.expand(&key("api_key"), &text)?),
        };
        if secret.is_none() && !own && matches!(api.key, Key::Needed(..)) {
            return Err(self.value(&key("api_key"), "set: this provider answers nobody without"));
        }
        let visible = |it: &String| !it.is_empty() && it.bytes().all(|it| it.is_ascii_graphic());
        if secret.as_ref().is_some_and(|it| !visible(it)) {
            return Err(self.value(&key("api_key"), "visible ASCII characters without spaces"));
        }
        if secret.is_some() && !base_url.starts_with("https://") && !is_loopback(&base_url) {
            return Err(self.value(&key("base_url"), "https:// when `api_key` is set"));
        }
        let silence = timeout.unwrap_or(USUAL_SILENCE);
        if silence < Duration::from_millis(100) {
            return Err(self.value(&key("timeout"), "at least 100ms"));
        }
        let models = self.models(&name, api, models)?;
        Ok(Provider { name, api, base_url, key: secret.map(Secret::new), silence, models })
    }

    fn models(
        &self,
        provider: &str,
        api: &Api,
        written: Vec<Value>,
    ) -> Result<Vec<(Name, Offered)>, ProvidersError> {
        if written.is_empty() || written.len() > MOST {
            return Err(self.value(&format!("providers.{provider}.models"), "1 to 64 models"));
        }
        let mut models: Vec<(Name, Offered)> = Vec::new();
        for (at, written) in written.into_iter().enumerate() {
            let place = format!("providers.{provider}.models[{at}]");
            let written = match written {
                Value::String(name) => ModelWritten { name, ..ModelWritten::default() },
                other => self.shape(&place, other)?,
            };
            let named = format!("{provider}/{}", written.name).parse::<Name>();
            let Some(name) = named.ok().filter(|_| !written.name.is_empty()) else {
                let must_be = "named by letters, digits or ._-:/, 128 with its provider's name";
                return Err(self.value(&place, must_be));
            };
            if models.iter().any(|(it, _)| *it == name) {
                return Err(self.value(&place, "another model than those before it"));
            }
            models.push((name, self.model(&place, api, written)?));
        }
        Ok(models)
    }

    fn model(
        &self,
        place: &str,
        api: &Api,
        written: ModelWritten,
    ) -> Result<Offered, ProvidersError> {
        let ModelWritten {
            name,
            kind,
            context,
            tools,
            images,
            preset,
            temperature,
            top_p,
            max_tokens,
        } = written;
        if temperature.is_some_and(|it| !(0.0..=2.0).contains(&it)) {
            return Err(self.value(&format!("{place}.temperature"), "0 to 2"));
        }
        if top_p.is_some_and(|it| !(0.0..=1.0).contains(&it)) {
            return Err(self.value(&format!("{place}.top_p"), "0 to 1"));
        }
        let kind = match kind {
            ModelKind::Chat => Kind::Chat,
            ModelKind::Embedding => Kind::Embedding,
        };
        if kind == Kind::Embedding && api.wire.embed(&name, &[]).is_none() {
            let must_be = format!("chat: {} has no other models", api.name);
            return Err(self.value(&format!("{place}.kind"), &must_be));
        }
        let own = Preset { temperature, top_p, max_tokens };
        let preset = own.or(preset.map(PresetName::values).unwrap_or_default());
        let (tools, images) = (tools.unwrap_or(true), images.unwrap_or(api.sees));
        Ok(Offered { model: name, kind, context, tools, images, preset })
    }

    /// Puts variables of the environment into a text: `${NAME}`.
    fn expand(&self, key: &str, text: &str) -> Result<String, ProvidersError> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((variable, after)) = after.split_once('}') else {
                return Err(self.value(key, "a text in which each `${` has its `}`"));
            };
            expanded.push_str(before);
            let found = (self.env.0)(variable).filter(|it| !it.reveal().is_empty());
            let Some(value) = found else {
                return Err(ProvidersError::Variable {
                    path: self.path.to_owned(),
                    key: key.to_owned(),
                    variable: variable.chars().take(64).collect(),
                });
            };
            expanded.push_str(value.reveal());
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn shape<T: serde::de::DeserializeOwned>(
        &self,
        place: &str,
        value: Value,
    ) -> Result<T, ProvidersError> {
        // An empty file, or a key with nothing behind it.
        let value = if value.is_null() { Value::Object(serde_json::Map::new()) } else { value };
        serde_json::from_value(value).map_err(|err| self.wrong(place, &err.to_string()))
    }

    fn wrong(&self, place: &str, says: &str) -> ProvidersError {
        let (path, place) = (self.path.to_owned(), place.to_owned());
        ProvidersError::Written { path, place, says: without_values(says) }
    }

    fn value(&self, key: &str, must_be: &str) -> ProvidersError {
        let (path, key) = (self.path.to_owned(), key.to_owned());
        ProvidersError::Value { path, key, must_be: must_be.to_owned() }
    }
}

/// Takes quoted values out of what a reader says: one of them may be a key in the wrong place.
fn without_values(says: &str) -> String {
    let mut quoted = says.split('"');
    let mut told = quoted.next().unwrap_or_default().to_owned();
    while let Some(_value) = quoted.next() {
        told.push('…');
        told.push_str(quoted.next().unwrap_or_default());
    }
    told
}

/// Reads one YAML document without aliases, merged keys and tags of applications.
fn yaml(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 16,
            max_documents: 1,
            max_nodes: 20_000,
            max_events: 80_000,
            max_aliases: 0,
            max_anchors: 0,
            max_merge_keys: 0,
        },
        strict_booleans: true,
        reject_unsupported_tags: true,
    };
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str_with_options(text, options).map_err(|it| {
        // The first line says it; the others draw it, with what stands there.
        let text = it.to_string();
        let first = text.lines().next().unwrap_or_default();
        first.strip_prefix("error: ").unwrap_or(first).to_owned()
    })
}

/// Feeds a file of providers to its reader; returns whether it took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(text: &str) -> bool {
    let env = Environment::new(|name| Some(Secret::new(name.to_owned())));
    Reading { path: "it", env: &env }.file(text).is_ok()
}

#[cfg(test)]
mod tests;
