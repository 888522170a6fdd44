//! The double of the engine for functions: it runs scripts, in virtual time, and keeps a list of
//! what ran where.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sedge_base::{ContentId, ErrorKind, TaskScope};
use sedge_capability::{
    Capability, Descriptor, End, Failure, Handle, Kind, Outcome, Sink, Task, Usage,
};
use sedge_functions::{DeployError, Deployment};
use sedge_node::Engine;
use sedge_trust::Status;
use sedge_trust::receipt::Rung;

/// How the bytes of every "component" begin that the double takes.
pub(crate) const SCRIPT: &[u8] = b"sedge-sim script ";

/// Which machine began which task how often, over all machines of a run.
#[derive(Debug, Default)]
pub struct Ran(Mutex<BTreeMap<u32, Vec<usize>>>);

impl Ran {
    fn note(&self, tag: u32, machine: usize) {
        let mut ran = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ran.entry(tag).or_default().push(machine);
    }

    /// Returns the machines that began a task, in order.
    pub fn of(&self, tag: u32) -> Vec<usize> {
        let ran = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ran.get(&tag).cloned().unwrap_or_default()
    }
}

/// What one task is to do; travels as its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    /// Which task of the run it is.
    pub tag: u32,
    /// How long it takes.
    pub takes: Duration,
    /// In how many pieces it answers, 1 at least.
    pub chunks: u32,
    /// Whether it fails after the last piece.
    pub fails: bool,
}

impl Script {
    /// Returns the input that asks for it.
    pub fn input(&self) -> Bytes {
        let Self { tag, takes, chunks, fails } = self;
        format!("{tag} {} {chunks} {}", takes.as_millis(), u8::from(*fails)).into()
    }

    /// Returns the output that a task yields which succeeds.
    pub fn output(&self) -> Vec<u8> {
        (0..self.chunks).flat_map(|it| self.chunk(it)).collect()
    }

    fn chunk(&self, number: u32) -> Vec<u8> {
        format!("[{}:{number}]", self.tag).into_bytes()
    }

    fn parse(input: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(input).ok()?;
        let parts: Vec<u64> = text.split(' ').map(|it| it.parse().ok()).collect::<Option<_>>()?;
        let [tag, takes, chunks, fails] = parts[..] else { return None };
        Some(Self {
            tag: u32::try_from(tag).ok()?,
            takes: Duration::from_millis(takes),
            chunks: u32::try_from(chunks).ok()?.clamp(1, 16),
            fails: fails == 1,
        })
    }
}

/// The double of a machine's engine. What it makes of a script runs in the scope of the machine's
/// life, so that it dies with it.
#[derive(Debug)]
pub struct EngineDouble {
    /// The machine that it belongs to.
    pub machine: usize,
    /// The list of what ran.
    pub ran: Arc<Ran>,
    /// By how many milliseconds every task takes longer than its script says.
    pub slower_by: Arc<AtomicU64>,
    /// The machine's life.
    pub scope: TaskScope,
}

#[async_trait]
impl Engine for EngineDouble {
    async fn deploy(&self, deployment: Deployment) -> Result<Handle, DeployError> {
        let got = ContentId::of(&deployment.wasm);
        match deployment.expect {
            Some(expected) if expected != got => {
                return Err(DeployError::OtherContent { expected, got });
            }
            _ if !deployment.wasm.starts_with(SCRIPT) => return Err(DeployError::NotWasm),
            _ => {}
        }
        let descriptor = Descriptor {
            summary: format!("the double {}", deployment.name),
            name: deployment.name,
            kind: Kind::Function,
            input: Descriptor::bytes_schema(),
            output: Descriptor::bytes_schema(),
            labels: deployment.labels,
            limits: deployment.limits,
            idempotence: deployment.idempotence,
            rung: Rung::ReRunnable,
            content: Some(got),
        };
        Ok(Arc::new(FunctionDouble {
            descriptor: Arc::new(descriptor),
            machine: self.machine,
            ran: Arc::clone(&self.ran),
            slower_by: Arc::clone(&self.slower_by),
            scope: self.scope.clone(),
        }))
    }
}

