//! What a node says of its whole chain at one moment, and how two such words are held together.
//!
//! A checkpoint is the root of the RFC 6962 tree over the ids of a node's receipts in chain order,
//! with their number, signed by the node. Of two checkpoints of one node the shorter one is a
//! beginning of the longer one, or the node has told two histories.

use sedge_base::{ContentId, ErrorKind, NodeId, SwarmId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Receipt;
use crate::canonical::{self, CanonicalError};
use crate::identity::Identity;
use crate::merkle::{self, BadProof, MAX_PROOF};
use crate::signature::{BadSignature, Signature, TreeHash, verify as verify_signature};

/// The version of the checkpoint's form; a field, so that it is signed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CheckpointVersion {
    /// The first form.
    #[default]
    #[serde(rename = "sedge-checkpoint/1")]
    V1,
}

/// The facts of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// The form of this record.
    pub version: CheckpointVersion,
    /// The swarm that the node belonged to then.
    pub swarm_id: SwarmId,
    /// Whose chain.
    pub node: NodeId,
    /// How many receipts the chain had.
    pub count: u64,
    /// The root of the tree over their ids.
    pub root: TreeHash,
    /// When, in ms since 1970 by the node's clock.
    pub taken_ms: u64,
}

/// A checkpoint that its node signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The facts.
    pub point: Point,
    /// By the node, over the RFC 8785 form of `point`.
    pub signature: Signature,
}

/// Why a checkpoint is not made or not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It is another node's.
    #[error("the checkpoint is of node {named:?}")]
    OtherNode {
        /// The node that it names.
        named: NodeId,
    },
    /// The node did not sign it.
    #[error("the node did not sign this checkpoint")]
    Signature(#[source] BadSignature),
    /// A number is too large for JSON.
    #[error("the checkpoint cannot be written down")]
    Canonical(#[from] CanonicalError),
}

impl CheckpointError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::OtherNode { .. } => ErrorKind::Denied,
            Self::Signature(err) => err.kind(),
            Self::Canonical(err) => err.kind(),
        }
    }
}

/// Why two checkpoints of one node do not tell one history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TwoHistories {
    /// The later one counts fewer receipts: the chain's end was dropped.
    #[error("it showed {known} receipts before and shows {shown} now: the end was dropped")]
    Shorter {
        /// How many there were.
        known: u64,
        /// How many there are said to be.
        shown: u64,
    },
    /// Both count the same receipts and have other roots: two chains of one node.
    #[error("two chains of {count} receipts each: at least one receipt was replaced")]
    Replaced {
        /// How many both count.
        count: u64,
    },
    /// The longer one is not shown to go on from the shorter one.
    #[error("the chain of {shown} receipts does not go on from the one of {known} before")]
    Unproven {
        /// How many the shorter one counts.
        known: u64,
        /// How many the longer one counts.
        shown: u64,
    },
}

impl Checkpoint {
    /// Signs a checkpoint of this node's own chain.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] when it names another node or a number is too large for JSON.
    pub fn sign(point: Point, node: &Identity) -> Result<Self, CheckpointError> {
        if point.node != node.node_id() {
            return Err(CheckpointError::OtherNode { named: point.node });
        }
        let signature = node.sign(&canonical::jcs(&point)?);
        Ok(Self { point, signature })
    }

    /// Verifies that `node`, which is known from elsewhere, signed this of its own chain.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] when it did not.
    pub fn verify(&self, node: &NodeId) -> Result<(), CheckpointError> {
        if self.point.node != *node {
            return Err(CheckpointError::OtherNode { named: self.point.node });
        }
        verify_signature(node, &canonical::jcs(&self.point)?, &self.signature)
            .map_err(CheckpointError::Signature)
    }

    /// Returns the checkpoint's id: SHA-256 of the RFC 8785 form of its facts.
    ///
    /// # Errors
    ///
    /// [`CanonicalError`] when a number is too large for JSON.
    pub fn id(&self) -> Result<ContentId, CanonicalError> {
        Ok(ContentId::of(&canonical::jcs(&self.point)?))
    }

    /// Returns when it was made, by its node's clock.
    pub const fn taken(&self) -> Timestamp {
        Timestamp::from_millis(self.point.taken_ms)
    }

