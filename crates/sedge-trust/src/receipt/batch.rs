//! Many receipts under one signature: the executor signs the root of the tree over their ids, and
//! each receipt carries the way from its own id to that root.
//!
//! A receipt of a batch is verified on its own; none of the others is needed, or shown.

use sedge_base::{ContentId, ErrorKind, NodeId};
use serde::{Deserialize, Serialize};

use super::{Body, Receipt, SignError};
use crate::canonical::{self, CanonicalError};
use crate::identity::Identity;
use crate::merkle::{self, BadProof};
use crate::signature::{BadSignature, Signature, TreeHash, verify};

/// The most receipts under one signature.
pub const MAX_BATCH: usize = 4096;

/// The longest way to the root of a batch.
const MAX_PATH: usize = MAX_BATCH.ilog2() as usize;

/// Where a receipt stands among those that were signed together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Its place, from 0.
    pub index: u64,
    /// How many were signed together; see [`MAX_BATCH`].
    pub size: u64,
    /// The hashes beside the way to the root (RFC 9162, section 2.1.3).
    pub path: Vec<TreeHash>,
}

/// Why a receipt is not of the batch that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The executor did not sign the batch.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// The receipt was not in it.
    #[error("the receipt is not in the batch that was signed")]
    Proof(#[source] BadProof),
    /// The batch is larger than any.
    #[error("a batch has at most {MAX_BATCH} receipts")]
    Size,
}

impl BatchError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Signature(err) => err.kind(),
            Self::Proof(err) => err.kind(),
            Self::Size => ErrorKind::Invalid,
        }
    }
}

/// What the executor signs.
#[derive(Serialize)]
struct Root {
    version: &'static str,
    root: TreeHash,
    size: u64,
}

fn text(root: TreeHash, size: u64) -> Result<Vec<u8>, CanonicalError> {
    canonical::jcs(&Root { version: "sedge-receipt-batch/1", root, size })
}

impl Receipt {
    /// Signs many facts as their executor, with one signature: each receipt has the same one.
    ///
    /// A single receipt is signed as by [`Receipt::sign`], none gives none.
    ///
    /// # Errors
    ///
    /// [`SignError`] when one of the facts names another executor or contradicts itself, or when
    /// there are more than [`MAX_BATCH`].
    pub fn sign_batch(bodies: Vec<Body>, executor: &Identity) -> Result<Vec<Self>, SignError> {
        if bodies.len() > MAX_BATCH {
            return Err(SignError::Batch(BatchError::Size));
        }
        let own = executor.node_id();
        let mut leaves = Vec::with_capacity(bodies.len());
        for body in &bodies {
            body.check()?;
            if body.executor != own {
                return Err(SignError::OtherNode { named: body.executor, own });
            }
            leaves.push(merkle::leaf(ContentId::of(&body.canonical()?).as_bytes()));
        }
        if bodies.len() < 2 {
            return bodies.into_iter().map(|it| Self::sign(it, executor)).collect();
        }
        let size = leaves.len() as u64;
        let levels = levels(leaves);
        let root = levels.last().and_then(|it| it.first()).copied();
        let root = root.unwrap_or_else(|| merkle::root(&[]));
        let executor_signature = executor.sign(&text(root, size)?);
        let receipts = bodies.into_iter().enumerate().map(|(index, body)| {
            let batch = Batch { index: index as u64, size, path: path(&levels, index) };
            Self { body, executor_signature, requester_signature: None, batch: Some(batch) }
        });
        Ok(receipts.collect())
    }
}

/// Returns every level of the tree, the leaves first; a node without a neighbour moves up as it is.
fn levels(leaves: Vec<TreeHash>) -> Vec<Vec<TreeHash>> {
    let mut levels = vec![leaves];
    while let Some(last) = levels.last().filter(|it| it.len() > 1) {
        let above = last.chunks(2).map(|it| match it {
            [left, right] => merkle::node(left, right),
            alone => merkle::root(alone),
        });
        let above = above.collect();
        levels.push(above);
    }
    levels
}

/// Returns the neighbours on the way from a leaf to the root.
fn path(levels: &[Vec<TreeHash>], index: usize) -> Vec<TreeHash> {
    let beside =
        |(height, level): (usize, &Vec<TreeHash>)| level.get((index >> height) ^ 1).copied();
    levels.iter().enumerate().filter_map(beside).collect()
}

