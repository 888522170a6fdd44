//! Where promises are kept: a vote, log entries and snapshots are on disk before they are answered.

use std::fmt;

use async_trait::async_trait;
use sedge_base::SwarmId;
use sedge_store::{Fault, QuorumChange, Store, StoredQuorum};

/// What keeps a node's promises. The store does in a node; tests have a double that forgets nothing
/// and can be told to fail.
#[async_trait]
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Returns all that is kept.
    ///
    /// # Errors
    ///
    /// [`Fault`] when it cannot be read.
    async fn load(&self) -> Result<StoredQuorum, Fault>;

    /// Makes changes, all or none, in their order, and after those of earlier calls.
    ///
    /// # Errors
    ///
    /// [`Fault`]; nothing was changed then.
    async fn change(&self, changes: Vec<QuorumChange>) -> Result<(), Fault>;
}

/// The part of a node's store that is about one swarm.
#[derive(Debug, Clone)]
pub struct SwarmDisk {
    /// The store.
    pub store: Store,
    /// The swarm.
    pub swarm: SwarmId,
}

#[async_trait]
impl Disk for SwarmDisk {
    async fn load(&self) -> Result<StoredQuorum, Fault> {
        self.store.quorum(self.swarm).load().await
    }

    async fn change(&self, changes: Vec<QuorumChange>) -> Result<(), Fault> {
        self.store.quorum(self.swarm).change(changes).await
    }
}

#[cfg(test)]
pub(crate) mod double;
