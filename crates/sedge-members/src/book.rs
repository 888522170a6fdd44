//! Where members may be found: a bounded book of addresses.
//!
//! Invariants: an address is a hint and proves nothing, whoever dials checks the key; what a member
//! says of itself, over a connection that proved its key, is never pushed out by what others say of
//! it; the book has an end, for each member and in all.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use sedge_base::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

/// An address that nobody confirmed for so long is forgotten, unless it is a member's last one.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// An address that is said again is noted again after so long: the disk is spared.
const NOTED_AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);
/// How large the book may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookLimits {
    /// Addresses of one member, at least 1; a quarter is for what others say of it.
    pub each: usize,
    /// Addresses in all, at least 1.
    pub all: usize,
}

impl Default for BookLimits {
    fn default() -> Self {
        Self { each: 16, all: 4096 }
    }
}

/// Who says where a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The member, over a connection that proved its key.
    Itself,
    /// Anybody else.
    Others,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    addr: SocketAddr,
    /// When it was heard, to the hour.
    at: Timestamp,
    /// Whether the member itself said so.
    own: bool,
}

/// Addresses of members: those that a member named itself first, then the newest first.
#[derive(Debug, Clone, Default)]
pub struct AddressBook {
    limits: BookLimits,
    members: BTreeMap<NodeId, Vec<Entry>>,
}

impl AddressBook {
    /// Makes an empty book.
    pub const fn new(limits: BookLimits) -> Self {
        Self { limits, members: BTreeMap::new() }
    }

    /// Returns the book under other limits, which hold from the next change on.
    pub fn within(&self, limits: BookLimits) -> Self {
        Self { limits, members: self.members.clone() }
    }

    /// Returns how large the book may grow.
    pub const fn limits(&self) -> BookLimits {
        self.limits
    }

    /// Returns where a member may be found, the best guess first.
    pub fn of(&self, member: &NodeId) -> Vec<SocketAddr> {
        let entries = self.members.get(member).map(Vec::as_slice).unwrap_or_default();
        entries.iter().map(|it| it.addr).collect()
    }

    /// Returns how many addresses there are in all.
    pub(crate) fn len(&self) -> usize {
        self.members.values().map(Vec::len).sum()
    }

    /// Notes where a member is said to be. Returns whether that is worth writing down.
    pub fn note(
        &mut self,
        member: NodeId,
        addrs: &[SocketAddr],
        source: Source,
        now: Timestamp,
    ) -> bool {
        let own = source == Source::Itself;
        let entries = self.members.entry(member).or_default();
        let newest = entries.iter().filter(|it| it.own).map(|it| it.at).max();
        let mut changed = false;
        for addr in addrs.iter().copied().filter(usable).take(self.limits.each) {
            match entries.iter_mut().find(|it| it.addr == addr) {
                None => {
                    entries.push(Entry { addr, at: now, own });
                    changed = true;
                }
                // It has moved back, or says so for the first time in an hour.
                Some(it)
                    if own
                        && (!it.own
                            || newest.is_some_and(|newest| it.at < newest)
                            || now.since(it.at) >= NOTED_AGAIN_AFTER) =>
                {
                    (it.own, it.at) = (true, now);
                    changed = true;
                }
                Some(_) => {}
            }
        }
        if changed {
            self.trim(&member, now);
        }
        if self.members.get(&member).is_some_and(Vec::is_empty) {
            self.members.remove(&member);
        }
        changed
    }

    /// Forgets a member.
    pub fn forget(&mut self, member: &NodeId) {
        self.members.remove(member);
    }

    /// Puts a member's entries in order and drops what is too much or too old.
    fn trim(&mut self, member: &NodeId, now: Timestamp) {
        let BookLimits { each, all } = self.limits;
        if let Some(entries) = self.members.get_mut(member) {
            entries.sort_by_key(|it| (!it.own, std::cmp::Reverse(it.at)));
            let mut first = true;
            entries.retain(|it| std::mem::take(&mut first) || now.since(it.at) < FORGOTTEN_AFTER);
            let own = entries.iter().filter(|it| it.own).count();
            // What others say has a few places of its own: a member may have moved and not have
            // been heard since.
            let kept = if own < entries.len() { own.min(each - each / 4) } else { own.min(each) };
            entries.drain(kept..own);
            entries.truncate(each);
        }
        while self.len() > all {
            let oldest = self.members.iter().filter_map(|(id, entries)| {
                let last = entries.last()?;
                // Whoever has several loses one first.
                Some(((entries.len() == 1, last.own, last.at), *id))
            });
            let Some((_, id)) = oldest.min() else { return };
            if let Some(entries) = self.members.get_mut(&id) {
                entries.pop();
                if entries.is_empty() {
                    self.members.remove(&id);
                }
            }
        }
    }

    /// Returns the book as text, for [`AddressBook::take_in`].
    ///
    /// # Errors
    ///
    /// [`serde_json::Error`]; there is no book that cannot be written.
    pub fn written(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&self.members)
    }

    /// Takes in what was [written](AddressBook::written) down, of members that `is_known` names.
    ///
    /// # Errors
    ///
    /// [`serde_json::Error`] when the text is no book; it is as it was then.
    pub fn take_in(
        &mut self,
        text: &str,
        is_known: impl Fn(&NodeId) -> bool,
        now: Timestamp,
    ) -> Result<(), serde_json::Error> {
        let written = serde_json::from_str::<BTreeMap<NodeId, Vec<Entry>>>(text)?;
        for (member, entries) in written.into_iter().filter(|it| is_known(&it.0)) {
            for Entry { addr, at, own } in entries.into_iter().filter(|it| usable(&it.addr)) {
                // A clock that was wrong then makes nothing new now.
                let entry = Entry { addr, at: at.min(now), own };
                let known = self.members.entry(member).or_default();
                known.retain(|it| it.addr != addr);
                known.push(entry);
            }
            self.trim(&member, now);
        }
        Ok(())
    }
}

