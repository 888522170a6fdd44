//! Checks of nodes by their heartbeats, and what to do about each (seed 000, `HealthMonitor`).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sedge_base::Timestamp;
use sedge_node::Advice;
use serde::{Deserialize, Serialize};

use crate::node::{EdgeNode, EdgeNodeStatus};
use crate::seconds;

/// Checks that are kept of each node (seed 000).
const KEPT: usize = 100;

/// Nodes of which checks are kept: more than a swarm has.
const MOST_NODES: usize = 10_000;

/// So many changes are flapping (seed 000).
const CHANGES: usize = 3;

/// Fewer checks tell nothing (seed 000).
const FEWEST: usize = 3;

/// A node that was silent for longer may as well go (seed 000).
const GONE_AFTER: Duration = Duration::from_secs(60 * 60);

/// How long a node may be silent when nobody says otherwise (seed 000).
pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(60);

/// One check of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The node.
    pub node_id: String,
    /// Whether it was heard of in time, and is not offline.
    pub healthy: bool,
    /// How long ago it was heard of, in milliseconds, which is what the older API calls so; `None` when it never
    /// was.
    pub latency_ms: Option<f64>,
    /// When; written as seconds since 1970.
    #[serde(with = "seconds")]
    pub checked_at: Timestamp,
    /// What was seen.
    pub details: CheckDetails,
}

/// What a check saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckDetails {
    /// How the node stands.
    pub status: EdgeNodeStatus,
    /// Seconds since it was heard of; `None` when it never was.
    pub heartbeat_age_seconds: Option<f64>,
    /// Where it stands.
    pub location: String,
}

/// One check among those of all nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// The node.
    pub node_id: String,
    /// Whether it was heard of in time, and is not offline.
    pub healthy: bool,
    /// How long ago it was heard of, in milliseconds; `None` when it never was.
    pub latency_ms: Option<f64>,
}

/// A check of all nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterCheck {
    /// Nodes.
    pub total_nodes: usize,
    /// Healthy ones.
    pub healthy_nodes: usize,
    /// The others.
    pub unhealthy_nodes: usize,
    /// The healthy share, in percent; 100 when there is no node.
    pub health_percent: f64,
    /// The checks.
    pub checks: Vec<Checked>,
}

/// What was checked so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MonitorSummary {
    /// Nodes of which checks are kept.
    pub monitored_nodes: usize,
    /// Checks that are kept.
    pub total_checks: usize,
    /// How long a node may be silent, in seconds.
    pub timeout_seconds: f64,
}

/// Checks nodes, and remembers the last hundred checks of each.
#[derive(Debug, Clone)]
pub struct HealthMonitor {
    timeout: Duration,
    checks: BTreeMap<String, VecDeque<HealthCheck>>,
}

impl Default for HealthMonitor {
    /// Makes one that lets a node be silent for 60 seconds.
    fn default() -> Self {
        Self::new(HEARTBEAT_TIMEOUT)
    }
}

