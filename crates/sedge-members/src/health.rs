//! How members fare: the rules of seed 000, over what was heard of each.
//!
//! Everything here is judged by this node alone, from what it has heard and when; another node may
//! judge otherwise.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Gauges;
use sedge_base::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

/// A node that was not heard of for so long is not healthy (seed 000, `EdgeNode.is_healthy`).
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);
/// A node that was away for longer may as well go (seed 000, recovery advice).
const GONE_AFTER: Duration = Duration::from_secs(60 * 60);
/// More of the processor or of the memory than this is too much, in percent (seed 000).
const OVERLOADED: f64 = 90.0;
/// Checks that are kept of each node (seed 000, `HealthMonitor`).
const KEPT: usize = 100;
/// Of so many last checks, changes are counted.
const WINDOW: usize = 10;
/// So many changes among them are flapping.
const CHANGES: usize = 3;
/// Fewer checks tell nothing.
const FEWEST: usize = 3;

/// Whether a node can be reached now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It answers.
    Online,
    /// It does not answer.
    Offline,
    /// It was not asked yet.
    Connecting,
}

/// What to do about a node (seed 000, `get_recovery_recommendation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Advice {
    /// It was never checked.
    #[serde(rename = "No data")]
    NoData,
    /// It comes and goes.
    #[serde(rename = "Reboot node (flapping detected)")]
    Reboot,
    /// It has been away for more than an hour.
    #[serde(rename = "Decommission node (offline > 1h)")]
    Decommission,
    /// It is not healthy.
    #[serde(rename = "Investigate connectivity (stale heartbeat)")]
    Investigate,
    /// Nothing.
    #[serde(rename = "Normal")]
    Normal,
}

impl Advice {
    /// Returns the seed's words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoData => "No data",
            Self::Reboot => "Reboot node (flapping detected)",
            Self::Decommission => "Decommission node (offline > 1h)",
            Self::Investigate => "Investigate connectivity (stale heartbeat)",
            Self::Normal => "Normal",
        }
    }
}

/// How a node fares, judged by the node that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// It is online and was heard of within 60 seconds.
    pub healthy: bool,
    /// More than 90 % of its processors or of its memory are in use.
    pub overloaded: bool,
    /// It came and went at least three times in the last ten checks.
    pub flapping: bool,
    /// Seconds since it was last heard of, to one decimal; `None` when it never was.
    pub seconds_since_heartbeat: Option<f64>,
    /// What to do about it.
    pub advice: Advice,
}

/// The last checks of one node: whether it answered.
#[derive(Debug, Clone, Default)]
pub struct Checks(VecDeque<bool>);

impl Checks {
    /// Notes one check.
    pub fn note(&mut self, answered: bool) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(answered);
    }

    /// Returns whether the node came and went too often of late.
    pub fn are_flapping(&self) -> bool {
        let last = self.0.len().saturating_sub(WINDOW);
        let changes =
            self.0.range(last..).zip(self.0.range(last..).skip(1)).filter(|(a, b)| a != b);
        self.0.len() >= FEWEST && changes.count() >= CHANGES
    }
}

impl Health {
    /// Judges a node that was last heard of at `last_seen`.
    pub fn of(
        status: Presence,
        last_seen: Option<Timestamp>,
        gauges: Option<&Gauges>,
        checks: &Checks,
        now: Timestamp,
    ) -> Self {
        let age = last_seen.map(|it| now.since(it));
        let healthy = status == Presence::Online && age.is_some_and(|it| it < HEALTHY_WITHIN);
        let flapping = checks.are_flapping();
        let advice = match age {
            _ if checks.0.is_empty() && age.is_none() => Advice::NoData,
            _ if flapping => Advice::Reboot,
            Some(age) if !healthy && age > GONE_AFTER => Advice::Decommission,
            _ if !healthy => Advice::Investigate,
            _ => Advice::Normal,
        };
        Self {
            healthy,
            overloaded: gauges.is_some_and(is_overloaded),
            flapping,
            seconds_since_heartbeat: age.map(|it| (it.as_secs_f64() * 10.0).round() / 10.0),
            advice,
        }
    }
}

fn is_overloaded(gauges: &Gauges) -> bool {
    f64::from(gauges.cpu_percent) > OVERLOADED || gauges.memory_percent() > OVERLOADED
}

