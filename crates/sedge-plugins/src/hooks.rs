//! The way from whatever happens in a node to the plugins that want to know it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use serde_json::Value;
use tokio::sync::{Mutex, mpsc};

use crate::events::HookDropped;

/// How many happenings wait at most: plugins are slower than tasks, and what is behind by more is lost.
const MOST_WAITING: usize = 256;

/// What happened, and what is told of it.
pub(crate) type Happened = (&'static str, Value);

/// The queue of what happened; telling it something never waits.
#[derive(Debug)]
pub struct Hooks {
    wanted: RwLock<BTreeSet<String>>,
    dropped: AtomicU64,
    sender: mpsc::Sender<Happened>,
    receiver: Mutex<mpsc::Receiver<Happened>>,
}

impl Default for Hooks {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        let (wanted, dropped) = (RwLock::default(), AtomicU64::new(0));
        Self { wanted, dropped, sender, receiver: Mutex::new(receiver) }
    }
}

impl Hooks {
    /// Notes that something happened, if an active plugin wants to know. A full queue drops it,
    /// counted and told.
    pub fn tell(&self, hook: &'static str, data: impl FnOnce() -> Value) {
        if !self.wanted.read().unwrap_or_else(PoisonError::into_inner).contains(hook) {
            return;
        }
        if self.sender.try_send((hook, data())).is_err() {
            HookDropped { hook }.emit(&self.dropped);
        }
    }

    /// Returns how much was dropped since the node started.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Sets which hooks somebody wants to know about.
    pub(crate) fn want(&self, hooks: BTreeSet<String>) {
        *self.wanted.write().unwrap_or_else(PoisonError::into_inner) = hooks;
    }

    /// Returns what happened next.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub(crate) async fn next(&self) -> Option<Happened> {
        self.receiver.lock().await.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_wanted_waits_and_not_without_end() {
        let hooks = Hooks::default();
        hooks.tell("task.finished", || Value::Null);
        hooks.want(BTreeSet::from(["node.started".to_owned()]));
        for number in 0..MOST_WAITING + 10 {
            hooks.tell("task.finished", || Value::Null);
            hooks.tell("node.started", || number.into());
        }
        for number in 0..MOST_WAITING {
            assert_eq!(hooks.next().await, Some(("node.started", number.into())));
        }
        assert!(hooks.receiver.lock().await.try_recv().is_err(), "the rest was dropped");
        assert_eq!(hooks.dropped(), 10);
    }
}
