//! Each message once, and only while it is fresh.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use sedge_base::{ErrorKind, NodeId, Timestamp};

use crate::registration::{MAX_MEMBERS, Registry};
use crate::signature::Nonce;

/// How old a message may be (origins 4.1, `check_nonce`).
pub const MAX_AGE: Duration = Duration::from_millis(300_000);

/// How far a message's date may lie ahead of ours (origins 4.1, `check_nonce`).
pub const MAX_AHEAD: Duration = Duration::from_millis(60_000);

/// The most nonces that are remembered, over all senders.
///
/// When more arrive within [`MAX_AGE`], the oldest are forgotten; the sender's counter still
/// refuses those messages.
pub const MAX_NONCES: usize = 65_536;

/// Why a message is not fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It is older than [`MAX_AGE`].
    #[error("the message is too old, by {by:?}")]
    TooOld {
        /// How much too old.
        by: Duration,
    },
    /// It is more than [`MAX_AHEAD`] ahead of our clock.
    #[error("the message is from the future, by {by:?} more than a clock may be wrong")]
    FromFuture {
        /// How far beyond the limit.
        by: Duration,
    },
    /// A message of this sender with this nonce was accepted before.
    #[error("the message was accepted before")]
    Repeated,
    /// The counter is not greater than that of the sender's last accepted message.
    #[error("the message has counter {got}, the last one had {last}")]
    Counter {
        /// The counter of the last accepted message; 0 when there was none.
        last: u64,
        /// The counter of this one.
        got: u64,
    },
}

impl ReplayError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Denied
    }
}

/// What the replay window looks at in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) sender: NodeId,
    pub(crate) nonce: Nonce,
    pub(crate) counter: u64,
    pub(crate) timestamp: Timestamp,
}

/// The nonces and counters of accepted messages, by the registered key of their sender.
///
/// It changes only for messages that passed every check. It lives in memory: after a restart,
/// [`ReplayWindow::resume`] with stored counters, or messages of the last five minutes could be
/// accepted again.
#[derive(Debug, Default)]
pub struct ReplayWindow {
    counters: HashMap<NodeId, u64>,
    nonces: HashSet<(NodeId, Nonce)>,
    order: VecDeque<(Timestamp, NodeId, Nonce)>,
}

impl ReplayWindow {
    /// Makes a window that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the counter of the last message that was accepted from `sender`; 0 for none.
    pub fn last_counter(&self, sender: &NodeId) -> u64 {
        self.counters.get(sender).copied().unwrap_or(0)
    }

    /// Continues after a stored counter; a smaller one than the present one changes nothing.
    pub fn resume(&mut self, sender: NodeId, counter: u64) {
        let last = self.counters.entry(sender).or_default();
        *last = counter.max(*last);
    }

    /// Returns how many nonces are remembered.
    pub fn remembered(&self) -> usize {
        self.order.len()
    }

    /// Looks whether a message is fresh, without remembering it.
    pub(crate) fn check(&self, mark: &Mark, now: Timestamp) -> Result<(), ReplayError> {
        if let Some(by) = beyond(now.since(mark.timestamp), MAX_AGE) {
            return Err(ReplayError::TooOld { by });
        }
        if let Some(by) = beyond(mark.timestamp.since(now), MAX_AHEAD) {
            return Err(ReplayError::FromFuture { by });
        }
        if self.nonces.contains(&(mark.sender, mark.nonce)) {
            return Err(ReplayError::Repeated);
        }
        let (last, got) = (self.last_counter(&mark.sender), mark.counter);
        if got <= last {
            return Err(ReplayError::Counter { last, got });
        }
        Ok(())
    }

    /// Remembers a message that passed every check.
    pub(crate) fn record(&mut self, mark: &Mark, registry: &Registry, now: Timestamp) {
        while let Some(&(at, sender, nonce)) = self.order.front() {
            if now.since(at) <= MAX_AGE && self.order.len() < MAX_NONCES {
                break;
            }
            self.nonces.remove(&(sender, nonce));
            self.order.pop_front();
        }
        self.nonces.insert((mark.sender, mark.nonce));
        self.order.push_back((mark.timestamp, mark.sender, mark.nonce));
        if self.counters.len() >= MAX_MEMBERS && !self.counters.contains_key(&mark.sender) {
            // The registry is no larger than this, so there is room afterwards.
            self.counters.retain(|node, _| registry.contains_node(node));
        }
        self.counters.insert(mark.sender, mark.counter);
    }
}

fn beyond(is: Duration, limit: Duration) -> Option<Duration> {
    is.checked_sub(limit).filter(|it| !it.is_zero())
}

#[cfg(test)]
mod tests {
    use super::super::tests::registry;
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn mark(counter: u64) -> Mark {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&counter.to_le_bytes());
        let (sender, nonce) = (NodeId::from_bytes([7; 32]), Nonce::from_bytes(nonce));
        Mark { sender, nonce, counter, timestamp: NOW }
    }

    #[test]
    fn memory_is_bounded_and_the_counter_still_refuses_what_was_forgotten() {
        let (mut window, registry) = (ReplayWindow::new(), registry());
        let most = MAX_NONCES as u64;
        for counter in 1..=most + 1 {
            window.record(&mark(counter), &registry, NOW);
        }
        assert_eq!((window.remembered(), window.nonces.len()), (MAX_NONCES, MAX_NONCES));
        assert_eq!(window.check(&mark(2), NOW), Err(ReplayError::Repeated));
        let forgotten = ReplayError::Counter { last: most + 1, got: 1 };
        assert_eq!(window.check(&mark(1), NOW), Err(forgotten));
    }

    #[test]
    fn nonces_are_forgotten_when_their_messages_would_be_too_old() {
        let (mut window, registry) = (ReplayWindow::new(), registry());
        window.record(&mark(1), &registry, NOW);
        let later = NOW.plus(MAX_AGE);
        window.record(&Mark { timestamp: later, ..mark(2) }, &registry, later);
        assert_eq!(window.remembered(), 2);
        let later = later.plus(Duration::from_millis(1));
        window.record(&Mark { timestamp: later, ..mark(3) }, &registry, later);
        assert_eq!(window.remembered(), 2);
    }

    #[test]
    fn counters_go_on_after_a_restart() {
        let mut window = ReplayWindow::new();
        window.resume(mark(1).sender, 9);
        window.resume(mark(1).sender, 4);
        let refused = window.check(&mark(9), NOW);
        assert_eq!(refused, Err(ReplayError::Counter { last: 9, got: 9 }));
        assert_eq!(window.check(&mark(10), NOW), Ok(()));
    }
}
