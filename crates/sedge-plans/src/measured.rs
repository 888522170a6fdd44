//! How one version of a function fares: counted from when it was offered.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use sedge_capability::End;
use sedge_trust::receipt::Status;
use serde::{Deserialize, Serialize};

/// The last tasks whose times are kept.
const KEPT: usize = 200;

/// What was seen of one version on one or more nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Tasks that ended; those that the requester broke off are not counted.
    pub calls: u64,
    /// Those among them that failed.
    pub failed: u64,
    /// How long the last successful ones took, in microseconds; 200 per node at most.
    pub took_us: Vec<u64>,
    /// How long all successful ones took together, in microseconds.
    #[serde(default)]
    pub total_us: u64,
    /// Those before the first success, and that success.
    #[serde(default)]
    pub cold: u64,
}

impl Measured {
    /// Adds what was seen elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failed = self.failed.saturating_add(other.failed);
        self.took_us.extend(&other.took_us);
        self.total_us = self.total_us.saturating_add(other.total_us);
        self.cold = self.cold.saturating_add(other.cold);
    }

    /// Returns the share of tasks that ended well, in percent; 100 when there were none (seed 000,
    /// `EdgeMetrics.success_rate`).
    pub fn success_percent(&self) -> f64 {
        match self.calls {
            0 => 100.0,
            calls => calls.saturating_sub(self.failed) as f64 / calls as f64 * 100.0,
        }
    }

    /// Returns the time within which 95 of 100 successful tasks ended, in microseconds.
    pub fn p95_us(&self) -> Option<u64> {
        let mut sorted = self.took_us.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * 95).div_ceil(100);
        sorted.get(rank.checked_sub(1)?).copied()
    }
}

/// Counts the tasks of one version.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    calls: u64,
    failed: u64,
    took_us: VecDeque<u64>,
    total_us: u64,
    cold: u64,
}

impl Tally {
    /// Counts a task that ended.
    pub fn note(&self, end: &End) {
        if end.status == Status::Cancelled {
            return;
        }
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.calls += 1;
        counted.cold += u64::from(end.usage.cold == Some(true));
        if end.failure.is_some() {
            counted.failed += 1;
            return;
        }
        counted.total_us = counted.total_us.saturating_add(end.usage.took_us);
        if counted.took_us.len() == KEPT {
            counted.took_us.pop_front();
        }
        counted.took_us.push_back(end.usage.took_us);
    }

    /// Returns what was counted.
    pub fn measured(&self) -> Measured {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Counted { calls, failed, total_us, cold, .. } = *counted;
        let took_us = counted.took_us.iter().copied().collect();
        Measured { calls, failed, took_us, total_us, cold }
    }
}

#[cfg(test)]
mod tests {
    use sedge_base::ErrorKind;
    use sedge_capability::{Failure, Usage};

    use super::*;

    #[test]
    fn tasks_are_counted_and_the_oldest_times_go() {
        let tally = Tally::default();
        assert_eq!((tally.measured().success_percent(), tally.measured().p95_us()), (100.0, None));
        for took_us in 1..=300 {
            tally.note(&End::success(Usage { took_us, ..Usage::default() }));
        }
        // Vector 000-12 in the proportion: one well, one failed.
        let failure = Failure::new(ErrorKind::Failed, "trap", "it trapped");
        for status in [Status::Error, Status::Cancelled] {
            tally.note(&End::failed(status, failure.clone(), Usage::default()));
        }
        let measured = tally.measured();
        assert_eq!((measured.calls, measured.failed, measured.total_us), (301, 1, 45_150));
        assert_eq!(measured.p95_us(), Some(290), "of 101 to 300");
        let half = Measured { calls: 2, failed: 1, took_us: vec![10], ..Measured::default() };
        assert!((half.success_percent() - 50.0).abs() < f64::EPSILON);
        assert_eq!(half.p95_us(), Some(10));
    }
}
