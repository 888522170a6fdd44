//! Python and JavaScript in Wasm: each run is a fresh instance of a snapshot that was taken after the
//! interpreter had started.
//!
//! The guests import nothing: no file, no socket, no clock and no chance of this machine. What they
//! are told of time and chance is part of their input.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sedge_base::{ByteSize, NodeId, TaskId, Timestamp};
use sedge_capability::{Budgets, Capability, Media, Name, Task};
use sedge_sandbox::Captured;
use sedge_trust::receipt::Status;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::code::MOST_TIME;
use crate::code::language::Language;
use crate::code::tier::{Ended, Job, Missing, Ran, Sandbox, Tier, TierError};
use crate::limits::Limits;
use crate::{Deployment, Function, Runtime};

/// JavaScript is small enough to be part of the program; see `functions/snapshots.sh`.
const JAVASCRIPT: &[u8] = include_bytes!("../../../../../functions/javascript.wasm");
/// The most that a guest may say: both streams, every character of them written as six.
const MOST_ANSWER: ByteSize = ByteSize::from_mib(8);
/// The file of the Python snapshot.
const PYTHON_FILE: &str = "python.wasm";

/// Fresh Wasm instances.
#[derive(Debug)]
pub(crate) struct Wasm {
    runtime: Arc<Runtime>,
    snapshots: PathBuf,
    python: OnceCell<Arc<Function>>,
    javascript: OnceCell<Arc<Function>>,
}

/// What a guest is given.
#[derive(Serialize)]
struct Given<'a> {
    code: &'a str,
    stdin: &'a str,
    now_ms: u64,
    seed: u32,
}

/// What a guest says.
#[derive(Deserialize)]
struct Said {
    exit_code: i32,
    stdout: String,
    stdout_bytes: u64,
    stderr: String,
    stderr_bytes: u64,
}

/// Feeds the fuzzer's bytes to what reads a guest's answer.
#[cfg(any(test, fuzzing))]
pub(crate) fn understood(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Said>(bytes).is_ok()
}

impl Wasm {
    pub(crate) fn new(runtime: Arc<Runtime>, snapshots: PathBuf) -> Self {
        let (python, javascript) = (OnceCell::new(), OnceCell::new());
        Self { runtime, snapshots, python, javascript }
    }

    /// Returns the guest, compiled: when it runs for the first time on this machine, that takes
    /// seconds, which do not count for the run.
    async fn guest(&self, language: Language) -> Result<&Arc<Function>, TierError> {
        let cell = match language {
            Language::JavaScript => &self.javascript,
            Language::Python => &self.python,
            other => return Err(unknown(other).into()),
        };
        cell.get_or_try_init(|| async {
            let wasm = match language {
                Language::JavaScript => Bytes::from_static(JAVASCRIPT),
                _ => tokio::fs::read(self.snapshots.join(PYTHON_FILE))
                    .await
                    .map_err(|_| self.no_python())?
                    .into(),
            };
            let wrong = |reason: String| TierError::Answer { what: "a snapshot", reason };
            let name = format!("snapshot/{language}").parse::<Name>();
            let name = name.map_err(|it| wrong(it.to_string()))?;
            // The code's own time is the bound, and that of functions is not.
            let limits = Limits {
                fuel: u64::MAX,
                time: MOST_TIME,
                output: MOST_ANSWER,
                ..self.runtime.limits()
            };
            self.runtime
                .deploy_under(Deployment::new(name, wasm), limits)
                .await
                .map_err(|it| wrong(it.to_string()))
        })
        .await
    }

    fn no_python(&self) -> Missing {
        let path = self.snapshots.join(PYTHON_FILE);
        Missing(format!(
            "the Python snapshot {} is not there: `functions/snapshots.sh` of the sources builds it",
            path.display()
        ))
    }
}

/// Returns whether JavaScript says a word that only makes sense to an engine that comes back.
fn promises(code: &str) -> bool {
    let word = |it: char| it.is_alphanumeric() || it == '_' || it == '$';
    code.split(|it| !word(it)).any(|it| {
        matches!(it, "async" | "await" | "Promise" | "then" | "import" | "queueMicrotask")
    })
}

