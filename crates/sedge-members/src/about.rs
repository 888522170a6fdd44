//! What a machine is, and what its owner says about it.

use std::collections::BTreeMap;
use std::num::NonZero;

use serde::{Deserialize, Serialize};

/// A node's place, labels and make: told to the others, proven by nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// Where it stands, in the owner's words; empty when the owner did not say.
    pub location: String,
    /// The owner's labels, such as `region = "eu"` or `gpu = "rtx-4090"`.
    pub labels: BTreeMap<String, String>,
    /// Its operating system, such as `linux`.
    pub os: String,
    /// Its processors' architecture, such as `x86_64`.
    pub arch: String,
    /// Its processors.
    pub cpus: usize,
    /// The program's version.
    pub version: String,
    /// The most functions that it takes; `None` when it did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_functions: Option<u32>,
}

impl About {
    /// Returns what is to be said about this machine.
    pub fn here(location: String, labels: BTreeMap<String, String>, max_functions: u32) -> Self {
        Self {
            location,
            labels,
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, NonZero::get),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            max_functions: Some(max_functions),
        }
    }

    /// Returns what a function may need of this machine: the owner's labels, and the `os` and `arch`
    /// that the owner gave no other word for.
    pub fn placement_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        for (key, value) in [("os", &self.os), ("arch", &self.arch)] {
            labels.entry(key.to_owned()).or_insert_with(|| value.clone());
        }
        labels
    }
}
