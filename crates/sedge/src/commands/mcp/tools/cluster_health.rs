//! How the cluster fares (seed 000, HEAD).

use sedge_cluster::ClusterHealth;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Tool, nothing, read};
use crate::api::Api;
use crate::failed::Failed;

pub(super) const TOOL: Tool = Tool {
    name: "edge_computing_cluster_health",
    description: "Get edge cluster health: how many machines there are, which are online or \
                  draining, and how many functions lie on each.",
    input: nothing,
    call,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {}

fn call(api: &Api, arguments: Value) -> Result<Value, Failed> {
    let Arguments {} = read(arguments)?;
    let health: ClusterHealth = api.get("edge-computing/health")?;
    Ok(json!(health))
}
