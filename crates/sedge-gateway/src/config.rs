//! What the owner wrote in `[gateway]`: as written and as checked.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use sedge_base::{ConfigError, Secret};
use serde::{Deserialize, Deserializer};

use crate::catalog::{DEFAULT_CHAT, DEFAULT_EMBEDDING};
use crate::sources::{SourceSettings, is_loopback};

/// `[gateway]`, as written in the node's config file.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySection {
    /// The chat model: the name of a known or own model, the path of a GGUF file, or `none`.
    pub chat: String,
    /// The embedding model: the name of a known model, or `none`.
    pub embedding: String,
    /// How many threads a model computes with; 0 means one less than the machine has cores.
    pub threads: u32,
    /// The longest conversation in tokens, question and answer together; 0 means the model's own.
    pub context: u32,
    /// When models are loaded.
    pub load: LoadWhen,
    /// After how long without a task a model leaves memory; `0s` means never.
    #[serde(with = "humantime_serde")]
    pub idle_unload: Duration,
    /// The file of providers, seen from the home unless it begins with a slash; `providers.yaml` of
    /// the home, if it is there, when nothing is said.
    pub providers: Option<PathBuf>,
    /// Where model files come from.
    pub sources: SourcesSection,
}

/// When models are loaded into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadWhen {
    /// When the first task needs them.
    #[default]
    FirstUse,
    /// When the node starts.
    Start,
}

/// `[gateway.sources]`, as written in the node's config file.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourcesSection {
    /// Whether the network must not be used for model files.
    pub offline: bool,
    /// A folder of this machine with model files under their usual names.
    pub folder: Option<PathBuf>,
    /// The model hub's address.
    pub hub: String,
    /// What the hub knows you by; only needed for models that ask for it.
    #[serde(deserialize_with = "secret")]
    pub hub_token: Option<Secret<String>>,
    /// Web folders with model files under their usual names.
    pub mirrors: Vec<String>,
    /// A file of certificates (PEM) to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// Whether Python's package mirror may be asked.
    pub pip: bool,
    /// The Python that runs pip.
    pub python: PathBuf,
    /// How long a server may stay silent before the connection counts as broken.
    #[serde(with = "humantime_serde")]
    pub stall: Duration,
    /// How long pip may take altogether.
    #[serde(with = "humantime_serde")]
    pub pip_time: Duration,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret<String>>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(Secret::new))
}

impl Default for GatewaySection {
    fn default() -> Self {
        Self {
            chat: DEFAULT_CHAT.to_owned(),
            embedding: DEFAULT_EMBEDDING.to_owned(),
            threads: 0,
            context: 4096,
            load: LoadWhen::FirstUse,
            idle_unload: Duration::from_secs(600),
            providers: None,
            sources: SourcesSection::default(),
        }
    }
}

impl Default for SourcesSection {
    fn default() -> Self {
        let SourceSettings {
            offline,
            folder,
            hub,
            hub_token,
            mirrors,
            ca_file,
            stall,
            pip_time,
            ..
        } = SourceSettings::default();
        let python = PathBuf::from("python3");
        Self {
            offline,
            folder,
            hub,
            hub_token,
            mirrors,
            ca_file,
            pip: true,
            python,
            stall,
            pip_time,
        }
    }
}

/// Which model, as checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// None at all.
    Nothing,
    /// The known or own model of that name.
    Named(String),
    /// A GGUF file of this machine, taken onto the shelf.
    File(PathBuf),
}

/// `[gateway]`, as checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayConfig {
    /// The chat model.
    pub chat: Choice,
    /// The embedding model.
    pub embedding: Choice,
    /// How many threads a model computes with; `None` leaves it to the machine.
    pub threads: Option<NonZeroU32>,
    /// The longest conversation in tokens; `None` leaves it to the model.
    pub context: Option<NonZeroU32>,
    /// When models are loaded.
    pub load: LoadWhen,
    /// After how long without a task a model leaves memory.
    pub idle_unload: Option<Duration>,
    /// The file of providers, which has to be there when it is named.
    pub providers: Option<PathBuf>,
    /// Where model files come from.
    pub sources: SourceSettings,
}

impl TryFrom<GatewaySection> for GatewayConfig {
    type Error = ConfigError;

    fn try_from(section: GatewaySection) -> Result<Self, ConfigError> {
        let GatewaySection {
            chat,
            embedding,
            threads,
            context,
            load,
            idle_unload,
            providers,
            sources,
        } = section;
        let wrong = |key, must_be| ConfigError { key, must_be };
        let chat = choice(chat).ok_or_else(|| {
            wrong("gateway.chat", "a model's name, the path of a GGUF file, or `none`")
        })?;
        let embedding = match choice(embedding) {
            Some(it @ (Choice::Nothing | Choice::Named(_))) => it,
            Some(Choice::File(_)) | None => {
                return Err(wrong("gateway.embedding", "a model's name or `none`"));
            }
        };
        if threads > 256 {
            return Err(wrong("gateway.threads", "at most 256"));
        }
        if !idle_unload.is_zero() && idle_unload < Duration::from_secs(1) {
            return Err(wrong("gateway.idle_unload", "`0s` or at least 1s"));
        }
        Ok(Self {
            chat,
            embedding,
            threads: NonZeroU32::new(threads),
            context: NonZeroU32::new(context),
            load,
            idle_unload: (!idle_unload.is_zero()).then_some(idle_unload),
            providers,
            sources: SourceSettings::try_from(sources)?,
        })
    }
}

