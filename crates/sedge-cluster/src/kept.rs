//! The state and the cached values of a cluster, which this node keeps on disk.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sedge_base::{ErrorKind, Timestamp};
use sedge_capability::Failure;
use serde_json::Value;

use crate::cache::{CacheEntry, EdgeCache};
use crate::cluster::EdgeCluster;
use crate::failure::{unreadable, unwritten};
use crate::record::{self, Kept};
use crate::synchronizer::EdgeSynchronizer;

/// The longest key of a cached value, in bytes.
const MAX_KEY: usize = 256;

/// How the store calls the one synchroniser.
const SYNC_KEY: &str = "edge_sync";

impl Kept for CacheEntry {
    const KIND: &'static str = "edge_cache";

    fn key(&self) -> String {
        self.key.clone()
    }
}

impl EdgeCluster {
    /// Returns the two sides of the cluster's state, as they stand.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when what is kept cannot be read.
    pub async fn synchronizer(&self) -> Result<EdgeSynchronizer, Failure> {
        let kept = self.node.store().settings().get(SYNC_KEY).await.map_err(unreadable)?;
        match kept {
            Some(text) => serde_json::from_str(&text).map_err(unreadable),
            None => Ok(EdgeSynchronizer::default()),
        }
    }

    /// Changes the cluster's state; on disk by then. At most 1 MiB of JSON is kept.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when it cannot be kept; nothing has changed then.
    pub async fn synchronize<T>(
        &self,
        change: impl FnOnce(&mut EdgeSynchronizer, Timestamp) -> T,
    ) -> Result<T, Failure> {
        let _turn = self.turn().await?;
        let mut sync = self.synchronizer().await?;
        let changed = change(&mut sync, self.now());
        let text = serde_json::to_string(&sync).map_err(unreadable)?;
        let set = self.node.store().settings().set(SYNC_KEY, &text).await;
        set.map_err(|it| unwritten(it.kind(), it))?;
        Ok(changed)
    }

    /// Returns the cached values, as they are in memory.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when what was kept before the last stop cannot be read.
    pub async fn cache(&self) -> Result<MutexGuard<'_, EdgeCache>, Failure> {
        let filled = async {
            let mut kept: Vec<CacheEntry> = record::all(&self.node).await?;
            kept.sort_by_key(|it| it.created_at);
            let mut cache = self.empty_cache();
            kept.into_iter().for_each(|it| cache.restore(it));
            Ok::<_, Failure>(Mutex::new(cache))
        };
        let cache = self.cache_cell().get_or_try_init(|| filled).await?;
        Ok(cache.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Caches a value; it survives a restart for as long as it is good. The count of gets is kept as it was when the
    /// value was put.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the key is empty or longer than 256 bytes; a [`Failure`] when it cannot be kept.
    pub async fn cache_value(
        &self,
        key: &str,
        value: Value,
        ttl: Option<Duration>,
    ) -> Result<(), Failure> {
        if key.is_empty() || key.len() > MAX_KEY {
            let text = "a key has 1 to 256 bytes";
            return Err(Failure::new(ErrorKind::Invalid, "invalid_key", text));
        }
        let _turn = self.turn().await?;
        let (gone, entry) = {
            let mut cache = self.cache().await?;
            let gone = cache.put(key, value, ttl);
            (gone, cache.entry(key).cloned())
        };
        let Some(entry) = entry else { return Ok(()) };
        if let Err(failure) = record::put(&self.node, &entry).await {
            self.cache().await?.delete(key);
            return Err(failure);
        }
        if let Some(gone) = gone {
            record::forget::<CacheEntry>(&self.node, &gone).await?;
        }
        Ok(())
    }

    /// Forgets a cached value; returns whether it was there.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the store could not forget it.
    pub async fn uncache(&self, key: &str) -> Result<bool, Failure> {
        let _turn = self.turn().await?;
        record::forget::<CacheEntry>(&self.node, key).await?;
        Ok(self.cache().await?.delete(key))
    }

    /// Forgets every cached value; returns how many there were.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the store could not forget them.
    pub async fn clear_cache(&self) -> Result<usize, Failure> {
        let _turn = self.turn().await?;
        self.node.store().plans().clear(CacheEntry::KIND).await.map_err(unreadable)?;
        Ok(self.cache().await?.clear())
    }
}
