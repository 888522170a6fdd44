//! Receipts that end together are signed together: one signature, one commit.
//!
//! Whoever comes to the end of the chain first seals for everybody who waits there by then.

use std::sync::PoisonError;

use sedge_base::ContentId;
use sedge_capability::{Media, Task};
use sedge_store::{Role, StoredInput};
use sedge_trust::Rung;
use sedge_trust::receipt::{Body, MAX_BATCH, Receipt};
use tokio::sync::oneshot;

use super::proving::leaf;
use super::{Head, Ledger, LedgerError};
use crate::events::{InputNotKept, Sealed};
use crate::seal::{Facts, Place};

/// A checkpoint is made when the chain grows over a multiple of this many receipts.
const CHECKPOINT_EVERY: u64 = 64;

/// Facts that wait for their place in the chain.
#[derive(Debug)]
pub(super) struct Waiting {
    body: Body,
    took_us: u64,
    input: StoredInput,
    answer: oneshot::Sender<Result<Receipt, LedgerError>>,
}

impl Ledger {
    /// Signs and stores the receipt of a task that ended here; as its requester too, when this node
    /// asked itself. The input is kept beside it if the task can be run again.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; the chain is as it was then.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a future that is dropped may have stored the receipt, and the next call then
    /// fails. Run it to its end.
    pub async fn seal(&self, facts: Facts<'_>) -> Result<Receipt, LedgerError> {
        let swarm_id = *self.swarm.read().unwrap_or_else(PoisonError::into_inner);
        // The place is filled in when it is this one's turn.
        let place =
            Place { swarm_id, executor: self.identity.node_id(), sequence: 0, previous: None };
        let body = facts.body(place);
        // What could not be signed must not spoil the batch of the others.
        body.check().map_err(sedge_trust::receipt::SignError::from)?;
        let (answer, sealed) = oneshot::channel();
        let (input, took_us) = (input_of(facts.task, body.input_hash), facts.usage.took_us);
        let waiting = Waiting { body, took_us, input, answer };
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(waiting);
        let mut head = self.head.lock().await;
        let group: Vec<_> = {
            let mut queue = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let count = queue.len().min(MAX_BATCH);
            queue.drain(..count).collect()
        };
        self.seal_group(&mut head, group).await;
        drop(head);
        sealed.await.unwrap_or(Err(LedgerError::Undone))
    }

    async fn seal_group(&self, head: &mut Head, group: Vec<Waiting>) {
        if group.is_empty() {
            return;
        }
        let (mut bodies, mut others) = (Vec::new(), Vec::new());
        for Waiting { body, took_us, input, answer } in group {
            bodies.push(body);
            others.push((took_us, input, answer));
        }
        match self.store_group(head, bodies, others.iter().map(|it| it.1.clone()).collect()).await {
            Ok(receipts) => {
                for (receipt, (took_us, _, answer)) in receipts.into_iter().zip(others) {
                    let body = &receipt.body;
                    self.counters.lock().unwrap_or_else(PoisonError::into_inner).record(
                        &body.capability,
                        body.status,
                        took_us,
                    );
                    // Whoever does not wait any more finds it in the store.
                    drop(answer.send(Ok(receipt)));
                }
                if head.tree.count() / CHECKPOINT_EVERY > self.checkpointed() / CHECKPOINT_EVERY {
                    // A chain without its newest checkpoint is whole; the next one is tried again.
                    drop(self.checkpoint_of(head).await);
                }
            }
            Err(error) => {
                // The first one gets the cause itself, which has no second copy.
                let mut cause = Some(error);
                for (_, _, answer) in others {
                    drop(answer.send(Err(cause.take().unwrap_or(LedgerError::Undone))));
                }
            }
        }
    }

    async fn store_group(
        &self,
        head: &mut Head,
        mut bodies: Vec<Body>,
        inputs: Vec<StoredInput>,
    ) -> Result<Vec<Receipt>, LedgerError> {
        let (mut last, mut ids) = (head.last, Vec::new());
        for (body, sequence) in bodies.iter_mut().zip(head.tree.count()..) {
            (body.sequence, body.previous) = (sequence, last);
            let id = ContentId::of(&body.canonical()?);
            last = Some(id);
            ids.push(id);
        }
        let mut receipts = Receipt::sign_batch(bodies, &self.identity)?;
        let mut stored = Vec::new();
        for (receipt, id) in receipts.iter_mut().zip(&ids) {
            if receipt.body.requester == receipt.body.executor {
                receipt.countersign(&self.identity)?;
            }
            stored.push(self.stored(*id, receipt, Role::Executed)?);
        }
        let kept = receipts.iter().zip(inputs).filter(|(it, _)| worth_keeping(&it.body));
        let kept = kept.map(|(_, input)| input).collect();
        // Both are asked at once, so that one commit holds receipts and inputs.
        let area = self.store.receipts();
        let append = area.append_all(stored);
        let (appended, ()) = futures_util::future::join(append, self.keep(kept)).await;
        appended?;
        head.last = last;
        ids.iter().for_each(|it| head.tree.push(leaf(it)));
        for (receipt, id) in receipts.iter().zip(&ids) {
            let body = &receipt.body;
            Sealed { id, sequence: body.sequence, status: body.status }.emit();
        }
        Ok(receipts)
    }

    /// Keeps inputs, so that their tasks can be run again. What is not kept cannot be replayed here,
    /// which is all.
    pub(super) async fn keep(&self, inputs: Vec<StoredInput>) {
        let most = self.keep_inputs;
        if inputs.is_empty() || most.as_bytes() == 0 {
            return;
        }
        if let Err(fault) = self.store.inputs().keep(inputs, most).await {
            InputNotKept { fault: &fault }.emit();
        }
    }
}

/// Returns whether a task can be run again, if its input is kept.
pub(super) fn worth_keeping(body: &Body) -> bool {
    body.rung != Rung::Attested
}

/// Returns the input of a task as it is kept.
pub(super) fn input_of(task: &Task, id: ContentId) -> StoredInput {
    StoredInput { id, media: media_name(task.media).to_owned(), content: task.input.clone() }
}

/// Returns what is written beside an input.
pub(super) const fn media_name(media: Media) -> &'static str {
    match media {
        Media::Plain => "plain",
        Media::Http => "message/http",
    }
}
