//! The ledger of one node.

use std::sync::{Mutex, PoisonError, RwLock};

use sedge_base::{Clock, ContentId, ErrorKind, NodeId, SwarmId, TaskId};
use sedge_store::{Role, Store, StoredReceipt};
use sedge_trust::receipt::{Export, Receipt, SignError, VerifyError, VerifyKeys};
use sedge_trust::{Identity, canonical::CanonicalError};

use crate::events::{Opened, Refused, Sealed};
use crate::metrics::{Metrics, Recorder};
use crate::seal::{Expected, Facts, Mismatch, Place};

/// Why a receipt was not written, read or believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] sedge_store::Fault),
    /// The receipt could not be appended.
    #[error(transparent)]
    Append(#[from] sedge_store::AppendError),
    /// The requester's signature could not be added.
    #[error(transparent)]
    Countersign(#[from] sedge_store::CountersignError),
    /// The receipt could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The receipt does not verify.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The receipt says something else than this node knows.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// A number is too large for JSON.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// A stored receipt cannot be read.
    #[error("stored receipt {id} cannot be read")]
    Damaged {
        /// Its id.
        id: ContentId,
        /// What is wrong with its text.
        source: serde_json::Error,
    },
    /// A receipt could not be written as text.
    #[error("the receipt cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The requester sent back no signature of its own.
    #[error("the requester did not sign the receipt that this node made")]
    NotConfirmed,
    /// The last stored receipt is not one that this node made.
    #[error("the last receipt of this node's chain, {id}, does not hold")]
    Head {
        /// Its id.
        id: ContentId,
    },
}

impl LedgerError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(it) => it.kind(),
            Self::Append(it) => it.kind(),
            Self::Countersign(it) => it.kind(),
            Self::Sign(it) => it.kind(),
            Self::Verify(it) => it.kind(),
            Self::Canonical(it) => it.kind(),
            Self::Mismatch(_) | Self::NotConfirmed => ErrorKind::Denied,
            Self::Damaged { .. } | Self::Head { .. } => ErrorKind::Corrupt,
            Self::Encode(_) => ErrorKind::Internal,
        }
    }
}

/// Receipts of what this node ran and asked for.
#[derive(Debug)]
pub struct Ledger {
    store: Store,
    identity: Identity,
    clock: Clock,
    swarm: RwLock<SwarmId>,
    /// The end of the chain; held while a receipt is written, so that there is one order.
    head: tokio::sync::Mutex<Head>,
    counters: Mutex<Recorder>,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    next: u64,
    last: Option<ContentId>,
}

impl Ledger {
    /// Goes on with the chain that the store holds, or begins one.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Head`] when the last receipt does not hold, and faults of the store.
    pub async fn open(
        store: Store,
        identity: Identity,
        clock: Clock,
        swarm: SwarmId,
    ) -> Result<Self, LedgerError> {
        let me = identity.node_id();
        let head = match store.receipts().head(me).await? {
            None => Head { next: 0, last: None },
            Some(stored) => {
                let receipt = decode(&stored)?;
                let keys = VerifyKeys { executor: me, requester: receipt.body.requester };
                let holds = receipt.verify(&keys).is_ok_and(|it| it.id == stored.id)
                    && receipt.body.sequence == stored.sequence;
                if !holds {
                    return Err(LedgerError::Head { id: stored.id });
                }
                Head { next: stored.sequence + 1, last: Some(stored.id) }
            }
        };
        Opened { next: head.next }.emit();
        Ok(Self {
            store,
            identity,
            clock,
            swarm: RwLock::new(swarm),
            head: tokio::sync::Mutex::new(head),
            counters: Mutex::default(),
        })
    }

    /// Names the swarm that later receipts are for.
    pub fn set_swarm(&self, swarm: SwarmId) {
        *self.swarm.write().unwrap_or_else(PoisonError::into_inner) = swarm;
    }