fn choice(text: String) -> Option<Choice> {
    match text.as_str() {
        "" => None,
        "none" => Some(Choice::Nothing),
        path if path.contains('/') || path.ends_with(".gguf") => Some(Choice::File(text.into())),
        _ => Some(Choice::Named(text)),
    }
}

impl TryFrom<SourcesSection> for SourceSettings {
    type Error = ConfigError;

    fn try_from(section: SourcesSection) -> Result<Self, ConfigError> {
        let SourcesSection {
            offline,
            folder,
            hub,
            hub_token,
            mirrors,
            ca_file,
            pip,
            python,
            stall,
            pip_time,
        } = section;
        let wrong = |key, must_be| ConfigError { key, must_be };
        let address = "an address that begins with https:// or http://";
        let hub = web(&hub).ok_or_else(|| wrong("gateway.sources.hub", address))?;
        if hub_token.is_some() && !hub.starts_with("https://") && !is_loopback(&hub) {
            return Err(wrong("gateway.sources.hub", "https:// when `hub_token` is set"));
        }
        let mirrors: Option<Vec<_>> = mirrors.iter().map(|it| web(it)).collect();
        let mirrors = mirrors.ok_or_else(|| wrong("gateway.sources.mirrors", address))?;
        if stall < Duration::from_secs(1) {
            return Err(wrong("gateway.sources.stall", "at least 1s"));
        }
        if pip_time < Duration::from_secs(1) {
            return Err(wrong("gateway.sources.pip_time", "at least 1s"));
        }
        let python = pip.then_some(python);
        Ok(Self { offline, folder, hub, hub_token, mirrors, ca_file, python, stall, pip_time })
    }
}

/// Returns a web address without the slash at its end, if it is one.
pub(crate) fn web(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/');
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    (!rest.is_empty() && !rest.contains(char::is_whitespace)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Expect) {
        let section = toml::from_str::<GatewaySection>(text).map_err(|it| it.message().to_owned());
        let config =
            section.and_then(|it| GatewayConfig::try_from(it).map_err(|it| it.to_string()));
        expected.assert_eq(&config.map_or_else(|err| err, |it| format!("{it:?}")));
    }

    #[test]
    fn an_empty_section_is_the_default() {
        check(
            "",
            expect![[
                r#"GatewayConfig { chat: Named("smollm2-135m-instruct"), embedding: Named("all-minilm-l6-v2"), threads: None, context: Some(4096), load: FirstUse, idle_unload: Some(600s), providers: None, sources: SourceSettings { offline: false, folder: None, hub: "https://huggingface.co", hub_token: None, mirrors: [], ca_file: None, python: Some("python3"), stall: 10s, pip_time: 1800s } }"#
            ]],
        );
    }

    #[test]
    fn a_token_is_not_printed() {
        let text = "sources.hub_token = \"secret\"\nchat = \"./my.gguf\"\nembedding = \"none\"\nsources.pip = false";
        check(
            text,
            expect![[
                r#"GatewayConfig { chat: File("./my.gguf"), embedding: Nothing, threads: None, context: Some(4096), load: FirstUse, idle_unload: Some(600s), providers: None, sources: SourceSettings { offline: false, folder: None, hub: "https://huggingface.co", hub_token: Some(…), mirrors: [], ca_file: None, python: None, stall: 10s, pip_time: 1800s } }"#
            ]],
        );
    }

    #[test]
    fn wrong_values_name_their_key() {
        check(
            "chat = \"\"",
            expect!["`gateway.chat` must be a model's name, the path of a GGUF file, or `none`"],
        );
        check(
            "embedding = \"a/b\"",
            expect!["`gateway.embedding` must be a model's name or `none`"],
        );
        check(
            "idle_unload = \"1ms\"",
            expect!["`gateway.idle_unload` must be `0s` or at least 1s"],
        );
        check(
            "sources.hub = \"hub\"",
            expect![
                "`gateway.sources.hub` must be an address that begins with https:// or http://"
            ],
        );
        check(
            "sources = { hub = \"http://a.b\", hub_token = \"t\" }",
            expect!["`gateway.sources.hub` must be https:// when `hub_token` is set"],
        );
        check(
            "sources.mirrors = [\"ftp://a\"]",
            expect![
                "`gateway.sources.mirrors` must be an address that begins with https:// or http://"
            ],
        );
        check(
            "chatt = \"x\"",
            expect![
                "unknown field `chatt`, expected one of `chat`, `embedding`, `threads`, `context`, `load`, `idle_unload`, `providers`, `sources`"
            ],
        );
    }
}