impl Batch {
    /// Checks that the executor signed a batch with this receipt in it.
    pub(super) fn verify(
        &self,
        executor: &NodeId,
        receipt: &ContentId,
        signature: &Signature,
    ) -> Result<(), BatchVerifyError> {
        let Self { index, size, path } = self;
        if *size > MAX_BATCH as u64 || path.len() > MAX_PATH {
            return Err(BatchError::Size.into());
        }
        let root = merkle::root_of_path(&merkle::leaf(receipt.as_bytes()), (*index, *size), path);
        let root = root.map_err(BatchError::Proof)?;
        verify(executor, &text(root, *size)?, signature).map_err(BatchError::Signature)?;
        Ok(())
    }
}

/// Why a batch does not verify.
#[derive(Debug, thiserror::Error)]
pub(super) enum BatchVerifyError {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

#[cfg(test)]
mod tests {
    use super::super::tests::{body, executor, keys, requester};
    use super::super::{BodyError, VerifyError};
    use super::*;

    /// A chain of receipts, signed together.
    fn batch(count: u64) -> Vec<Receipt> {
        let (mut bodies, mut previous) = (Vec::new(), None);
        for sequence in 0..count {
            let next = body(sequence, previous);
            previous = Some(ContentId::of(&next.canonical().unwrap()));
            bodies.push(next);
        }
        Receipt::sign_batch(bodies, &executor()).unwrap()
    }

    #[test]
    fn each_receipt_of_a_batch_verifies_by_itself_and_is_confirmed() {
        for count in [0, 1, 2, 3, 5, 8, 13] {
            let receipts = batch(count);
            assert_eq!(receipts.len() as u64, count);
            for mut receipt in receipts {
                assert_eq!(receipt.batch.is_some(), count > 1);
                assert!(!receipt.verify(&keys()).unwrap().countersigned);
                receipt.countersign(&requester()).unwrap();
                let verified = receipt.verify(&keys()).unwrap();
                assert_eq!((verified.id, verified.countersigned), (receipt.id().unwrap(), true));
            }
        }
    }

    #[test]
    fn the_batch_has_the_tree_of_rfc_6962() {
        let receipts = batch(7);
        let leaves: Vec<_> =
            receipts.iter().map(|it| merkle::leaf(it.id().unwrap().as_bytes())).collect();
        let root = merkle::root(&leaves);
        for (receipt, leaf) in receipts.iter().zip(&leaves) {
            let Batch { index, size, path } = receipt.batch.as_ref().unwrap();
            merkle::verify_inclusion((leaf, *index), (&root, *size), path).unwrap();
        }
    }

    #[track_caller]
    fn check_refused(spoil: impl FnOnce(&mut Receipt)) {
        let mut receipt = batch(5).swap_remove(2);
        spoil(&mut receipt);
        let refused = receipt.verify(&keys()).unwrap_err();
        assert!(matches!(refused, VerifyError::Batch(_) | VerifyError::Executor(_)), "{refused}");
    }

    #[test]
    fn another_receipt_place_or_way_is_refused() {
        check_refused(|it| it.body.used.fuel += 1);
        check_refused(|it| it.batch.as_mut().unwrap().index = 3);
        check_refused(|it| it.batch.as_mut().unwrap().index = u64::MAX);
        check_refused(|it| it.batch.as_mut().unwrap().size = 6);
        check_refused(|it| it.batch.as_mut().unwrap().size = u64::MAX);
        check_refused(|it| it.batch.as_mut().unwrap().path.truncate(2));
        check_refused(|it| it.batch.as_mut().unwrap().path[0] = merkle::leaf(b"other"));
        check_refused(|it| it.batch = None);
        check_refused(|it| it.executor_signature = executor().sign(b"another text"));
    }

    #[test]
    fn what_one_receipt_may_not_say_none_of_a_batch_may() {
        let wrong = vec![body(0, None), body(1, None)];
        let refused = Receipt::sign_batch(wrong, &executor()).unwrap_err();
        assert!(matches!(refused, SignError::Body(BodyError::Previous)));
        let refused = Receipt::sign_batch(vec![body(0, None); 2], &requester()).unwrap_err();
        assert!(matches!(refused, SignError::OtherNode { .. }));
        let refused = Receipt::sign_batch(vec![body(0, None); MAX_BATCH + 1], &executor());
        assert!(matches!(refused, Err(SignError::Batch(BatchError::Size))));
    }
}
