//! A function in the words of the older API (seed 000, `EdgeFunction`).

use std::collections::BTreeMap;

use bytes::Bytes;
use sedge_base::{ByteSize, ErrorKind};
use sedge_capability::{Budgets, Name};
use sedge_node::DeployOptions;
use serde::{Deserialize, Serialize};

use crate::node::EdgeNode;

/// The longest time that a function may be given, in seconds: a day.
const MAX_SECONDS: f64 = 86_400.0;

/// The longest name, in bytes.
const MAX_NAME: usize = 128;

/// The most memory that a function may be given, in MiB.
const MAX_MEMORY_MB: u64 = 4096;

/// How a function runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EdgeLimits {
    /// Its name, for people; its id when it is left out.
    pub name: String,
    /// The most memory of one run, in MiB: 1 to 4,096.
    pub memory_mb: u64,
    /// The longest time of one run, in seconds; it is stopped in the middle. Above 0, a day at most.
    pub timeout_seconds: f64,
    /// The environment that it sees.
    pub environment: BTreeMap<String, String>,
    /// What a node must have to get it: a label, `label=value`, or a name of what it offers.
    pub required_capabilities: Vec<String>,
}

impl Default for EdgeLimits {
    /// Returns the seed's defaults: 128 MiB, 30 seconds.
    fn default() -> Self {
        Self {
            name: String::new(),
            memory_mb: 128,
            timeout_seconds: 30.0,
            environment: BTreeMap::new(),
            required_capabilities: Vec::new(),
        }
    }
}

/// A function: a Wasm component and how it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeFunction {
    /// Its id: the name that the mesh knows it by.
    pub id: Name,
    /// The component's bytes, which the older API calls its handler.
    pub handler: Bytes,
    /// How it runs.
    pub limits: EdgeLimits,
}

/// Why a function cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FunctionError {
    /// Its name is too long.
    #[error("`name` has 128 bytes at most")]
    Name,
    /// Its memory is out of range.
    #[error("`memory_mb` is 1 to 4096")]
    Memory,
    /// Its time is out of range.
    #[error("`timeout_seconds` is above 0, and a day at most")]
    Timeout,
    /// What it needs cannot be read.
    #[error("`{need}` is no capability: {why}")]
    Need {
        /// Which.
        need: String,
        /// Why.
        why: sedge_routing::NeedError,
    },
}

impl FunctionError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl EdgeFunction {
    /// Makes a function with the seed's defaults.
    pub fn new(id: Name, handler: impl Into<Bytes>) -> Self {
        Self { id, handler: handler.into(), limits: EdgeLimits::default() }
    }

    /// Returns its name, for people.
    pub fn name(&self) -> &str {
        if self.limits.name.is_empty() { self.id.as_str() } else { &self.limits.name }
    }

    /// Returns whether a node has everything that it requires.
    pub fn can_run_on(&self, node: &EdgeNode) -> bool {
        self.limits.required_capabilities.iter().all(|it| node.has_capability(it))
    }
}

impl EdgeLimits {
    /// Returns how the mesh is to run it.
    ///
    /// # Errors
    ///
    /// See [`FunctionError`].
    pub fn options(&self) -> Result<DeployOptions, FunctionError> {
        if self.name.len() > MAX_NAME {
            return Err(FunctionError::Name);
        }
        if !(1..=MAX_MEMORY_MB).contains(&self.memory_mb) {
            return Err(FunctionError::Memory);
        }
        if !(self.timeout_seconds > 0.0 && self.timeout_seconds <= MAX_SECONDS) {
            return Err(FunctionError::Timeout);
        }
        let millis = (self.timeout_seconds * 1000.0).ceil() as u64;
        let needs = self.required_capabilities.iter().map(|need| {
            need.parse().map_err(|why| FunctionError::Need { need: need.clone(), why })
        });
        Ok(DeployOptions {
            limits: Budgets {
                memory: Some(ByteSize::from_mib(self.memory_mb)),
                time_ms: Some(millis),
                ..Budgets::default()
            },
            env: self.environment.clone(),
            needs: needs.collect::<Result<_, _>>()?,
            ..DeployOptions::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_function_of_the_older_api_has_its_defaults_and_its_limits_become_the_meshs() {
        let limits: EdgeLimits = serde_json::from_value(json!({})).unwrap();
        assert_eq!((limits.memory_mb, limits.timeout_seconds), (128, 30.0));
        let options = limits.options().unwrap();
        assert_eq!(options.limits.memory, Some(ByteSize::from_mib(128)));
        assert_eq!(options.limits.time_ms, Some(30_000));
        let some = json!({"timeout_seconds": 0.25, "environment": {"A": "1"}, "required_capabilities": ["gpu"]});
        let options = serde_json::from_value::<EdgeLimits>(some).unwrap().options().unwrap();
        assert_eq!((options.limits.time_ms, options.env["A"].as_str()), (Some(250), "1"));
        assert_eq!(options.needs[0].to_string(), "gpu");
    }

    #[test]
    fn limits_that_cannot_be_used_are_told() {
        let wrong = |limits: EdgeLimits| limits.options().unwrap_err().to_string();
        let usual = EdgeLimits::default;
        assert_eq!(wrong(EdgeLimits { memory_mb: 0, ..usual() }), "`memory_mb` is 1 to 4096");
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 90_000.0] {
            let limits = EdgeLimits { timeout_seconds: seconds, ..usual() };
            assert_eq!(limits.options().unwrap_err(), FunctionError::Timeout);
        }
        let limits = EdgeLimits { name: "x".repeat(129), ..usual() };
        assert_eq!(limits.options().unwrap_err(), FunctionError::Name);
        let limits = EdgeLimits { required_capabilities: vec![String::new()], ..usual() };
        assert_eq!(limits.options().unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn it_runs_where_everything_is_that_it_requires() {
        let mut function = EdgeFunction::new("fn-1".parse().unwrap(), "wasm");
        let mut node = EdgeNode::new("edge-1", "sensor");
        assert!(function.can_run_on(&node));
        function.limits.required_capabilities = vec!["gpu".to_owned(), "region=eu".to_owned()];
        node.capabilities = vec!["gpu".to_owned()];
        assert!(!function.can_run_on(&node));
        node.capabilities.push("region=eu".to_owned());
        assert!(function.can_run_on(&node));
        assert_eq!(function.name(), "fn-1");
    }
}