    /// Signs and stores the receipt of a task that ended here; as its requester too, when this node
    /// asked itself.
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
        let executor = self.identity.node_id();
        let swarm_id = *self.swarm.read().unwrap_or_else(PoisonError::into_inner);
        let mut head = self.head.lock().await;
        let place = Place { swarm_id, executor, sequence: head.next, previous: head.last };
        let mut receipt = Receipt::sign(facts.body(place), &self.identity)?;
        if receipt.body.requester == executor {
            receipt.countersign(&self.identity)?;
        }
        let id = receipt.id()?;
        self.store.receipts().append(self.stored(id, &receipt, Role::Executed)?).await?;
        *head = Head { next: head.next + 1, last: Some(id) };
        drop(head);
        let body = &receipt.body;
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).record(
            &body.capability,
            body.status,
            facts.usage.took_us,
        );
        Sealed { id: &id, sequence: body.sequence, status: body.status }.emit();
        Ok(receipt)
    }

    /// Checks another node's receipt against what this node knows, signs it and stores it.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Mismatch`] names the first fact that differs; nothing is stored then.
    pub async fn countersign(
        &self,
        receipt: Receipt,
        expected: Expected<'_>,
    ) -> Result<Receipt, LedgerError> {
        let done = self.countersign_checked(receipt, expected).await;
        if let Err(why) = &done {
            Refused { executor: &expected.executor, why }.emit();
        }
        done
    }

    async fn countersign_checked(
        &self,
        mut receipt: Receipt,
        expected: Expected<'_>,
    ) -> Result<Receipt, LedgerError> {
        expected.hold(&receipt.body, self.identity.node_id())?;
        receipt.requester_signature = None;
        receipt.countersign(&self.identity)?;
        let id = receipt.id()?;
        self.store.receipts().append(self.stored(id, &receipt, Role::Requested)?).await?;
        Ok(receipt)
    }

    /// Takes in the requester's signature on a receipt that this node made.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when it is not the requester's signature on that very receipt.
    pub async fn confirm(&self, receipt: Receipt, requester: NodeId) -> Result<(), LedgerError> {
        let keys = VerifyKeys { executor: self.identity.node_id(), requester };
        let verified = receipt.verify(&keys)?;
        if !verified.countersigned {
            return Err(LedgerError::NotConfirmed);
        }
        let json = encode(&receipt)?;
        Ok(self.store.receipts().countersign(verified.id, json).await?)
    }

    /// Returns the newest receipts first, `limit` at most.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the store fails or holds damaged text.
    pub async fn list(&self, limit: usize) -> Result<Vec<Receipt>, LedgerError> {
        self.store.receipts().list(limit).await?.iter().map(decode).collect()
    }

    /// Returns the newest receipt.
    ///
    /// # Errors
    ///
    /// As [`Ledger::list`].
    pub async fn last(&self) -> Result<Option<Receipt>, LedgerError> {
        Ok(self.list(1).await?.pop())
    }

    /// Returns a receipt by its id.
    ///
    /// # Errors
    ///
    /// As [`Ledger::list`].
    pub async fn get(&self, id: &ContentId) -> Result<Option<Receipt>, LedgerError> {
        self.store.receipts().get(*id).await?.as_ref().map(decode).transpose()
    }

    /// Returns the receipts whose id begins with `prefix`, a few at most.
    ///
    /// # Errors
    ///
    /// As [`Ledger::list`].
    pub async fn find(&self, prefix: &str) -> Result<Vec<Receipt>, LedgerError> {
        self.store.receipts().find(prefix, 8).await?.iter().map(decode).collect()
    }

    /// Returns the newest receipt of a task.
    ///
    /// # Errors
    ///
    /// As [`Ledger::list`].
    pub async fn of_task(&self, task: &TaskId) -> Result<Option<Receipt>, LedgerError> {
        self.store.receipts().of_task(task).await?.as_ref().map(decode).transpose()
    }

    /// Returns how many receipts there are.
    ///
    /// # Errors
    ///
    /// As [`Ledger::list`].
    pub async fn count(&self) -> Result<u64, LedgerError> {
        Ok(self.store.receipts().count().await?)
    }

    /// Returns this node's own chain in order, from place `from`, `limit` receipts at most.
    ///
    /// # Errors
    ///
    /// As [`Ledger::list`].
    pub async fn chain(&self, from: u64, limit: usize) -> Result<Vec<Receipt>, LedgerError> {
        let me = self.identity.node_id();
        self.store.receipts().chain(me, from, limit).await?.iter().map(decode).collect()
    }

    /// Returns this node's whole chain as one file that a stranger can verify.
    ///
    /// # Errors
    ///
    /// As [`Ledger::list`].
    pub async fn export(&self) -> Result<Export, LedgerError> {
        Ok(Export::new(self.chain(0, sedge_trust::receipt::MAX_EXPORT_RECEIPTS).await?))
    }

    /// Returns the figures of everything that ran here since the start.
    pub fn metrics(&self) -> Metrics {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).metrics()
    }

    fn stored(
        &self,
        id: ContentId,
        receipt: &Receipt,
        role: Role,
    ) -> Result<StoredReceipt, LedgerError> {
        Ok(StoredReceipt {
            id,
            executor: receipt.body.executor,
            sequence: receipt.body.sequence,
            task: receipt.body.task_id.clone(),
            role,
            countersigned: receipt.requester_signature.is_some(),
            at: self.clock.now(),
            json: encode(receipt)?,
        })
    }
}

fn encode(receipt: &Receipt) -> Result<String, LedgerError> {
    serde_json::to_string(receipt).map_err(LedgerError::Encode)
}

fn decode(stored: &StoredReceipt) -> Result<Receipt, LedgerError> {
    serde_json::from_str(&stored.json)
        .map_err(|source| LedgerError::Damaged { id: stored.id, source })
}

#[cfg(test)]
mod tests;
