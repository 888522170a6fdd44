//! By the expected time to answer.

use super::Turn;

pub(super) const fn score(turn: &Turn<'_>) -> u64 {
    turn.estimate.total_us()
}