    /// Checks that this checkpoint goes on from an earlier one of the same node; both are verified
    /// already. `proof` is by [`merkle::consistency`].
    ///
    /// # Errors
    ///
    /// [`TwoHistories`], with both checkpoints as evidence in the caller's hands.
    pub fn goes_on_from(&self, known: &Self, proof: &[TreeHash]) -> Result<(), TwoHistories> {
        let (old, new) = (&known.point, &self.point);
        let (known, shown) = (old.count, new.count);
        if shown < known {
            return Err(TwoHistories::Shorter { known, shown });
        }
        if shown == known && old.root != new.root {
            return Err(TwoHistories::Replaced { count: known });
        }
        merkle::verify_consistency((&old.root, known), (&new.root, shown), proof)
            .map_err(|_| TwoHistories::Unproven { known, shown })
    }
}

/// Where a receipt stands in its executor's chain: a checkpoint, and the way from the receipt to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// A checkpoint of the executor that counts the receipt.
    pub checkpoint: Checkpoint,
    /// The hashes beside the way from the receipt to the root, by [`merkle::inclusion`].
    pub path: Vec<TreeHash>,
    /// How the checkpoint goes on from an earlier one, if somebody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
}

/// How a checkpoint goes on from an earlier one that somebody else holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// How many receipts the earlier one counts.
    pub count: u64,
    /// The proof, by [`merkle::consistency`].
    pub path: Vec<TreeHash>,
}

/// Why a receipt is not where its anchor says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// The checkpoint does not verify.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The receipt is not in the chain that the checkpoint counts.
    #[error("the receipt is not in the chain that the checkpoint was made of")]
    Elsewhere(#[source] BadProof),
    /// The file does not say how it goes on from the checkpoint at hand.
    #[error("the file does not say how it goes on from the checkpoint of {count} receipts")]
    Unlinked {
        /// How many receipts the checkpoint at hand counts.
        count: u64,
    },
    /// The checkpoint at hand and the one in the file tell two histories.
    #[error(transparent)]
    Histories(#[from] TwoHistories),
    /// The receipt cannot be written down.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

impl AnchorError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Checkpoint(err) => err.kind(),
            Self::Canonical(err) => err.kind(),
            Self::Unlinked { .. } => ErrorKind::Invalid,
            Self::Elsewhere(_) | Self::Histories(_) => ErrorKind::Corrupt,
        }
    }
}

impl Anchor {
    /// Verifies that the receipt stands in the chain of `executor`, whose key comes from elsewhere.
    ///
    /// # Errors
    ///
    /// [`AnchorError`], which says what does not hold.
    pub fn verify(&self, receipt: &Receipt, executor: &NodeId) -> Result<(), AnchorError> {
        self.checkpoint.verify(executor)?;
        let leaf = merkle::leaf(receipt.id()?.as_bytes());
        let Point { root, count, .. } = &self.checkpoint.point;
        let proof = bounded(&self.path).map_err(AnchorError::Elsewhere)?;
        merkle::verify_inclusion((&leaf, receipt.body.sequence), (root, *count), proof)
            .map_err(AnchorError::Elsewhere)
    }

    /// Verifies that the anchor's checkpoint and one that the caller holds tell one history.
    ///
    /// # Errors
    ///
    /// [`AnchorError`], which says what does not hold.
    pub fn verify_since(&self, held: &Checkpoint, executor: &NodeId) -> Result<(), AnchorError> {
        held.verify(executor)?;
        let count = held.point.count;
        let since = self.since.as_ref().filter(|it| it.count == count);
        let path = match since {
            Some(since) => bounded(&since.path).map_err(AnchorError::Elsewhere)?,
            None if count >= self.checkpoint.point.count || count == 0 => &[],
            None => return Err(AnchorError::Unlinked { count }),
        };
        Ok(self.checkpoint.goes_on_from(held, path)?)
    }
}

