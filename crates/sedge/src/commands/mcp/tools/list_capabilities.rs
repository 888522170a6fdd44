//! The words that the cluster knows (seed 000, HEAD).

use serde::Deserialize;
use serde_json::Value;

use super::{Tool, nothing, read};
use crate::api::Api;
use crate::failed::Failed;

pub(super) const TOOL: Tool = Tool {
    name: "edge_computing_list_capabilities",
    description: "List edge node statuses, deployment strategies and schedule types.",
    input: nothing,
    call,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {}

fn call(api: &Api, arguments: Value) -> Result<Value, Failed> {
    let Arguments {} = read(arguments)?;
    api.get("edge-computing/capabilities")
}
