//! The worker with a double of an engine that the test leads step by step.

use std::sync::mpsc as steps;

use sedge_base::{ByteSize, NodeId, TaskId, Timestamp};
use sedge_capability::{Budgets, Event, Media};
use sedge_trust::Status;

use super::*;

/// An engine double: says each step that the test sends, until the test hangs up.
struct EngineDouble {
    loads: Arc<Mutex<u32>>,
    fails: bool,
}

impl Engine for EngineDouble {
    const THREAD: &'static str = "double";
    type Loaded = ();
    type Input = Receiver<&'static str>;

    fn load(&self) -> Result<(), Failure> {
        *self.loads.lock().unwrap() += 1;
        if self.fails {
            return Err(Failure::new(ErrorKind::Corrupt, "bad_model", "the file is damaged"));
        }
        Ok(())
    }

    fn answer(
        &self,
        (): &mut (),
        input: Receiver<&'static str>,
        reply: &mut Reply,
    ) -> Result<Done, Failure> {
        let mut said = 0;
        while !reply.is_stopped() {
            match input.recv_timeout(Duration::from_millis(1)) {
                Ok("panic") => panic!("as the test wants"),
                Ok(step) => reply.piece(Bytes::from_static(step.as_bytes()))?,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            said += 1;
        }
        let usage = Usage { completion_tokens: Some(said), ..Usage::default() };
        Ok(Done { usage, ..Done::default() })
    }
}

struct Bench {
    worker: Worker<EngineDouble>,
    scope: TaskScope,
    loads: Arc<Mutex<u32>>,
}

impl Bench {
    fn with(fails: bool, idle: Option<Duration>) -> Self {
        let (scope, loads) = (TaskScope::new(), Arc::new(Mutex::new(0)));
        let clock = Clock::manual(Timestamp::from_millis(1000));
        let settings = Settings { idle, clock, scope: scope.clone() };
        let worker = Worker::new(EngineDouble { loads: Arc::clone(&loads), fails }, settings);
        Self { worker, scope, loads }
    }

    fn new() -> Self {
        Self::with(false, None)
    }

