//! The one list of tools. A new tool is its own file and one line here.

mod cluster_health;
mod health_check;
mod list_capabilities;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::Api;
use crate::failed::Failed;
use sedge_base::ErrorKind;

/// One tool.
pub(super) struct Tool {
    /// Its name.
    pub(super) name: &'static str,
    /// What it does, for the agent.
    pub(super) description: &'static str,
    /// Returns what it takes, as a JSON schema of an object.
    pub(super) input: fn() -> Value,
    /// Asks the node. What it returns is an object.
    pub(super) call: fn(&Api, Value) -> Result<Value, Failed>,
}

/// Every tool.
pub(super) const TOOLS: &[&Tool] =
    &[&cluster_health::TOOL, &list_capabilities::TOOL, &health_check::TOOL];

/// Returns the schema of a tool that takes nothing.
fn nothing() -> Value {
    object(json!({}))
}

/// Returns the schema of an object with these properties and no others.
fn object(properties: Value) -> Value {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// Reads what a tool was given.
fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, Failed> {
    serde_json::from_value(arguments)
        .map_err(|err| Failed::new(ErrorKind::Invalid, format!("the arguments are wrong: {err}")))
}
