//! One task in one fresh instance.

pub(crate) mod http;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use sedge_base::{ByteSize, Clock, ErrorKind};
use sedge_capability::Failure;
use sedge_capability::http::MessageError;
use sedge_trust::receipt::Status;
use tokio::time::{Instant, timeout_at};
use wasmtime::component::{ComponentExportIndex, ComponentType, InstancePre, Lift, Lower};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};
use wasmtime_wasi::I32Exit;

use crate::guard::{self, Guarded};
use crate::limits::Limits;

/// Why a function gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// It ran, or waited for its turn, longer than it may.
    #[error("the function did not end within its {} ms", limit.as_millis())]
    Timeout {
        /// The time it had.
        limit: Duration,
    },
    /// It asked for more memory than it may have.
    #[error("the function needs more memory than its {limit}")]
    OutOfMemory {
        /// The memory it may have.
        limit: ByteSize,
    },
    /// It executed more instructions than it may.
    #[error("the function used up its fuel of {limit}")]
    OutOfFuel {
        /// The fuel it had.
        limit: u64,
    },
    /// It gave more output than it may.
    #[error("the function gave more output than its {limit}")]
    OutputTooLarge {
        /// The output it may give.
        limit: ByteSize,
    },
    /// It broke off: a trap, a panic or an exit.
    #[error("the function broke off: {reason}")]
    Trap {
        /// The engine's words.
        reason: String,
    },
    /// It answered with an error of its own.
    #[error("{message}")]
    Function {
        /// The function's words, at most 4 KiB of them.
        message: String,
    },
    /// An HTTP function ended without a response.
    #[error("the function ended without a response")]
    NoResponse,
    /// An HTTP function answered with an error of the HTTP layer.
    #[error("the function refused the request: {code}")]
    Http {
        /// The name of the error, as `wasi:http` has it.
        code: String,
    },
    /// The request is not one that `wasi:http` can carry.
    #[error("a request needs an authority, in its address or its host header")]
    BadRequest,
    /// The input says that it is an HTTP message, and is none.
    #[error(transparent)]
    Message(MessageError),
    /// The function does not handle HTTP.
    #[error("the function does not handle HTTP requests")]
    NotHttp,
    /// All places are taken and enough others wait already.
    #[error("{running} tasks are running and {waiting} are waiting; try later or elsewhere")]
    Busy {
        /// How many run.
        running: u32,
        /// How many wait.
        waiting: u32,
    },
    /// Every reserved instance is taken: components of many parts take several places each.
    #[error("every reserved instance is in use; try later or elsewhere")]
    PoolFull,
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
}

impl CallError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::OutOfMemory { .. } | Self::OutOfFuel { .. } | Self::OutputTooLarge { .. } => {
                ErrorKind::Exhausted
            }
            Self::Trap { .. } | Self::Function { .. } | Self::NoResponse | Self::Http { .. } => {
                ErrorKind::Failed
            }
            Self::BadRequest | Self::Message(_) => ErrorKind::Invalid,
            Self::NotHttp => ErrorKind::Unsupported,
            Self::Busy { .. } | Self::PoolFull | Self::Stopping => ErrorKind::Unavailable,
        }
    }

    /// Returns the word for the receipt.
    pub(crate) const fn status(&self) -> Status {
        match self {
            Self::Timeout { .. } => Status::Timeout,
            Self::OutOfMemory { .. } => Status::OutOfMemory,
            Self::OutOfFuel { .. } => Status::OutOfFuel,
            Self::Stopping => Status::Cancelled,
            Self::OutputTooLarge { .. }
            | Self::Trap { .. }
            | Self::Function { .. }
            | Self::NoResponse
            | Self::Http { .. }
            | Self::BadRequest
            | Self::Message(_)
            | Self::NotHttp
            | Self::Busy { .. }
            | Self::PoolFull => Status::Error,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "timeout",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::OutOfFuel { .. } => "out_of_fuel",
            Self::OutputTooLarge { .. } => "output_too_large",
            Self::Trap { .. } => "trap",
            Self::Function { .. } => "function_error",
            Self::NoResponse => "no_response",
            Self::Http { .. } => "http_error",
            Self::BadRequest => "bad_request",
            Self::Message(_) => "bad_message",
            Self::NotHttp => "not_http",
            Self::Busy { .. } => "busy",
            Self::PoolFull => "pool_full",
            Self::Stopping => "stopping",
        }
    }
}

impl From<CallError> for Failure {
    fn from(err: CallError) -> Self {
        Self::new(err.kind(), err.code(), &err)
    }
}

/// What an instance used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    pub(crate) fuel: u64,
    pub(crate) peak: ByteSize,
}

/// The answer of an instance, and what it used.
pub(crate) type Run<V> = (Result<V, CallError>, Spent);

/// A linked component that exports `process`, or what is called at a time or by a message.
pub(crate) struct Program<T: 'static> {
    pub(crate) instances: InstancePre<T>,
    pub(crate) export: ComponentExportIndex,
    pub(crate) shape: Shape,
}

/// What a program's export takes and gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `process: func(input: list<u8>) -> result<list<u8>, string>`.
    Process,
    /// `handle-cron-event` of `fermyon:spin-cron@2.0.0`: it gets the time and gives nothing.
    Cron,
    /// `handle-message` of `fermyon:spin/inbound-redis`: it gets a message and gives nothing.
    Message,
}

