//! Background work that somebody shuts down.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

/// Tells background work to stop; cheap to clone.
pub type Cancel = CancellationToken;

/// A set of background futures with one owner.
///
/// Whoever makes a scope calls [`TaskScope::shutdown`] or [`TaskScope::stop`] at the end of its life;
/// clones share it, so dropping one stops nothing.
#[derive(Debug, Clone)]
pub struct TaskScope {
    cancel: Cancel,
    tracker: TaskTracker,
}

/// Some background work did not stop within the grace time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{count} background futures did not stop within {grace:?}")]
pub struct Hung {
    /// How many.
    pub count: usize,
    /// How long they were given.
    pub grace: Duration,
}

impl Default for TaskScope {
    fn default() -> Self {
        Self::new()
    }
}

impl TaskScope {
    /// Makes an empty scope of its own.
    pub fn new() -> Self {
        Self { cancel: Cancel::new(), tracker: TaskTracker::new() }
    }

    /// Makes a scope that also stops when this one does, and that this one waits for. Both are
    /// waited for together: end a child with [`TaskScope::stop`].
    #[must_use]
    pub fn child(&self) -> Self {
        Self { cancel: self.cancel.child_token(), tracker: self.tracker.clone() }
    }

    /// Returns the token that tells the scope's futures to stop.
    pub fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Starts a future that belongs to this scope.
    ///
    /// `work` gets the scope's token and should return soon after it is cancelled.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn<Fut>(&self, name: &'static str, work: impl FnOnce(Cancel) -> Fut)
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let future = work(self.cancel.clone());
        drop(self.tracker.spawn(async move {
            future.await;
            debug!(target: "sedge::scope", name, "ended");
        }));
    }

    /// Tells every future of the scope to stop, without waiting.
    pub fn stop(&self) {
        self.cancel.cancel();
    }

    /// Tells every future of the scope to stop and waits for them, `grace` long at most.
    ///
    /// # Errors
    ///
    /// [`Hung`] when some are still running after `grace`; they go on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting; the futures were told to stop already.
    pub async fn shutdown(&self, grace: Duration) -> Result<(), Hung> {
        self.cancel.cancel();
        self.tracker.close();
        let waited = tokio::time::timeout(grace, self.tracker.wait()).await;
        waited.map_err(|_| Hung { count: self.tracker.len(), grace })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn shutdown_waits_for_those_who_listen() {
        let scope = TaskScope::new();
        scope.child().spawn("listener", |cancel| async move { cancel.cancelled().await });
        assert_eq!(scope.shutdown(Duration::from_secs(1)).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_names_how_many_hang() {
        let scope = TaskScope::new();
        scope.spawn("deaf", |_| std::future::pending());
        let grace = Duration::from_secs(1);
        assert_eq!(scope.shutdown(grace).await, Err(Hung { count: 1, grace }));
    }
}