/// The double of a function.
struct FunctionDouble {
    descriptor: Arc<Descriptor>,
    machine: usize,
    ran: Arc<Ran>,
    slower_by: Arc<AtomicU64>,
    scope: TaskScope,
}

#[async_trait]
impl Capability for FunctionDouble {
    fn descriptor(&self) -> Arc<Descriptor> {
        Arc::clone(&self.descriptor)
    }

    async fn run(&self, task: Task) -> Result<Outcome, Failure> {
        let mut script = Script::parse(&task.input)
            .ok_or_else(|| Failure::new(ErrorKind::Invalid, "no_script", "this is no script"))?;
        self.ran.note(script.tag, self.machine);
        script.takes += Duration::from_millis(self.slower_by.load(Ordering::SeqCst));
        let time = task.budgets.time().unwrap_or(Duration::from_secs(10));
        let (sink, outcome) = Outcome::channel();
        self.scope.spawn("function double", async move |cancel| {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = sink.gone() => {}
                done = tokio::time::timeout(time, act(script, &sink)) => {
                    let end = done.unwrap_or_else(|_| {
                        let failure = Failure::new(ErrorKind::Timeout, "time_limit", "out of time");
                        End::failed(Status::Timeout, failure, Usage::default())
                    });
                    sink.clone().end(end).await;
                }
            }
        });
        Ok(outcome)
    }
}

async fn act(script: Script, sink: &Sink) -> End {
    let mut usage = Usage::default();
    for number in 0..script.chunks {
        tokio::time::sleep(script.takes / script.chunks).await;
        let chunk = script.chunk(number);
        usage.output_bytes += chunk.len() as u64;
        if sink.chunk(chunk.into()).await.is_err() {
            break;
        }
    }
    if script.fails {
        let failure = Failure::new(ErrorKind::Invalid, "script_failed", "the script fails");
        return End::failed(Status::Error, failure, usage);
    }
    End::success(usage)
}

#[cfg(test)]
mod tests {
    use sedge_capability::conformance::{Sample, check};

    use super::*;

    fn engine() -> EngineDouble {
        let (ran, slower_by) = (Arc::default(), Arc::default());
        EngineDouble { machine: 3, ran, slower_by, scope: TaskScope::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_double_makes_keeps_the_contract_of_capabilities() {
        let engine = engine();
        let wasm = [SCRIPT, b"f"].concat();
        let function = engine.deploy(Deployment::new("f".parse().unwrap(), wasm.into()));
        let takes = Duration::from_millis(20);
        let script = Script { tag: 7, takes, chunks: 2, fails: false };
        let sample = Sample { good: script.input(), bad: Some("no script".into()) };
        check(function.await.unwrap(), sample).await.unwrap();
        assert!(engine.ran.of(7).iter().all(|it| *it == 3) && engine.ran.of(8).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_double_refuses_what_the_engine_refuses() {
        let deployment = || Deployment::new("f".parse().unwrap(), "no script".into());
        assert_eq!(engine().deploy(deployment()).await.err().unwrap().code(), "not_wasm");
        let expect = Some(ContentId::of(b"other"));
        let other = Deployment { expect, ..deployment() };
        assert_eq!(engine().deploy(other).await.err().unwrap().code(), "other_content");
    }

    #[test]
    fn a_script_survives_the_way() {
        let script = Script { tag: 7, takes: Duration::from_millis(30), chunks: 3, fails: true };
        assert_eq!(Script::parse(&script.input()), Some(script));
        assert_eq!(script.output(), b"[7:0][7:1][7:2]");
        for garbage in ["", "1 2 3", "1 2 3 4 5", "a b c d", "-1 0 0 0"] {
            assert_eq!(Script::parse(garbage.as_bytes()), None, "{garbage}");
        }
    }
}
