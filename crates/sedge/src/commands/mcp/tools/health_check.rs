//! A check of every machine by its heartbeat (seed 000, HEAD).

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Tool, object, read};
use crate::api::Api;
use crate::failed::Failed;

pub(super) const TOOL: Tool = Tool {
    name: "edge_computing_health_check",
    description: "Check every machine by its heartbeat now, and get a recovery recommendation for \
                  each.",
    input,
    call,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    #[serde(default = "minute")]
    heartbeat_timeout_seconds: f64,
}

const fn minute() -> f64 {
    60.0
}

fn input() -> Value {
    object(json!({
        "heartbeat_timeout_seconds": {
            "type": "number",
            "exclusiveMinimum": 0,
            "default": minute(),
            "description": "Seconds of silence after which a machine is not healthy.",
        },
    }))
}

fn call(api: &Api, arguments: Value) -> Result<Value, Failed> {
    let Arguments { heartbeat_timeout_seconds: seconds } = read(arguments)?;
    api.get(&format!("edge-computing/health-check?heartbeat_timeout_seconds={seconds}"))
}
