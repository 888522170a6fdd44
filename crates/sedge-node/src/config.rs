//! What the owner wrote in `config.toml`: one section per crate, as written and as checked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use sedge_base::{ByteSize, ErrorKind};
use sedge_functions::code::{CodeConfig, CodeSection};
use sedge_functions::{FunctionsConfig, FunctionsSection};
use sedge_gateway::{GatewayConfig, GatewaySection};
use sedge_plugins::{PluginsConfig, PluginsSection};
use sedge_quorum::{QuorumConfig, QuorumSection};
use serde::{Deserialize, Deserializer};

use crate::admission::{AdmissionConfig, AdmissionSection};
use crate::artifacts::{ArtifactsConfig, ArtifactsSection};
use crate::doors::{ServerConfig, ServerSection};
use crate::mesh::{MeshConfig, MeshSection};

/// The whole of `config.toml`, as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigFile {
    /// The node itself.
    pub node: NodeSection,
    /// Wasm functions.
    pub functions: FunctionsSection,
    /// Code that somebody hands in.
    pub code: CodeSection,
    /// What the owner adds to the node.
    pub plugins: PluginsSection,
    /// Models.
    pub gateway: GatewaySection,
    /// Large content.
    pub artifacts: ArtifactsSection,
    /// Who decides for the swarm.
    pub quorum: QuorumSection,
    /// Ways to become a member besides a spoken code.
    pub admission: AdmissionSection,
    /// Doors for other machines' programs.
    pub server: ServerSection,
    /// What the other machines of the swarm get of this one.
    pub mesh: MeshSection,
}

/// `[node]`, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSection {
    /// The name that people see; the machine's host name if empty.
    pub name: String,
    /// Where the machine stands, in the owner's words.
    pub location: String,
    /// Labels for this machine, such as `region = "eu"`.
    pub labels: BTreeMap<String, String>,
    /// Where the mesh listens once the node is paired.
    pub listen: SocketAddr,
    /// Whether nodes on the local network find each other by themselves.
    pub lan_discovery: bool,
    /// How many tasks run at once.
    pub max_tasks: u32,
    /// How many functions lie here at most; what is there stays when the number falls.
    pub max_functions: u32,
    /// How long a task may take when nobody says otherwise.
    #[serde(with = "humantime_serde")]
    pub task_time: Duration,
    /// How often members exchange what they offer and have left.
    #[serde(with = "humantime_serde")]
    pub advert_period: Duration,
    /// Up to so many members, this one included, every member stays connected to every other one; in
    /// a larger swarm to a few, and the rest is told by gossip.
    pub full_mesh: u32,
    /// How much of the inputs of functions is kept, so that their receipts can be replayed, such as
    /// `64MiB`; the oldest go first, and `0B` keeps none.
    #[serde(deserialize_with = "size_from_text")]
    pub keep_inputs: ByteSize,
}

impl Default for NodeSection {
    fn default() -> Self {
        Self {
            name: String::new(),
            location: String::new(),
            labels: BTreeMap::new(),
            listen: SocketAddr::from(([0, 0, 0, 0], 7377)),
            lan_discovery: true,
            max_tasks: 64,
            max_functions: 10_000,
            task_time: Duration::from_secs(300),
            advert_period: Duration::from_secs(2),
            full_mesh: 8,
            keep_inputs: ByteSize::from_mib(64),
        }
    }
}

/// The whole configuration, as checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node itself.
    pub node: NodeConfig,
    /// Wasm functions.
    pub functions: FunctionsConfig,
    /// Code that somebody hands in.
    pub code: CodeConfig,
    /// What the owner adds to the node.
    pub plugins: PluginsConfig,
    /// Models.
    pub gateway: GatewayConfig,
    /// Large content.
    pub artifacts: ArtifactsConfig,
    /// Who decides for the swarm.
    pub quorum: QuorumConfig,
    /// Ways to become a member besides a spoken code.
    pub admission: AdmissionConfig,
    /// Doors for other machines' programs.
    pub server: ServerConfig,
    /// What the other machines of the swarm get of this one.
    pub mesh: MeshConfig,
}

