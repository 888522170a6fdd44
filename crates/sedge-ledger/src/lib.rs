//! What happened: receipts, their chain, and figures per capability.
//!
//! Invariants: a receipt is on disk before anybody sees it; this node's receipts form one chain
//! without gaps, which goes on after a restart; the requester signs only what it has checked against
//! what it knows itself.

mod events;
mod ledger;
mod metrics;
mod seal;

pub use ledger::{Ledger, LedgerError};
pub use metrics::{CapabilityMetrics, Metrics, OTHERS};
pub use seal::{Expected, Facts, Mismatch};
