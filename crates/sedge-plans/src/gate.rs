//! Whether a canary goes on: pure, from what was measured of the new version and of the old one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::measured::Measured;

/// What a new version has to show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gate {
    /// Tasks that it must have ended before anything is judged; 1 at least.
    pub calls: u64,
    /// The least share of them that ended well, in percent, 0 to 100.
    pub success: f64,
    /// The most that its p95 may be, as a multiple of the old version's; above 0. Not judged while the
    /// old version has fewer tasks than `calls`.
    pub p95: f64,
    /// How long it is watched, in milliseconds, however many tasks there are.
    pub window_ms: u64,
    /// How long it may take until there are as many tasks as are needed, in milliseconds.
    pub patience_ms: u64,
}

impl Default for Gate {
    fn default() -> Self {
        Self { calls: 20, success: 95.0, p95: 2.0, window_ms: 30_000, patience_ms: 600_000 }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Watch on.
    Wait,
    /// Give it to the others.
    Pass,
    /// Bring the old version back; why, in words.
    Fail(String),
}

impl Gate {
    /// Returns the key that cannot be used, and what it must be.
    pub fn wrong(&self) -> Option<&'static str> {
        if self.calls == 0 {
            return Some("`calls` is at least 1");
        }
        if !(0.0..=100.0).contains(&self.success) {
            return Some("`success` is 0 to 100");
        }
        if !(self.p95.is_finite() && self.p95 > 0.0) {
            return Some("`p95` is above 0");
        }
        (self.patience_ms < self.window_ms).then_some("the patience is no shorter than the window")
    }

    /// Judges a new version that was watched for so long.
    pub fn judge(&self, new: &Measured, old: &Measured, watched: Duration) -> Verdict {
        if new.calls < self.calls {
            if watched < Duration::from_millis(self.patience_ms) {
                return Verdict::Wait;
            }
            return Verdict::Fail(format!(
                "the new version had {} tasks, {} are needed to judge it",
                new.calls, self.calls
            ));
        }
        let success = new.success_percent();
        if success < self.success {
            return Verdict::Fail(format!(
                "{} of {} tasks of the new version failed: {success:.1} % success, {} % are needed",
                new.failed, new.calls, self.success
            ));
        }
        if let (Some(new), Some(was)) = (new.p95_us(), old.p95_us())
            && old.calls >= self.calls
            && new as f64 > was as f64 * self.p95
        {
            return Verdict::Fail(format!(
                "p95 of the new version is {new} µs, of the old one {was} µs: more than {} times",
                self.p95
            ));
        }
        match watched < Duration::from_millis(self.window_ms) {
            true => Verdict::Wait,
            false => Verdict::Pass,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(calls: u64, failed: u64, took_us: u64) -> Measured {
        let took_us = vec![took_us; (calls - failed) as usize];
        Measured { calls, failed, took_us, ..Measured::default() }
    }

    #[track_caller]
    fn check(new: &Measured, old: &Measured, seconds: u64, expected: &str) {
        let got = match Gate::default().judge(new, old, Duration::from_secs(seconds)) {
            Verdict::Wait => "wait".to_owned(),
            Verdict::Pass => "pass".to_owned(),
            Verdict::Fail(why) => why,
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn a_canary_is_judged_by_its_tasks() {
        let old = measured(100, 0, 100);
        let none = Measured::default();
        check(&measured(20, 0, 100), &old, 29, "wait");
        check(&measured(20, 1, 100), &old, 30, "pass");
        check(&measured(20, 0, 999), &none, 30, "pass");
        check(&measured(19, 19, 100), &old, 599, "wait");
        check(
            &measured(19, 0, 100),
            &old,
            600,
            "the new version had 19 tasks, 20 are needed to judge it",
        );
        check(
            &measured(20, 10, 100),
            &old,
            1,
            "10 of 20 tasks of the new version failed: 50.0 % success, 95 % are needed",
        );
        check(
            &measured(20, 0, 201),
            &old,
            1,
            "p95 of the new version is 201 µs, of the old one 100 µs: more than 2 times",
        );
        check(&measured(20, 0, 200), &old, 30, "pass");
    }

    #[test]
    fn a_gate_that_cannot_be_used_is_told() {
        assert_eq!(Gate::default().wrong(), None);
        assert!(Gate { calls: 0, ..Gate::default() }.wrong().is_some());
        assert!(Gate { success: 101.0, ..Gate::default() }.wrong().is_some());
        assert!(Gate { p95: f64::NAN, ..Gate::default() }.wrong().is_some());
        assert!(Gate { patience_ms: 1, ..Gate::default() }.wrong().is_some());
    }
}
