//! The tree over this node's chain, in memory: one hash for each 256 receipts, and the last ones.

use std::collections::BTreeMap;
use std::ops::Range;

use sedge_trust::TreeHash;
use sedge_trust::merkle::{self, Frontier};

/// How many leaves one hash in memory stands for: a power of two.
pub(crate) const BLOCK: u64 = 256;

/// Leaves of whole blocks, by the block's number.
pub(crate) type Leaves = BTreeMap<u64, Vec<TreeHash>>;

/// A tree that grows at its end; 32 bytes for each 256 leaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    blocks: Vec<TreeHash>,
    tail: Vec<TreeHash>,
}

impl Tree {
    /// Appends a leaf by its hash.
    pub(crate) fn push(&mut self, leaf: TreeHash) {
        self.tail.push(leaf);
        if self.tail.len() as u64 == BLOCK {
            self.blocks.push(merkle::root(&self.tail));
            self.tail.clear();
        }
    }

    /// Returns how many leaves there are.
    pub(crate) const fn count(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK + self.tail.len() as u64
    }

    /// Returns the root.
    pub(crate) fn root(&self) -> TreeHash {
        if self.tail.is_empty() {
            return merkle::root(&self.blocks);
        }
        let mut level = self.blocks.clone();
        level.push(merkle::root(&self.tail));
        merkle::root(&level)
    }

    /// Returns the peaks of the tree of the first `count` leaves, or `None` when there are fewer;
    /// `leaves` has the block of [`Tree::needed`].
    pub(crate) fn frontier(&self, count: u64, leaves: &Leaves) -> Option<Frontier> {
        let mut peaks = Vec::new();
        let mut start = 0;
        for bit in (0..u64::BITS).rev().filter(|it| count & (1 << it) != 0) {
            let end = start + (1 << bit);
            peaks.push(self.hash(&(start..end), leaves)?);
            start = end;
        }
        Frontier::from_parts(count, peaks)
    }

    /// Returns which block's leaves a subtree's hash needs, if they are not in memory.
    pub(crate) fn needed(&self, range: &Range<u64>) -> Option<u64> {
        let whole = range.start.is_multiple_of(BLOCK) && range.end.is_multiple_of(BLOCK);
        let block = range.end.saturating_sub(1) / BLOCK;
        (!whole && block < self.blocks.len() as u64).then_some(block)
    }

    /// Returns the hash of a subtree that a proof names, or `None` when it reaches beyond the tree
    /// or its leaves are not given.
    pub(crate) fn hash(&self, range: &Range<u64>, leaves: &Leaves) -> Option<TreeHash> {
        let Range { start, end } = *range;
        if start >= end || end > self.count() {
            return None;
        }
        let first = start / BLOCK;
        let last = end / BLOCK;
        let loose = || {
            let all =
                if last == self.blocks.len() as u64 { &self.tail } else { leaves.get(&last)? };
            let from = if first == last { start % BLOCK } else { 0 };
            all.get(usize::try_from(from).ok()?..usize::try_from(end % BLOCK).ok()?)
        };
        if end.is_multiple_of(BLOCK) && !start.is_multiple_of(BLOCK) {
            // The right part of one whole block.
            let all = leaves.get(&first)?;
            return Some(merkle::root(all.get(usize::try_from(start % BLOCK).ok()?..)?));
        }
        if first == last {
            return Some(merkle::root(loose()?));
        }
        let blocks = self.blocks.get(usize::try_from(first).ok()?..usize::try_from(last).ok()?)?;
        let mut level = blocks.to_vec();
        if !end.is_multiple_of(BLOCK) {
            level.push(merkle::root(loose()?));
        }
        Some(merkle::root(&level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u64) -> Vec<TreeHash> {
        (0..count).map(|it| merkle::leaf(&it.to_be_bytes())).collect()
    }

    /// Proves with only those leaves in hand that the tree asked for.
    fn prove(tree: &Tree, all: &[TreeHash], ranges: &[Range<u64>]) -> Vec<TreeHash> {
        let mut given = Leaves::new();
        for block in ranges.iter().filter_map(|it| tree.needed(it)) {
            let start = usize::try_from(block * BLOCK).unwrap();
            given.insert(block, all[start..][..256].to_vec());
        }
        ranges.iter().map(|it| tree.hash(it, &given).unwrap()).collect()
    }

    #[test]
    fn proofs_hold_across_the_borders_of_blocks() {
        let sizes = [1, 2, 255, 256, 257, 511, 512, 513, 700, 769, 1024, 1025, 1500];
        let all = leaves(1500);
        let part = |it: u64| &all[..usize::try_from(it).unwrap()];
        let mut tree = Tree::default();
        for leaf in &all {
            tree.push(*leaf);
        }
        assert_eq!((tree.count(), tree.root()), (1500, merkle::root(&all)));
        for size in sizes {
            let whole = merkle::root(part(size));
            for index in sizes.iter().map(|it| it - 1).filter(|it| *it < size) {
                let proof = prove(&tree, &all, &merkle::inclusion(index, size).unwrap());
                let leaf = &all[usize::try_from(index).unwrap()];
                merkle::verify_inclusion((leaf, index), (&whole, size), &proof).unwrap();
            }
            for old in sizes.into_iter().filter(|it| *it <= size) {
                let proof = prove(&tree, &all, &merkle::consistency(old, size).unwrap());
                let before = merkle::root(part(old));
                merkle::verify_consistency((&before, old), (&whole, size), &proof).unwrap();
            }
        }
        assert_eq!(tree.hash(&(0..1501), &Leaves::new()), None);
        assert_eq!(tree.hash(&(0..3), &Leaves::new()), None, "its leaves are not given");
    }

    #[test]
    fn a_frontier_is_cut_anywhere() {
        let all = leaves(800);
        let mut tree = Tree::default();
        for leaf in &all {
            tree.push(*leaf);
        }
        for count in [0, 1, 255, 256, 300, 511, 512, 640, 768, 799, 800] {
            let block = count / BLOCK;
            let mut given = Leaves::new();
            let start = usize::try_from(block * BLOCK).unwrap();
            given.insert(block, all[start..all.len().min(start + 256)].to_vec());
            let mut frontier = tree.frontier(count, &given).unwrap();
            for leaf in &all[usize::try_from(count).unwrap()..] {
                frontier.push(*leaf);
            }
            assert_eq!(frontier.root(), tree.root(), "{count}");
        }
        assert!(tree.frontier(801, &Leaves::new()).is_none());
    }
}
