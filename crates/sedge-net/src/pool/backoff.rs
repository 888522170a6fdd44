//! How long a failed dial holds back the next one.

use std::time::Duration;

use sedge_base::NodeId;
use tokio::time::Instant;

use crate::dice::Dice;

/// Doubles with each failure, and is spread by dice so that nodes do not move in step.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
    dice: Dice,
    until: Option<Instant>,
}

impl Backoff {
    pub(super) fn new(first: Duration, most: Duration, seed: u64, node: &NodeId) -> Self {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&node.as_bytes()[..8]);
        let dice = Dice::new(seed ^ u64::from_le_bytes(bytes));
        Self { first, most, failures: 0, dice, until: None }
    }

    /// Notes a failure.
    pub(super) fn failed(&mut self, now: Instant) {
        let doubled = self.first.saturating_mul(1 << self.failures.min(16)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        // Between half of it and all of it.
        let half = doubled / 2;
        self.until = Some(now + half + half.mul_f64(self.dice.unit()));
    }

    /// Notes a success, or that there is a reason to try at once.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
        self.until = None;
    }

    /// Returns how long the next dial is still held back, or `None` when it may go.
    pub(super) fn retry_in(&self, now: Instant) -> Option<Duration> {
        self.until?.checked_duration_since(now).filter(|it| !it.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_to_a_limit_and_end_with_a_success() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(first, most, 7, &NodeId::from_bytes([3; 32]));
        let now = Instant::now();
        assert_eq!(backoff.retry_in(now), None);
        for whole in [100, 200, 400, 800, 1000, 1000] {
            backoff.failed(now);
            let wait = backoff.retry_in(now).unwrap();
            let whole = Duration::from_millis(whole);
            assert!(whole / 2 <= wait && wait <= whole, "{wait:?} of {whole:?}");
            assert_eq!(backoff.retry_in(now + whole), None);
        }
        backoff.reset();
        assert_eq!(backoff.retry_in(now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn two_nodes_do_not_wait_alike() {
        let wait = |seed| {
            let second = Duration::from_secs(1);
            let mut backoff = Backoff::new(second, second, seed, &NodeId::from_bytes([3; 32]));
            backoff.failed(Instant::now());
            backoff.retry_in(Instant::now())
        };
        assert_ne!(wait(1), wait(2));
    }
}