fn bounded(path: &[TreeHash]) -> Result<&[TreeHash], BadProof> {
    if path.len() <= MAX_PROOF { Ok(path) } else { Err(BadProof) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{body, executor, requester};
    use super::*;

    fn leaves(count: u64) -> Vec<TreeHash> {
        (0..count).map(|it| merkle::leaf(receipt(it).id().unwrap().as_bytes())).collect()
    }

    fn receipt(sequence: u64) -> Receipt {
        let previous = (sequence > 0).then(|| ContentId::of(b"the one before"));
        Receipt::sign(body(sequence, previous), &executor()).unwrap()
    }

    fn checkpoint(leaves: &[TreeHash]) -> Checkpoint {
        let point = Point {
            version: CheckpointVersion::V1,
            swarm_id: SwarmId::of_key(&[1; 32]),
            node: executor().node_id(),
            count: leaves.len() as u64,
            root: merkle::root(leaves),
            taken_ms: 1_700_000_000_000,
        };
        Checkpoint::sign(point, &executor()).unwrap()
    }

    fn prove(leaves: &[TreeHash], ranges: Option<Vec<std::ops::Range<u64>>>) -> Vec<TreeHash> {
        let at = |it: u64| usize::try_from(it).unwrap();
        let ranges = ranges.unwrap().into_iter();
        ranges.map(|it| merkle::root(&leaves[at(it.start)..at(it.end)])).collect()
    }

    #[test]
    fn a_checkpoint_is_of_its_own_node_only() {
        let made = checkpoint(&leaves(3));
        made.verify(&executor().node_id()).unwrap();
        let other = requester().node_id();
        assert!(matches!(made.verify(&other), Err(CheckpointError::OtherNode { .. })));
        let forged = Checkpoint::sign(made.point.clone(), &requester());
        assert!(matches!(forged, Err(CheckpointError::OtherNode { .. })));
        let mut altered = made;
        altered.point.count += 1;
        let refused = altered.verify(&executor().node_id());
        assert!(matches!(refused, Err(CheckpointError::Signature(_))));
    }

    #[test]
    fn two_histories_are_told_apart() {
        let all = leaves(9);
        let (five, nine) = (checkpoint(&all[..5]), checkpoint(&all));
        let proof = prove(&all, merkle::consistency(5, 9));
        assert_eq!(nine.goes_on_from(&five, &proof), Ok(()));
        assert_eq!(five.goes_on_from(&five, &[]), Ok(()));
        let shorter = TwoHistories::Shorter { known: 9, shown: 5 };
        assert_eq!(five.goes_on_from(&nine, &proof), Err(shorter));
        let mut others = all;
        others[1] = merkle::leaf(b"another");
        let replaced = TwoHistories::Replaced { count: 9 };
        assert_eq!(checkpoint(&others).goes_on_from(&nine, &[]), Err(replaced));
        let unproven = TwoHistories::Unproven { known: 5, shown: 9 };
        let proof = prove(&others, merkle::consistency(5, 9));
        assert_eq!(checkpoint(&others).goes_on_from(&five, &proof), Err(unproven));
        assert_eq!(nine.goes_on_from(&five, &[]), Err(unproven));
    }

    #[test]
    fn an_anchor_holds_one_receipt_at_one_place() {
        let all = leaves(6);
        let path = prove(&all, merkle::inclusion(2, 6));
        let since = Since { count: 4, path: prove(&all, merkle::consistency(4, 6)) };
        let anchor = Anchor { checkpoint: checkpoint(&all), path, since: Some(since) };
        let me = executor().node_id();
        anchor.verify(&receipt(2), &me).unwrap();
        assert!(matches!(anchor.verify(&receipt(3), &me), Err(AnchorError::Elsewhere(_))));
        anchor.verify_since(&checkpoint(&all[..4]), &me).unwrap();
        let unlinked = anchor.verify_since(&checkpoint(&all[..3]), &me);
        assert!(matches!(unlinked, Err(AnchorError::Unlinked { count: 3 })));
        let other = checkpoint(&[merkle::leaf(b"x"); 4]);
        assert!(matches!(anchor.verify_since(&other, &me), Err(AnchorError::Histories(_))));
        let mut long = anchor;
        long.path = vec![merkle::leaf(b"x"); 100];
        assert!(matches!(long.verify(&receipt(2), &me), Err(AnchorError::Elsewhere(_))));
    }
}
