//! Everything the store tells its operator.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tracing::{debug, error, info};

/// Counters since the store was opened.
#[derive(Debug, Default)]
pub struct Metrics {
    /// `sedge_store_writes_total`: acknowledged writes.
    pub writes: AtomicU64,
    /// `sedge_store_commits_total`: transactions that carried them.
    pub commits: AtomicU64,
    /// `sedge_store_failures_total`: transactions that failed; none of their writes was acknowledged.
    pub failures: AtomicU64,
}

/// The store is open.
pub(crate) struct Opened<'a> {
    pub(crate) path: &'a std::path::Path,
    pub(crate) schema: u32,
}

impl Opened<'_> {
    pub(crate) fn emit(&self) {
        let Self { path, schema } = self;
        info!(target: "sedge::events::store_opened", path = %path.display(), schema);
    }
}

/// A group of writes is on disk.
pub(crate) struct Committed {
    pub(crate) writes: u64,
    pub(crate) took: Duration,
}

impl Committed {
    pub(crate) fn emit(&self, metrics: &Metrics) {
        let Self { writes, took } = *self;
        metrics.writes.fetch_add(writes, Relaxed);
        metrics.commits.fetch_add(1, Relaxed);
        debug!(target: "sedge::events::store_committed", writes, took_us = took.as_micros());
    }
}

/// A group of writes is lost; none was acknowledged.
pub(crate) struct CommitFailed<'a> {
    pub(crate) writes: usize,
    pub(crate) reason: &'a str,
}

impl CommitFailed<'_> {
    pub(crate) fn emit(&self, metrics: &Metrics) {
        let Self { writes, reason } = *self;
        metrics.failures.fetch_add(1, Relaxed);
        error!(target: "sedge::events::store_commit_failed", writes, reason);
    }
}
