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
    /// Ends the futures of a mortal scope where they stand.
    killed: Option<Cancel>,
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
        Self { cancel: Cancel::new(), tracker: TaskTracker::new(), killed: None }
    }

    /// Makes an empty scope that can be killed as a power cut would: for simulations.
    pub fn mortal() -> Self {
        Self { killed: Some(Cancel::new()), ..Self::new() }
    }

    /// Makes a scope that also stops when this one does, and that this one waits for. Both are
    /// waited for together: end a child with [`TaskScope::stop`].
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            cancel: self.cancel.child_token(),
            tracker: self.tracker.clone(),
            killed: self.killed.clone(),
        }
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
        let killed = self.killed.clone();
        drop(self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = death(killed) => return,
                () = future => {}
            }
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

    /// Drops every future of a [mortal](TaskScope::mortal) scope and of its children at the point
    /// where it waits, untold and untidied, and returns when the last is gone. What is spawned
    /// later never begins. Does nothing to any other scope.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting; the futures are dropped all the same.
    pub async fn kill(&self) {
        if let Some(killed) = &self.killed {
            killed.cancel();
            self.tracker.close();
            self.tracker.wait().await;
        }
    }
}

/// Waits until the scope is killed; for ever if it cannot be.
async fn death(killed: Option<Cancel>) {
    match killed {
        Some(killed) => killed.cancelled_owned().await,
        None => std::future::pending().await,
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

    #[tokio::test(start_paused = true)]
    async fn a_killed_scope_drops_its_futures_untold() {
        let scope = TaskScope::mortal();
        let (told, tidied) = tokio::sync::oneshot::channel();
        scope.child().spawn("polite", |cancel| async move {
            cancel.cancelled().await;
            let _gone = told.send(());
        });
        tokio::task::yield_now().await;
        scope.kill().await;
        assert!(tidied.await.is_err(), "it was dropped, not told");
        scope.stop();
        assert_eq!(scope.shutdown(Duration::from_secs(1)).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_ordinary_scope_is_not_killed() {
        let scope = TaskScope::new();
        scope.spawn("deaf", |_| std::future::pending());
        scope.kill().await;
        let grace = Duration::from_secs(1);
        assert_eq!(scope.shutdown(grace).await, Err(Hung { count: 1, grace }));
    }
}
