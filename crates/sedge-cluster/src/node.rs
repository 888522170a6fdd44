//! A machine of the mesh in the words of the older API (seed 000, `EdgeNode`).

use std::collections::BTreeSet;
use std::time::Duration;

use sedge_base::{NodeId, Timestamp};
use sedge_node::{NodeView, Offer, Presence};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::record::NodeRecord;

/// A node that was not heard of for so long is not healthy (seed 000).
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);

/// The most functions that a registered node takes when nobody says otherwise (seed 000).
const MAX_FUNCTIONS: u32 = 10;

/// More than this is too much, in percent (seed 000).
const OVERLOADED: f64 = 90.0;

/// One MiB, in bytes.
const MIB: f64 = 1_048_576.0;

/// How a node stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeNodeStatus {
    /// It answers.
    #[default]
    Online,
    /// It does not answer, or was marked so.
    Offline,
    /// It was marked so.
    Degraded,
    /// It is known and was not heard of yet, or was marked so.
    Syncing,
    /// It was marked so.
    Maintenance,
}

impl EdgeNodeStatus {
    /// Every status.
    pub const ALL: [Self; 5] =
        [Self::Online, Self::Offline, Self::Degraded, Self::Syncing, Self::Maintenance];

    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Degraded => "degraded",
            Self::Syncing => "syncing",
            Self::Maintenance => "maintenance",
        }
    }
}

/// What a node uses, as it measured it last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceUsage {
    /// Busy share of its processors, in percent.
    pub cpu_percent: f64,
    /// Memory in use, in MiB.
    pub memory_mb: f64,
    /// Memory in all, in MiB; 0 when it is not known.
    pub memory_max_mb: f64,
    /// Functions that lie there.
    pub active_functions: u32,
}

impl ResourceUsage {
    /// Returns the share of memory in use, in percent; 0 when it is not known.
    pub fn memory_percent(&self) -> f64 {
        if self.memory_max_mb > 0.0 { self.memory_mb / self.memory_max_mb * 100.0 } else { 0.0 }
    }

    /// Returns whether more than 90 % of its processors or of its memory are in use.
    pub fn is_overloaded(&self) -> bool {
        self.cpu_percent > OVERLOADED || self.memory_percent() > OVERLOADED
    }
}

/// A node: what somebody said at its registration, and what the mesh knows of it.
///
/// As something to be registered it has an id, which names a member of the swarm, and what is said about it. As
/// something that the cluster returns it is filled with what the member tells of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeNode {
    /// Its id in this cluster: a member's name or id, or what it was registered by.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Where it stands; empty when nobody said.
    #[serde(default)]
    pub location: String,
    /// How it stands.
    #[serde(default)]
    pub status: EdgeNodeStatus,
    /// What it has: names and values of its labels, and names of what it offers.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// What else was said about it; 16 KiB at most.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// The most functions that this cluster puts there; the node's own limit counts besides.
    #[serde(default = "max_functions")]
    pub max_functions: u32,
    /// When it was heard of last; `None` when it never was.
    #[serde(skip)]
    pub last_heartbeat: Option<Timestamp>,
    /// What it uses.
    #[serde(skip)]
    pub resources: ResourceUsage,
    /// The member that it is; `None` before it is registered.
    #[serde(skip)]
    pub member: Option<NodeId>,
}

const fn max_functions() -> u32 {
    MAX_FUNCTIONS
}

/// A node as `EdgeNode.to_dict` writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeDict {
    /// Its id in this cluster.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Where it stands.
    pub location: String,
    /// How it stands.
    pub status: EdgeNodeStatus,
    /// What it has.
    pub capabilities: Vec<String>,
    /// Whether it is online and was heard of within 60 seconds.
    pub healthy: bool,
    /// Seconds since it was heard of, to one decimal; `None` when it never was.
    pub seconds_since_heartbeat: Option<f64>,
}

