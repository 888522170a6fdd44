//! The chain of one executor's receipts: nothing altered, nothing missing, nothing moved.

use sedge_base::{ContentId, ErrorKind, NodeId};

use super::{Receipt, VerifyError, VerifyKeys};
use crate::canonical::{CanonicalError, ReadError};

/// What is wrong with a record of a chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainFault {
    /// The record itself does not verify.
    #[error("it is altered")]
    Altered(#[source] VerifyError),
    /// Records before this one are missing, or it stands in the wrong place.
    #[error("it has number {got} where {want} belongs: records are missing or reordered")]
    OutOfPlace {
        /// The number that belongs here.
        want: u64,
        /// The number that the record has.
        got: u64,
    },
    /// The record follows another one than the one that stands before it.
    #[error("it follows another record than the one before it")]
    NotLinked,
    /// The chain ends early: its known last record is not in it.
    #[error("the chain ends before its known last record")]
    TailMissing,
    /// The record stands after the last one that the checkpoint counts.
    #[error("it stands after the {count} records that the checkpoint counts")]
    Beyond {
        /// How many the checkpoint counts.
        count: u64,
    },
    /// The records up to this one are not those that a checkpoint was made of.
    #[error("the records up to this one are not the {count} that the checkpoint was made of")]
    OtherHistory {
        /// How many that checkpoint counts.
        count: u64,
    },
    /// The record is not written as a receipt is.
    #[error("it cannot be read")]
    Unreadable(#[source] ReadError),
    /// The record cannot be written down.
    #[error("it cannot be written down")]
    Canonical(#[from] CanonicalError),
}

/// The first record of a chain that fails.
#[derive(Debug, thiserror::Error)]
#[error("record {index} of the chain fails")]
pub struct BrokenChain {
    /// Where it stands in the list that was given, from 0.
    pub index: usize,
    /// What is wrong with it.
    #[source]
    pub fault: ChainFault,
}

impl BrokenChain {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Corrupt
    }
}

/// Verifies a whole chain of `executor`, from place 0, and returns the id of its last record.
///
/// Requester keys do not come from the records: `known` says whether a node is known from
/// elsewhere (the registry, or a list that the person gave). `last`, when it is known, is the id
/// of the newest record: without it, a chain whose newest records were dropped still verifies.
///
/// # Errors
///
/// [`BrokenChain`] names the first record that fails, and how.
pub fn verify_chain(
    chain: &[Receipt],
    executor: NodeId,
    known: impl Fn(&NodeId) -> bool,
    last: Option<ContentId>,
) -> Result<Option<ContentId>, BrokenChain> {
    let mut previous = None;
    for (index, receipt) in chain.iter().enumerate() {
        let next = link(receipt, index as u64, executor, &known, previous);
        previous = Some(next.map_err(|fault| BrokenChain { index, fault })?);
    }
    if last.is_some() && last != previous {
        return Err(BrokenChain { index: chain.len(), fault: ChainFault::TailMissing });
    }
    Ok(previous)
}

pub(super) fn link(
    receipt: &Receipt,
    want: u64,
    executor: NodeId,
    known: &impl Fn(&NodeId) -> bool,
    previous: Option<ContentId>,
) -> Result<ContentId, ChainFault> {
    let requester = receipt.body.requester;
    if !known(&requester) {
        let unknown = VerifyError::OtherRequester { named: requester };
        return Err(ChainFault::Altered(unknown));
    }
    let keys = VerifyKeys { executor, requester };
    let verified = receipt.verify(&keys).map_err(ChainFault::Altered)?;
    let got = receipt.body.sequence;
    if got != want {
        return Err(ChainFault::OutOfPlace { want, got });
    }
    if receipt.body.previous != previous {
        return Err(ChainFault::NotLinked);
    }
    Ok(verified.id)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{body, executor, keys, requester};
    use super::*;

    fn chain() -> Vec<Receipt> {
        let mut chain: Vec<Receipt> = Vec::new();
        for sequence in 0..4 {
            let previous = chain.last().map(|it| it.id().unwrap());
            let mut next = Receipt::sign(body(sequence, previous), &executor()).unwrap();
            next.countersign(&requester()).unwrap();
            chain.push(next);
        }
        chain
    }

    #[track_caller]
    fn check(spoil: impl FnOnce(&mut Vec<Receipt>), expected: &str) {
        let mut receipts = chain();
        let last = Some(receipts[3].id().unwrap());
        spoil(&mut receipts);
        let known = |node: &NodeId| *node == keys().requester;
        let got = match verify_chain(&receipts, keys().executor, known, last) {
            Ok(id) => format!("whole: {}", id == last),
            Err(err) => format!("{}: {}", err.index, err.fault),
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn a_whole_chain_verifies() {
        check(|_| (), "whole: true");
    }

    #[test]
    fn the_first_bad_record_is_named() {
        check(|it| it[2].body.used.fuel += 1, "2: it is altered");
        check(|it| it[1].requester_signature = it[2].requester_signature, "1: it is altered");
        check(
            |it| it.swap(1, 2),
            "1: it has number 2 where 1 belongs: records are missing or reordered",
        );
        check(
            |it| drop(it.remove(0)),
            "0: it has number 1 where 0 belongs: records are missing or reordered",
        );
        check(|it| drop(it.pop()), "3: the chain ends before its known last record");
    }

    #[test]
    fn another_history_does_not_fit_in() {
        check(
            |it| {
                let other = Some(ContentId::of(b"another"));
                it[2] = Receipt::sign(body(2, other), &executor()).unwrap();
            },
            "2: it follows another record than the one before it",
        );
    }
}