/// The whole swarm at one moment (seed 000, `EdgeCluster.health` and `check_cluster`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SwarmHealth {
    /// Members, whatever their state.
    pub total_nodes: usize,
    /// Those that answer.
    pub online: usize,
    /// Those that take no new work.
    pub draining: usize,
    /// Deployed functions, counted once per node.
    pub total_functions: usize,
    /// Tasks that the reachable nodes finished well since they started.
    pub total_invocations: u64,
    /// Healthy members.
    pub healthy_nodes: usize,
    /// The others.
    pub unhealthy_nodes: usize,
    /// The healthy share, in percent.
    pub health_percent: f64,
    /// Every member.
    pub nodes: Vec<NodeHealth>,
}

/// One member in a [`SwarmHealth`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeHealth {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Whether it answers.
    pub status: Presence,
    /// Functions that are deployed there.
    pub functions: usize,
    /// Whether it takes no new work.
    pub draining: bool,
    /// How it fares.
    #[serde(flatten)]
    pub health: Health,
}

#[cfg(test)]
mod tests {
    use sedge_base::ByteSize;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_millis(10_000_000)
    }

    fn seen(seconds_ago: u64) -> Timestamp {
        Timestamp::from_millis(10_000_000 - seconds_ago * 1000)
    }

    fn checks(answered: &[bool]) -> Checks {
        let mut checks = Checks::default();
        for it in answered {
            checks.note(*it);
        }
        checks
    }

    fn gauges(cpu_percent: f32, used: u64) -> Gauges {
        let total_memory = ByteSize::from_bytes(1000);
        let free_memory = ByteSize::from_bytes(1000 - used);
        Gauges { cpu_percent, free_memory, total_memory, ..Gauges::default() }
    }

    fn judge(status: Presence, age: u64, gauges: &Gauges) -> Health {
        Health::of(status, Some(seen(age)), Some(gauges), &checks(&[true]), now())
    }

    #[test]
    fn row_042_age_61_s_is_unhealthy_and_memory_91_percent_is_overloaded() {
        let idle = gauges(1.0, 100);
        assert!(judge(Presence::Online, 59, &idle).healthy);
        assert!(!judge(Presence::Online, 60, &idle).healthy, "the seed compares strictly");
        assert!(!judge(Presence::Online, 61, &idle).healthy);
        assert!(!judge(Presence::Offline, 0, &idle).healthy);
        assert!(!judge(Presence::Online, 0, &idle).overloaded);
        assert!(!judge(Presence::Online, 0, &gauges(90.0, 900)).overloaded);
        assert!(judge(Presence::Online, 0, &gauges(1.0, 910)).overloaded);
        assert!(judge(Presence::Online, 0, &gauges(91.0, 100)).overloaded);
    }

    #[test]
    fn row_043_ok_bad_ok_bad_is_flapping_and_its_advice_says_so() {
        // Vector 000-14: three changes.
        let four = checks(&[true, false, true, false]);
        assert!(four.are_flapping());
        let health = Health::of(Presence::Offline, Some(seen(5)), None, &four, now());
        assert!(health.flapping);
        assert_eq!(health.advice.words(), "Reboot node (flapping detected)");
        assert!(!checks(&[true, false]).are_flapping(), "too few checks");
        assert!(!checks(&[true, false, true]).are_flapping(), "two changes only");
        let mut calm = four;
        for _ in 0..WINDOW {
            calm.note(true);
        }
        assert!(!calm.are_flapping(), "old changes do not count");
    }

    #[test]
    fn every_other_advice_is_given_too() {
        let advice = |status, seen, checked: &[bool]| {
            Health::of(status, seen, None, &checks(checked), now()).advice
        };
        assert_eq!(advice(Presence::Connecting, None, &[]), Advice::NoData);
        assert_eq!(advice(Presence::Online, Some(seen(1)), &[true]), Advice::Normal);
        assert_eq!(advice(Presence::Offline, Some(seen(100)), &[false]), Advice::Investigate);
        assert_eq!(advice(Presence::Offline, Some(seen(3601)), &[false]), Advice::Decommission);
        let text = serde_json::to_value(Advice::Investigate).unwrap();
        assert_eq!(text, Advice::Investigate.words());
    }

    #[test]
    fn no_more_checks_are_kept_than_a_hundred() {
        let mut many = Checks::default();
        for number in 0..1000 {
            many.note(number % 2 == 0);
        }
        assert_eq!(many.0.len(), KEPT);
    }
}
