//! `execute_code`: somebody's code, run once in a sandbox.
//!
//! Each language that can be run here is a capability of its own, `code:python` and so on, so that
//! routing finds a machine that has it. Fields and clamps are the seed's (origins 3.1, 002-12).

mod config;
mod language;
mod route;
mod session;
mod tier;
mod tiers;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sedge_base::{ByteSize, Clock, ContentId, ErrorKind, TaskScope};
use sedge_capability::{
    Budgets, Capability, Descriptor, End, Failure, Idempotence, Kind, Name, Outcome, Task, Usage,
};
use sedge_trust::receipt::{Rung, Status};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

pub use config::{CloudSection, CodeConfig, CodeSection};
pub use language::Language;
pub use route::{Class, Complexity};
pub use session::{CodeSessions, SESSION, SessionAsk};
pub use tier::Tier;
pub use tiers::Parts;

use session::Sessions;
use tier::{Ended, Job, Missing, Sandbox, TierError};

/// How the name of a language's capability begins.
pub const PREFIX: &str = "code:";
/// The most characters of code, and of what it reads.
pub const MOST_TEXT: u64 = 1_000_000;
/// The time when nobody says otherwise, the least and the most, in seconds.
const TIMES: (f64, f64, f64) = (30.0, 1.0, 300.0);
/// The most time of a run.
const MOST_TIME: Duration = Duration::from_secs(300);

/// What somebody wants to be run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    code: String,
    #[serde(default)]
    language: Option<String>,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    timeout: Option<f64>,
    #[serde(default)]
    session_id: Option<String>,
    #[serde(default)]
    sandbox: Choice,
}

/// Who decides on the sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Choice {
    /// The node, by the code.
    #[default]
    Auto,
    /// The caller: Wasm and nothing else.
    Wasm,
    /// The caller: this machine's toolchain and nothing else.
    #[serde(alias = "local")]
    Native,
    /// The caller: a cloud and nothing else.
    #[serde(alias = "cloud")]
    E2b,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeStatus {
    /// It ended with exit code 0.
    Success,
    /// It ended with another code, or was ended.
    Error,
    /// Its time was over.
    Timeout,
    /// There was no sandbox for it; nothing ran.
    SetupError,
}

/// What came of a run: the output of the capability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodeResult {
    /// The beginning of what it wrote to its standard output.
    pub stdout: String,
    /// The beginning of what it wrote to its standard error.
    pub stderr: String,
    /// Its exit code; `None` when it was ended or never ran.
    pub exit_code: Option<i32>,
    /// How long it ran, in seconds.
    pub execution_time: f64,
    /// How it ended.
    pub status: CodeStatus,
    /// Why, when it is anything but a success.
    pub error_message: Option<String>,
    /// The language.
    pub language: String,
    /// The sandbox that it ran in; `None` when there was none.
    pub destination: Option<Tier>,
    /// Why there, and what is weaker or missing.
    pub reason: String,
    /// The time that it had, in seconds.
    pub timeout: f64,
    /// The most memory that it had, in bytes, where that is known.
    pub peak_memory_bytes: Option<u64>,
    /// How many bytes it wrote in all to its standard output.
    pub stdout_bytes: u64,
    /// How many bytes it wrote in all to its standard error.
    pub stderr_bytes: u64,
    /// Whether the end of either stream is missing.
    pub truncated: bool,
}

/// Every sandbox of this node.
pub struct Sandboxes {
    sessions: Arc<Sessions>,
    tiers: Vec<Arc<dyn Sandbox>>,
    config: CodeConfig,
    clock: Clock,
    scope: TaskScope,
}

impl fmt::Debug for Sandboxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandboxes").field("tiers", &self.tiers).finish_non_exhaustive()
    }
}

impl Sandboxes {
    /// Makes the sandboxes of a node out of their parts; nothing is started or looked for yet.
    pub fn new(parts: Parts, config: CodeConfig, clock: Clock, scope: TaskScope) -> Arc<Self> {
        let sessions = Arc::new(Sessions::new(parts.node, parts.sessions.clone()));
        let tiers = tiers::tiers(parts, &config.cloud);
        Arc::new(Self { sessions, tiers, config, clock, scope })
    }

