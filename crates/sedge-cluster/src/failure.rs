//! What goes wrong below, as callers see it.

use sedge_base::ErrorKind;
use sedge_capability::Failure;

/// Turns a fault of the store into what a caller sees.
pub(crate) fn unreadable(error: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorKind::Internal, "store_failed", format!("the node's store failed: {error}"))
}

/// Turns a failed write into what a caller sees: a full disk is something that an owner can mend.
pub(crate) fn unwritten(kind: ErrorKind, error: impl std::fmt::Display) -> Failure {
    match kind {
        ErrorKind::Exhausted => {
            Failure::new(kind, "disk_full", format!("nothing was kept: {error}"))
        }
        _ => unreadable(error),
    }
}
