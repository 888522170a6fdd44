//! `[code]`: what code that somebody hands in may use, as written and as checked.

use std::num::NonZeroU32;

use sedge_base::{ByteSize, ConfigError};
use serde::{Deserialize, Deserializer};

/// `[code]`, as written in the node's config file.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodeSection {
    /// Whether this node runs code that others hand in.
    pub enabled: bool,
    /// The most memory of one run, such as `256MiB`.
    #[serde(deserialize_with = "size_from_text")]
    pub memory: ByteSize,
    /// How many runs of one language there may be at the same time.
    pub max_concurrent: u32,
    /// A cloud that code may be sent to.
    pub cloud: CloudSection,
}

/// `[code.cloud]`, as written: a cloud that speaks E2B's protocol.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CloudSection {
    /// Whether code may leave this machine for it.
    pub enabled: bool,
    /// Where machines are begun and ended.
    pub api: String,
    /// Where a machine is talked to; `{id}` stands for its name.
    pub sandbox: String,
}

impl Default for CloudSection {
    fn default() -> Self {
        Self {
            enabled: false,
            api: "https://api.e2b.app".to_owned(),
            sandbox: "https://49999-{id}.e2b.app".to_owned(),
        }
    }
}

impl Default for CodeSection {
    fn default() -> Self {
        let memory = ByteSize::from_mib(256);
        Self { enabled: true, memory, max_concurrent: 8, cloud: CloudSection::default() }
    }
}

/// `[code]`, as checked.
#[derive(Debug, Clone)]
pub struct CodeConfig {
    /// Whether this node runs code that others hand in.
    pub enabled: bool,
    /// How many runs of one language there may be at the same time.
    pub max_concurrent: NonZeroU32,
    pub(crate) memory: ByteSize,
    pub(crate) cloud: CloudConfig,
}

/// `[code.cloud]`, as checked.
#[derive(Debug, Clone)]
pub(crate) struct CloudConfig {
    pub(crate) enabled: bool,
    /// Without a slash at its end.
    pub(crate) api: String,
    /// Without a slash at its end.
    pub(crate) sandbox: String,
}

impl CloudConfig {
    /// Returns whether the cloud is this very machine.
    pub(crate) fn is_local(&self) -> bool {
        is_local(&self.api) && is_local(&self.sandbox)
    }
}

/// Returns whether an address begins with this machine's own, in the clear.
fn is_local(url: &str) -> bool {
    url.strip_prefix("http://127.0.0.1:")
        .is_some_and(|it| it.split('/').next().is_some_and(|it| it.parse::<u16>().is_ok()))
}

impl TryFrom<CodeSection> for CodeConfig {
    type Error = ConfigError;

    fn try_from(section: CodeSection) -> Result<Self, ConfigError> {
        let CodeSection { enabled, memory, max_concurrent, cloud } = section;
        let wrong = |key, must_be| ConfigError { key, must_be };
        let max_concurrent = NonZeroU32::new(max_concurrent)
            .ok_or_else(|| wrong("code.max_concurrent", "at least 1"))?;
        if memory < ByteSize::from_mib(16) {
            return Err(wrong("code.memory", "at least 16MiB"));
        }
        // Code and keys do not cross a network in the clear.
        let safe = |it: &str| it.starts_with("https://") || is_local(it);
        if !safe(&cloud.api) {
            return Err(wrong("code.cloud.api", "an address that begins with https://"));
        }
        if !safe(&cloud.sandbox) {
            return Err(wrong("code.cloud.sandbox", "an address that begins with https://"));
        }
        let bare = |it: String| it.trim_end_matches('/').to_owned();
        let CloudSection { enabled: leaves, api, sandbox } = cloud;
        let cloud = CloudConfig { enabled: leaves, api: bare(api), sandbox: bare(sandbox) };
        Ok(Self { enabled, max_concurrent, memory, cloud })
    }
}

fn size_from_text<'de, D: Deserializer<'de>>(input: D) -> Result<ByteSize, D::Error> {
    String::deserialize(input)?.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Expect) {
        let section = toml::from_str::<CodeSection>(text).map_err(|it| it.message().to_owned());
        let config = section.and_then(|it| CodeConfig::try_from(it).map_err(|it| it.to_string()));
        expected.assert_eq(&config.map_or_else(|it| it, |it| format!("{it:?}")));
    }

    #[test]
    fn what_no_program_can_run_with_is_refused() {
        check("memory = \"1MiB\"", expect!["`code.memory` must be at least 16MiB"]);
        check("max_concurrent = 0", expect!["`code.max_concurrent` must be at least 1"]);
        for api in ["http://api.e2b.app", "http://127.0.0.1:1@evil/", "http://127.0.0.1.evil/"] {
            let wrong = expect!["`code.cloud.api` must be an address that begins with https://"];
            check(&format!("[cloud]\napi = \"{api}\""), wrong);
        }
    }
}
