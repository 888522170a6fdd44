//! What functions tell the operator.

use std::path::Path;
use std::time::Duration;

use sedge_base::ContentId;
use sedge_capability::{Name, Usage};
use sedge_trust::receipt::Status;
use tracing::{debug, info, warn};

use crate::cache::Refused;
use crate::metrics::Recorder;
use crate::outbound::Aim;

/// A function was deployed.
pub(crate) struct Deployed<'a> {
    pub(crate) name: &'a Name,
    pub(crate) content: ContentId,
    pub(crate) precompiled: bool,
    pub(crate) took: Duration,
}

impl Deployed<'_> {
    /// Logs the event.
    pub(crate) fn emit(&self) {
        let Self { name, content, precompiled, took } = *self;
        info!(
            target: "sedge::events::function_deployed",
            %name, %content, precompiled, took_ms = took.as_millis()
        );
    }
}

/// Precompiled code was found and not used; it is made anew.
pub(crate) struct CodeRefused<'a> {
    pub(crate) path: &'a Path,
    pub(crate) why: &'a Refused,
}

impl CodeRefused<'_> {
    /// Logs the event.
    pub(crate) fn emit(&self) {
        let Self { path, why } = *self;
        warn!(
            target: "sedge::events::precompiled_code_refused",
            path = %path.display(), %why, source = std::error::Error::source(why)
        );
    }
}

/// Precompiled code could not be kept; the next start compiles again.
pub(crate) struct CodeNotKept<'a> {
    pub(crate) path: &'a Path,
    pub(crate) why: &'a std::io::Error,
}

impl CodeNotKept<'_> {
    /// Logs the event.
    pub(crate) fn emit(&self) {
        let Self { path, why } = *self;
        warn!(target: "sedge::events::precompiled_code_not_kept", path = %path.display(), %why);
    }
}

/// A request of a function was not let out.
pub(crate) struct OutboundRefused<'a> {
    pub(crate) function: &'a str,
    pub(crate) to: &'a Aim,
    pub(crate) why: &'a dyn std::fmt::Display,
}

impl OutboundRefused<'_> {
    /// Logs the event.
    pub(crate) fn emit(&self) {
        let Self { function, to, why } = *self;
        warn!(target: "sedge::events::outbound_refused", function, %to, %why);
    }
}

/// A task on a function ended.
pub(crate) struct CallEnded<'a> {
    pub(crate) name: &'a Name,
    pub(crate) status: Status,
    pub(crate) usage: &'a Usage,
}

impl CallEnded<'_> {
    /// Counts and logs the event.
    pub(crate) fn emit(&self, recorder: &Recorder) {
        let Self { name, status, usage } = *self;
        let Usage { fuel, took_us, output_bytes, cold, .. } = *usage;
        let cold = cold == Some(true);
        recorder.ended(status == Status::Success, Duration::from_micros(took_us), cold);
        debug!(
            target: "sedge::events::function_call_ended",
            %name, ?status, ?fuel, took_us, output_bytes, cold
        );
    }
}
