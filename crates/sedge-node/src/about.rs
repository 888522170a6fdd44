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
}

impl About {
    /// Returns what is to be said about this machine.
    pub(crate) fn here(location: String, labels: BTreeMap<String, String>) -> Self {
        Self {
            location,
            labels,
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, NonZero::get),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
