//! A node's chain as one file: a line that says what it is, then one receipt a line.
//!
//! Each line is read by itself, so that a damaged record is named and the others stay readable. The
//! first line carries a checkpoint: a file that ends before it is short of records and says so.

use sedge_base::{ContentId, ErrorKind, NodeId};
use serde::{Deserialize, Serialize};

use super::chain::link;
use super::{
    BrokenChain, ChainFault, Checkpoint, CheckpointError, MAX_EXPORT_BYTES, MAX_EXPORT_RECEIPTS,
    Receipt,
};
use crate::canonical::{self, CanonicalError, ReadError};
use crate::merkle::{self, Frontier};
use crate::signature::TreeHash;

/// The longest line of such a file, in bytes.
const MAX_LINE: usize = 16 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Version {
    #[serde(rename = "sedge-chain/1")]
    V1,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: Version,
    /// The place of the first record in the chain.
    from: u64,
    /// The peaks of the tree over everything before it.
    before: Vec<TreeHash>,
    /// Counts every record up to the file's last one.
    checkpoint: Checkpoint,
}

/// Writes a chain's end, from the place that `before` counts to the last one that the checkpoint
/// counts.
///
/// # Errors
///
/// [`CanonicalError`] when a number is too large for JSON.
pub fn encode_chain(
    before: &Frontier,
    receipts: &[Receipt],
    checkpoint: &Checkpoint,
) -> Result<Vec<u8>, CanonicalError> {
    let head = Head {
        version: Version::V1,
        from: before.count(),
        before: before.peaks().to_vec(),
        checkpoint: checkpoint.clone(),
    };
    let mut file = canonical::jcs(&head)?;
    file.push(b'\n');
    for receipt in receipts {
        file.extend_from_slice(&canonical::jcs(receipt)?);
        file.push(b'\n');
    }
    Ok(file)
}

/// Returns whether a file says of itself that it is a chain. Nothing is verified by this.
pub fn is_chain(file: &[u8]) -> bool {
    file.split(|it| *it == b'\n').next().is_some_and(|it| {
        it.ends_with(b"\"version\":\"sedge-chain/1\"}") || it.starts_with(b"{\"before\":")
    })
}

/// What a verified chain file proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenChain {
    /// The place of its first record.
    pub from: u64,
    /// How many records it has.
    pub records: u64,
    /// How many of them their requester confirmed.
    pub countersigned: u64,
    /// The id of the last record.
    pub last: Option<ContentId>,
    /// The checkpoint that the records lead to.
    pub checkpoint: Checkpoint,
}

/// Why a file proves no chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainFileError {
    /// The file is too large.
    #[error(
        "a chain's file has at most {MAX_EXPORT_BYTES} bytes and {MAX_EXPORT_RECEIPTS} records"
    )]
    TooLarge,
    /// The first line is not what a chain begins with.
    #[error("the first line is no chain's")]
    Head(#[source] ReadError),
    /// The hashes before the first record are of another number of records.
    #[error("the hashes before the first record do not fit its place")]
    Before,
    /// A checkpoint does not verify.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint that the caller holds counts records before this file's first one.
    #[error("the checkpoint of {count} records lies before this file, which begins at {from}")]
    Uncovered {
        /// How many records that checkpoint counts.
        count: u64,
        /// Where the file begins.
        from: u64,
    },
    /// A record fails; it is named.
    #[error(transparent)]
    Record(#[from] BrokenChain),
}

impl ChainFileError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge => ErrorKind::Exhausted,
            Self::Head(err) => err.kind(),
            Self::Checkpoint(err) => err.kind(),
            Self::Uncovered { .. } => ErrorKind::Invalid,
            Self::Before | Self::Record(_) => ErrorKind::Corrupt,
        }
    }
}