impl HealthMonitor {
    /// Makes one that lets a node be silent for so long.
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout, checks: BTreeMap::new() }
    }

    /// Lets a node be silent for so long from now on.
    pub const fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Checks a node.
    pub fn check_node(&mut self, node: &EdgeNode, now: Timestamp) -> HealthCheck {
        let age = node.age(now);
        let in_time = age.is_some_and(|it| it < self.timeout);
        let check = HealthCheck {
            node_id: node.id.clone(),
            healthy: in_time && node.status != EdgeNodeStatus::Offline,
            latency_ms: age.map(|it| it.as_secs_f64() * 1000.0),
            checked_at: now,
            details: CheckDetails {
                status: node.status,
                heartbeat_age_seconds: age.map(|it| it.as_secs_f64()),
                location: node.location.clone(),
            },
        };
        if self.checks.len() < MOST_NODES || self.checks.contains_key(&node.id) {
            let kept = self.checks.entry(node.id.clone()).or_default();
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(check.clone());
        }
        check
    }

    /// Checks every node, and forgets those that are no longer among them.
    pub fn check_cluster(&mut self, nodes: &[EdgeNode], now: Timestamp) -> ClusterCheck {
        self.checks.retain(|id, _| nodes.iter().any(|it| it.id == *id));
        let checks: Vec<_> = nodes
            .iter()
            .map(|it| {
                let HealthCheck { node_id, healthy, latency_ms, .. } = self.check_node(it, now);
                Checked { node_id, healthy, latency_ms }
            })
            .collect();
        let (total_nodes, healthy_nodes) =
            (checks.len(), checks.iter().filter(|it| it.healthy).count());
        ClusterCheck {
            total_nodes,
            healthy_nodes,
            unhealthy_nodes: total_nodes - healthy_nodes,
            health_percent: match total_nodes {
                0 => 100.0,
                all => healthy_nodes as f64 / all as f64 * 100.0,
            },
            checks,
        }
    }

    /// Returns the last checks of a node, the newest last; the seed's usual limit is 10.
    pub fn get_history(&self, node_id: &str, limit: usize) -> Vec<HealthCheck> {
        self.last(node_id, limit).cloned().collect()
    }

    /// Returns whether a node came and went three times or more in its last checks; the seed's usual window is 10.
    pub fn detect_flapping(&self, node_id: &str, window: usize) -> bool {
        let seen: Vec<_> = self.last(node_id, window).map(|it| it.healthy).collect();
        let changes = seen.windows(2).filter(|it| it[0] != it[1]).count();
        seen.len() >= FEWEST && changes >= CHANGES
    }

    /// Returns what to do about a node, by its last checks.
    pub fn get_recovery_recommendation(&self, node_id: &str) -> Advice {
        let Some(last) = self.last(node_id, 1).next() else { return Advice::NoData };
        let gone = GONE_AFTER.as_secs_f64();
        match last.details.heartbeat_age_seconds {
            _ if self.detect_flapping(node_id, 10) => Advice::Reboot,
            Some(age) if age > gone => Advice::Decommission,
            _ if !last.healthy => Advice::Investigate,
            _ => Advice::Normal,
        }
    }

    /// Returns what was checked so far.
    pub fn summary(&self) -> MonitorSummary {
        MonitorSummary {
            monitored_nodes: self.checks.len(),
            total_checks: self.checks.values().map(VecDeque::len).sum(),
            timeout_seconds: self.timeout.as_secs_f64(),
        }
    }

    fn last(&self, node_id: &str, limit: usize) -> impl Iterator<Item = &HealthCheck> {
        let kept = self.checks.get(node_id);
        let from = kept.map_or(0, |it| it.len().saturating_sub(limit));
        kept.into_iter().flat_map(move |it| it.range(from..))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const START: u64 = 100_000_000;

    fn node(seconds_ago: u64, status: EdgeNodeStatus) -> EdgeNode {
        EdgeNode {
            last_heartbeat: Some(Timestamp::from_millis(START - seconds_ago * 1000)),
            status,
            ..EdgeNode::new("edge-1", "sensor")
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(START)
    }

    fn checked(ages: &[u64]) -> HealthMonitor {
        let mut monitor = HealthMonitor::default();
        for age in ages {
            monitor.check_node(&node(*age, EdgeNodeStatus::Online), now());
        }
        monitor
    }

    #[test]
    fn a_node_is_healthy_while_it_was_heard_of_in_time_and_is_not_offline() {
        let mut monitor = HealthMonitor::default();
        assert!(monitor.check_node(&node(59, EdgeNodeStatus::Degraded), now()).healthy);
        assert!(!monitor.check_node(&node(60, EdgeNodeStatus::Online), now()).healthy);
        assert!(!monitor.check_node(&node(0, EdgeNodeStatus::Offline), now()).healthy);
        assert!(!monitor.check_node(&EdgeNode::new("edge-1", "sensor"), now()).healthy);
        monitor.set_timeout(Duration::from_secs(61));
        let check = monitor.check_node(&node(60, EdgeNodeStatus::Online), now());
        assert_eq!((check.healthy, check.latency_ms), (true, Some(60_000.0)));
    }

    #[test]
    fn ok_bad_ok_bad_is_flapping_and_every_advice_is_given() {
        // Vector 000-14.
        let flapping = checked(&[1, 99, 1, 99]);
        assert!(flapping.detect_flapping("edge-1", 10));
        assert!(!flapping.detect_flapping("edge-1", 3), "two changes in the window");
        let advice = |it: &HealthMonitor| it.get_recovery_recommendation("edge-1").words();
        assert_eq!(advice(&flapping), "Reboot node (flapping detected)");
        assert_eq!(advice(&HealthMonitor::default()), "No data");
        assert_eq!(advice(&checked(&[3601])), "Decommission node (offline > 1h)");
        assert_eq!(advice(&checked(&[100])), "Investigate connectivity (stale heartbeat)");
        assert_eq!(advice(&checked(&[1])), "Normal");
    }

    #[test]
    fn a_check_of_all_has_the_older_keys() {
        let mut monitor = HealthMonitor::default();
        let none = monitor.check_cluster(&[], now());
        assert_eq!((none.total_nodes, none.health_percent), (0, 100.0));
        let all = monitor.check_cluster(&[node(1, EdgeNodeStatus::Online)], now());
        assert_eq!(
            serde_json::to_value(all).unwrap(),
            json!({
                "total_nodes": 1, "healthy_nodes": 1, "unhealthy_nodes": 0, "health_percent": 100.0,
                "checks": [{"node_id": "edge-1", "healthy": true, "latency_ms": 1000.0}],
            })
        );
        assert_eq!(
            serde_json::to_value(monitor.summary()).unwrap(),
            json!({"monitored_nodes": 1, "total_checks": 1, "timeout_seconds": 60.0})
        );
    }

    proptest! {
        #[test]
        fn history_is_bounded_and_flapping_is_three_changes(
            ages in proptest::collection::vec(prop_oneof![Just(1_u64), Just(99)], 0..150),
            window in 0..20_usize,
        ) {
            let monitor = checked(&ages);
            let history = monitor.get_history("edge-1", usize::MAX);
            prop_assert_eq!(history.len(), ages.len().min(KEPT));
            let last = &ages[ages.len().saturating_sub(window)..];
            let changes = last.windows(2).filter(|it| it[0] != it[1]).count();
            prop_assert_eq!(monitor.detect_flapping("edge-1", window), changes >= 3);
        }
    }
}