    fn start(&self, budgets: Budgets) -> (steps::Sender<&'static str>, Result<Outcome, Failure>) {
        let (sender, steps) = steps::channel();
        (sender, self.worker.start(&task(budgets), steps, 100))
    }
}

fn task(budgets: Budgets) -> Task {
    Task {
        id: "t".parse::<TaskId>().unwrap(),
        capability: "double".parse().unwrap(),
        input: Bytes::new(),
        media: Media::Plain,
        budgets,
        deadline: Timestamp::from_millis(u64::MAX),
        priority: Task::USUAL_PRIORITY,
        requester: NodeId::from_bytes([0; 32]),
    }
}

#[tokio::test]
async fn pieces_come_in_order_and_then_the_end() {
    let bench = Bench::new();
    let (says, outcome) = bench.start(Budgets::default());
    for piece in ["one ", "two ", "three"] {
        says.send(piece).unwrap();
    }
    drop(says);
    let (output, end) = outcome.unwrap().collect().await;
    assert_eq!(output, b"one two three");
    assert_eq!((end.status, end.usage.output_bytes), (Status::Success, 13));
    assert_eq!(end.usage.completion_tokens, Some(3));
}

#[tokio::test]
async fn an_answer_beyond_its_time_ends_as_a_timeout_with_what_it_used() {
    let bench = Bench::new();
    let (says, outcome) = bench.start(Budgets { time_ms: Some(50), ..Budgets::default() });
    says.send("one").unwrap();
    let (output, end) = outcome.unwrap().collect().await;
    assert_eq!(output, b"one");
    assert_eq!(end.status, Status::Timeout);
    assert_eq!(end.usage.completion_tokens, Some(1));
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_refused() {
    let bench = Bench::new();
    let (_says, steps) = steps::channel();
    let late = Task { deadline: Timestamp::from_millis(999), ..task(Budgets::default()) };
    let refused = bench.worker.start(&late, steps, 1).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Timeout);
}

#[tokio::test]
async fn an_answer_beyond_its_size_says_so() {
    let bench = Bench::new();
    let output = Some(ByteSize::from_bytes(4));
    let (says, outcome) = bench.start(Budgets { output, ..Budgets::default() });
    says.send("one ").unwrap();
    says.send("two").unwrap();
    let (output, end) = outcome.unwrap().collect().await;
    assert_eq!(output, b"one ");
    assert_eq!(end.failure.unwrap().code, "output_budget");
}

#[tokio::test]
async fn a_reader_that_leaves_frees_the_model() {
    let bench = Bench::new();
    let (says, outcome) = bench.start(Budgets::default());
    says.send("one").unwrap();
    let mut outcome = outcome.unwrap();
    assert!(matches!(outcome.next().await, Some(Event::Chunk(_))));
    drop(outcome);
    // `says` stays open: only the stop can have freed the thread for this one.
    let (more, next) = bench.start(Budgets::default());
    drop(more);
    let (_, end) = next.unwrap().collect().await;
    assert_eq!(end.status, Status::Success);
    drop(says);
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nobody() {
    let bench = Bench::new();
    let (says, slow) = bench.start(Budgets::default());
    for _ in 0..90 {
        says.send("x").unwrap();
    }
    drop(says);
    let (more, next) = bench.start(Budgets::default());
    drop(more);
    assert_eq!(next.unwrap().collect().await.1.status, Status::Success);
    assert_eq!(slow.unwrap().collect().await.0.len(), 90);
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_is_told_to_each_task() {
    let bench = Bench::with(true, None);
    for _ in 0..2 {
        let (_says, outcome) = bench.start(Budgets::default());
        let (_, end) = outcome.unwrap().collect().await;
        assert_eq!(end.failure.unwrap().code, "bad_model");
    }
    assert!(!bench.worker.is_loaded());
}

#[tokio::test]
async fn a_thread_that_dies_is_replaced() {
    let bench = Bench::new();
    let (says, outcome) = bench.start(Budgets::default());
    says.send("panic").unwrap();
    let (_, end) = outcome.unwrap().collect().await;
    assert_eq!(end.failure.unwrap().code, "engine_stopped");
    // The queue closes as the thread unwinds; until then the worker may still take an order that
    // dies with it.
    loop {
        let (more, next) = bench.start(Budgets::default());
        drop(more);
        if next.unwrap().collect().await.1.status == Status::Success {
            break;
        }
    }
    assert_eq!(*bench.loads.lock().unwrap(), 2);
}

#[tokio::test]
async fn an_idle_model_leaves_memory_and_comes_back() {
    let bench = Bench::with(false, Some(Duration::from_millis(1)));
    for loads in 1..=2 {
        let (says, outcome) = bench.start(Budgets::default());
        drop(says);
        assert_eq!(outcome.unwrap().collect().await.1.status, Status::Success);
        while bench.worker.is_loaded() {
            tokio::task::yield_now().await;
        }
        assert_eq!(*bench.loads.lock().unwrap(), loads);
    }
}

#[tokio::test]
async fn a_full_queue_is_told() {
    let bench = Bench::new();
    let mut kept = Vec::new();
    let refused = loop {
        match bench.start(Budgets::default()) {
            (says, Ok(outcome)) => kept.push((says, outcome)),
            (_, Err(refused)) => break refused,
        }
    };
    assert_eq!(refused.code, "busy");
    // One is being answered, unless its thread has not begun yet.
    assert!((QUEUE..=QUEUE + 1).contains(&kept.len()));
}

#[tokio::test]
async fn shutdown_ends_answers_and_threads() {
    let bench = Bench::new();
    let (says, outcome) = bench.start(Budgets::default());
    let mut outcome = outcome.unwrap();
    says.send("one").unwrap();
    assert!(matches!(outcome.next().await, Some(Event::Chunk(_))));
    let (stopped, (_, end)) =
        tokio::join!(bench.scope.shutdown(Duration::from_secs(60)), outcome.collect());
    assert_eq!(stopped, Ok(()));
    assert_eq!(end.failure.map(|it| it.code), Some("stopping".into()));
    let (_, refused) = bench.start(Budgets::default());
    assert_eq!(refused.unwrap_err().code, "stopping");
}
