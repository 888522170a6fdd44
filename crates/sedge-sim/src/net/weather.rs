//! What lies between two machines in one direction.

use std::time::Duration;

use sedge_base::Dice;
use tokio::time::Instant;

/// How long what was lost is missed before it is sent again.
const SENT_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// What a link does to everything that travels over it, in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// How long everything takes at least.
    pub delay: Duration,
    /// By how much that differs, at most.
    pub jitter: Duration,
    /// How many of a hundred pieces are lost and sent again.
    pub loss_percent: u64,
}

impl Default for Weather {
    /// A good local network.
    fn default() -> Self {
        Self {
            delay: Duration::from_micros(300),
            jitter: Duration::from_micros(200),
            loss_percent: 0,
        }
    }
}

impl Weather {
    /// Returns how long a piece takes that is sent now.
    pub(super) fn takes(&self, dice: &mut Dice) -> Duration {
        let mut takes = self.delay + dice.up_to(self.jitter);
        let mut wait = SENT_AGAIN_AFTER;
        // Four losses in a row are enough: the next repetition arrives.
        for _ in 0..4 {
            if self.loss_percent == 0 || !dice.chance(self.loss_percent) {
                break;
            }
            takes += wait;
            wait *= 2;
        }
        takes
    }
}

/// One direction of a link.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Way {
    pub(super) weather: Weather,
    /// Since when nothing gets through.
    pub(super) cut: Option<Instant>,
}
