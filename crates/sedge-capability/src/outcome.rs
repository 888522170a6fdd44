//! A stream of chunks and one end record.

use std::any::Any;

use bytes::Bytes;
use sedge_base::ErrorKind;
use sedge_trust::Receipt;
use sedge_trust::receipt::Status;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::{Failure, Usage};

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// The word for the receipt.
    pub status: Status,
    /// Why, when it is anything but a success.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// What it used.
    pub usage: Usage,
    /// What only this kind of capability knows, such as a model's `finish_reason`.
    #[serde(default)]
    pub detail: serde_json::Map<String, serde_json::Value>,
    /// What the output's bits depend on besides artifact and input, when the engine can compute them
    /// again: the name of its arithmetic and every setting that the input left open. Without one, a
    /// receipt of an engine that can is attested only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The executing node's receipt; engines leave it empty, the node fills it in.
    #[serde(default)]
    pub receipt: Option<Box<Receipt>>,
}

impl End {
    /// Returns the end of a task that did what it was asked.
    pub fn success(usage: Usage) -> Self {
        Self {
            status: Status::Success,
            failure: None,
            usage,
            detail: serde_json::Map::new(),
            profile: None,
            receipt: None,
        }
    }

    /// Returns the end of a task that failed; `status` says how in the receipt.
    pub fn failed(status: Status, failure: Failure, usage: Usage) -> Self {
        Self { status, failure: Some(failure), ..Self::success(usage) }
    }
}

/// What an outcome yields.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The next piece of output.
    Chunk(Bytes),
    /// The end; nothing follows.
    End(Box<End>),
}

/// The running answer to a task: chunks, then one end.
#[derive(Debug)]
pub struct Outcome {
    events: mpsc::Receiver<Event>,
    ended: bool,
    deadline: Option<Instant>,
    kept: Option<Box<dyn Any + Send + Sync>>,
    kept_until_first: Option<Box<dyn Any + Send + Sync>>,
}

/// The caller is gone: nobody reads the outcome any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the caller is gone")]
pub struct Gone;

/// The engine's side of an [`Outcome`].
#[derive(Debug, Clone)]
pub struct Sink {
    events: mpsc::Sender<Event>,
}

impl Outcome {
    /// How many events may wait for the reader before the engine has to wait for it: enough to
    /// smooth over a scheduling gap, too few to hide a slow reader.
    pub const CAPACITY: usize = 32;

    /// Makes both sides of an outcome.
    pub fn channel() -> (Sink, Self) {
        let (sender, events) = mpsc::channel(Self::CAPACITY);
        let (kept, kept_until_first) = (None, None);
        let outcome = Self { events, ended: false, deadline: None, kept, kept_until_first };
        (Sink { events: sender }, outcome)
    }

    /// Returns an outcome that is already complete.
    pub fn ready(output: Bytes, end: End) -> Self {
        let (sink, outcome) = Self::channel();
        if !output.is_empty() {
            // The channel is new: there is room for two.
            drop(sink.events.try_send(Event::Chunk(output)));
        }
        drop(sink.events.try_send(Event::End(Box::new(end))));
        outcome
    }

    /// Gives up on an engine that has not ended by then: the outcome ends with
    /// [`ErrorKind::Timeout`], and the engine is asked to stop.
    pub fn until(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Keeps a guard, such as a place among running tasks, until the end was read or the reader left.
    pub fn keeping(self, guard: impl Any + Send + Sync) -> Self {
        Self { kept: Some(Box::new(guard)), ..self }
    }

    /// Keeps a guard, such as a clock, until the first event was read or the reader left.
    pub fn until_first(self, guard: impl Any + Send + Sync) -> Self {
        Self { kept_until_first: Some(Box::new(guard)), ..self }
    }

    /// Returns the next event, or `None` after the end.
    ///
    /// An engine that broke off without an end record gives one with [`ErrorKind::Internal`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = match self.deadline {
            None => Ok(self.events.recv().await),
            Some(deadline) => timeout_at(deadline, self.events.recv()).await,
        };
        let event = event.unwrap_or_else(|_| Some(late())).unwrap_or_else(broken_off);
        self.kept_until_first = None;
        if matches!(event, Event::End(_)) {
            self.ended = true;
            self.events.close();
            self.kept = None;
        }
        Some(event)
    }

    /// Reads everything; returns the output and the end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses what was read and asks the engine to stop.
    pub async fn collect(mut self) -> (Vec<u8>, End) {
        let mut output = Vec::new();
        while let Some(event) = self.next().await {
            match event {
                Event::Chunk(bytes) => output.extend_from_slice(&bytes),
                Event::End(end) => return (output, *end),
            }
        }
        // Read to its end before: there is nothing more to tell.
        (output, End::success(Usage::default()))
    }
}

