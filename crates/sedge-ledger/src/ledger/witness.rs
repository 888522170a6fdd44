//! What other nodes say of their chains: the newest checkpoint of each is kept, and whatever does
//! not go on from it is reported and changes nothing.
//!
//! Two members that were shown different chains by a third find it out as they tell each other what
//! they keep: each then asks the third how its chain goes on from both.

use std::sync::PoisonError;

use sedge_base::{NodeId, Timestamp};
use sedge_store::AuditEntry;
use sedge_trust::TreeHash;
use sedge_trust::receipt::{Checkpoint, TwoHistories};
use serde::{Deserialize, Serialize};

use super::{Ledger, LedgerError};
use crate::events::Contradicted;

/// What this node keeps of another node's chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witnessed {
    /// The other node.
    pub node: NodeId,
    /// The newest checkpoint that holds.
    pub checkpoint: Checkpoint,
    /// When this node saw it.
    pub seen: Timestamp,
    /// The first thing that the other node said against it, if it did.
    pub contradiction: Option<Contradiction>,
}

/// Two checkpoints, both signed by one node, that do not tell one history: a proof that anybody can
/// check against that node's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contradiction {
    /// What does not fit, in words.
    pub reason: String,
    /// What was kept.
    pub known: Checkpoint,
    /// What was shown, or what another member keeps.
    pub shown: Checkpoint,
}

/// What a node shows of its chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its newest checkpoint.
    pub checkpoint: Checkpoint,
    /// For each number of receipts that it was asked for, in order, how its chain goes on from there.
    pub proofs: Vec<Vec<TreeHash>>,
}

impl Ledger {
    /// Returns whether that checkpoint of another node was not looked at yet, or another member told
    /// of one that this node has still to ask about.
    pub fn is_news(&self, node: &NodeId, checkpoint: &sedge_base::ContentId) -> bool {
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        judged.seen.get(node) != Some(checkpoint) || judged.told.contains_key(node)
    }

    /// Returns the numbers of receipts from which the other node shall show how its chain goes on.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the store fails.
    pub async fn questions(&self, node: NodeId) -> Result<Vec<Checkpoint>, LedgerError> {
        let kept = self.kept(node).await?.map(|it| it.checkpoint);
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(kept.into_iter().chain(judged.told.get(&node).cloned()).collect())
    }

    /// Takes in what a node shows of its chain, in answer to [`Ledger::questions`]. Only `node`
    /// itself, as its connection has proven, can show it.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Contradiction`] when it does not go on from what is kept or what another member
    /// keeps: that is noted, and what is kept stays. Otherwise what is wrong with the checkpoint.
    pub async fn witness(
        &self,
        node: NodeId,
        questions: &[Checkpoint],
        shown: Shown,
    ) -> Result<(), LedgerError> {
        let Shown { checkpoint, proofs } = shown;
        checkpoint.verify(&node)?;
        let id = checkpoint.id()?;
        {
            let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
            judged.seen.insert(node, id);
            judged.told.remove(&node);
        }
        let none = Vec::new();
        for (at, known) in questions.iter().enumerate() {
            let proof = proofs.get(at).unwrap_or(&none);
            if let Err(why) = checkpoint.goes_on_from(known, proof) {
                return Err(self.contradicted(node, (known, &checkpoint), why).await?);
            }
        }
        self.keep_checkpoint(node, &checkpoint).await
    }

    /// Takes in which checkpoint of a third node another member keeps. The third node's id comes from
    /// the roster; its own signature is on the checkpoint.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Contradiction`] when it cannot be of one history with what is kept here.
    pub async fn hear_of(&self, node: NodeId, told: Checkpoint) -> Result<(), LedgerError> {
        if node == self.identity.node_id() {
            return Ok(());
        }
        told.verify(&node)?;
        let Some(kept) = self.kept(node).await? else {
            return Ok(());
        };
        let (known, count) = (&kept.checkpoint, told.point.count);
        if count == known.point.count {
            if told.point.root != known.point.root {
                let why = TwoHistories::Replaced { count };
                return Err(self.contradicted(node, (known, &told), why).await?);
            }
            return Ok(());
        }
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if judged.compared.get(&node) != Some(&told.point) {
            judged.compared.insert(node, told.point.clone());
            judged.told.insert(node, told);
        }
        Ok(())
    }

    /// Returns what this node keeps of other nodes' chains.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the store fails or holds damaged text.
    pub async fn witnessed(&self) -> Result<Vec<Witnessed>, LedgerError> {
        let me = self.identity.node_id();
        let stored = self.store.checkpoints().list().await?;
        stored.into_iter().filter(|it| it.node != me).map(read).collect()
    }

    async fn kept(&self, node: NodeId) -> Result<Option<Witnessed>, LedgerError> {
        self.store.checkpoints().get(node).await?.map(read).transpose()
    }

    async fn keep_checkpoint(&self, node: NodeId, it: &Checkpoint) -> Result<(), LedgerError> {
        let json = serde_json::to_string(it).map_err(LedgerError::Encode)?;
        let now = self.clock.now();
        Ok(self.store.checkpoints().put(node, it.point.count, now, json).await?)
    }

    /// Notes a contradiction: once beside what is kept, and in the audit.
    async fn contradicted(
        &self,
        node: NodeId,
        (known, shown): (&Checkpoint, &Checkpoint),
        why: TwoHistories,
    ) -> Result<LedgerError, LedgerError> {
        let (known, shown) = (known.clone(), shown.clone());
        let noted = Contradiction { reason: why.to_string(), known, shown };
        let json = serde_json::to_string(&noted).map_err(LedgerError::Encode)?;
        if self.store.checkpoints().contradict(node, json.clone()).await? {
            Contradicted { node: &node, why: &why }.emit();
            let kind = "checkpoint.contradicted".to_owned();
            let entry =
                AuditEntry { at: self.clock.now(), kind, subject: node.to_string(), detail: json };
            self.store.audit().append(entry).await?;
        }
        Ok(LedgerError::Contradiction { node, why })
    }
}

fn read(stored: sedge_store::StoredCheckpoint) -> Result<Witnessed, LedgerError> {
    let unreadable = |source| LedgerError::DamagedCheckpoint { node: stored.node, source };
    Ok(Witnessed {
        node: stored.node,
        checkpoint: serde_json::from_str(&stored.json).map_err(unreadable)?,
        seen: stored.at,
        contradiction: match &stored.contradiction {
            None => None,
            Some(json) => Some(serde_json::from_str(json).map_err(unreadable)?),
        },
    })
}
