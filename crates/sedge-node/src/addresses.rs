//! Where members may be found: a bounded book of addresses, kept on disk.
//!
//! Invariants: an address is a hint and proves nothing, whoever dials checks the key; what a member
//! says of itself, over a connection that proved its key, is never pushed out by what others say of
//! it; the book has an end, for each member and in all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sedge_base::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::beat::ask;
use crate::node::Node;
use crate::remote::OPEN_WITHIN;
use crate::wire::Request;

/// Where the setting lies that keeps the book.
const SETTING: &str = "mesh.addresses";
/// An address that nobody confirmed for so long is forgotten, unless it is a member's last one.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// An address that is said again is noted again after so long: the disk is spared.
const NOTED_AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);
/// So many members are asked at once where the missing ones are.
const ASKED: usize = 3;
/// The most members that one question is about.
pub(crate) const MISSING: usize = 32;

/// How large the book may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BookLimits {
    /// Addresses of one member, at least 1; a quarter is for what others say of it.
    pub(crate) each: usize,
    /// Addresses in all, at least 1.
    pub(crate) all: usize,
}

impl Default for BookLimits {
    fn default() -> Self {
        Self { each: 16, all: 4096 }
    }
}

/// Who says where a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
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
pub(crate) struct AddressBook {
    limits: BookLimits,
    members: BTreeMap<NodeId, Vec<Entry>>,
}

impl AddressBook {
    /// Makes an empty book.
    pub(crate) const fn new(limits: BookLimits) -> Self {
        Self { limits, members: BTreeMap::new() }
    }

    /// Returns the book under other limits, which hold from the next change on.
    pub(crate) fn within(&self, limits: BookLimits) -> Self {
        Self { limits, members: self.members.clone() }
    }

    pub(crate) const fn limits(&self) -> BookLimits {
        self.limits
    }

    /// Returns where a member may be found, the best guess first.
    pub(crate) fn of(&self, member: &NodeId) -> Vec<SocketAddr> {
        let entries = self.members.get(member).map(Vec::as_slice).unwrap_or_default();
        entries.iter().map(|it| it.addr).collect()
    }

    /// Returns how many addresses there are in all.
    pub(crate) fn len(&self) -> usize {
        self.members.values().map(Vec::len).sum()
    }

    /// Notes where a member is said to be. Returns whether that is worth writing down.
    pub(crate) fn note(
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
    pub(crate) fn forget(&mut self, member: &NodeId) {
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

    /// Takes in what was written down, for those of these members that it knows.
    fn take_in(&mut self, written: BTreeMap<NodeId, Vec<Entry>>, now: Timestamp) {
        for (member, entries) in written {
            for Entry { addr, at, own } in entries.into_iter().filter(|it| usable(&it.addr)) {
                // A clock that was wrong then makes nothing new now.
                let entry = Entry { addr, at: at.min(now), own };
                let known = self.members.entry(member).or_default();
                known.retain(|it| it.addr != addr);
                known.push(entry);
            }
            self.trim(&member, now);
        }
    }
}

fn usable(addr: &SocketAddr) -> bool {
    addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast()
}

impl Node {
    /// Takes up the addresses that were written down before the last stop.
    pub(crate) async fn remember_addresses(&self) {
        let text = match self.store.settings().get(SETTING).await {
            Ok(Some(text)) => text,
            Ok(None) => return,
            Err(fault) => return warn!(target: "sedge::events::addresses_unread", %fault),
        };
        // They are hints: without them the node asks around.
        match serde_json::from_str::<BTreeMap<NodeId, Vec<Entry>>>(&text) {
            Ok(mut written) => {
                written.retain(|it, _| self.members.get(it).is_some());
                let now = self.clock.now();
                self.members.with_book(|book| book.take_in(written, now));
            }
            Err(error) => warn!(target: "sedge::events::addresses_unread", %error),
        }
    }

    /// Writes the book down.
    pub(crate) async fn keep_addresses(&self) {
        let text = self.members.with_book(|book| serde_json::to_string(&book.members));
        let Ok(text) = text else { return };
        if let Err(fault) = self.store.settings().set(SETTING, &text).await {
            warn!(target: "sedge::events::addresses_not_stored", %fault);
        }
    }

    /// Returns where members were, as far as this node knows.
    pub(crate) fn whereabouts(&self, of: &[NodeId]) -> BTreeMap<NodeId, Vec<SocketAddr>> {
        let places = of.iter().take(MISSING).map(|it| (*it, self.members.addresses(it)));
        places.filter(|(_, addrs)| !addrs.is_empty()).collect()
    }

    /// Asks a few members that are there where those are that are not: two nodes that both came up
    /// at a new place find each other through any third one.
    pub(crate) async fn look_for_missing(self: &Arc<Self>) {
        let missing = self.members.missing(MISSING);
        if missing.is_empty() {
            return;
        }
        let mut there = self.members.others();
        there.retain(|it| !missing.contains(it) && self.mesh.live(it).is_some());
        if there.is_empty() {
            return;
        }
        // Not always the same ones: one that lies or knows nothing shall not stand in the way.
        let turn =
            u128::from(self.clock.now().as_millis()) / self.config.node.advert_period.as_millis();
        let first = usize::try_from(turn).unwrap_or(0) % there.len();
        there.rotate_left(first);
        let asked = there.into_iter().take(ASKED).map(|it| self.ask_where(it, &missing));
        let moved: BTreeSet<_> = join_all(asked).await.into_iter().flatten().collect();
        if moved.is_empty() {
            return;
        }
        self.keep_addresses().await;
        for member in moved {
            debug!(target: "sedge::events::member_moved", peer = %member);
            self.mesh.retry_now(member);
        }
    }

    /// Asks one member where others are; returns those of whom it said something new.
    async fn ask_where(&self, whom: NodeId, missing: &[NodeId]) -> Vec<NodeId> {
        let Some(conn) = self.mesh.live(&whom) else { return Vec::new() };
        let request = Request::Where { of: missing.to_vec() };
        let told = ask::<BTreeMap<NodeId, Vec<SocketAddr>>>(&conn, &request);
        let Ok(Ok(told)) = timeout(OPEN_WITHIN, told).await else { return Vec::new() };
        let wanted = told.into_iter().filter(|(id, _)| missing.contains(id));
        let new = wanted.filter(|(id, addrs)| self.members.heard_of(*id, addrs));
        new.map(|(id, _)| id).collect()
    }
}

/// Feeds what a member tells of others to the book; returns whether it could be read.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(frame: &sedge_net::Frame) -> bool {
    let Ok(told) = frame.parse::<BTreeMap<NodeId, Vec<SocketAddr>>>() else { return false };
    let limits = BookLimits { each: 4, all: 8 };
    let mut book = AddressBook::new(limits);
    for (at, (member, addrs)) in (0..).zip(&told) {
        for source in [Source::Others, Source::Itself] {
            book.note(*member, addrs, source, Timestamp::from_millis(at));
            assert!(
                book.of(member).len() <= limits.each && book.len() <= limits.all,
                "the book ends"
            );
        }
    }
    true
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
        new.take_in(serde_json::from_str(&text).unwrap(), at(8));
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