/// `[node]`, as checked.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The name that people see, 1 to 64 visible characters; `None` means the host's name.
    pub name: Option<String>,
    /// Where the machine stands, at most 64 characters; may be empty.
    pub location: String,
    /// At most 32 labels of at most 64 characters each way.
    pub labels: BTreeMap<String, String>,
    /// Where the mesh listens once the node is paired.
    pub listen: SocketAddr,
    /// Whether nodes on the local network find each other by themselves.
    pub lan_discovery: bool,
    /// How many tasks run at once.
    pub max_tasks: NonZeroU32,
    /// How many functions lie here at most: 1 to 10,000.
    pub max_functions: NonZeroU32,
    /// How long a task may take when nobody says otherwise.
    pub task_time: Duration,
    /// How often members exchange what they offer and have left.
    pub advert_period: Duration,
    /// Up to so many members, this one included, every member stays connected to every other one; 128
    /// at most.
    pub full_mesh: usize,
    /// How much of the inputs of functions is kept; none when it is 0.
    pub keep_inputs: ByteSize,
}

/// Why the configuration is refused. It is never repaired or replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not TOML, or a key is unknown or of the wrong type.
    #[error("{path} is wrong:\n{message}")]
    Written {
        /// The file.
        path: String,
        /// Where and what, with the line.
        message: String,
    },
    /// A value cannot be used.
    #[error("`{key}` must be {must_be}")]
    Value {
        /// The key, with its section.
        key: &'static str,
        /// What it must be.
        must_be: String,
    },
}

impl ConfigError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } => ErrorKind::Unavailable,
            Self::Written { .. } | Self::Value { .. } => ErrorKind::Invalid,
        }
    }
}

impl From<sedge_base::ConfigError> for ConfigError {
    fn from(it: sedge_base::ConfigError) -> Self {
        Self::Value { key: it.key, must_be: it.must_be.to_owned() }
    }
}

impl Config {
    /// Reads and checks a configuration file; a file that is not there is an empty one.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`]; the message names the key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ConfigError::Read { path: shown, source }),
        };
        Self::parse(&text, &shown)
    }

    /// Checks the text of a configuration; `path` is for the message.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`]; the message names the key.
    pub fn parse(text: &str, path: &str) -> Result<Self, ConfigError> {
        let file: ConfigFile = toml::from_str(text).map_err(|source| ConfigError::Written {
            path: path.to_owned(),
            message: source.to_string().trim_end().to_owned(),
        })?;
        Ok(Self {
            node: NodeConfig::try_from(file.node)?,
            functions: FunctionsConfig::try_from(file.functions)?,
            code: CodeConfig::try_from(file.code)?,
            plugins: PluginsConfig::try_from(file.plugins)?,
            gateway: GatewayConfig::try_from(file.gateway)?,
            artifacts: ArtifactsConfig::try_from(file.artifacts)?,
            quorum: QuorumConfig::try_from(file.quorum)?,
            admission: AdmissionConfig::try_from(file.admission)?,
            server: ServerConfig::try_from(file.server)?,
            mesh: MeshConfig::try_from(file.mesh)?,
        })
    }
}

impl TryFrom<NodeSection> for NodeConfig {
    type Error = ConfigError;

    fn try_from(section: NodeSection) -> Result<Self, ConfigError> {
        let NodeSection {
            name,
            location,
            labels,
            listen,
            lan_discovery,
            max_tasks,
            max_functions,
            task_time,
            advert_period,
            full_mesh,
            keep_inputs,
        } = section;
        let value = |key, must_be: &str| ConfigError::Value { key, must_be: must_be.to_owned() };
        let max_tasks =
            NonZeroU32::new(max_tasks).ok_or_else(|| value("node.max_tasks", "at least 1"))?;
        let max_functions = NonZeroU32::new(max_functions)
            .filter(|it| it.get() <= MOST_FUNCTIONS)
            .ok_or_else(|| value("node.max_functions", "1 to 10000"))?;
        if task_time.is_zero() {
            return Err(value("node.task_time", "more than nothing"));
        }
        if advert_period < Duration::from_millis(100) {
            return Err(value("node.advert_period", "at least 100ms"));
        }
        let full_mesh = usize::try_from(full_mesh).unwrap_or(usize::MAX);
        if full_mesh > MAX_FULL_MESH {
            return Err(value("node.full_mesh", "at most 128"));
        }
        let short =
            |text: &str| text.chars().count() <= MAX_LABEL && !text.contains(char::is_control);
        if !short(&location) {
            return Err(value("node.location", LABEL_RULE));
        }
        let fits = |(key, text): (&String, &String)| !key.is_empty() && short(key) && short(text);
        if labels.len() > MAX_LABELS || !labels.iter().all(fits) {
            return Err(value("node.labels", LABELS_RULE));
        }
        let name = match name.as_str() {
            "" => None,
            name => Some(check_name(name).ok_or_else(|| value("node.name", NAME_RULE))?),
        };
        Ok(Self {
            name,
            location,
            labels,
            listen,
            lan_discovery,
            max_tasks,
            max_functions,
            task_time,
            advert_period,
            full_mesh,
            keep_inputs,
        })
    }
}

