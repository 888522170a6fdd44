//! The future of one task: forwards its pieces, watches the clock, the budget and the reader.

use std::time::Duration;

use bytes::Bytes;
use sedge_base::{ByteSize, Cancel, Clock, ErrorKind};
use sedge_capability::{End, Failure, Sink, Task, Usage};
use sedge_trust::Status;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Done, Message};

/// How long a stopped engine is waited for, so that the end can say what was used: it looks at its
/// flag at each token and each batch of the prompt.
const GRACE: Duration = Duration::from_secs(1);

/// When a task began here, and when it must end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until {
    began: Instant,
    ends: Option<Instant>,
}

impl Until {
    /// Works out when a task must end: its time budget counts from now, its deadline is a date.
    pub(crate) fn of(task: &Task, clock: &Clock) -> Result<Self, Failure> {
        let began = Instant::now();
        let left = task.deadline.since(clock.now());
        let time = task.budgets.time().map_or(left, |it| it.min(left));
        if time.is_zero() {
            return Err(late());
        }
        // What lies beyond the clock's end never comes.
        Ok(Self { began, ends: began.checked_add(time) })
    }

    async fn over(self) {
        match self.ends {
            Some(ends) => sleep_until(ends).await,
            None => std::future::pending().await,
        }
    }
}

fn late() -> Failure {
    Failure::new(ErrorKind::Timeout, "time_budget", "the time of the task is over")
}

/// Why an answer is cut off before the engine's own end.
enum Cut {
    Gone,
    Stopping,
    Late,
    TooMuch(ByteSize),
}

/// Forwards one task's answer.
pub(crate) struct Relay {
    messages: mpsc::Receiver<Message>,
    /// Tells the engine to stop.
    stop: Box<dyn Fn() + Send + Sync>,
    until: Until,
    output: Option<ByteSize>,
    sent: u64,
}

impl Relay {
    pub(crate) fn new(
        messages: mpsc::Receiver<Message>,
        stop: Box<dyn Fn() + Send + Sync>,
        until: Until,
        output: Option<ByteSize>,
    ) -> Self {
        Self { messages, stop, until, output, sent: 0 }
    }

    /// Forwards until the end; the reader always gets exactly one.
    pub(crate) async fn run(mut self, sink: Sink, cancel: Cancel) {
        let (done, cut) = match self.forward(&sink, &cancel).await {
            Ok(done) => (Some(done), None),
            Err(cut) => {
                (self.stop)();
                (timeout(GRACE, self.drain()).await.ok().flatten(), Some(cut))
            }
        };
        let end = self.end(done, cut);
        tokio::select! {
            () = sink.end(end) => {}
            // A reader that neither reads nor leaves does not hold up the node's end.
            () = async { cancel.cancelled().await; tokio::time::sleep(GRACE).await } => {}
        }
    }

    async fn forward(
        &mut self,
        sink: &Sink,
        cancel: &Cancel,
    ) -> Result<Result<Done, Failure>, Cut> {
        loop {
            let message = tokio::select! {
                biased;
                cut = cut(sink, cancel, self.until) => return Err(cut),
                message = self.messages.recv() => message,
            };
            let bytes = match message {
                Some(Message::Piece(bytes)) => bytes,
                Some(Message::Done(done)) => return Ok(done),
                None => return Ok(Err(broken_off())),
            };
            self.forward_piece(bytes, sink, cancel).await?;
        }
    }

    async fn forward_piece(
        &mut self,
        bytes: Bytes,
        sink: &Sink,
        cancel: &Cancel,
    ) -> Result<(), Cut> {
        let length = bytes.len() as u64;
        if let Some(most) = self.output.filter(|it| self.sent + length > it.as_bytes()) {
            return Err(Cut::TooMuch(most));
        }
        tokio::select! {
            biased;
            cut = cut(sink, cancel, self.until) => Err(cut),
            sent = sink.chunk(bytes) => {
                self.sent += length;
                sent.map_err(|_| Cut::Gone)
            }
        }
    }

    /// Reads on to the engine's end without forwarding.
    async fn drain(&mut self) -> Option<Result<Done, Failure>> {
        loop {
            match self.messages.recv().await? {
                Message::Piece(_) => {}
                Message::Done(done) => return Some(done),
            }
        }
    }

    fn end(&self, done: Option<Result<Done, Failure>>, cut: Option<Cut>) -> End {
        let took = self.until.began.elapsed().as_micros();
        let counted = |usage| Usage {
            took_us: u64::try_from(took).unwrap_or(u64::MAX),
            output_bytes: self.sent,
            ..usage
        };
        let (done, failed) = match done {
            Some(Ok(done)) => (done, None),
            Some(Err(failure)) => (Done::default(), Some(failure)),
            None => (Done::default(), None),
        };
        let Done { usage, detail, profile } = done;
        let usage = counted(usage);
        let end = match (cut, failed) {
            (None, None) => End::success(usage),
            (None, Some(failure)) => End::failed(Status::Error, failure, usage),
            (Some(Cut::Late), _) => End::failed(Status::Timeout, late(), usage),
            (Some(Cut::Gone), _) => {
                let failure =
                    Failure::new(ErrorKind::Cancelled, "cancelled", "the requester went away");
                End::failed(Status::Cancelled, failure, usage)
            }
            (Some(Cut::Stopping), _) => {
                let failure =
                    Failure::new(ErrorKind::Unavailable, "stopping", "the node is stopping");
                End::failed(Status::Cancelled, failure, usage)
            }
            (Some(Cut::TooMuch(most)), _) => {
                let text = format!("the answer is longer than {most}");
                let failure = Failure::new(ErrorKind::Exhausted, "output_budget", text);
                End::failed(Status::Error, failure, usage)
            }
        };
        End { detail, profile, ..end }
    }
}

/// Waits for a reason to cut the answer off.
async fn cut(sink: &Sink, cancel: &Cancel, until: Until) -> Cut {
    tokio::select! {
        biased;
        () = sink.gone() => Cut::Gone,
        () = until.over() => Cut::Late,
        () = cancel.cancelled() => Cut::Stopping,
    }
}

fn broken_off() -> Failure {
    Failure::new(
        ErrorKind::Internal,
        "engine_stopped",
        "the model's thread ended without an answer",
    )
}
