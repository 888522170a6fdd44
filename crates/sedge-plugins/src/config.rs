//! `[plugins]`: where plugins lie and what they may be given, as written and as checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sedge_base::{ConfigError, Secret};
use serde::Deserialize;

use crate::right::Right;

/// The most folders that are looked into, beside the home's own.
const MOST_FOLDERS: usize = 16;
/// The most values that plugins may be given, and the longest of them in bytes.
const MOST_VALUES: (usize, usize) = (64, 4096);

/// `[plugins]`, as written in the node's config file.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginsSection {
    /// Whether plugins are looked for at all; none runs before its owner has enabled it.
    pub enabled: bool,
    /// Folders to look into, beside `plugins` in the node's home.
    pub folders: Vec<PathBuf>,
    /// Values for plugins whose right `env:NAME` the owner has agreed to.
    pub env: BTreeMap<String, String>,
}

impl Default for PluginsSection {
    fn default() -> Self {
        Self { enabled: true, folders: Vec::new(), env: BTreeMap::new() }
    }
}

/// `[plugins]`, as checked.
#[derive(Debug, Clone)]
pub struct PluginsConfig {
    /// Whether plugins are looked for at all.
    pub enabled: bool,
    /// At most 16 absolute paths, beside the home's own folder.
    pub folders: Vec<PathBuf>,
    /// At most 64 values of at most 4096 bytes.
    pub(crate) env: BTreeMap<String, Secret<String>>,
}

impl TryFrom<PluginsSection> for PluginsConfig {
    type Error = ConfigError;

    fn try_from(section: PluginsSection) -> Result<Self, ConfigError> {
        let PluginsSection { enabled, folders, env } = section;
        if folders.len() > MOST_FOLDERS || !folders.iter().all(|it| it.is_absolute()) {
            let must_be = "at most 16 paths that begin with /";
            return Err(ConfigError { key: "plugins.folders", must_be });
        }
        let named = |it: &String| format!("env:{it}").parse::<Right>().is_ok();
        let (most, longest) = MOST_VALUES;
        if env.len() > most || !env.iter().all(|(it, value)| named(it) && value.len() <= longest) {
            let must_be = "at most 64 names of letters, digits and underscores, with values of at \
                           most 4096 bytes";
            return Err(ConfigError { key: "plugins.env", must_be });
        }
        let env = env.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
        Ok(Self { enabled, folders, env })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, key: &str) {
        let section: PluginsSection = toml::from_str(text).unwrap();
        assert_eq!(PluginsConfig::try_from(section).unwrap_err().key, key);
    }

    #[test]
    fn what_no_node_can_run_with_is_refused() {
        refused("folders = ['plugins']", "plugins.folders");
        refused("env = { 'a b' = 'x' }", "plugins.env");
        assert!(PluginsConfig::try_from(PluginsSection::default()).is_ok());
    }
}