/// The most members that may all be connected with each other.
const MAX_FULL_MESH: usize = 128;

fn size_from_text<'de, D: Deserializer<'de>>(input: D) -> Result<ByteSize, D::Error> {
    String::deserialize(input)?.parse().map_err(serde::de::Error::custom)
}

/// The most functions that a node can be told to take: as many as its store lists.
pub(crate) const MOST_FUNCTIONS: u32 = 10_000;
/// The most labels of a node.
const MAX_LABELS: usize = 32;
/// The most characters of a label's name, its value, or a place.
const MAX_LABEL: usize = 64;
const LABEL_RULE: &str = "at most 64 visible characters";
const LABELS_RULE: &str = "at most 32 names with values, each of at most 64 visible characters";

/// What a node's name must be, in words.
pub(crate) const NAME_RULE: &str = "1 to 64 letters, digits, dots, hyphens or underscores";

/// Returns the name if a node may have it.
pub(crate) fn check_name(name: &str) -> Option<String> {
    let allowed = |it: char| it.is_alphanumeric() || matches!(it, '.' | '-' | '_');
    (!name.is_empty() && name.chars().count() <= 64 && name.chars().all(allowed))
        .then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Expect) {
        let got = match Config::parse(text, "config.toml") {
            Ok(config) => format!("{:?}", config.node),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&got);
    }

    #[test]
    fn an_empty_file_is_the_default() {
        check(
            "",
            expect![[
                r#"NodeConfig { name: None, location: "", labels: {}, listen: 0.0.0.0:7377, lan_discovery: true, max_tasks: 64, max_functions: 10000, task_time: 300s, advert_period: 2s, full_mesh: 8, keep_inputs: ByteSize(67108864) }"#
            ]],
        );
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = Config::parse("[node]\nlisten_on = 1\n", "config.toml").unwrap_err();
        assert!(error.to_string().contains("listen_on"), "{error}");
    }

    #[test]
    fn artifacts_need_room() {
        check(
            "[artifacts]\nlargest = \"0B\"",
            expect!["`artifacts.largest` must be more than nothing"],
        );
        check(
            "[artifacts]\nlargest = \"2MiB\"\nroom = \"1MiB\"",
            expect!["`artifacts.room` must be at least `artifacts.largest`"],
        );
    }

    #[test]
    fn the_mesh_has_limits() {
        check("[mesh]\nmax_members = 1", expect!["`mesh.max_members` must be 2 to 1024"]);
        check("[mesh]\nmax_connections = 0", expect!["`mesh.max_connections` must be 1 to 65536"]);
        check("[mesh]\nmax_streams = 7", expect!["`mesh.max_streams` must be 8 to 256"]);
        check("[mesh]\nmax_addresses = 9000", expect!["`mesh.max_addresses` must be 1 to 8192"]);
        check(
            "[mesh]\ngossip_per_second = 0",
            expect!["`mesh.gossip_per_second` must be 1 to 10000"],
        );
        check(
            "[mesh]\naddresses_per_member = 65",
            expect!["`mesh.addresses_per_member` must be 1 to 64"],
        );
    }

    #[test]
    fn a_wrong_value_is_named() {
        check("[node]\nmax_tasks = 0", expect!["`node.max_tasks` must be at least 1"]);
        check("[node]\nmax_functions = 0", expect!["`node.max_functions` must be 1 to 10000"]);
        check(
            "[node]\nlabels = { \"\" = \"x\" }",
            expect![
                "`node.labels` must be at most 32 names with values, each of at most 64 visible characters"
            ],
        );
        check(
            "[node]\nname = \"a b\"",
            expect!["`node.name` must be 1 to 64 letters, digits, dots, hyphens or underscores"],
        );
    }
}