    /// Returns the capability of sessions.
    pub fn sessions(&self) -> Option<Arc<CodeSessions>> {
        CodeSessions::new(Arc::clone(&self.sessions)).map(Arc::new)
    }

    /// Returns a capability for each language that some sandbox probably can run here; whether its
    /// toolchain works and the kernel has every layer is found out when it is used.
    pub fn capabilities(self: &Arc<Self>) -> Vec<Arc<Code>> {
        let offered = Language::all().filter_map(|language| {
            let tiers = self.tiers.iter().filter(|it| it.offers(language));
            let names: Vec<_> = tiers.map(|it| it.tier().name()).collect();
            if names.is_empty() { None } else { self.code(language, &names.join(",")) }
        });
        offered.collect()
    }

    fn code(self: &Arc<Self>, language: Language, tiers: &str) -> Option<Arc<Code>> {
        let name: Name = format!("{PREFIX}{language}").parse().ok()?;
        let labels = [("language", language.name()), ("sandbox", tiers)];
        let descriptor = Descriptor {
            summary: format!("runs {language} code once in a sandbox ({tiers}), without a network"),
            name,
            kind: Kind::Sandbox,
            input: input_schema(),
            output: json!({ "type": "object" }),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            limits: Budgets {
                memory: Some(self.config.memory),
                time_ms: Some((TIMES.2 * 1000.0) as u64),
                ..Budgets::default()
            },
            idempotence: Idempotence::Once,
            rung: Rung::Attested,
            content: None,
        };
        let sandboxes = Arc::clone(self);
        Some(Arc::new(Code { language, descriptor: Arc::new(descriptor), sandboxes }))
    }

    /// Returns the first wanted sandbox that is ready, and why it is this one.
    async fn choose(
        &self,
        job: &Job,
        choice: Choice,
    ) -> Result<(&Arc<dyn Sandbox>, String), Missing> {
        let wanted = match choice {
            Choice::Auto => route::wanted(job.language, &job.code, job.session.is_some()),
            Choice::Wasm => asked_for(Tier::Wasm),
            Choice::Native => asked_for(Tier::Native),
            Choice::E2b => asked_for(Tier::Cloud),
        };
        let mut reason = wanted.reason;
        for tier in wanted.tiers {
            let Some(sandbox) = self.tiers.iter().find(|it| it.tier() == tier) else { continue };
            match sandbox.ready(job).await {
                Ok(()) => return Ok((sandbox, reason)),
                Err(missing) => reason = format!("{reason}; not {tier}: {missing}"),
            }
        }
        Err(Missing(reason))
    }

    async fn run(&self, job: &Job, choice: Choice) -> Result<CodeResult, TierError> {
        let mut result = CodeResult {
            stdout: String::new(),
            stderr: String::new(),
            exit_code: None,
            execution_time: 0.0,
            status: CodeStatus::SetupError,
            error_message: None,
            language: job.language.to_string(),
            destination: None,
            reason: String::new(),
            timeout: job.time.as_secs_f64(),
            peak_memory_bytes: None,
            stdout_bytes: 0,
            stderr_bytes: 0,
            truncated: false,
        };
        let (sandbox, reason) = match self.choose(job, choice).await {
            Ok(chosen) => chosen,
            Err(Missing(reason)) => {
                let error_message = Some(reason.clone());
                return Ok(CodeResult { error_message, reason, ..result });
            }
        };
        result.destination = Some(sandbox.tier());
        result.reason = reason;
        let ran = match sandbox.run(job).await {
            Ok(ran) => ran,
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                return Ok(CodeResult { error_message: Some(error.to_string()), ..result });
            }
            Err(error) => return Err(error),
        };
        (result.status, result.exit_code, result.error_message) = match ran.ended {
            Ended::Exited(0) => (CodeStatus::Success, Some(0), None),
            Ended::Exited(code) => {
                (CodeStatus::Error, Some(code), Some(format!("it ended with exit code {code}")))
            }
            Ended::TimedOut => {
                let text = format!("it did not end within {:.1} s", job.time.as_secs_f64());
                (CodeStatus::Timeout, None, Some(text))
            }
            Ended::Stopped(reason) => (CodeStatus::Error, None, Some(reason)),
        };
        result.truncated = ran.stdout.cut || ran.stderr.cut;
        (result.stdout, result.stdout_bytes) = (ran.stdout.text, ran.stdout.bytes);
        (result.stderr, result.stderr_bytes) = (ran.stderr.text, ran.stderr.bytes);
        result.peak_memory_bytes = ran.peak_memory.map(ByteSize::as_bytes);
        result.execution_time = ran.took.as_secs_f64();
        Ok(result)
    }
}

