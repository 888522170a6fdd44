//! How fit this node itself is: who is short of processor or network must not blame others for it
//! (local health of Lifeguard, Dadgar et al. 2018).

use std::time::Duration;

/// The worst score; waits grow up to nine times.
const WORST: u32 = 8;
/// Steps that a question and its answer take through this node's own queues, with a dial and its proofs:
/// each of them comes as late as a timer does.
const STEPS: u32 = 16;
/// Timers are as exact as this: so much later is not late.
const RESOLUTION: Duration = Duration::from_millis(1);
/// The most by which this node is taken to be late: a machine may have slept for hours.
const LATEST: Duration = Duration::from_secs(5);

/// What this node notices of its own condition.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Health {
    /// Grows with every probe that stays unanswered, falls with every answer.
    score: u32,
    /// How late its timers come: at once the worst, then slowly less.
    late: Duration,
}

impl Health {
    /// Notes by how much a timer came too late.
    pub(crate) fn woken(&mut self, late: Duration) {
        let late = late.saturating_sub(RESOLUTION);
        let faded = (self.late * 3 + late) / 4;
        self.late = late.max(faded).min(LATEST);
    }

    /// Notes that a probe was answered.
    pub(super) const fn answered(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// Notes that nobody answered, or that others thought this node dead.
    pub(super) fn doubted(&mut self) {
        self.score = (self.score + 1).min(WORST);
    }

    /// Returns how long to wait for an answer instead of `wait`.
    pub(crate) fn stretch(&self, wait: Duration) -> Duration {
        self.allow(wait.saturating_mul(1 + self.score))
    }

    /// Returns how long a suspect has to object instead of `wait`: questions that stayed unanswered are no
    /// reason to wait longer, because one of them may have been to it.
    pub(super) fn allow(&self, wait: Duration) -> Duration {
        wait.saturating_add(self.late * STEPS)
    }

    /// Returns how often to do what is done every `period`: not faster than this node keeps up.
    pub(super) fn pace(&self, period: Duration) -> Duration {
        period.max(self.late)
    }

    /// Returns whether this node comes too late to tell something that takes so long.
    pub(super) fn too_late(&self, wait: Duration) -> bool {
        self.late > wait / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_is_fit_waits_no_longer() {
        let mut health = Health::default();
        health.answered();
        health.woken(RESOLUTION);
        assert_eq!(health.stretch(SECOND), SECOND);
        assert!(!health.too_late(SECOND));
    }

    #[test]
    fn who_is_late_waits_longer_and_recovers() {
        let mut health = Health::default();
        health.woken(SECOND + RESOLUTION);
        assert_eq!(health.stretch(SECOND), 17 * SECOND);
        assert!(health.too_late(SECOND));
        (0..40).for_each(|_| health.woken(Duration::ZERO));
        assert!(health.stretch(SECOND) < SECOND + SECOND / 100, "{health:?}");
    }

    #[test]
    fn waits_are_bounded() {
        let mut health = Health::default();
        (0..100).for_each(|_| health.doubted());
        assert_eq!(health.stretch(SECOND), 9 * SECOND);
        assert_eq!(health.allow(SECOND), SECOND);
        health.woken(Duration::MAX / 8);
        assert_eq!(health.stretch(SECOND), 9 * SECOND + STEPS * LATEST);
        (0..8).for_each(|_| health.answered());
        assert_eq!(health.stretch(SECOND), SECOND + STEPS * LATEST);
    }
}
