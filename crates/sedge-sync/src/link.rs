//! How good the link to a peer is, by what was transferred over it, and what that means for sending.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::tensor::Form;

/// How many measurements count.
const SAMPLES: usize = 10;

/// The shortest answer that measures the bandwidth, in bytes; a shorter one measures the latency.
pub(crate) const LEAST_MEASURED: usize = 2 << 10;

/// The most that one measurement counts for, in bits per second: twice what an excellent link has,
/// so that one burst out of a buffer does not outshine nine slow ones.
const MOST_COUNTED: f64 = 20e6;

/// How a link fares (origins 4.1, adaptive compressor).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Above 10 Mbit/s and below 50 ms.
    Excellent,
    /// Above 1 Mbit/s and below 200 ms.
    Good,
    /// Above 0.1 Mbit/s and below 500 ms.
    Poor,
    /// Worse.
    Critical,
}

/// How what is sent is made smaller (origins 4.1, `TensorCodec`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Not at all.
    None,
    /// LZ4.
    Fast,
    /// DEFLATE, level 9.
    High,
    /// Tensors in 8 bit, everything else as [`Level::High`].
    Quantized8,
    /// Tensors in 4 bit, everything else as [`Level::High`].
    Quantized4,
}

/// The last measurements of a link.
#[derive(Debug, Clone, Default)]
pub struct LinkMeter {
    bandwidth: VecDeque<f64>,
    latency: VecDeque<f64>,
    /// Short answers since the last long one.
    unmeasured: u32,
}

/// What is known of a link.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LinkView {
    /// How it fares.
    pub condition: Condition,
    /// How what is sent over it is made smaller.
    pub level: Level,
    /// The mean of the last ten measured bandwidths, in bits per second, each counted as 20 Mbit/s at
    /// most; `None` before the first.
    pub bits_per_second: Option<f64>,
    /// The mean of the last ten measured latencies, in milliseconds; `None` before the first.
    pub latency_ms: Option<f64>,
}

impl Condition {
    /// Returns how a link of this bandwidth (bits per second) and latency (milliseconds) fares.
    pub fn of(bits_per_second: f64, latency_ms: f64) -> Self {
        let above = |mbit: f64, ms: f64| bits_per_second > mbit * 1e6 && latency_ms < ms;
        match () {
            () if above(10.0, 50.0) => Self::Excellent,
            () if above(1.0, 200.0) => Self::Good,
            () if above(0.1, 500.0) => Self::Poor,
            () => Self::Critical,
        }
    }
}

impl Level {
    /// Returns the level for a link that fares so.
    pub const fn of(condition: Condition) -> Self {
        match condition {
            Condition::Excellent => Self::None,
            Condition::Good => Self::Fast,
            Condition::Poor => Self::Quantized8,
            Condition::Critical => Self::Quantized4,
        }
    }

    /// Returns the size that the seed expects, as a share of the original.
    pub const fn estimated_ratio(self) -> f64 {
        match self {
            Self::None => 1.0,
            Self::Fast => 0.5,
            Self::High => 0.3,
            Self::Quantized8 => 0.15,
            Self::Quantized4 => 0.08,
        }
    }

    /// Returns the level for what must arrive as it was: text is never quantised.
    #[must_use]
    pub const fn lossless(self) -> Self {
        match self {
            Self::Quantized8 | Self::Quantized4 => Self::High,
            it => it,
        }
    }

    /// Returns the form in which tensors travel.
    pub const fn form(self) -> Form {
        match self {
            Self::None | Self::Fast | Self::High => Form::Exact,
            Self::Quantized8 => Form::EightBit,
            Self::Quantized4 => Form::FourBit,
        }
    }
}

impl LinkMeter {
    /// Notes an answer of so many bytes, from the question to the last byte's arrival.
    ///
    /// A short one measures the latency, a long one the bandwidth: by what it took beyond the mean
    /// latency. When its first byte came tells nothing, since what is encrypted in one piece arrives
    /// in one piece.
    pub fn answered(&mut self, bytes: usize, within: Duration) {
        if bytes < LEAST_MEASURED {
            push(&mut self.latency, within.as_secs_f64() * 1e3);
            self.unmeasured = self.unmeasured.saturating_add(1);
        } else {
            let bits = bytes as f64 * 8.0;
            let latency = mean(&self.latency).unwrap_or(0.0) / 1e3;
            let seconds = (within.as_secs_f64() - latency).max(1e-6);
            push(&mut self.bandwidth, (bits / seconds).min(MOST_COUNTED));
            self.unmeasured = 0;
        }
    }

    /// Returns how many short answers came since the last long one.
    pub(crate) const fn unmeasured(&self) -> u32 {
        self.unmeasured
    }

    /// Returns what is known. A link that was not measured yet counts as good: nothing is lost, and
    /// little is wasted.
    pub fn view(&self) -> LinkView {
        let (bits_per_second, latency_ms) = (mean(&self.bandwidth), mean(&self.latency));
        let condition = match (bits_per_second, latency_ms) {
            (Some(bandwidth), Some(latency)) => Condition::of(bandwidth, latency),
            _ => Condition::Good,
        };
        LinkView { condition, level: Level::of(condition), bits_per_second, latency_ms }
    }
}

fn push(samples: &mut VecDeque<f64>, sample: f64) {
    if samples.len() == SAMPLES {
        samples.pop_front();
    }
    samples.push_back(sample);
}

fn mean(samples: &VecDeque<f64>) -> Option<f64> {
    (!samples.is_empty()).then(|| samples.iter().sum::<f64>() / samples.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mbit: f64, ms: f64, condition: Condition, level: Level) {
        assert_eq!(Condition::of(mbit * 1e6, ms), condition);
        assert_eq!(Level::of(condition), level);
    }

    #[test]
    fn bounds_belong_to_the_worse_side() {
        check(10.1, 49.9, Condition::Excellent, Level::None);
        check(10.0, 49.9, Condition::Good, Level::Fast);
        check(10.1, 50.0, Condition::Good, Level::Fast);
        check(1.0, 10.0, Condition::Poor, Level::Quantized8);
        check(50.0, 200.0, Condition::Poor, Level::Quantized8);
        check(0.1, 10.0, Condition::Critical, Level::Quantized4);
        check(50.0, 500.0, Condition::Critical, Level::Quantized4);
    }

    #[test]
    fn the_mean_of_ten_counts() {
        let mut meter = LinkMeter::default();
        assert_eq!(meter.view().level, Level::Fast, "unknown");
        let short = Duration::from_millis(10);
        let long = Duration::from_millis(1010);
        meter.answered(100, short);
        for _ in 0..10 {
            meter.answered(25_000, long);
        }
        assert_eq!(meter.view().level, Level::Quantized8, "0.2 Mbit/s");
        meter.answered(1 << 30, long);
        let view = meter.view();
        assert_eq!(view.condition, Condition::Good, "(20 + 9 * 0.2) / 10 = 2.18");
        meter.answered(100, short);
        assert_eq!(meter.view(), view, "too short to tell");
        for _ in 0..9 {
            meter.answered(1 << 30, long);
        }
        assert_eq!(meter.view().condition, Condition::Excellent);
    }
}