fn asked_for(tier: Tier) -> route::Wanted {
    route::Wanted { tiers: vec![tier], reason: format!("{tier} was asked for") }
}

fn input_schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["code"],
        "properties": {
            "language": { "type": "string" },
            "code": { "type": "string", "maxLength": MOST_TEXT },
            "stdin": { "type": "string", "maxLength": MOST_TEXT },
            "timeout": { "type": "number", "description": "seconds, clamped to 1..300; 30 when left out" },
            "session_id": { "type": "string" },
            "sandbox": { "enum": ["auto", "wasm", "native", "local", "e2b", "cloud"] },
        },
    })
}

/// Returns the time of a run: 30 s unless told, from 1 s to 300 s.
fn clamp(timeout: Option<f64>) -> Duration {
    let (usual, least, most) = TIMES;
    Duration::from_secs_f64(timeout.unwrap_or(usual).clamp(least, most))
}

/// One language that can be run here.
pub struct Code {
    language: Language,
    descriptor: Arc<Descriptor>,
    sandboxes: Arc<Sandboxes>,
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Code").field(&self.language).finish()
    }
}

#[async_trait]
impl Capability for Code {
    fn descriptor(&self) -> Arc<Descriptor> {
        Arc::clone(&self.descriptor)
    }

    async fn run(&self, task: Task) -> Result<Outcome, Failure> {
        let invalid = |it: String| Failure::new(ErrorKind::Invalid, "invalid_input", it);
        let asked: Asked =
            serde_json::from_slice(&task.input).map_err(|it| invalid(it.to_string()))?;
        let same = |it: &String| Language::of_name(it) == Some(self.language);
        if asked.language.as_ref().is_some_and(|it| !same(it)) {
            return Err(invalid(format!("`{}` runs {}", self.descriptor.name, self.language)));
        }
        let session = asked.session_id.as_deref();
        let session =
            session.map(|it| self.sandboxes.sessions.get(it, task.requester)).transpose()?;
        let (wished, allowed) = (clamp(asked.timeout), task.budgets.time());
        let memory = self.sandboxes.config.memory;
        let seed = ContentId::of(task.id.as_str().as_bytes());
        let [a, b, c, d, ..] = *seed.as_bytes();
        let job = Job {
            language: self.language,
            code: asked.code,
            stdin: asked.stdin,
            time: allowed.map_or(wished, |it| it.min(wished)),
            memory: task.budgets.memory.map_or(memory, |it| it.min(memory)),
            session,
            now: self.sandboxes.clock.now(),
            seed: u32::from_be_bytes([a, b, c, d]),
        };
        // Who gave the task less time than its input asks for is told so, and not the program's reader.
        let budget = allowed.filter(|it| *it < wished);
        let sandboxes = Arc::clone(&self.sandboxes);
        let (sink, outcome) = Outcome::channel();
        self.sandboxes.scope.spawn("code", async move |cancel| {
            let ended = tokio::select! {
                biased;
                () = sink.gone() => return,
                () = cancel.cancelled() => stopping(),
                ended = answer(&sandboxes, &job, asked.sandbox, budget) => ended,
            };
            let (output, end) = ended;
            if output.is_empty() || sink.chunk(output).await.is_ok() {
                sink.end(end).await;
            }
        });
        Ok(outcome)
    }
}

