//! The tree hash of RFC 6962 (RFC 9162, section 2.1): roots, and proofs that a leaf or an older
//! tree is part of a tree.
//!
//! Leaves and inner nodes are hashed under different prefixes, so that neither passes for the other.

use std::ops::Range;

use sedge_base::{ContentHasher, ContentId, ErrorKind};

use crate::signature::TreeHash;

/// The longest proof: one hash for each level of a tree whose size is a `u64`, and one more.
pub const MAX_PROOF: usize = 65;

/// A proof does not lead to the root that it should lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not lead to the root")]
pub struct BadProof;

impl BadProof {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Corrupt
    }
}

/// Returns the hash of a leaf with this content.
pub fn leaf(content: &[u8]) -> TreeHash {
    let mut hasher = ContentHasher::new();
    hasher.update(&[0]);
    hasher.update(content);
    TreeHash::from_bytes(*hasher.finish().as_bytes())
}

/// Returns the hash of the inner node above two others.
pub(crate) fn node(left: &TreeHash, right: &TreeHash) -> TreeHash {
    let mut hasher = ContentHasher::new();
    hasher.update(&[1]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    TreeHash::from_bytes(*hasher.finish().as_bytes())
}

/// Returns the root over nodes of one level, of which all but the last are whole.
///
/// Over leaf hashes this is the tree's root. Costs one hash for each node.
pub fn root(level: &[TreeHash]) -> TreeHash {
    let mut frontier = Frontier::default();
    for hash in level {
        frontier.push(*hash);
    }
    frontier.root()
}

/// A tree that grows at its end and remembers only what its root needs: one hash for each bit of
/// its size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    count: u64,
    peaks: Vec<TreeHash>,
}

impl Frontier {
    /// Goes on from the peaks of a tree of `count` leaves, largest first; `None` when a tree of that
    /// size has another number of peaks.
    pub fn from_parts(count: u64, peaks: Vec<TreeHash>) -> Option<Self> {
        (u32::try_from(peaks.len()) == Ok(count.count_ones())).then_some(Self { count, peaks })
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, hash: TreeHash) {
        let mut hash = hash;
        for _ in 0..self.count.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.count += 1;
    }

    /// Returns the root of the tree so far; for an empty one, the hash of nothing.
    pub fn root(&self) -> TreeHash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => TreeHash::from_bytes(*ContentId::of(&[]).as_bytes()),
            Some(last) => peaks.fold(*last, |right, left| node(left, &right)),
        }
    }

    /// Returns how many leaves there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the roots of the whole trees that this one is put together from, largest first.
    pub fn peaks(&self) -> &[TreeHash] {
        &self.peaks
    }
}

/// Returns the largest power of two below `size`, where RFC 6962 splits a tree of two leaves or more.
const fn split(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

/// Returns which subtrees' roots prove that leaf `index` is in a tree of `size` leaves, in order;
/// `None` when it is not.
pub fn inclusion(index: u64, size: u64) -> Option<Vec<Range<u64>>> {
    if index >= size {
        return None;
    }
    let (mut range, mut proof) = (0..size, Vec::new());
    while range.end - range.start > 1 {
        let middle = range.start + split(range.end - range.start);
        if index < middle {
            proof.push(middle..range.end);
            range.end = middle;
        } else {
            proof.push(range.start..middle);
            range.start = middle;
        }
    }
    proof.reverse();
    Some(proof)
}

/// Returns which subtrees' roots prove that a tree of `old` leaves is the beginning of one of `new`
/// leaves, in order; `None` when it is larger.
pub fn consistency(old: u64, new: u64) -> Option<Vec<Range<u64>>> {
    if old > new {
        return None;
    }
    if old == 0 || old == new {
        return Some(Vec::new());
    }
    let (mut range, mut proof, mut known) = (0..new, Vec::new(), true);
    while old != range.end {
        let middle = range.start + split(range.end - range.start);
        if old <= middle {
            proof.push(middle..range.end);
            range.end = middle;
        } else {
            proof.push(range.start..middle);
            range.start = middle;
            known = false;
        }
    }
    if !known {
        proof.push(range);
    }
    proof.reverse();
    Some(proof)
}

/// Returns the root that a proof leads to from the leaf with this hash at `index` of a tree of
/// `size` leaves.
///
/// # Errors
///
/// [`BadProof`] when the proof is of another place or size.
pub fn root_of_path(
    leaf: &TreeHash,
    (index, size): (u64, u64),
    proof: &[TreeHash],
) -> Result<TreeHash, BadProof> {
    if index >= size {
        return Err(BadProof);
    }
    let (mut place, mut last, mut hash) = (index, size - 1, *leaf);
    for other in proof {
        if last == 0 {
            return Err(BadProof);
        }
        if place & 1 == 1 || place == last {
            hash = node(other, &hash);
            let skipped = if place == 0 { 0 } else { place.trailing_zeros() };
            (place, last) = (place >> skipped, last >> skipped);
        } else {
            hash = node(&hash, other);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    if last == 0 { Ok(hash) } else { Err(BadProof) }
}

/// Checks that the leaf with this hash stands at `index` of the tree with this size and root.
///
/// # Errors
///
/// [`BadProof`] when the proof does not lead there.
pub fn verify_inclusion(
    (leaf, index): (&TreeHash, u64),
    (root, size): (&TreeHash, u64),
    proof: &[TreeHash],
) -> Result<(), BadProof> {
    let led = root_of_path(leaf, (index, size), proof)?;
    if led == *root { Ok(()) } else { Err(BadProof) }
}

/// Checks that the tree with the `old` root and size is the beginning of the `new` one.
///
/// # Errors
///
/// [`BadProof`] when the proof does not lead from one to the other.
pub fn verify_consistency(
    (old_root, old): (&TreeHash, u64),
    (new_root, new): (&TreeHash, u64),
    proof: &[TreeHash],
) -> Result<(), BadProof> {
    let holds = |it: bool| if it { Ok(()) } else { Err(BadProof) };
    if old == 0 {
        return holds(proof.is_empty() && *old_root == Frontier::default().root());
    }
    if old >= new {
        return holds(old == new && proof.is_empty() && old_root == new_root);
    }
    let mut path = proof.iter();
    let first = if old.is_power_of_two() { Some(old_root) } else { path.next() };
    let mut olds = *first.ok_or(BadProof)?;
    let mut news = olds;
    let skipped = (old - 1).trailing_ones();
    let (mut place, mut last) = ((old - 1) >> skipped, (new - 1) >> skipped);
    for other in path {
        if last == 0 {
            return Err(BadProof);
        }
        if place & 1 == 1 || place == last {
            (olds, news) = (node(other, &olds), node(other, &news));
            let skipped = if place == 0 { 0 } else { place.trailing_zeros() };
            (place, last) = (place >> skipped, last >> skipped);
        } else {
            news = node(&news, other);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    holds(last == 0 && olds == *old_root && news == *new_root)
}

#[cfg(test)]
mod tests;
