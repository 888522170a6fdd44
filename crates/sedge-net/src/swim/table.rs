//! Every member that a node knows of, and digests by which two tables are compared.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::dice::{Dice, mix};
use crate::swarm::wire::{BUCKETS, News, Peer, Standing};

/// How many random places are looked at before a table is searched from one end to the other.
const TRIES: usize = 16;

/// What is known of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) incarnation: u64,
    pub(crate) standing: Standing,
}

/// Members in the order of their keys; 40 bytes of key and record each, and their addresses.
#[derive(Debug)]
pub(crate) struct Table<P> {
    records: Vec<(P, Record)>,
    places: BTreeMap<P, Vec<SocketAddr>>,
    /// Digests of those that are not down: a member may have been forgotten by one of two tables.
    buckets: [u64; BUCKETS],
    /// How many are up or suspect.
    alive: usize,
    most: usize,
}

/// Returns the digest of a record; `mixed` is made of its member's name.
const fn digest(mixed: u64, record: Record) -> u64 {
    let Record { incarnation, standing } = record;
    match standing {
        Standing::Up => mix(mixed ^ mix(incarnation)),
        Standing::Suspect => mix(mixed ^ mix(!incarnation)),
        Standing::Down => 0,
    }
}

const fn bucket(mixed: u64) -> usize {
    (mixed % BUCKETS as u64) as usize
}

impl<P: Peer> Table<P> {
    /// Makes an empty table for so many members.
    pub(crate) fn new(most: usize) -> Self {
        let (records, places) = (Vec::new(), BTreeMap::new());
        Self { records, places, buckets: [0; BUCKETS], alive: 0, most }
    }

    /// Returns how many are up or suspect.
    pub(crate) const fn alive(&self) -> usize {
        self.alive
    }

    pub(crate) fn get(&self, peer: &P) -> Option<Record> {
        let at = self.find(peer).ok()?;
        Some(self.records[at].1)
    }

    /// Returns a member's place, or where it would be.
    fn find(&self, peer: &P) -> Result<usize, usize> {
        let (mut from, mut to) = (0, self.records.len());
        while from < to {
            let middle = usize::midpoint(from, to);
            match self.records[middle].0.cmp(peer) {
                Ordering::Equal => return Ok(middle),
                Ordering::Less => from = middle + 1,
                Ordering::Greater => to = middle,
            }
        }
        Err(from)
    }

    /// Returns whether the member is up.
    pub(crate) fn is_up(&self, peer: &P) -> bool {
        self.get(peer).is_some_and(|it| it.standing == Standing::Up)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (P, Record)> + '_ {
        self.records.iter().copied()
    }

    /// Returns where a member may be found.
    pub(crate) fn place(&self, peer: &P) -> &[SocketAddr] {
        self.places.get(peer).map_or(&[], Vec::as_slice)
    }

    /// Notes where a member may be found.
    pub(crate) fn set_place(&mut self, peer: P, direct: Vec<SocketAddr>) {
        if direct.is_empty() {
            self.places.remove(&peer);
        } else {
            self.places.insert(peer, direct);
        }
    }

    /// Writes a record; `false` when there is no room for one more.
    pub(crate) fn set(&mut self, peer: P, record: Record) -> bool {
        match self.find(&peer) {
            Ok(at) => {
                let old = std::mem::replace(&mut self.records[at].1, record);
                self.count(&peer, Some(old), Some(record));
            }
            Err(_) if self.records.len() >= self.most => return false,
            Err(at) => {
                self.records.insert(at, (peer, record));
                self.count(&peer, None, Some(record));
            }
        }
        true
    }

    /// Forgets a member.
    pub(crate) fn remove(&mut self, peer: &P) {
        if let Ok(at) = self.find(peer) {
            let (_, old) = self.records.remove(at);
            self.count(peer, Some(old), None);
            self.places.remove(peer);
        }
    }

    fn count(&mut self, peer: &P, old: Option<Record>, new: Option<Record>) {
        let mixed = peer.mixed();
        let slot = &mut self.buckets[bucket(mixed)];
        for record in [old, new].into_iter().flatten() {
            *slot ^= digest(mixed, record);
        }
        let alive = |it: Option<Record>| it.is_some_and(|it| it.standing != Standing::Down);
        self.alive = self.alive + usize::from(alive(new)) - usize::from(alive(old));
    }