fn stopping() -> (Bytes, End) {
    let failure = Failure::new(ErrorKind::Unavailable, "stopping", "the node is stopping");
    (Bytes::new(), End::failed(Status::Cancelled, failure, Usage::default()))
}

/// Runs one job and writes its result as the capability's output.
async fn answer(
    sandboxes: &Sandboxes,
    job: &Job,
    choice: Choice,
    budget: Option<Duration>,
) -> (Bytes, End) {
    let began = Instant::now();
    let usage = |it: Option<&CodeResult>, output_bytes: usize| Usage {
        took_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        peak_memory: it.and_then(|it| it.peak_memory_bytes).map(ByteSize::from_bytes),
        output_bytes: output_bytes as u64,
        ..Usage::default()
    };
    let failed = |status, kind, code, text: String, usage| {
        (Bytes::new(), End::failed(status, Failure::new(kind, code, text), usage))
    };
    let late = |limit: Duration, usage| {
        let text = format!("the code did not end within its budget of {} ms", limit.as_millis());
        failed(Status::Timeout, ErrorKind::Timeout, "timeout", text, usage)
    };
    if job.time.is_zero() {
        return late(job.time, usage(None, 0));
    }
    let _turn = match &job.session {
        None => None,
        Some(session) => match tokio::time::timeout(job.time, session.turn.lock()).await {
            Ok(turn) => Some(turn),
            Err(_) => {
                let text = "another run in this session has not ended".to_owned();
                let used = usage(None, 0);
                return failed(Status::Error, ErrorKind::Exhausted, "session_busy", text, used);
            }
        },
    };
    let result = match sandboxes.run(job, choice).await {
        Ok(result) => result,
        Err(error) => {
            let (kind, used) = (error.kind(), usage(None, 0));
            return failed(Status::Error, kind, "sandbox_failed", with_source(&error), used);
        }
    };
    if let (CodeStatus::Timeout, Some(limit)) = (result.status, budget) {
        return late(limit, usage(Some(&result), 0));
    }
    let output = match serde_json::to_vec(&result) {
        Ok(output) => Bytes::from(output),
        Err(error) => {
            let used = usage(None, 0);
            return failed(
                Status::Error,
                ErrorKind::Internal,
                "unwritable",
                error.to_string(),
                used,
            );
        }
    };
    let mut end = End::success(usage(Some(&result), output.len()));
    let detail = BTreeMap::from([
        ("status", serde_json::to_value(result.status)),
        ("destination", serde_json::to_value(result.destination)),
    ]);
    end.detail.extend(detail.into_iter().filter_map(|(key, it)| Some((key.to_owned(), it.ok()?))));
    (output, end)
}

/// Returns an error's words with those of what caused it.
fn with_source(error: &TierError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Feeds the fuzzer's bytes to whatever reads what is asked of code and of sessions.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed_ask(bytes: &[u8]) -> bool {
    if let Ok(asked) = serde_json::from_slice::<Asked>(bytes) {
        assert!(clamp(asked.timeout) >= Duration::from_secs(1), "nobody has less");
        for language in Language::all() {
            let wanted = route::wanted(language, &asked.code, asked.session_id.is_some());
            assert!(!wanted.tiers.is_empty(), "there is a place to try");
        }
        return true;
    }
    serde_json::from_slice::<SessionAsk>(bytes).is_ok()
}

/// Feeds the fuzzer's bytes to whatever reads what sandboxes elsewhere say of a run.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed_answer(bytes: &[u8]) -> bool {
    let machine = tiers::cloud::answer::Machine::parse(bytes).is_some();
    let mut said = tiers::cloud::answer::Said::default();
    let heard = bytes.split(|it| *it == b'\n').all(|line| said.hear(line).is_ok());
    assert!(said.stdout.captured().text.len() <= bytes.len() * 3, "nothing is made up");
    machine || heard || tiers::wasm::understood(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_002_12() {
        let seconds = |it| clamp(it).as_secs();
        assert_eq!([seconds(Some(0.0)), seconds(Some(1000.0)), seconds(None)], [1, 300, 30]);
        assert_eq!(seconds(Some(-1e300)), 1);
    }
}
