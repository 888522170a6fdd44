//! How much one member may do in a time (token bucket).

use std::time::Duration;

/// So much per second, and so much at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How many in a second, for long; more than 0.
    pub per_second: f64,
    /// How many at once after a rest; at least 1.
    pub burst: f64,
}

/// What one member has left.
#[derive(Debug, Clone)]
pub struct Quota {
    left: f64,
    at: Duration,
}

impl Quota {
    /// Returns a member that has rested.
    pub const fn full(rate: Rate, now: Duration) -> Self {
        Self { left: rate.burst, at: now }
    }

    /// Takes one; returns how long to wait when nothing is left. `now` is counted from any moment,
    /// always the same one.
    pub fn take(&mut self, rate: Rate, now: Duration) -> Option<Duration> {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * rate.per_second).min(rate.burst);
        if self.left < 1.0 {
            return Some(Duration::from_secs_f64((1.0 - self.left) / rate.per_second));
        }
        self.left -= 1.0;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate { per_second: 10.0, burst: 3.0 };
        let mut quota = Quota::full(rate, Duration::ZERO);
        let now = Duration::from_secs(1);
        assert!((0..3).all(|_| quota.take(rate, now).is_none()));
        assert_eq!(quota.take(rate, now), Some(Duration::from_millis(100)));
        assert_eq!(quota.take(rate, now + Duration::from_millis(101)), None);
        assert!(quota.take(rate, now + Duration::from_millis(102)).is_some());
        let rested = now + Duration::from_secs(60);
        assert!((0..3).all(|_| quota.take(rate, rested).is_none()));
        assert!(quota.take(rate, rested).is_some());
    }
}