/// Verifies a chain's file from first to last byte.
///
/// The key of the `executor` comes from elsewhere, and so does what `known` says of requesters.
/// `held` are checkpoints of the executor that the caller has from elsewhere: only they show that
/// the executor has not signed another history before, or a longer one.
///
/// # Errors
///
/// [`ChainFileError`], which names the first record that fails, counted from 0.
pub fn verify_chain_file(
    file: &[u8],
    executor: NodeId,
    known: impl Fn(&NodeId) -> bool,
    held: &[Checkpoint],
) -> Result<ProvenChain, ChainFileError> {
    if file.len() > MAX_EXPORT_BYTES {
        return Err(ChainFileError::TooLarge);
    }
    let file = file.strip_suffix(b"\n").unwrap_or(file);
    let mut lines = file.split(|it| *it == b'\n');
    let head = lines.next().unwrap_or_default();
    let head: Head = canonical::read_jcs(head, MAX_LINE).map_err(ChainFileError::Head)?;
    let Head { version: Version::V1, from, before, checkpoint } = head;
    checkpoint.verify(&executor)?;
    for held in held {
        held.verify(&executor)?;
        let count = held.point.count;
        if count < from {
            return Err(ChainFileError::Uncovered { count, from });
        }
    }
    let frontier = Frontier::from_parts(from, before).ok_or(ChainFileError::Before)?;
    let mut walk = Walk { frontier, checkpoint, held, last: None, countersigned: 0, index: 0 };
    for line in lines {
        if walk.index == MAX_EXPORT_RECEIPTS {
            return Err(ChainFileError::TooLarge);
        }
        let index = walk.index;
        walk.step(line, executor, &known).map_err(|fault| BrokenChain { index, fault })?;
    }
    Ok(walk.end(from)?)
}

/// The way from record to record.
struct Walk<'a> {
    frontier: Frontier,
    checkpoint: Checkpoint,
    held: &'a [Checkpoint],
    last: Option<ContentId>,
    countersigned: u64,
    index: usize,
}

impl Walk<'_> {
    fn step(
        &mut self,
        line: &[u8],
        executor: NodeId,
        known: &impl Fn(&NodeId) -> bool,
    ) -> Result<(), ChainFault> {
        let receipt: Receipt =
            canonical::read_jcs(line, MAX_LINE).map_err(ChainFault::Unreadable)?;
        let place = self.frontier.count();
        // What stands before a file's first record is not in it; the checkpoint's root counts it.
        let previous = if self.index == 0 && place > 0 { receipt.body.previous } else { self.last };
        let id = link(&receipt, place, executor, known, previous)?;
        if place >= self.checkpoint.point.count {
            return Err(ChainFault::Beyond { count: self.checkpoint.point.count });
        }
        self.frontier.push(merkle::leaf(id.as_bytes()));
        for held in self.held.iter().chain([&self.checkpoint]) {
            let same = held.point.count == self.frontier.count();
            if same && held.point.root != self.frontier.root() {
                return Err(ChainFault::OtherHistory { count: held.point.count });
            }
        }
        self.last = Some(id);
        self.countersigned += u64::from(receipt.requester_signature.is_some());
        self.index += 1;
        Ok(())
    }

    fn end(self, from: u64) -> Result<ProvenChain, BrokenChain> {
        let Self { frontier, checkpoint, held, last, countersigned, index } = self;
        let broken = |fault| Err(BrokenChain { index, fault });
        let counts = held.iter().map(|it| it.point.count).chain([checkpoint.point.count]);
        if counts.max().is_some_and(|it| it > frontier.count()) {
            return broken(ChainFault::TailMissing);
        }
        // Without records, nothing was held against the roots yet.
        let (count, root) = (frontier.count(), frontier.root());
        let differs = |it: &Checkpoint| it.point.count == count && it.point.root != root;
        if held.iter().any(differs) || differs(&checkpoint) {
            return broken(ChainFault::OtherHistory { count });
        }
        let records = count.saturating_sub(from);
        Ok(ProvenChain { from, records, countersigned, last, checkpoint })
    }
}

#[cfg(test)]
mod tests;
