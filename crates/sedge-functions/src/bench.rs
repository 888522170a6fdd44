//! Measures calls: the whole way through a [`Function`], beside the bare engine in the same run.

use std::time::Duration;

use bytes::Bytes;
use sedge_base::{ErrorKind, NodeId, TaskId, Timestamp};
use sedge_capability::{Budgets, Capability, Failure, Media, Task};
use serde::Serialize;
use tokio::time::Instant;
use wasmtime::Store;
use wasmtime::component::Linker;

use crate::call;
use crate::deploy::Entry;
use crate::function::Function;
use crate::guard::{self, Guard};
use crate::host::Bare;
use crate::metrics::percentile;

/// Times of many warm calls, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CallFigures {
    /// How many calls of each sort.
    pub rounds: u32,
    /// Median of the whole call.
    pub call_p50_us: f64,
    /// 99 of 100 whole calls stayed within.
    pub call_p99_us: f64,
    /// Median of the bare engine: instantiate, call, drop.
    pub bare_p50_us: f64,
    /// 99 of 100 bare calls stayed within.
    pub bare_p99_us: f64,
    /// What of the median is ours and not the engine's, in percent.
    pub ours_percent: f64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The function imports something or handles HTTP; the bare engine cannot run it.
    #[error("only functions that import nothing can be measured beside the bare engine")]
    NotBare,
    /// No rounds, no figures.
    #[error("at least one round is needed")]
    NoRounds,
    /// A call failed.
    #[error("a call failed")]
    Call(#[source] Failure),
    /// The function answered with an error.
    #[error("the function refused the input")]
    Refused,
    /// The bare engine failed.
    #[error("the bare engine failed: {reason}")]
    Engine {
        /// The engine's words.
        reason: String,
    },
}

impl BenchError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotBare | Self::NoRounds => ErrorKind::Invalid,
            Self::Call(failure) => failure.kind,
            Self::Refused | Self::Engine { .. } => ErrorKind::Failed,
        }
    }
}

/// Measures `rounds` warm calls of a function that imports nothing, turn by turn with as many on
/// the bare engine (same engine, fuel and epoch on, no limits, fresh instance each time).
///
/// # Errors
///
/// See [`BenchError`].
pub async fn calls(
    function: &Function,
    input: Bytes,
    rounds: u32,
) -> Result<CallFigures, BenchError> {
    let Entry::Bare(program) = &function.inner().entry else { return Err(BenchError::NotBare) };
    if rounds == 0 {
        return Err(BenchError::NoRounds);
    }
    let failed = |err: wasmtime::Error| BenchError::Engine { reason: format!("{err:#}") };
    let engine = program.instances.engine();
    let component = program.instances.component();
    let bare = Linker::<()>::new(engine).instantiate_pre(component).map_err(failed)?;
    let mut whole_times = Vec::new();
    let mut bare_times = Vec::new();
    for round in 0..rounds.saturating_add(rounds.div_ceil(10)) {
        let task = task(function, input.clone());
        let started = Instant::now();
        let outcome = function.run(task).await.map_err(BenchError::Call)?;
        let (_, end) = outcome.collect().await;
        let whole = started.elapsed();
        if let Some(failure) = end.failure {
            return Err(BenchError::Call(failure));
        }

        let started = Instant::now();
        let mut store = Store::new(engine, ());
        store.set_fuel(u64::MAX).map_err(failed)?;
        store.set_epoch_deadline(1 << 32);
        let instance = bare.instantiate_async(&mut store).await.map_err(failed)?;
        let process = instance
            .get_typed_func::<(&[u8],), (Result<Box<[u8]>, String>,)>(&mut store, program.export)
            .map_err(failed)?;
        let answer = process.call_async(&mut store, (&input[..],)).await.map_err(failed)?;
        let output = answer.0.map(Bytes::from);
        drop(store);
        let bare = started.elapsed();
        drop(output);

        // The first tenth warms caches up.
        if round >= rounds.div_ceil(10) {
            whole_times.push(whole);
            bare_times.push(bare);
        }
    }
    whole_times.sort_unstable();
    bare_times.sort_unstable();
    let us = |times: &[Duration], percent| percentile(times, percent).as_secs_f64() * 1e6;
    let (call, bare) = (us(&whole_times, 50), us(&bare_times, 50));
    Ok(CallFigures {
        rounds,
        call_p50_us: call,
        call_p99_us: us(&whole_times, 99),
        bare_p50_us: bare,
        bare_p99_us: us(&bare_times, 99),
        ours_percent: (call - bare).max(0.0) * 100.0 / call.max(f64::EPSILON),
    })
}

/// Instances that were called once and are kept alive.
pub struct Live(Vec<Store<Bare>>);

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Live").field(&self.0.len()).finish()
    }
}

impl Live {
    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Makes `count` instances of a function that imports nothing, under the function's limits, calls
/// each once and keeps them: for measuring what an instance costs in memory.
///
/// # Errors
///
/// See [`BenchError`].
pub async fn live(function: &Function, input: Bytes, count: u32) -> Result<Live, BenchError> {
    let inner = function.inner();
    let Entry::Bare(program) = &inner.entry else { return Err(BenchError::NotBare) };
    let failed = |err: wasmtime::Error| BenchError::Engine { reason: format!("{err:#}") };
    let deadline = Instant::now() + inner.limits.time;
    let mut stores = Vec::new();
    for _ in 0..count {
        let guard = Guard::new(&inner.limits, deadline);
        let mut store = Store::new(program.instances.engine(), Bare { guard });
        guard::arm(&mut store, &inner.limits).map_err(failed)?;
        let answer = call::call(program, &mut store, &input).await.map_err(failed)?;
        if answer.is_err() {
            return Err(BenchError::Refused);
        }
        stores.push(store);
    }
    Ok(Live(stores))
}

fn task(function: &Function, input: Bytes) -> Task {
    Task {
        id: TaskId::try_from("bench".to_owned()).unwrap_or_else(|_| unreachable!("a literal")),
        capability: function.descriptor().name.clone(),
        input,
        media: Media::Plain,
        budgets: Budgets::default(),
        deadline: Timestamp::from_millis(u64::MAX),
        priority: Task::USUAL_PRIORITY,
        requester: NodeId::from_bytes([0; 32]),
    }
}