impl EdgeNode {
    /// Makes a node to be registered, with the seed's defaults.
    pub fn new(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            location: String::new(),
            status: EdgeNodeStatus::Online,
            capabilities: Vec::new(),
            metadata: Map::new(),
            max_functions: MAX_FUNCTIONS,
            last_heartbeat: None,
            resources: ResourceUsage::default(),
            member: None,
        }
    }

    /// Returns how long ago it was heard of.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.last_heartbeat.map(|it| now.since(it))
    }

    /// Returns the seconds since it was heard of.
    pub fn seconds_since_heartbeat(&self, now: Timestamp) -> Option<f64> {
        self.age(now).map(|it| it.as_secs_f64())
    }

    /// Returns whether it is online and was heard of within 60 seconds.
    pub fn is_healthy(&self, now: Timestamp) -> bool {
        self.status == EdgeNodeStatus::Online && self.age(now).is_some_and(|it| it < HEALTHY_WITHIN)
    }

    /// Returns whether it has a capability: a label of that name, or of that name and value (`region=eu`), or
    /// something that it offers.
    pub fn has_capability(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|it| it == capability)
    }

    /// Returns what `EdgeNode.to_dict` has.
    pub fn to_dict(&self, now: Timestamp) -> NodeDict {
        NodeDict {
            id: self.id.clone(),
            name: self.name.clone(),
            location: self.location.clone(),
            status: self.status,
            capabilities: self.capabilities.clone(),
            healthy: self.is_healthy(now),
            seconds_since_heartbeat: self
                .seconds_since_heartbeat(now)
                .map(|it| (it * 10.0).round() / 10.0),
        }
    }

    /// Returns a member as this cluster sees it.
    pub(crate) fn seen(view: &NodeView, record: Option<&NodeRecord>, offers: &[Offer]) -> Self {
        let used = match (view.total_memory, view.free_memory) {
            (Some(total), Some(free)) => total.as_bytes().saturating_sub(free.as_bytes()),
            _ => 0,
        };
        let labels = view.about.placement_labels();
        let mut capabilities: BTreeSet<String> = labels
            .iter()
            .flat_map(|(key, value)| [key.clone(), format!("{key}={value}")])
            .collect();
        let offered = offers.iter().filter(|it| it.node == view.id);
        capabilities.extend(offered.map(|it| it.descriptor.name.to_string()));
        let said = |it: &str| (!it.is_empty()).then(|| it.to_owned());
        Self {
            id: record.map_or_else(|| view.name.clone(), |it| it.id.clone()),
            name: record.map_or_else(|| view.name.clone(), |it| it.name.clone()),
            location: record
                .and_then(|it| said(&it.location))
                .unwrap_or_else(|| view.about.location.clone()),
            status: status_of(view.status, record.and_then(|it| it.mark)),
            capabilities: capabilities.into_iter().collect(),
            metadata: record.map_or_else(Map::new, |it| it.metadata.clone()),
            max_functions: record
                .map(|it| it.max_functions)
                .or(view.about.max_functions)
                .unwrap_or(u32::MAX),
            last_heartbeat: view.last_seen,
            resources: ResourceUsage {
                cpu_percent: view.cpu_percent.map_or(0.0, f64::from),
                memory_mb: used as f64 / MIB,
                memory_max_mb: view.total_memory.map_or(0.0, |it| it.as_bytes() as f64 / MIB),
                active_functions: u32::try_from(view.functions.len()).unwrap_or(u32::MAX),
            },
            member: Some(view.id),
        }
    }
}

/// Returns how a node stands: a mark counts only while the node is there.
const fn status_of(presence: Presence, mark: Option<EdgeNodeStatus>) -> EdgeNodeStatus {
    match (presence, mark) {
        (Presence::Offline, _) => EdgeNodeStatus::Offline,
        (Presence::Online, Some(mark)) => mark,
        (Presence::Online, None) => EdgeNodeStatus::Online,
        (Presence::Connecting, Some(EdgeNodeStatus::Offline)) => EdgeNodeStatus::Offline,
        (Presence::Connecting, _) => EdgeNodeStatus::Syncing,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_of_the_older_api_reads_with_its_defaults() {
        let read: EdgeNode =
            serde_json::from_value(json!({"id": "edge-1", "name": "factory-sensor"})).unwrap();
        assert_eq!(read, EdgeNode::new("edge-1", "factory-sensor"));
        assert_eq!(read.max_functions, 10);
        for wrong in [json!({"id": "edge-1"}), json!({"id": "a", "name": "b", "region": "eu"})] {
            assert!(serde_json::from_value::<EdgeNode>(wrong).is_err());
        }
    }

    #[test]
    fn what_is_told_of_a_node_has_the_older_keys() {
        let now = Timestamp::from_millis(1_000_000);
        let heard = |ago: u64| EdgeNode {
            last_heartbeat: Some(Timestamp::from_millis(1_000_000 - ago)),
            ..EdgeNode::new("edge-1", "factory-sensor")
        };
        assert_eq!(
            serde_json::to_value(heard(1_260).to_dict(now)).unwrap(),
            json!({
                "id": "edge-1", "name": "factory-sensor", "location": "", "status": "online",
                "capabilities": [], "healthy": true, "seconds_since_heartbeat": 1.3,
            })
        );
        assert!(!heard(60_000).is_healthy(now), "the seed compares strictly");
        let away = EdgeNode { status: EdgeNodeStatus::Offline, ..heard(0) };
        assert!(!away.is_healthy(now));
        assert!(!EdgeNode::new("a", "b").is_healthy(now), "it was never heard of");
    }

    #[test]
    fn a_mark_never_makes_a_silent_node_online() {
        use EdgeNodeStatus::{Degraded, Offline, Online, Syncing};
        assert_eq!(status_of(Presence::Offline, Some(Degraded)), Offline);
        assert_eq!(status_of(Presence::Online, None), Online);
        assert_eq!(status_of(Presence::Online, Some(Offline)), Offline);
        assert_eq!(status_of(Presence::Connecting, None), Syncing);
        let names = EdgeNodeStatus::ALL.map(EdgeNodeStatus::name);
        assert_eq!(serde_json::to_value(EdgeNodeStatus::ALL).unwrap(), json!(names));
    }

    #[test]
    fn more_than_nine_tenths_is_too_much() {
        let used = |cpu_percent, memory_mb| ResourceUsage {
            cpu_percent,
            memory_mb,
            memory_max_mb: 1000.0,
            active_functions: 0,
        };
        assert!(!used(90.0, 900.0).is_overloaded());
        assert!(used(90.1, 0.0).is_overloaded());
        assert!(used(0.0, 910.0).is_overloaded());
        assert_eq!(ResourceUsage::default().memory_percent(), 0.0);
    }
}
