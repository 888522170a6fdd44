//! What members tell each other about their chains of receipts.

use std::sync::Arc;

use sedge_base::NodeId;
use sedge_capability::Failure;
use sedge_ledger::{LedgerError, Shown, Witnessed};
use sedge_net::Conn;
use sedge_trust::receipt::{Checkpoint, Form, Receipt, attest};
use tracing::debug;

use crate::beat::ask;
use crate::node::{Node, with_source};
use crate::view::{Chains, Witness};
use crate::wire::{ChainShown, Request, WireError};

/// From how many places a member may ask at once how the chain goes on.
const MAX_COUNTS: usize = 8;

/// How many third nodes' checkpoints one answer has.
const MAX_KEPT: usize = 128;

impl Node {
    /// Answers a member that asks how this node's chain goes on.
    pub(crate) async fn show_chain(&self, counts: &[u64]) -> Result<ChainShown, Failure> {
        let checkpoint = self.ledger.newest_checkpoint();
        let mut proofs = Vec::new();
        if let Some(newest) = &checkpoint {
            for count in counts.iter().take(MAX_COUNTS) {
                let proof = self.ledger.consistency(*count, newest.point.count).await;
                // More than there ever were has no proof; the other side sees why.
                proofs.push(proof.map_err(|it| unreadable(&it))?.unwrap_or_default());
            }
        }
        let kept = self.ledger.witnessed().await.map_err(|it| unreadable(&it))?;
        let kept = kept.into_iter().take(MAX_KEPT).map(|it| it.checkpoint).collect();
        Ok(ChainShown { checkpoint, proofs, kept })
    }

    /// Asks a member how its chain goes on, and what it keeps of others. What does not hold changes
    /// nothing; the ledger reports it.
    pub(crate) async fn look_at_chain(
        self: &Arc<Self>,
        conn: &Conn,
        peer: NodeId,
    ) -> Result<(), WireError> {
        let questions = match self.ledger.questions(peer).await {
            Ok(questions) => questions,
            Err(error) => return Err(WireError::Refused(unreadable(&error))),
        };
        let counts = questions.iter().map(|it| it.point.count).collect();
        let shown: ChainShown = ask(conn, &Request::Chain { counts }).await?;
        let ChainShown { checkpoint, proofs, kept } = shown;
        if let Some(checkpoint) = checkpoint {
            let shown = Shown { checkpoint, proofs };
            note(peer, self.ledger.witness(peer, &questions, shown).await);
        }
        for told in kept.into_iter().take(MAX_KEPT) {
            let node = told.point.node;
            if node != peer && self.members.get(&node).is_some() {
                note(node, self.ledger.hear_of(node, told).await);
            }
        }
        Ok(())
    }

    /// Returns this node's newest checkpoint and what it keeps of other nodes' chains.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the store cannot be read.
    pub async fn chains(&self) -> Result<Chains, Failure> {
        let own = self.ledger.newest_checkpoint();
        let kept = self.ledger.witnessed().await.map_err(|it| unreadable(&it))?;
        let named = |it: Witnessed| Witness { node_name: self.members.name_of(&it.node), kept: it };
        Ok(Chains { own, members: kept.into_iter().map(named).collect() })
    }

    /// Returns the names of members that told two histories.
    pub(crate) async fn two_histories(&self) -> Vec<String> {
        let kept = self.ledger.witnessed().await.unwrap_or_default();
        let contradicted = kept.iter().filter(|it| it.contradiction.is_some());
        contradicted.map(|it| self.members.name_of(&it.node)).collect()
    }

    /// Puts a receipt into an envelope that other tools read, signed by this node.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the receipt cannot be written.
    pub fn attest(&self, receipt: &Receipt, form: Form) -> Result<Vec<u8>, Failure> {
        attest(receipt, form, &self.identity)
            .map_err(|it| Failure::new(it.kind(), "not_exported", with_source(&it)))
    }

    /// Returns a checkpoint that counts every receipt of this node; makes one if need be, and tells
    /// the members that it talks to.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when it cannot be stored.
    pub async fn checkpoint(self: &Arc<Self>) -> Result<Checkpoint, Failure> {
        let made = self.ledger.checkpoint().await.map_err(|it| unreadable(&it))?;
        self.tell_others().await;
        Ok(made)
    }
}

fn note(node: NodeId, judged: Result<(), LedgerError>) {
    match judged {
        Ok(()) => {}
        // Reported by the ledger itself.
        Err(LedgerError::Contradiction { .. }) => {}
        Err(error) => {
            debug!(target: "sedge::events::checkpoint_refused", %node, error = with_source(&error));
        }
    }
}

fn unreadable(error: &LedgerError) -> Failure {
    Failure::new(error.kind(), "ledger_unreadable", with_source(error))
}
