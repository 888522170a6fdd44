//! Everything the ledger tells its operator.

use sedge_base::{ContentId, NodeId};
use sedge_trust::receipt::TwoHistories;
use sedge_trust::{Status, TreeHash};
use tracing::{debug, error, info, warn};

/// The chain was read and holds.
pub(crate) struct Opened {
    pub(crate) next: u64,
}

impl Opened {
    pub(crate) fn emit(&self) {
        info!(target: "sedge::events::ledger_opened", next_sequence = self.next);
    }
}

/// A receipt is on disk.
pub(crate) struct Sealed<'a> {
    pub(crate) id: &'a ContentId,
    pub(crate) sequence: u64,
    pub(crate) status: Status,
}

impl Sealed<'_> {
    pub(crate) fn emit(&self) {
        let Self { id, sequence, status } = self;
        debug!(target: "sedge::events::receipt_sealed", %id, sequence, ?status);
    }
}

/// Another node's receipt does not hold.
pub(crate) struct Refused<'a> {
    pub(crate) executor: &'a NodeId,
    pub(crate) why: &'a crate::LedgerError,
}

impl Refused<'_> {
    pub(crate) fn emit(&self) {
        let Self { executor, why } = self;
        warn!(target: "sedge::events::receipt_refused", %executor, %why);
    }
}

/// Something that belongs in the audit is not in it.
pub(crate) struct NotAudited<'a> {
    pub(crate) fault: &'a sedge_store::Fault,
}

impl NotAudited<'_> {
    pub(crate) fn emit(&self) {
        warn!(target: "sedge::events::audit_failed", fault = %self.fault);
    }
}

/// This node signed a checkpoint of its chain.
pub(crate) struct Checkpointed<'a> {
    pub(crate) count: u64,
    pub(crate) root: &'a TreeHash,
}

impl Checkpointed<'_> {
    pub(crate) fn emit(&self) {
        let Self { count, root } = self;
        debug!(target: "sedge::events::chain_checkpointed", count, %root);
    }
}

/// Another node tells two histories of its chain.
pub(crate) struct Contradicted<'a> {
    pub(crate) node: &'a NodeId,
    pub(crate) why: &'a TwoHistories,
}

impl Contradicted<'_> {
    pub(crate) fn emit(&self) {
        let Self { node, why } = self;
        error!(target: "sedge::events::chain_contradicted", %node, %why);
    }
}

/// The input of a task that can be run again is not kept.
pub(crate) struct InputNotKept<'a> {
    pub(crate) fault: &'a sedge_store::Fault,
}

impl InputNotKept<'_> {
    pub(crate) fn emit(&self) {
        warn!(target: "sedge::events::input_not_kept", fault = %self.fault);
    }
}
