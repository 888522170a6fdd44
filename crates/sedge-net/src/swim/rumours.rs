//! What has changed and is to be passed on, and who knows it already.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::swarm::wire::Peer;

/// So many changes at once make the next message wait once more as long: who hears of many soon hears of
/// more.
const MANY: usize = 8;
/// A message waits so many times as long at most.
const LONGEST: usize = 10;
/// How often tables are checked with a neighbour after something has changed.
const CHECKS: u32 = 3;
/// Of how many peers it is noted that they know a change; more than a node has neighbours.
const TELLERS: usize = 16;

/// Changes that the neighbours are to be told.
#[derive(Debug)]
pub(super) struct Rumours<P> {
    /// Whom a change is about, and who told us.
    about: BTreeMap<P, Vec<P>>,
    /// When something was told last, and how much.
    told: Option<(Duration, usize)>,
    /// A timer is set.
    pub(super) waiting: bool,
    changed_at: Duration,
    /// How often tables are still to be checked, and whether a timer is set for it.
    checks: u32,
    checking: bool,
}

impl<P: Peer> Rumours<P> {
    pub(super) const fn new() -> Self {
        let about = BTreeMap::new();
        let changed_at = Duration::ZERO;
        Self { about, told: None, waiting: false, changed_at, checks: 0, checking: false }
    }

    /// Notes a change; `from` has told it, or it was noticed here.
    pub(super) fn add(&mut self, about: P, from: Option<P>, now: Duration) {
        (self.changed_at, self.checks) = (now, CHECKS);
        self.about.insert(about, from.into_iter().collect());
    }

    /// Notes that somebody else knows a change too, so that it need not be told.
    pub(super) fn echo(&mut self, about: &P, from: P) {
        if let Some(tellers) = self.about.get_mut(about)
            && tellers.len() < TELLERS
            && !tellers.contains(&from)
        {
            tellers.push(from);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.about.is_empty()
    }

    /// Returns when they may be told, at the earliest.
    pub(super) fn due(&self, every: Duration) -> Duration {
        let Some((at, changes)) = self.told else { return Duration::ZERO };
        let times = u32::try_from((1 + changes / MANY).min(LONGEST)).unwrap_or(1);
        at + every * times
    }

    /// Takes all of them, to be told now.
    pub(super) fn take(&mut self, now: Duration) -> BTreeMap<P, Vec<P>> {
        (self.waiting, self.told) = (false, Some((now, self.about.len())));
        std::mem::take(&mut self.about)
    }

    /// Returns whether a timer for the next check of tables is to be set.
    pub(super) fn wants_check(&mut self) -> bool {
        let wants = self.checks > 0 && !self.checking;
        self.checking |= wants;
        wants
    }

    /// The timer has come; returns whether tables are to be checked now.
    pub(super) fn check(&mut self, calm: bool) -> bool {
        self.checking = false;
        let check = calm && self.checks > 0;
        self.checks -= u32::from(check);
        check
    }

    /// Returns whether nothing has changed for so long: what differs then is not on its way.
    pub(super) fn are_calm(&self, now: Duration, since: Duration) -> bool {
        self.about.is_empty() && now >= self.changed_at + since
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::wire::Key;
    use sedge_base::NodeId;

    fn key(id: u8) -> Key {
        Key::from(NodeId::from_bytes([id; 32]))
    }

    #[test]
    fn who_told_a_change_is_known_until_it_changes_again() {
        let mut rumours = Rumours::new();
        let now = Duration::from_secs(5);
        rumours.add(key(1), Some(key(2)), now);
        rumours.echo(&key(1), key(3));
        rumours.echo(&key(1), key(3));
        rumours.echo(&key(9), key(3));
        assert!(!rumours.are_calm(now * 2, now));
        assert_eq!(rumours.take(now), BTreeMap::from([(key(1), vec![key(2), key(3)])]));
        assert!(rumours.is_empty() && rumours.are_calm(now * 2, now));
        rumours.add(key(1), Some(key(3)), now);
        rumours.add(key(1), None, now);
        assert_eq!(rumours.take(now), BTreeMap::from([(key(1), Vec::new())]));
    }

    #[test]
    fn the_more_is_told_the_longer_the_next_message_waits() {
        let (mut rumours, now) = (Rumours::new(), Duration::from_secs(5));
        let every = Duration::from_millis(100);
        assert_eq!(rumours.due(every), Duration::ZERO);
        for (changes, wait) in [(1, 1), (8, 2), (200, 10)] {
            (0..changes).for_each(|it| rumours.add(key(it), None, now));
            assert_eq!(rumours.take(now).len(), usize::from(changes));
            assert_eq!(rumours.due(every), now + every * wait);
        }
    }

    #[test]
    fn tables_are_checked_a_few_times_after_a_change() {
        let (mut rumours, now) = (Rumours::new(), Duration::from_secs(5));
        assert!(!rumours.wants_check());
        rumours.add(key(1), None, now);
        assert!(rumours.wants_check() && !rumours.wants_check());
        assert!(!rumours.check(false));
        let mut checks = 0;
        while rumours.wants_check() {
            checks += u32::from(rumours.check(true));
        }
        assert_eq!(checks, CHECKS);
    }
}