fn unknown(language: Language) -> Missing {
    Missing(format!("there is no Wasm snapshot for {language}"))
}

#[async_trait]
impl Sandbox for Wasm {
    fn tier(&self) -> Tier {
        Tier::Wasm
    }

    fn offers(&self, language: Language) -> bool {
        match language {
            Language::JavaScript => true,
            Language::Python => self.snapshots.join(PYTHON_FILE).exists(),
            _ => false,
        }
    }

    async fn ready(&self, job: &Job) -> Result<(), Missing> {
        if job.session.is_some() {
            return Err(Missing("a Wasm instance has no files, and a session has".to_owned()));
        }
        match job.language {
            Language::JavaScript if promises(&job.code) => Err(Missing(
                "the JavaScript snapshot answers at once and awaits nothing: promises need `node`"
                    .to_owned(),
            )),
            Language::JavaScript => Ok(()),
            Language::Python if self.python.initialized() => Ok(()),
            Language::Python => match tokio::fs::metadata(self.snapshots.join(PYTHON_FILE)).await {
                Ok(_) => Ok(()),
                Err(_) => Err(self.no_python()),
            },
            other => Err(unknown(other)),
        }
    }

    async fn run(&self, job: &Job) -> Result<Ran, TierError> {
        let guest = self.guest(job.language).await?;
        let began = Instant::now();
        let given = Given {
            code: &job.code,
            stdin: &job.stdin,
            now_ms: job.now.as_millis(),
            seed: job.seed,
        };
        let wrong = |reason: String| TierError::Answer { what: "a snapshot", reason };
        let input = serde_json::to_vec(&given).map_err(|it| wrong(it.to_string()))?;
        let budgets = Budgets {
            time_ms: Some(u64::try_from(job.time.as_millis()).unwrap_or(u64::MAX)),
            memory: Some(job.memory),
            ..Budgets::default()
        };
        let task = Task {
            id: "snapshot".parse::<TaskId>().map_err(|it| wrong(it.to_string()))?,
            capability: guest.descriptor().name.clone(),
            input: input.into(),
            media: Media::Plain,
            budgets,
            deadline: Timestamp::from_millis(u64::MAX),
            priority: Task::USUAL_PRIORITY,
            requester: NodeId::from_bytes([0; 32]),
        };
        let (output, end) = guest.run(task).await?.collect().await;
        let mut ran = Ran {
            ended: Ended::Exited(0),
            stdout: Captured::default(),
            stderr: Captured::default(),
            peak_memory: end.usage.peak_memory,
            took: began.elapsed(),
        };
        if let Some(failure) = end.failure {
            ran.ended = match end.status {
                Status::Timeout => Ended::TimedOut,
                Status::OutOfMemory | Status::OutOfFuel | Status::Error => {
                    Ended::Stopped(failure.message)
                }
                _ => return Err(failure.into()),
            };
            return Ok(ran);
        }
        // A program may change what its answer is written with.
        let said = match serde_json::from_slice::<Said>(&output) {
            Ok(said) => said,
            Err(error) => {
                ran.ended = Ended::Stopped(format!("its answer is unreadable: {error}"));
                return Ok(ran);
            }
        };
        ran.ended = Ended::Exited(said.exit_code);
        ran.stdout = Captured::of(said.stdout.as_bytes(), said.stdout_bytes);
        ran.stderr = Captured::of(said.stderr.as_bytes(), said.stderr_bytes);
        Ok(ran)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_told_by_their_words() {
        for code in
            ["await f()", "(async () => {})()", "p.then(g)", "import('x')", "Promise.all([])"]
        {
            assert!(promises(code), "{code}");
        }
        for code in ["awaited = 1", "setTimeout(() => print(1), 5)", "const thence = 'a'"] {
            assert!(!promises(code), "{code}");
        }
    }
}
