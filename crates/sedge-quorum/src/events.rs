//! Everything a quorum tells its operator.

use std::time::Duration;

use sedge_base::NodeId;
use tracing::{info, warn};

use crate::state::Coordinator;

/// Another node leads.
#[derive(Debug)]
pub(crate) struct CoordinatorChanged {
    pub(crate) to: Coordinator,
    pub(crate) from: Option<NodeId>,
    /// How long nobody was heard of.
    pub(crate) took: Option<Duration>,
}

impl CoordinatorChanged {
    pub(crate) fn emit(&self) {
        let Self { to: Coordinator { node, fence, term }, from, took } = self;
        let from = from.map(|it| it.to_string());
        let took_ms = took.map(|it| it.as_millis());
        info!(target: "sedge::events::coordinator_changed", %node, fence, term, from, took_ms);
    }
}

/// The engine stopped by itself: nothing is decided here until it starts again.
#[derive(Debug)]
pub(crate) struct EngineStopped<'a> {
    pub(crate) reason: &'a str,
}

impl EngineStopped<'_> {
    pub(crate) fn emit(&self) {
        let Self { reason } = self;
        warn!(target: "sedge::events::quorum_stopped", reason);
    }
}
