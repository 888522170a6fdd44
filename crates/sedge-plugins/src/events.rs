//! What plugins tell the operator.

use std::sync::atomic::{AtomicU64, Ordering};

use sedge_capability::Failure;
use tracing::{debug, info, warn};

use crate::plugins::State;

/// A plugin is in another state, or another version of it is.
pub(crate) struct Changed<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) state: State,
}

impl Changed<'_> {
    /// Logs the event.
    pub(crate) fn emit(&self) {
        let Self { name, version, state } = *self;
        info!(target: "sedge::events::plugin_changed", name, version, %state);
    }
}

/// A version was refused; the one before it goes on.
pub(crate) struct Refused<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) issue: String,
}

impl Refused<'_> {
    /// Logs the event.
    pub(crate) fn emit(&self) {
        let Self { name, version, issue } = self;
        warn!(target: "sedge::events::plugin_refused", name, version, issue);
    }
}

/// A call of a plugin gave no answer.
pub(crate) struct Failed<'a> {
    pub(crate) name: &'a str,
    pub(crate) hook: &'a str,
    pub(crate) failure: &'a Failure,
    pub(crate) in_a_row: u32,
}

impl Failed<'_> {
    /// Logs the event.
    pub(crate) fn emit(&self) {
        let Self { name, hook, failure, in_a_row } = *self;
        debug!(target: "sedge::events::plugin_failed", name, hook, %failure, in_a_row);
    }
}

/// More happened than plugins could be told.
pub(crate) struct HookDropped {
    pub(crate) hook: &'static str,
}

impl HookDropped {
    /// Counts and logs the event; the first one aloud.
    pub(crate) fn emit(&self, dropped: &AtomicU64) {
        let Self { hook } = *self;
        match dropped.fetch_add(1, Ordering::Relaxed) {
            0 => warn!(target: "sedge::events::hook_dropped", hook),
            before => debug!(target: "sedge::events::hook_dropped", hook, before),
        }
    }
}

/// A folder or a plugin in it was left out, or what was agreed to could not be kept.
pub(crate) struct Trouble<'a> {
    pub(crate) what: &'a str,
}

impl Trouble<'_> {
    /// Logs the event.
    pub(crate) fn emit(&self) {
        let Self { what } = *self;
        warn!(target: "sedge::events::plugin_trouble", what);
    }
}
