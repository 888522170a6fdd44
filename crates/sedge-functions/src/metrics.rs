//! How often a function was called, how it went and how long it took.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// How many of the last durations are kept for the percentiles.
const KEPT: usize = 1024;

/// Counts of one function since it was deployed; the names are those of origins 1.1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Stats {
    /// Calls that ended, well or badly.
    pub calls: u64,
    /// Calls that gave an answer; absent, like all that follows, when there was no call at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub successes: Option<u64>,
    /// Calls that gave none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<u64>,
    /// Mean time of the successes, in milliseconds; 0 when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avg_latency_ms: Option<f64>,
    /// Calls before the first success, and that success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cold_starts: Option<u64>,
}

/// Rates and percentiles of one function since it was deployed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Metrics {
    /// Calls that ended, well or badly.
    pub calls: u64,
    /// Calls that gave an answer.
    pub successes: u64,
    /// Calls that gave none.
    pub errors: u64,
    /// Successes in percent of the calls, 0 to 100; 100 when there was no call at all.
    pub success_percent: f64,
    /// Median time of the last 1,024 calls, in milliseconds; 0 when there was none.
    pub p50_ms: f64,
    /// The time that 95 of 100 of the last 1,024 calls stayed within, in milliseconds.
    pub p95_ms: f64,
}

/// Keeps what [`Stats`] and [`Metrics`] are made of.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    successes: u64,
    errors: u64,
    cold_starts: u64,
    time_of_successes: Duration,
    last: VecDeque<Duration>,
}

impl Recorder {
    /// Counts a call that ended.
    pub(crate) fn ended(&self, success: bool, took: Duration, cold: bool) {
        let mut record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if success {
            record.successes += 1;
            record.time_of_successes = record.time_of_successes.saturating_add(took);
        } else {
            record.errors += 1;
        }
        record.cold_starts += u64::from(cold);
        if record.last.len() == KEPT {
            record.last.pop_front();
        }
        record.last.push_back(took);
    }

    /// Returns the counts.
    pub(crate) fn stats(&self) -> Stats {
        let record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = record.successes + record.errors;
        if calls == 0 {
            return Stats::default();
        }
        let avg = match record.successes {
            0 => 0.0,
            some => record.time_of_successes.as_secs_f64() * 1e3 / some as f64,
        };
        Stats {
            calls,
            successes: Some(record.successes),
            errors: Some(record.errors),
            avg_latency_ms: Some(avg),
            cold_starts: Some(record.cold_starts),
        }
    }

    /// Returns the rates and percentiles.
    pub(crate) fn metrics(&self) -> Metrics {
        let (successes, errors, mut last) = {
            let record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (record.successes, record.errors, Vec::from_iter(record.last.iter().copied()))
        };
        last.sort_unstable();
        let calls = successes + errors;
        let success_percent = match calls {
            0 => 100.0,
            some => successes as f64 * 100.0 / some as f64,
        };
        Metrics {
            calls,
            successes,
            errors,
            success_percent,
            p50_ms: percentile(&last, 50).as_secs_f64() * 1e3,
            p95_ms: percentile(&last, 95).as_secs_f64() * 1e3,
        }
    }
}

/// Returns the nearest-rank percentile of sorted durations; zero when there are none.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_078_ten_calls_of_which_two_fail() {
        let recorder = Recorder::default();
        for ms in 1..=10 {
            recorder.ended(ms % 5 != 0, Duration::from_millis(ms), ms == 1);
        }
        let expected = Metrics {
            calls: 10,
            successes: 8,
            errors: 2,
            success_percent: 80.0,
            p50_ms: 5.0,
            p95_ms: 10.0,
        };
        assert_eq!(recorder.metrics(), expected);
    }

    #[test]
    fn stats_have_the_keys_of_the_seed() {
        let recorder = Recorder::default();
        assert_eq!(serde_json::to_string(&recorder.stats()).unwrap(), r#"{"calls":0}"#);
        recorder.ended(false, Duration::from_millis(9), true);
        recorder.ended(true, Duration::from_millis(2), true);
        recorder.ended(true, Duration::from_millis(4), false);
        assert_eq!(
            serde_json::to_string(&recorder.stats()).unwrap(),
            r#"{"calls":3,"successes":2,"errors":1,"avg_latency_ms":3.0,"cold_starts":2}"#
        );
    }

    #[test]
    fn only_the_last_durations_are_kept() {
        let recorder = Recorder::default();
        for _ in 0..KEPT {
            recorder.ended(true, Duration::from_secs(1), false);
        }
        for _ in 0..KEPT {
            recorder.ended(true, Duration::from_millis(1), false);
        }
        assert_eq!(recorder.metrics().p95_ms, 1.0);
        assert_eq!(recorder.metrics().calls, 2048);
    }

    #[test]
    fn nothing_called_is_no_error() {
        let metrics = Recorder::default().metrics();
        assert_eq!((metrics.success_percent, metrics.p50_ms), (100.0, 0.0));
    }
}
