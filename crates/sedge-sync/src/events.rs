//! Everything the graph tells its operator.

use sedge_base::{NodeId, SwarmId};
use tracing::{debug, info, warn};

use crate::link::LinkView;

/// The graph of a swarm was read from disk.
pub(crate) struct Opened {
    pub(crate) swarm: SwarmId,
    pub(crate) entries: usize,
    /// Stored entries that do not hold any more, and are passed over.
    pub(crate) damaged: usize,
}

impl Opened {
    pub(crate) fn emit(&self) {
        let Self { swarm, entries, damaged } = self;
        info!(target: "sedge::events::graph_opened", %swarm, entries);
        if *damaged > 0 {
            warn!(target: "sedge::events::graph_damaged", %swarm, damaged);
        }
    }
}

/// Entries of another node were refused.
pub(crate) struct Refused {
    pub(crate) from: NodeId,
    pub(crate) count: usize,
}

impl Refused {
    pub(crate) fn emit(&self) {
        let Self { from, count } = self;
        debug!(target: "sedge::events::graph_entries_refused", %from, count);
    }
}

/// The level of compression towards a peer changed.
pub(crate) struct LevelChanged {
    pub(crate) peer: NodeId,
    pub(crate) view: LinkView,
}

impl LevelChanged {
    pub(crate) fn emit(&self) {
        let Self { peer, view: LinkView { condition, level, bits_per_second, latency_ms } } = self;
        debug!(
            target: "sedge::events::graph_level_changed",
            %peer, ?condition, ?level, ?bits_per_second, ?latency_ms
        );
    }
}
