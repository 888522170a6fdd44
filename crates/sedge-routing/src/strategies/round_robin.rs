//! In turn by node id.

use super::Turn;

pub(super) const fn score(turn: &Turn<'_>) -> u64 {
    (turn.place + turn.count - turn.seed % turn.count) % turn.count
}
