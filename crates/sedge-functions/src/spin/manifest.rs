//! `spin.toml`, version 2, as written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Table;

/// The whole file; what is here for its name alone is told to be unsupported by [`super::app`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) spin_manifest_version: u32,
    pub(super) application: Application,
    #[serde(default)]
    pub(super) variables: BTreeMap<String, Variable>,
    #[serde(default)]
    pub(super) trigger: BTreeMap<String, Vec<Table>>,
    #[serde(default)]
    pub(super) component: BTreeMap<String, Component>,
    #[serde(default)]
    pub(super) profile: Table,
}

/// `[application]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what tells people about the application is read and not used")]
pub(super) struct Application {
    pub(super) name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    authors: Vec<String>,
    #[serde(default)]
    targets: Vec<toml::Value>,
    #[serde(default)]
    pub(super) trigger: BTreeMap<String, Table>,
    #[serde(default)]
    tool: Table,
}

/// One of `[variables]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what tells people about a variable is read and not used")]
pub(super) struct Variable {
    pub(super) default: Option<String>,
    #[serde(default)]
    pub(super) required: bool,
    #[serde(default)]
    pub(super) secret: bool,
    #[serde(default)]
    description: String,
}

/// One of `[[trigger.http]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a trigger's own name is read and not used")]
pub(super) struct HttpTrigger {
    #[serde(default)]
    id: String,
    pub(super) route: toml::Value,
    pub(super) component: Option<toml::Value>,
    pub(super) components: Option<toml::Value>,
    pub(super) dependencies: Option<toml::Value>,
    pub(super) executor: Option<Table>,
    pub(super) static_response: Option<StaticResponse>,
}

/// One of `[[trigger.cron]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a trigger's own name is read and not used")]
pub(super) struct CronTrigger {
    #[serde(default)]
    id: String,
    pub(super) component: String,
    pub(super) cron_expression: String,
}

/// One of `[[trigger.redis]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a trigger's own name is read and not used")]
pub(super) struct RedisTrigger {
    #[serde(default)]
    id: String,
    pub(super) component: String,
    pub(super) channel: String,
    /// `[application.trigger.redis]` has it when it is not here.
    pub(super) address: Option<String>,
}

/// A fixed answer in place of a component.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StaticResponse {
    pub(super) status_code: Option<u16>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) body: String,
}

/// One of `[component]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "how a component is made is the affair of other tools")]
pub(super) struct Component {
    pub(super) source: Source,
    #[serde(default)]
    description: String,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) variables: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    pub(super) allowed_http_hosts: Vec<String>,
    #[serde(default)]
    pub(super) files: Vec<toml::Value>,
    #[serde(default)]
    exclude_files: Vec<String>,
    #[serde(default)]
    pub(super) key_value_stores: Vec<String>,
    #[serde(default)]
    pub(super) sqlite_databases: Vec<String>,
    #[serde(default)]
    pub(super) ai_models: Vec<String>,
    #[serde(default)]
    pub(super) dependencies: Table,
    #[serde(default)]
    dependencies_inherit_configuration: bool,
    #[serde(default)]
    targets: Vec<toml::Value>,
    #[serde(default)]
    build: Table,
    #[serde(default)]
    tool: Table,
    #[serde(default)]
    pub(super) profile: Table,
}

/// Where a component's file is.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Source {
    /// Beside the manifest.
    File(PathBuf),
    /// At a server or a registry.
    Elsewhere {},
}
