//! What happened: receipts, their chain, and figures per capability.
//!
//! Invariants: a receipt is on disk before anybody sees it; this node's receipts form one chain
//! without gaps, which goes on after a restart; the requester signs only what it has checked against
//! what it knows itself; what another node once said of its chain is never replaced by what does not
//! go on from it.

mod events;
mod ledger;
mod metrics;
mod seal;
mod tree;

pub use ledger::{Contradiction, Ledger, LedgerError, Shown, Witnessed};
pub use metrics::{CapabilityMetrics, Metrics, OTHERS};
pub use seal::{Expected, Facts, Mismatch};
