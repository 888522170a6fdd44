//! This node's own checkpoints, and what a stranger needs to hold a receipt against them.

use std::ops::Range;
use std::sync::PoisonError;
use std::time::Duration;

use sedge_base::ContentId;
use sedge_trust::TreeHash;
use sedge_trust::merkle;
use sedge_trust::receipt::{
    Anchor, Checkpoint, CheckpointVersion, MAX_EXPORT_RECEIPTS, Point, Receipt, Since, encode_chain,
};

use super::{Head, Ledger, LedgerError};
use crate::events::Checkpointed;
use crate::tree::{BLOCK, Leaves, Tree};

/// How old the newest checkpoint of a chain that has grown may become before the next one is made.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(60);

impl Ledger {
    /// Returns the newest checkpoint of this node's chain, which may have grown since.
    pub fn newest_checkpoint(&self) -> Option<Checkpoint> {
        self.newest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn checkpointed(&self) -> u64 {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        newest.as_ref().map_or(0, |it| it.point.count)
    }

    /// Returns a checkpoint that counts every receipt of this node's chain; makes one if the chain
    /// has grown since the newest.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when it cannot be stored.
    pub async fn checkpoint(&self) -> Result<Checkpoint, LedgerError> {
        let head = self.head.lock().await;
        self.checkpoint_of(&head).await
    }

    /// Makes a checkpoint if the chain has grown and the newest one is a minute old.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when it cannot be stored.
    pub async fn checkpoint_if_due(&self) -> Result<(), LedgerError> {
        let head = self.head.lock().await;
        let fresh = |it: Checkpoint| self.clock.now().since(it.taken()) < CHECKPOINT_AFTER;
        let grown = head.tree.count() > self.checkpointed();
        if grown && !self.newest_checkpoint().is_some_and(fresh) {
            self.checkpoint_of(&head).await?;
        }
        Ok(())
    }

    pub(super) async fn checkpoint_of(&self, head: &Head) -> Result<Checkpoint, LedgerError> {
        let count = head.tree.count();
        if let Some(newest) = self.newest_checkpoint().filter(|it| it.point.count == count) {
            return Ok(newest);
        }
        let node = self.identity.node_id();
        let now = self.clock.now();
        let point = Point {
            version: CheckpointVersion::default(),
            swarm_id: *self.swarm.read().unwrap_or_else(PoisonError::into_inner),
            node,
            count,
            root: head.tree.root(),
            taken_ms: now.as_millis(),
        };
        let made = Checkpoint::sign(point, &self.identity)?;
        let json = serde_json::to_string(&made).map_err(LedgerError::Encode)?;
        self.store.checkpoints().put(node, count, now, json).await?;
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
        Checkpointed { count, root: &made.point.root }.emit();
        Ok(made)
    }

    /// Returns the proof that this node's chain of `old` receipts is the beginning of its chain of
    /// `new` ones, or `None` when it never had so many.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the store fails.
    pub async fn consistency(
        &self,
        old: u64,
        new: u64,
    ) -> Result<Option<Vec<TreeHash>>, LedgerError> {
        let tree = self.head.lock().await.tree.clone();
        self.prove(&tree, merkle::consistency(old, new)).await
    }

    /// Returns where one of this node's own receipts stands in its chain; `since` asks how the chain
    /// goes on from its first so many receipts. `None` for another node's receipt.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the store fails, or when the chain never had so many receipts.
    pub async fn anchor(
        &self,
        receipt: &Receipt,
        since: Option<u64>,
    ) -> Result<Option<Anchor>, LedgerError> {
        if receipt.body.executor != self.identity.node_id() {
            return Ok(None);
        }
        let (checkpoint, tree) = {
            let head = self.head.lock().await;
            (self.checkpoint_of(&head).await?, head.tree.clone())
        };
        let size = checkpoint.point.count;
        let ranges = merkle::inclusion(receipt.body.sequence, size);
        let Some(path) = self.prove(&tree, ranges).await? else { return Ok(None) };
        let since = match since {
            None => None,
            Some(count) => match self.prove(&tree, merkle::consistency(count, size)).await? {
                Some(path) => Some(Since { count, path }),
                None => return Err(LedgerError::NeverSoMany { count, size }),
            },
        };
        Ok(Some(Anchor { checkpoint, path, since }))
    }

    /// Returns this node's chain from place `from` to its end, as one file that a stranger can
    /// verify.
    ///
    /// # Errors
    ///
    /// [`LedgerError::ChainTooLong`] when the file would have more receipts than are read, and
    /// faults of the store.
    pub async fn export_chain(&self, from: u64) -> Result<Vec<u8>, LedgerError> {
        let (checkpoint, tree) = {
            let head = self.head.lock().await;
            (self.checkpoint_of(&head).await?, head.tree.clone())
        };
        let size = checkpoint.point.count;
        let Some(length) = size.checked_sub(from) else {
            return Err(LedgerError::NeverSoMany { count: from, size });
        };
        if length > MAX_EXPORT_RECEIPTS as u64 {
            return Err(LedgerError::ChainTooLong {
                length,
                from: size - MAX_EXPORT_RECEIPTS as u64,
            });
        }
        let leaves = self.leaves(&tree, vec![from / BLOCK]).await?;
        let before = tree.frontier(from, &leaves);
        let before = before.ok_or(LedgerError::NeverSoMany { count: from, size })?;
        let mut receipts = Vec::new();
        while (receipts.len() as u64) < length {
            let place = from + receipts.len() as u64;
            let room = usize::try_from(length).unwrap_or(usize::MAX) - receipts.len();
            let page = self.chain(place, room).await?;
            if page.is_empty() {
                return Err(LedgerError::Rewritten { count: size });
            }
            receipts.extend(page);
        }
        Ok(encode_chain(&before, &receipts, &checkpoint)?)
    }

    async fn prove(
        &self,
        tree: &Tree,
        ranges: Option<Vec<Range<u64>>>,
    ) -> Result<Option<Vec<TreeHash>>, LedgerError> {
        let Some(ranges) = ranges else { return Ok(None) };
        let needed = ranges.iter().filter_map(|it| tree.needed(it)).collect();
        let leaves = self.leaves(tree, needed).await?;
        Ok(ranges.iter().map(|it| tree.hash(it, &leaves)).collect())
    }

    /// Reads the leaves of blocks; there are two different ones at most in any proof.
    async fn leaves(&self, tree: &Tree, blocks: Vec<u64>) -> Result<Leaves, LedgerError> {
        let mut leaves = Leaves::new();
        for block in blocks {
            let start = block * BLOCK;
            if leaves.contains_key(&block) || start >= tree.count() {
                continue;
            }
            let me = self.identity.node_id();
            let count = usize::try_from(BLOCK).unwrap_or(usize::MAX);
            let ids = self.store.receipts().ids(me, start, count).await?;
            leaves.insert(block, ids.iter().map(leaf).collect());
        }
        Ok(leaves)
    }
}

/// Returns the leaf that stands for a receipt.
pub(super) fn leaf(id: &ContentId) -> TreeHash {
    merkle::leaf(id.as_bytes())
}
