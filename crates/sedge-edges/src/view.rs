//! What others are shown of an edge.

use std::collections::BTreeMap;

use sedge_base::Timestamp;
use serde::Serialize;

use crate::registration::{EdgeId, Tool};

/// How busy an edge says it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct EdgeMetrics {
    /// Tools that run now.
    pub active_tools: u32,
    /// The busy share of its processors, 0 to 100; 0 when it does not say.
    pub cpu_percent: f64,
    /// Memory of its program, in bytes; 0 when it does not say.
    pub memory_bytes: u64,
    /// How long its program runs, in seconds; 0 when it does not say.
    pub uptime_s: u64,
}

/// One connected edge.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EdgeView {
    /// Its id.
    pub id: EdgeId,
    /// What people call it; may be empty.
    pub name: String,
    /// The version of its program; may be empty.
    pub version: String,
    /// When its link began.
    pub connected_at: Timestamp,
    /// When it was last heard, by whatever it said.
    pub last_heard: Timestamp,
    /// What it can run.
    pub tools: Vec<Tool>,
    /// The kinds of channels that it serves.
    pub channels: Vec<String>,
    /// How busy it says it is; `None` before its first heartbeat.
    pub metrics: Option<EdgeMetrics>,
    /// Free entries.
    pub metadata: BTreeMap<String, String>,
}