    /// Returns one number for everybody who is not down.
    pub(crate) fn digest(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, it| mix(sum ^ it))
    }

    /// Returns the digests of the table's parts.
    pub(crate) fn buckets(&self) -> Vec<[u8; 8]> {
        self.buckets.iter().map(|it| it.to_le_bytes()).collect()
    }

    /// Returns everything in the parts whose digests differ.
    pub(crate) fn differing(&self, theirs: &[[u8; 8]]) -> Vec<News<P>> {
        let differs: Vec<bool> =
            self.buckets.iter().zip(theirs).map(|(ours, it)| ours.to_le_bytes() != *it).collect();
        let listed = self
            .records
            .iter()
            .filter(|(peer, _)| differs.get(bucket(peer.mixed())).is_some_and(|it| *it));
        listed.map(|(peer, record)| self.tell(*peer, *record)).collect()
    }

    /// Returns what this table says about a member.
    pub(crate) fn news(&self, peer: &P) -> Option<News<P>> {
        self.get(peer).map(|record| self.tell(*peer, record))
    }

    fn tell(&self, node: P, record: Record) -> News<P> {
        let Record { incarnation, standing } = record;
        News { node, incarnation, standing, direct: self.place(&node).to_vec() }
    }

    /// Picks a random member that is wanted.
    pub(crate) fn pick(&self, dice: &mut Dice, wanted: impl Fn(&P, Record) -> bool) -> Option<P> {
        let start = dice.below(self.records.len());
        for _ in 0..TRIES {
            let (peer, record) = self.records.get(dice.below(self.records.len()))?;
            if wanted(peer, *record) {
                return Some(*peer);
            }
        }
        let (before, behind) = self.records.split_at(start);
        let mut all = behind.iter().chain(before);
        all.find(|(peer, record)| wanted(peer, *record)).map(|(peer, _)| *peer)
    }

    /// Returns the next wanted member behind this key, round and round.
    pub(crate) fn next(&self, cursor: &P, wanted: impl Fn(&P, Record) -> bool) -> Option<P> {
        let start = self.records.partition_point(|(peer, _)| peer <= cursor);
        let (before, behind) = self.records.split_at(start);
        let mut all = behind.iter().chain(before);
        all.find(|(peer, record)| wanted(peer, *record)).map(|(peer, _)| *peer)
    }
}

#[cfg(test)]
mod tests {
    use sedge_base::NodeId;

    use super::*;
    use crate::swarm::wire::Key;

    fn key(id: u8) -> Key {
        Key::from(NodeId::from_bytes([id; 32]))
    }

    const fn up(incarnation: u64) -> Record {
        Record { incarnation, standing: Standing::Up }
    }

    fn table(members: &[(u8, Record)]) -> Table<Key> {
        let mut table = Table::new(10);
        for (id, record) in members {
            assert!(table.set(key(*id), *record));
        }
        table
    }

    #[test]
    fn digests_do_not_depend_on_the_order_nor_on_the_dead() {
        let one = table(&[(1, up(5)), (2, up(6))]);
        let mut two = table(&[(2, up(1)), (1, up(5)), (2, up(6))]);
        assert_eq!(one.digest(), two.digest());
        two.set(key(3), Record { incarnation: 1, standing: Standing::Down });
        assert_eq!(one.digest(), two.digest());
        assert_eq!((two.iter().count(), two.alive()), (3, 2));
        two.set(key(2), Record { incarnation: 6, standing: Standing::Suspect });
        assert_ne!(one.digest(), two.digest());
        let told = two.differing(&one.buckets());
        assert!(told.iter().any(|it| it.node == key(2) && it.standing == Standing::Suspect));
        assert!(one.differing(&one.buckets()).is_empty());
    }

    #[test]
    fn a_full_table_takes_nobody_new() {
        let mut table = Table::new(2);
        assert!(table.set(key(1), up(1)) && table.set(key(2), up(1)));
        assert!(!table.set(key(3), up(1)));
        assert!(table.set(key(2), up(2)));
        table.remove(&key(1));
        assert!(table.set(key(3), up(1)));
        assert_eq!(table.alive(), 2);
    }

    #[test]
    fn the_next_one_goes_round() {
        let table = table(&[(1, up(1)), (3, up(1)), (5, up(1))]);
        let next = |cursor| table.next(&key(cursor), |peer, _| *peer != key(3));
        assert_eq!([next(0), next(1), next(5)], [Some(key(1)), Some(key(5)), Some(key(1))]);
        let mut dice = Dice::new(1);
        assert_eq!(table.pick(&mut dice, |peer, _| *peer == key(3)), Some(key(3)));
        assert_eq!(table.pick(&mut dice, |_, _| false), None);
    }
}