fn usable(addr: &SocketAddr) -> bool {
    addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: NodeId = NodeId::from_bytes([1; 32]);
    const TWO: NodeId = NodeId::from_bytes([2; 32]);

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000_000 + seconds * 1000)
    }

    fn ports(book: &AddressBook, of: NodeId) -> Vec<u16> {
        book.of(&of).iter().map(SocketAddr::port).collect()
    }

    fn book(each: usize, all: usize) -> AddressBook {
        AddressBook::new(BookLimits { each, all })
    }

    #[test]
    fn the_newest_is_first_and_the_oldest_goes() {
        let mut book = book(3, 100);
        for port in 1..=5 {
            assert!(book.note(ONE, &[addr(port)], Source::Itself, at(u64::from(port))));
        }
        assert_eq!(ports(&book, ONE), [5, 4, 3]);
        assert!(!book.note(ONE, &[addr(5)], Source::Itself, at(60)), "nothing to write down");
        assert!(book.note(ONE, &[addr(3)], Source::Itself, at(61)), "it has moved back");
        assert_eq!(ports(&book, ONE), [3, 5, 4]);
        assert!(book.note(ONE, &[addr(3)], Source::Itself, at(61 + 3600)), "an hour later");
    }

    #[test]
    fn what_others_say_never_pushes_out_what_a_member_said_itself() {
        let mut book = book(8, 100);
        let own: Vec<_> = (1..=6).map(addr).collect();
        book.note(ONE, &own, Source::Itself, at(1));
        let lies: Vec<_> = (100..200).map(addr).collect();
        for (turn, lies) in (2..).zip(lies.chunks(8)) {
            book.note(ONE, lies, Source::Others, at(turn));
        }
        let kept = ports(&book, ONE);
        assert_eq!(kept.len(), 8);
        assert_eq!(kept[..6], [1, 2, 3, 4, 5, 6]);
        assert!(!book.note(ONE, &own, Source::Others, at(9999)), "and makes nothing newer");
        // A member with many addresses still leaves room for where it may have gone.
        let more: Vec<_> = (1..=8).map(addr).collect();
        book.note(ONE, &more, Source::Itself, at(10_000));
        assert_eq!(book.of(&ONE).len(), 8);
        assert!(ports(&book, ONE).iter().any(|it| *it >= 100));
    }

    #[test]
    fn the_book_has_an_end_and_nobody_is_left_without_an_address() {
        let mut book = book(16, 20);
        for number in 0..10 {
            let id = NodeId::from_bytes([number; 32]);
            let many: Vec<_> = (1..=16).map(addr).collect();
            book.note(id, &many, Source::Others, at(u64::from(number)));
        }
        assert_eq!(book.len(), 20);
        assert!((0..10).all(|it| !book.of(&NodeId::from_bytes([it; 32])).is_empty()));
    }

    #[test]
    fn what_is_old_goes_except_the_last_one() {
        let mut book = book(16, 100);
        book.note(ONE, &[addr(1), addr(2)], Source::Itself, at(0));
        book.note(TWO, &[addr(1)], Source::Itself, at(0));
        let late = at(91 * 24 * 3600);
        book.note(ONE, &[addr(3)], Source::Others, late);
        assert_eq!(ports(&book, ONE), [1, 3], "one of its own stays");
        assert_eq!(ports(&book, TWO), [1]);
    }

    #[test]
    fn no_address_is_none() {
        let mut book = book(16, 100);
        let none = ["0.0.0.0:7", "10.0.0.1:0", "224.0.0.1:7"].map(|it| it.parse().unwrap());
        assert!(!book.note(ONE, &none, Source::Itself, at(0)));
        assert_eq!(book.len(), 0);
    }

    #[test]
    fn what_was_written_down_is_taken_in_again() {
        let mut old = book(16, 100);
        old.note(ONE, &[addr(1), addr(2)], Source::Itself, at(5));
        old.note(ONE, &[addr(3)], Source::Others, at(6));
        let text = serde_json::to_string(&old.members).unwrap();
        let mut new = book(2, 100);
        new.note(ONE, &[addr(1)], Source::Others, at(7));
        new.take_in(&text, |_| true, at(8)).unwrap();
        assert_eq!(ports(&new, ONE), [1, 2], "within today's limits");
    }

    proptest! {
        #[test]
        fn whatever_is_said_the_limits_hold(
            said in proptest::collection::vec(
                (0..6_u8, proptest::collection::vec(any::<(u32, u16)>(), 0..40), any::<bool>(), any::<u32>()),
                0..40,
            ),
            each in 1..9_usize, all in 1..30_usize,
        ) {
            let mut book = book(each, all);
            for (member, addrs, own, seconds) in said {
                let addrs: Vec<_> = addrs
                    .into_iter()
                    .map(|(ip, port)| SocketAddr::from((ip.to_be_bytes(), port)))
                    .collect();
                let source = if own { Source::Itself } else { Source::Others };
                book.note(NodeId::from_bytes([member; 32]), &addrs, source, at(u64::from(seconds)));
                prop_assert!(book.len() <= all);
                prop_assert!((0..6).all(|it| book.of(&NodeId::from_bytes([it; 32])).len() <= each));
            }
        }
    }
}
