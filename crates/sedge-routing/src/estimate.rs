//! How long a candidate would take to answer.

use std::time::Duration;

use sedge_base::ByteSize;
use sedge_capability::Kind;
use serde::{Deserialize, Serialize};

use crate::request::{Candidate, Path, Request};

/// A way there and back that nobody measured yet, and bytes that it carries per microsecond: 100
/// Mbit/s is the slowest usual home network, and a relay shares 10 Mbit/s with others.
const fn usual(path: Option<Path>) -> (Duration, f64) {
    match path {
        Some(Path::Local) => (Duration::from_millis(1), 125.0),
        Some(Path::Lan) => (Duration::from_millis(5), 12.5),
        Some(Path::Direct) | None => (Duration::from_millis(50), 12.5),
        Some(Path::Relayed) => (Duration::from_millis(100), 1.25),
    }
}

/// Tokens of a usual answer.
const ANSWER_TOKENS: f64 = 32.0;

/// Speed of a model that has not answered yet, in tokens per second.
const UNKNOWN_SPEED: f64 = 40.0;

/// Work of a usual function or embedding on an idle machine.
const SHORT_WORK_US: f64 = 5_000.0;

/// Reading a model into memory.
const LOAD_MODEL_US: f64 = 1_000_000.0;

/// Compiling a module.
const COMPILE_US: f64 = 50_000.0;

/// Below this much free memory, making something ready pushes out something else.
const SCARCE_MEMORY: ByteSize = ByteSize::from_mib(256);

/// How much longer it takes then.
const SCARCE_FACTOR: f64 = 4.0;

/// The expected time to answer, by its parts, in microseconds.
///
/// - `work` = usual work ÷ (1 − CPU load, at most 0.9); for a chat model the usual work is 32
///   tokens at its measured speed, or at 40 tokens per second before there is one.
/// - `queue` = tasks of this capability that run or wait there × `work`.
/// - `distance` = round trip + input ÷ speed; zero on this machine. Unmeasured, a round trip takes
///   1 ms within a machine, 5 ms on a local network, 100 ms through a relay, 50 ms else; the speed
///   is 1 Gbit/s within a machine, 10 Mbit/s through a relay, 100 Mbit/s else.
/// - `start` = 1 s for a model and 50 ms for a module that is not ready, four times that with less
///   than 256 MiB of free memory.
/// - `late` = by how much later than all that its answers came of late, as measured by the deciding
///   node: what a node says of itself does not outweigh what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Estimate {
    /// Until the tasks before it are done.
    pub queue_us: u64,
    /// There and back.
    pub distance_us: u64,
    /// Until the module or model is ready.
    pub start_us: u64,
    /// The task itself.
    pub work_us: u64,
    /// What it was later than expected, of late.
    #[serde(default)]
    pub late_us: u64,
}

impl Estimate {
    pub(crate) fn of(request: &Request, candidate: &Candidate) -> Self {
        let chat = request.kind == Some(Kind::Chat) || candidate.tokens_per_second.is_some();
        let model = chat || request.kind.is_some_and(Kind::is_model);
        let idle_work = if chat {
            let measured = candidate.tokens_per_second.filter(|it| it.is_finite() && *it > 0.0);
            ANSWER_TOKENS / measured.unwrap_or(UNKNOWN_SPEED) * 1e6
        } else {
            SHORT_WORK_US
        };
        let work = idle_work / (1.0 - busy(candidate));
        let start = match (candidate.ready, model) {
            (true, _) => 0.0,
            (false, true) => LOAD_MODEL_US,
            (false, false) => COMPILE_US,
        };
        let scarce = candidate.free_memory < SCARCE_MEMORY;
        let distance = if candidate.here {
            0.0
        } else {
            let (usual, bytes_per_us) = usual(candidate.path);
            let rtt = candidate.rtt.unwrap_or(usual).as_secs_f64() * 1e6;
            rtt + request.input_bytes as f64 / bytes_per_us
        };
        Self {
            queue_us: micros(f64::from(candidate.load.in_flight()) * work),
            distance_us: micros(distance),
            start_us: micros(if scarce { start * SCARCE_FACTOR } else { start }),
            work_us: micros(work),
            late_us: candidate.late_by.map_or(0, |it| micros(it.as_secs_f64() * 1e6)),
        }
    }

    /// Returns the sum of the parts, in microseconds.
    pub const fn total_us(&self) -> u64 {
        let waits = self.queue_us.saturating_add(self.distance_us);
        waits
            .saturating_add(self.start_us)
            .saturating_add(self.work_us)
            .saturating_add(self.late_us)
    }
}

/// Returns the share of the processors that is taken, 0 to 0.9; 0 for a figure that is none.
fn busy(candidate: &Candidate) -> f64 {
    let percent = f64::from(candidate.cpu_percent);
    if percent.is_finite() { (percent / 100.0).clamp(0.0, 0.9) } else { 0.0 }
}

/// Rounds to whole microseconds; stops at the largest number that JSON carries exactly.
fn micros(value: f64) -> u64 {
    value.round().clamp(0.0, 9_007_199_254_740_991.0) as u64
}
