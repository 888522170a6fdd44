//! The ledger of one node.

mod proving;
mod sealing;
mod witness;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError, RwLock};

use bytes::Bytes;
use sedge_base::{ByteSize, Clock, ContentId, ErrorKind, NodeId, SwarmId, TaskId};
use sedge_capability::Media;
use sedge_store::{AuditEntry, Role, Store, StoredReceipt};
use sedge_trust::receipt::{
    Checkpoint, CheckpointError, Export, Point, Receipt, SignError, TwoHistories, VerifyError,
    VerifyKeys,
};
use sedge_trust::{Identity, canonical::CanonicalError};

use crate::events::{NotAudited, Opened, Refused};
use crate::metrics::{Metrics, Recorder};
use crate::seal::{Expected, Mismatch};
use crate::tree::Tree;

pub use witness::{Contradiction, Shown, Witnessed};

/// How many ids are read at once.
const PAGE: usize = 8192;

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
    /// The stored chain is not the one that this node's newest checkpoint was made of.
    #[error("the chain on disk is not the one of {count} receipts that this node signed")]
    Rewritten {
        /// How many receipts that checkpoint counts.
        count: u64,
    },
    /// Receipts that were to be sealed together with this one could not be.
    #[error("the receipts that were sealed together were not stored")]
    Undone,
    /// A checkpoint does not verify or cannot be made.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A stored checkpoint cannot be read.
    #[error("the stored checkpoint of {node:?} cannot be read")]
    DamagedCheckpoint {
        /// Whose chain.
        node: NodeId,
        /// What is wrong with its text.
        source: serde_json::Error,
    },
    /// A node tells two histories of its chain.
    #[error("node {node:?} tells two histories of its chain")]
    Contradiction {
        /// The node.
        node: NodeId,
        /// What does not fit.
        #[source]
        why: TwoHistories,
    },
    /// The chain never had so many receipts.
    #[error("the chain has {size} receipts, not {count}")]
    NeverSoMany {
        /// How many were asked for.
        count: u64,
        /// How many there are.
        size: u64,
    },
    /// One file does not hold so many receipts.
    #[error("{length} receipts are more than one file holds; the newest begin at place {from}")]
    ChainTooLong {
        /// How many there are from the place that was asked for.
        length: u64,
        /// From which place on they fit.
        from: u64,
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
            Self::Checkpoint(it) => it.kind(),
            Self::Damaged { .. }
            | Self::DamagedCheckpoint { .. }
            | Self::Head { .. }
            | Self::Rewritten { .. }
            | Self::Contradiction { .. } => ErrorKind::Corrupt,
            Self::NeverSoMany { .. } => ErrorKind::Invalid,
            Self::ChainTooLong { .. } => ErrorKind::Exhausted,
            Self::Encode(_) | Self::Undone => ErrorKind::Internal,
        }
    }
}

impl LedgerError {
    /// Returns whether a receipt says what is not so, rather than that something failed here.
    const fn is_false(&self) -> bool {
        matches!(self, Self::Mismatch(_) | Self::Sign(_) | Self::Verify(_))
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
    /// What waits for its place in the chain.
    waiting: Mutex<VecDeque<sealing::Waiting>>,
    /// How much of the inputs of tasks that can be run again is kept.
    keep_inputs: ByteSize,
    /// This node's newest checkpoint.
    newest: RwLock<Option<Checkpoint>>,
    judged: Mutex<Judged>,
    counters: Mutex<Recorder>,
}

/// The end of the chain.
#[derive(Debug, Clone, Default)]
struct Head {
    last: Option<ContentId>,
    /// Over every receipt; its count is the next place.
    tree: Tree,
}

/// What was said of other nodes' chains since the start; one entry for each node.
#[derive(Debug, Default)]
struct Judged {
    /// The checkpoint that was looked at last.
    seen: BTreeMap<NodeId, ContentId>,
    /// What another member keeps and this node has still to ask about.
    told: BTreeMap<NodeId, Checkpoint>,
    /// What was told last.
    compared: BTreeMap<NodeId, Point>,
}

impl Ledger {
    /// Goes on with the chain that the store holds, or begins one. `keep_inputs` is how much of the
    /// inputs of tasks that can be run again is kept: none when it is 0.
    ///
    /// Takes time in proportion to the chain: about a second for a million receipts.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Head`] when the last receipt does not hold, [`LedgerError::Rewritten`] when the
    /// chain is not the one that this node signed before, and faults of the store.
    pub async fn open(
        store: Store,
        identity: Identity,
        clock: Clock,
        swarm: SwarmId,
        keep_inputs: ByteSize,
    ) -> Result<Self, LedgerError> {
        let me = identity.node_id();
        let last = match store.receipts().head(me).await? {
            None => None,
            Some(stored) => Some((check_head(&stored, me)?, stored.sequence)),
        };
        let newest = newest(&store, me).await?;
        let tree = read_tree(&store, me, newest.as_ref()).await?;
        if let Some((id, _)) = last.filter(|(_, sequence)| sequence + 1 != tree.count()) {
            return Err(LedgerError::Head { id });
        }
        store.inputs().trim(keep_inputs).await?;
        Opened { next: tree.count() }.emit();
        let last = last.map(|(id, _)| id);
        Ok(Self {
            store,
            identity,
            clock,
            swarm: RwLock::new(swarm),
            head: tokio::sync::Mutex::new(Head { last, tree }),
            waiting: Mutex::default(),
            keep_inputs,
            newest: RwLock::new(newest),
            judged: Mutex::default(),
            counters: Mutex::default(),
        })
    }