/// Why a program that is called by messages failed.
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "the engine makes them of what a guest returns")]
enum HandleError {
    #[component(name = "success")]
    Success,
    #[component(name = "error")]
    Error,
}

/// What a program that is called at a time is told.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
struct CronMetadata {
    /// The time in seconds since 1970.
    timestamp: u64,
}

/// Why such a program failed.
#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
enum CronError {
    #[component(name = "other")]
    Other(String),
}

/// Runs `process` in a fresh instance.
pub(crate) async fn process<T: Guarded>(
    program: &Program<T>,
    state: T,
    input: &[u8],
    limits: &Limits,
    deadline: Instant,
) -> Run<Bytes> {
    let mut store = Store::new(program.instances.engine(), state);
    if let Err(err) = guard::arm(&mut store, limits) {
        return (Err(trap(&err)), Spent::default());
    }
    let called = timeout_at(deadline, call(program, &mut store, input)).await;
    let answer = match called {
        Err(_) => Err(CallError::Timeout { limit: limits.time }),
        Ok(Err(err)) => Err(explain(&mut store, &err, limits)),
        Ok(Ok(Ok(list))) if list.len() as u64 > limits.output.as_bytes() => {
            Err(CallError::OutputTooLarge { limit: limits.output })
        }
        Ok(Ok(Ok(list))) => Ok(Bytes::from(list)),
        Ok(Ok(Err(words))) => Err(CallError::Function { message: shorten(Cow::Owned(words)) }),
    };
    let spent = spent(&mut store, limits);
    (answer, spent)
}

/// Makes the store's instance and calls its export.
///
/// The answer is copied out: before the engine returns from the call it lets the guest free it. A
/// guest cannot say that it is larger than its memory, see [`guard::arm`].
pub(crate) async fn call<T: Guarded>(
    program: &Program<T>,
    store: &mut Store<T>,
    input: &[u8],
) -> wasmtime::Result<Result<Box<[u8]>, String>> {
    let instance = program.instances.instantiate_async(&mut *store).await?;
    if program.shape == Shape::Cron {
        let handle = instance.get_typed_func::<(CronMetadata,), (Result<(), CronError>,)>(
            &mut *store,
            program.export,
        )?;
        let timestamp = Clock::machine().now().as_millis() / 1000;
        let (answer,) = handle.call_async(store, (CronMetadata { timestamp },)).await?;
        return Ok(answer.map(|()| Box::default()).map_err(|CronError::Other(words)| words));
    }
    if program.shape == Shape::Message {
        let handle = instance
            .get_typed_func::<(&[u8],), (Result<(), HandleError>,)>(&mut *store, program.export)?;
        let (answer,) = handle.call_async(store, (input,)).await?;
        return Ok(match answer {
            Ok(()) | Err(HandleError::Success) => Ok(Box::default()),
            Err(HandleError::Error) => Err("`handle-message` returned an error".to_owned()),
        });
    }
    let process = instance
        .get_typed_func::<(&[u8],), (Result<Box<[u8]>, String>,)>(&mut *store, program.export)?;
    let (answer,) = process.call_async(store, (input,)).await?;
    Ok(answer)
}

/// Returns what the store's instance used.
pub(crate) fn spent<T: Guarded>(store: &mut Store<T>, limits: &Limits) -> Spent {
    let left = store.get_fuel().unwrap_or(0);
    Spent { fuel: limits.fuel.saturating_sub(left), peak: store.data_mut().guard().peak() }
}

/// Returns why the store's instance broke off.
pub(crate) fn explain<T: Guarded>(
    store: &mut Store<T>,
    err: &wasmtime::Error,
    limits: &Limits,
) -> CallError {
    let guard = store.data_mut().guard();
    if guard.is_late() {
        return CallError::Timeout { limit: limits.time };
    }
    if err.downcast_ref::<Trap>() == Some(&Trap::OutOfFuel) {
        return CallError::OutOfFuel { limit: limits.fuel };
    }
    if err.is::<PoolConcurrencyLimitError>() {
        return CallError::PoolFull;
    }
    // What a refused allocation turns into is the guest's affair: mostly a trap.
    if guard.was_refused_memory() {
        return CallError::OutOfMemory { limit: limits.memory };
    }
    trap(err)
}

fn trap(err: &wasmtime::Error) -> CallError {
    let reason = match (err.downcast_ref::<Trap>(), err.downcast_ref::<I32Exit>()) {
        (Some(trap), _) => trap.to_string(),
        (None, Some(exit)) => format!("it exited with code {}", exit.0),
        (None, None) => format!("{err:#}"),
    };
    CallError::Trap { reason: shorten(Cow::Owned(reason)) }
}

/// Cuts a guest's words to 4 KiB and says so.
fn shorten(words: Cow<'_, str>) -> String {
    const MOST: usize = 4096;
    if words.len() <= MOST {
        return words.into_owned();
    }
    let end = words.floor_char_boundary(MOST);
    format!("{} … ({} bytes in all)", &words[..end], words.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_cut_aloud() {
        assert_eq!(shorten("short".into()), "short");
        let long = shorten("é".repeat(3000).into());
        assert!(long.ends_with("é … (6000 bytes in all)"));
    }
}
