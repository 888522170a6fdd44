//! Everything that the network tells its operator.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use sedge_base::NodeId;
use tracing::{debug, info, warn};

use crate::conn::{ConnError, PathClass, Side};
use crate::swarm::{Standing, Topic};
use crate::transport::{DialError, Protocol};

/// Counters since the start of this end of a transport.
#[derive(Debug, Default)]
pub struct Metrics {
    /// `sedge_net_conns_opened_total`: connections that both ends admitted.
    pub opened: AtomicU64,
    /// `sedge_net_conns_refused_total`: strangers that proved a key which is not admitted, and
    /// those for whom there was no room.
    pub refused: AtomicU64,
    /// `sedge_net_dials_failed_total`.
    pub dials_failed: AtomicU64,
    /// `sedge_net_handshakes_failed_total`: accepted connections that proved no key.
    pub handshakes_failed: AtomicU64,
    /// `sedge_net_conns_lost_total`: connections that ended without either end closing them.
    pub lost: AtomicU64,
}

impl Metrics {
    /// Returns how many strangers were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

/// A connection was opened and both ends admitted each other.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) peer: NodeId,
    pub(crate) protocol: Protocol,
    pub(crate) dialled_by: Side,
    pub(crate) path: PathClass,
}

impl Opened {
    pub(crate) fn emit(&self, metrics: &Metrics) {
        let Self { peer, protocol, dialled_by, path } = self;
        metrics.opened.fetch_add(1, Relaxed);
        info!(target: "sedge::events::conn_opened", %peer, %protocol, ?dialled_by, path = path.name());
    }
}

/// Somebody proved a key that is not admitted, or there was no room.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) peer: NodeId,
    pub(crate) protocol: Protocol,
}

impl Refused {
    pub(crate) fn emit(&self, metrics: &Metrics) {
        let Self { peer, protocol } = self;
        metrics.refused.fetch_add(1, Relaxed);
        warn!(target: "sedge::events::conn_refused", %peer, %protocol);
    }
}

/// Somebody began a connection and did not prove a key.
#[derive(Debug)]
pub(crate) struct HandshakeFailed {
    pub(crate) from: Option<SocketAddr>,
    pub(crate) why: &'static str,
}

impl HandshakeFailed {
    pub(crate) fn emit(&self, metrics: &Metrics) {
        let Self { from, why } = self;
        metrics.handshakes_failed.fetch_add(1, Relaxed);
        debug!(target: "sedge::events::handshake_failed", ?from, why);
    }
}

/// A dial failed.
#[derive(Debug)]
pub(crate) struct DialFailed<'a> {
    pub(crate) peer: NodeId,
    pub(crate) took: Duration,
    pub(crate) error: &'a DialError,
}

impl DialFailed<'_> {
    pub(crate) fn emit(&self, metrics: &Metrics) {
        let Self { peer, took, error } = self;
        metrics.dials_failed.fetch_add(1, Relaxed);
        debug!(target: "sedge::events::dial_failed", %peer, took_ms = took.as_millis(), %error);
    }
}

/// A connection ended.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    pub(crate) peer: NodeId,
    pub(crate) why: &'a ConnError,
}

impl Ended<'_> {
    pub(crate) fn emit(&self, metrics: &Metrics) {
        let Self { peer, why } = self;
        if matches!(why, ConnError::Silent | ConnError::Broken { .. }) {
            metrics.lost.fetch_add(1, Relaxed);
        }
        info!(target: "sedge::events::conn_ended", %peer, %why);
    }
}

/// Counters of a member of a swarm since it joined.
#[derive(Debug, Default)]
pub struct SwarmMetrics {
    /// `sedge_swarm_messages_sent_total`: messages to other members, all kinds.
    pub sent_messages: AtomicU64,
    /// `sedge_swarm_bytes_sent_total`: their bytes.
    pub sent_bytes: AtomicU64,
    /// `sedge_swarm_messages_dropped_total`: those for which a peer made no room.
    pub dropped: AtomicU64,
    /// `sedge_swarm_posts_total`: what this node has posted.
    pub posted: AtomicU64,
    /// `sedge_swarm_deliveries_total`: posts of others that came here.
    pub delivered: AtomicU64,
    /// `sedge_swarm_missed_total`: messages that handlers missed because they were too slow.
    pub missed: AtomicU64,
    /// `sedge_swarm_handler_panics_total`.
    pub panicked: AtomicU64,
    /// `sedge_swarm_suspicions_total`: how often a member became a suspect here.
    pub suspected: AtomicU64,
}

/// A member came, is suspected, or went.
#[derive(Debug)]
pub(crate) struct MemberStands {
    pub(crate) node: NodeId,
    pub(crate) standing: Standing,
}

impl MemberStands {
    pub(crate) fn emit(&self, metrics: &SwarmMetrics) {
        let Self { node, standing } = self;
        if *standing == Standing::Suspect {
            metrics.suspected.fetch_add(1, Relaxed);
        }
        debug!(target: "sedge::events::member_stands", %node, ?standing);
    }
}

/// A handler has missed messages because it was too slow.
#[derive(Debug)]
pub(crate) struct HandlerBehind<'a> {
    pub(crate) topic: &'a Topic,
    pub(crate) missed: u64,
}

impl HandlerBehind<'_> {
    pub(crate) fn emit(&self, metrics: &SwarmMetrics) {
        let Self { topic, missed } = self;
        metrics.missed.fetch_add(*missed, Relaxed);
        warn!(target: "sedge::events::handler_behind", %topic, missed);
    }
}

/// A handler panicked; it goes on with the next message.
#[derive(Debug)]
pub(crate) struct HandlerPanicked<'a> {
    pub(crate) topic: &'a Topic,
}

impl HandlerPanicked<'_> {
    pub(crate) fn emit(&self, metrics: &SwarmMetrics) {
        let Self { topic } = self;
        metrics.panicked.fetch_add(1, Relaxed);
        warn!(target: "sedge::events::handler_panicked", %topic);
    }
}