    /// Returns the input of a task that can be run again and what it is, if it is still kept.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the store fails.
    pub async fn input(&self, id: ContentId) -> Result<Option<(Bytes, Media)>, LedgerError> {
        if id == ContentId::of(b"") {
            return Ok(Some((Bytes::new(), Media::Plain)));
        }
        let Some(stored) = self.store.inputs().get(id).await? else { return Ok(None) };
        let media = [Media::Plain, Media::Http];
        let media = media.into_iter().find(|it| sealing::media_name(*it) == stored.media);
        // What this release does not know it cannot run.
        Ok(media.map(|it| (stored.content, it)))
    }

    /// Names the swarm that later receipts are for.
    pub fn set_swarm(&self, swarm: SwarmId) {
        *self.swarm.write().unwrap_or_else(PoisonError::into_inner) = swarm;
    }

    /// Checks another node's receipt against what this node knows, signs it and stores it. One that
    /// does not hold goes into the audit: only the node that was asked may answer.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Mismatch`] names the first fact that differs; nothing is stored then.
    pub async fn countersign(
        &self,
        receipt: Receipt,
        expected: Expected<'_>,
    ) -> Result<Receipt, LedgerError> {
        let named = receipt.body.executor;
        let done = self.countersign_checked(receipt, expected).await;
        if let Err(why) = &done {
            Refused { executor: &expected.executor, why }.emit();
            if why.is_false() {
                self.audit_refused(&named, expected, why).await;
            }
        }
        done
    }

    async fn audit_refused(&self, named: &NodeId, expected: Expected<'_>, why: &LedgerError) {
        let detail = serde_json::json!({
            "task": expected.task.id,
            "capability": expected.task.capability,
            "executor_named": named,
            "reason": why.to_string(),
        });
        let entry = AuditEntry {
            at: self.clock.now(),
            kind: "receipt.refused".to_owned(),
            subject: expected.executor.to_string(),
            detail: detail.to_string(),
        };
        if let Err(fault) = self.store.audit().append(entry).await {
            NotAudited { fault: &fault }.emit();
        }
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
        let stored = self.stored(id, &receipt, Role::Requested)?;
        let area = self.store.receipts();
        let append = area.append(stored);
        let worth = sealing::worth_keeping(&receipt.body);
        let input = sealing::input_of(expected.task, receipt.body.input_hash);
        let keep = self.keep(worth.then_some(input).into_iter().collect());
        futures_util::future::join(append, keep).await.0?;
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

/// Checks the last receipt of this node's chain.
fn check_head(stored: &StoredReceipt, me: NodeId) -> Result<ContentId, LedgerError> {
    let receipt = decode(stored)?;
    let keys = VerifyKeys { executor: me, requester: receipt.body.requester };
    let holds = receipt.verify(&keys).is_ok_and(|it| it.id == stored.id)
        && receipt.body.sequence == stored.sequence;
    if holds { Ok(stored.id) } else { Err(LedgerError::Head { id: stored.id }) }
}

/// Reads this node's newest checkpoint.
async fn newest(store: &Store, me: NodeId) -> Result<Option<Checkpoint>, LedgerError> {
    let Some(stored) = store.checkpoints().get(me).await? else { return Ok(None) };
    let newest: Checkpoint = serde_json::from_str(&stored.json)
        .map_err(|source| LedgerError::DamagedCheckpoint { node: me, source })?;
    newest.verify(&me)?;
    Ok(Some(newest))
}

/// Builds the tree over the stored chain; it must be the one that was signed last.
async fn read_tree(
    store: &Store,
    me: NodeId,
    newest: Option<&Checkpoint>,
) -> Result<Tree, LedgerError> {
    let mut tree = Tree::default();
    let signed = newest.map(|it| &it.point);
    let differs =
        |tree: &Tree| signed.is_some_and(|it| it.count == tree.count() && it.root != tree.root());
    loop {
        let ids = store.receipts().ids(me, tree.count(), PAGE).await?;
        for id in &ids {
            tree.push(proving::leaf(id));
            if differs(&tree) {
                return Err(LedgerError::Rewritten { count: tree.count() });
            }
        }
        if ids.len() < PAGE {
            break;
        }
    }
    match signed {
        Some(signed) if signed.count > tree.count() => {
            Err(LedgerError::Rewritten { count: signed.count })
        }
        _ => Ok(tree),
    }
}

#[cfg(test)]
mod tests;
