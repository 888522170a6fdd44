//! How invocations went, by function and node (seed 000, `EdgeMetrics`).

use std::collections::BTreeMap;

use sedge_base::Timestamp;
use serde::{Deserialize, Serialize};

use crate::seconds;

/// The most pairs of function and node that are counted apart.
const MOST_PAIRS: usize = 10_000;

/// Under which names further pairs are counted.
const OTHERS: &str = "(others)";

/// One invocation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InvocationRecord {
    /// The function.
    pub function_id: String,
    /// The node.
    pub node_id: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// Whether it gave an answer.
    pub success: bool,
    /// When; written as seconds since 1970.
    #[serde(with = "seconds")]
    pub timestamp: Timestamp,
    /// Why not, if not.
    pub error: String,
}

impl InvocationRecord {
    /// Makes a record without an error's words.
    pub fn new(
        (function_id, node_id): (impl Into<String>, impl Into<String>),
        duration_ms: f64,
        success: bool,
        timestamp: Timestamp,
    ) -> Self {
        let (function_id, node_id) = (function_id.into(), node_id.into());
        Self { function_id, node_id, duration_ms, success, timestamp, error: String::new() }
    }
}

/// How invocations went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricsSummary {
    /// Invocations in all.
    pub total: u64,
    /// The share of successes, in percent; 100 when there was no invocation.
    pub success_rate: f64,
    /// Mean time of all, in milliseconds; 0 when there was none.
    pub avg_latency: f64,
    /// Invocations that gave no answer.
    pub error_count: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    total: u64,
    errors: u64,
    duration_ms: f64,
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            total: self.total.saturating_add(other.total),
            errors: self.errors.saturating_add(other.errors),
            duration_ms: self.duration_ms + other.duration_ms,
        }
    }
}

/// Counts invocations by function and node, in bounded memory: beyond 10,000 pairs of them, further ones are
/// counted together.
#[derive(Debug, Clone, Default)]
pub struct EdgeMetrics(BTreeMap<(String, String), Counts>);

impl EdgeMetrics {
    /// Makes an empty count.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one invocation; a duration that is no number counts as none.
    pub fn record(&mut self, record: &InvocationRecord) {
        let mut pair = (record.function_id.clone(), record.node_id.clone());
        if self.0.len() >= MOST_PAIRS && !self.0.contains_key(&pair) {
            pair = (OTHERS.to_owned(), OTHERS.to_owned());
        }
        let duration = record.duration_ms;
        let duration_ms = if duration.is_finite() && duration > 0.0 { duration } else { 0.0 };
        let one = Counts { total: 1, errors: u64::from(!record.success), duration_ms };
        let counts = self.0.entry(pair).or_default();
        *counts = counts.plus(one);
    }

    /// Returns how many invocations there were, of one function or on one node if they are named.
    pub fn total_invocations(&self, function_id: Option<&str>, node_id: Option<&str>) -> u64 {
        self.sum(function_id, node_id).total
    }

    /// Returns the share of successes in percent; 100 when there was no invocation.
    pub fn success_rate(&self, function_id: Option<&str>) -> f64 {
        rate(self.sum(function_id, None))
    }

    /// Returns the mean time in milliseconds; 0 when there was no invocation.
    pub fn avg_latency_ms(&self, function_id: Option<&str>) -> f64 {
        mean(self.sum(function_id, None))
    }

    /// Returns how many invocations gave no answer.
    pub fn error_count(&self, node_id: Option<&str>) -> u64 {
        self.sum(None, node_id).errors
    }

    /// Returns how all went.
    pub fn summary(&self) -> MetricsSummary {
        self.summary_of(None, None)
    }

    /// Returns how those of one function, or on one node, went.
    pub fn summary_of(&self, function_id: Option<&str>, node_id: Option<&str>) -> MetricsSummary {
        let counts = self.sum(function_id, node_id);
        MetricsSummary {
            total: counts.total,
            success_rate: rate(counts),
            avg_latency: mean(counts),
            error_count: counts.errors,
        }
    }

    fn sum(&self, function_id: Option<&str>, node_id: Option<&str>) -> Counts {
        let wanted = |(function, node): &(String, String)| {
            function_id.is_none_or(|it| it == function) && node_id.is_none_or(|it| it == node)
        };
        let counts = self.0.iter().filter(|it| wanted(it.0)).map(|it| *it.1);
        counts.fold(Counts::default(), Counts::plus)
    }
}

fn rate(counts: Counts) -> f64 {
    match counts.total {
        0 => 100.0,
        total => total.saturating_sub(counts.errors) as f64 / total as f64 * 100.0,
    }
}

fn mean(counts: Counts) -> f64 {
    match counts.total {
        0 => 0.0,
        total => counts.duration_ms / total as f64,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn record(function: &str, node: &str, duration_ms: f64, success: bool) -> InvocationRecord {
        InvocationRecord::new((function, node), duration_ms, success, Timestamp::from_millis(1))
    }

    #[test]
    fn one_well_and_one_failed_is_half() {
        let mut metrics = EdgeMetrics::new();
        assert_eq!((metrics.success_rate(None), metrics.avg_latency_ms(None)), (100.0, 0.0));
        // Vector 000-12.
        metrics.record(&record("fn-1", "edge-1", 10.0, true));
        metrics.record(&record("fn-1", "edge-1", 0.0, false));
        let summary = serde_json::to_value(metrics.summary()).unwrap();
        let expected =
            json!({"total": 2, "success_rate": 50.0, "avg_latency": 5.0, "error_count": 1});
        assert_eq!(summary, expected);
        metrics.record(&record("fn-2", "edge-2", 4.0, true));
        assert_eq!(metrics.total_invocations(Some("fn-1"), None), 2);
        assert_eq!(metrics.total_invocations(Some("fn-1"), Some("edge-2")), 0);
        assert_eq!(
            (metrics.error_count(Some("edge-2")), metrics.success_rate(Some("fn-3"))),
            (0, 100.0)
        );
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_lost() {
        let mut metrics = EdgeMetrics::new();
        for number in 0..MOST_PAIRS + 5 {
            metrics.record(&record(&number.to_string(), "edge-1", 1.0, true));
        }
        assert_eq!(metrics.0.len(), MOST_PAIRS + 1);
        assert_eq!(metrics.total_invocations(None, None), MOST_PAIRS as u64 + 5);
        assert_eq!(metrics.total_invocations(Some(OTHERS), None), 5);
    }

    proptest! {
        #[test]
        fn figures_stay_in_their_ranges(all in proptest::collection::vec((any::<f64>(), any::<bool>()), 0..40)) {
            let mut metrics = EdgeMetrics::new();
            for (duration, success) in &all {
                metrics.record(&record("fn-1", "edge-1", duration.min(1e300), *success));
            }
            let summary = metrics.summary();
            prop_assert_eq!(summary.total, all.len() as u64);
            prop_assert_eq!(summary.error_count, all.iter().filter(|it| !it.1).count() as u64);
            prop_assert!((0.0..=100.0).contains(&summary.success_rate));
            prop_assert!(summary.avg_latency >= 0.0);
        }
    }
}