/// The end of an outcome whose deadline passed.
fn late() -> Event {
    let text = "the task did not end by its deadline";
    let failure = Failure::new(ErrorKind::Timeout, "deadline", text);
    Event::End(Box::new(End::failed(Status::Timeout, failure, Usage::default())))
}

/// The end of an outcome whose engine gave none.
fn broken_off() -> Event {
    let text = "the engine stopped without an end";
    let failure = Failure::new(ErrorKind::Internal, "broken_off", text);
    Event::End(Box::new(End::failed(Status::Error, failure, Usage::default())))
}

impl Sink {
    /// Hands a piece of output to the reader, waiting while it is slow.
    ///
    /// # Errors
    ///
    /// [`Gone`] when nobody reads any more; the engine should stop.
    pub async fn chunk(&self, bytes: Bytes) -> Result<(), Gone> {
        self.events.send(Event::Chunk(bytes)).await.map_err(|_| Gone)
    }

    /// Like [`Sink::chunk`], from a thread outside the runtime.
    ///
    /// # Errors
    ///
    /// [`Gone`] when nobody reads any more.
    pub fn blocking_chunk(&self, bytes: Bytes) -> Result<(), Gone> {
        self.events.blocking_send(Event::Chunk(bytes)).map_err(|_| Gone)
    }

    /// Ends the outcome. A reader that is gone already misses nothing.
    pub async fn end(self, end: End) {
        drop(self.events.send(Event::End(Box::new(end))).await);
    }

    /// Like [`Sink::end`], from a thread outside the runtime.
    pub fn blocking_end(self, end: End) {
        drop(self.events.blocking_send(Event::End(Box::new(end))));
    }

    /// Waits until nobody reads any more.
    pub async fn gone(&self) {
        self.events.closed().await;
    }

    /// Returns whether nobody reads any more.
    pub fn is_gone(&self) -> bool {
        self.events.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_engine_that_breaks_off_still_gives_an_end() {
        let (sink, mut outcome) = Outcome::channel();
        sink.chunk(Bytes::from_static(b"half")).await.unwrap();
        drop(sink);
        assert_eq!(outcome.next().await, Some(Event::Chunk(Bytes::from_static(b"half"))));
        let Some(Event::End(end)) = outcome.next().await else { panic!("no end") };
        assert_eq!(end.failure.map(|it| it.kind), Some(ErrorKind::Internal));
        assert_eq!(outcome.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_is_late_is_given_up() {
        let (sink, outcome) = Outcome::channel();
        let guard = Arc::new(());
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut outcome = outcome.until(deadline).keeping(Arc::clone(&guard));
        let Some(Event::End(end)) = outcome.next().await else { panic!("no end") };
        assert_eq!(end.status, Status::Timeout);
        assert_eq!(Instant::now(), deadline);
        assert!(sink.is_gone());
        assert_eq!(Arc::strong_count(&guard), 1, "the guard is given back");
        assert_eq!(outcome.next().await, None);
    }

    #[tokio::test]
    async fn a_guard_may_be_for_the_first_event_only() {
        let (sink, outcome) = Outcome::channel();
        let guard = Arc::new(());
        let mut outcome = outcome.until_first(Arc::clone(&guard));
        assert_eq!(Arc::strong_count(&guard), 2);
        sink.chunk(Bytes::from_static(b"one")).await.unwrap();
        drop(outcome.next().await);
        assert_eq!(Arc::strong_count(&guard), 1, "the guard is given back");
    }

    #[tokio::test]
    async fn a_reader_that_leaves_is_noticed() {
        let (sink, outcome) = Outcome::channel();
        drop(outcome);
        sink.gone().await;
        assert_eq!(sink.chunk(Bytes::new()).await, Err(Gone));
    }

    #[tokio::test]
    async fn a_ready_outcome_gives_output_and_end() {
        let end = End::success(Usage::default());
        let got = Outcome::ready(Bytes::from_static(b"abc"), end.clone()).collect().await;
        assert_eq!(got, (b"abc".to_vec(), end));
    }
}
