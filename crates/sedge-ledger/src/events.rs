//! Everything the ledger tells its operator.

use sedge_base::{ContentId, NodeId};
use sedge_trust::Status;
use tracing::{debug, info, warn};

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
