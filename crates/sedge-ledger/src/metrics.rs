//! How the tasks of this node went: counts and percentiles per capability, in bounded memory.

use std::collections::{BTreeMap, VecDeque};

use sedge_trust::Status;
use serde::Serialize;

/// The most capabilities that are counted apart; further ones count under [`OTHERS`].
const MOST_CAPABILITIES: usize = 256;

/// Times kept per capability: percentiles are over the newest.
const KEPT: usize = 512;

/// The name under which further capabilities are counted.
pub const OTHERS: &str = "(others)";

/// How one capability's tasks went since the node started.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CapabilityMetrics {
    /// Tasks in all.
    pub tasks: u64,
    /// Tasks that did not succeed.
    pub errors: u64,
    /// Share of tasks that succeeded, 0 to 1.
    pub success_rate: f64,
    /// Half of the newest 512 tasks took at most this long, in microseconds.
    pub p50_us: u64,
    /// So did 95 of 100.
    pub p95_us: u64,
    /// So did 99 of 100.
    pub p99_us: u64,
}

/// How the tasks of this node went since it started, by capability.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Metrics {
    /// By capability, the alphabet's order.
    pub capabilities: BTreeMap<String, CapabilityMetrics>,
}

#[derive(Debug, Default)]
struct Window {
    tasks: u64,
    errors: u64,
    times: VecDeque<u64>,
}

/// Counts as receipts are sealed.
#[derive(Debug, Default)]
pub(crate) struct Recorder(BTreeMap<String, Window>);

impl Recorder {
    pub(crate) fn record(&mut self, capability: &str, status: Status, took_us: u64) {
        let known = self.0.contains_key(capability) || self.0.len() < MOST_CAPABILITIES;
        let name = if known { capability } else { OTHERS };
        let window = self.0.entry(name.to_owned()).or_default();
        window.tasks += 1;
        window.errors += u64::from(status != Status::Success);
        if window.times.len() == KEPT {
            window.times.pop_front();
        }
        window.times.push_back(took_us);
    }

    pub(crate) fn metrics(&self) -> Metrics {
        let capabilities = self.0.iter().map(|(name, it)| (name.clone(), it.metrics()));
        Metrics { capabilities: capabilities.collect() }
    }
}

impl Window {
    fn metrics(&self) -> CapabilityMetrics {
        let mut times: Vec<u64> = self.times.iter().copied().collect();
        times.sort_unstable();
        // The nearest-rank percentile: the least time that so many of a hundred do not exceed.
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).copied().unwrap_or(0)
        };
        let Self { tasks, errors, .. } = *self;
        let rate = if tasks == 0 { 0.0 } else { (tasks - errors) as f64 / tasks as f64 };
        let (p50_us, p95_us, p99_us) = (at(50), at(95), at(99));
        CapabilityMetrics { tasks, errors, success_rate: rate, p50_us, p95_us, p99_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_percentiles() {
        let mut recorder = Recorder::default();
        for took in 1..=100 {
            let status = if took <= 25 { Status::Timeout } else { Status::Success };
            recorder.record("fn-1", status, took);
        }
        let got = recorder.metrics().capabilities["fn-1"].clone();
        assert_eq!((got.tasks, got.errors, got.success_rate), (100, 25, 0.75));
        assert_eq!((got.p50_us, got.p95_us, got.p99_us), (50, 95, 99));
    }

    #[test]
    fn memory_is_bounded() {
        let mut recorder = Recorder::default();
        for number in 0..1_000 {
            recorder.record(&format!("fn-{number}"), Status::Success, 1);
            recorder.record("fn-0", Status::Success, 1);
        }
        assert_eq!(recorder.0.len(), MOST_CAPABILITIES + 1);
        assert_eq!(recorder.0["fn-0"].times.len(), KEPT);
        assert_eq!(recorder.0[OTHERS].tasks, 744);
    }
}
