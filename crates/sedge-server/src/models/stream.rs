//! An answer while it is written: one flush per event, in the words of a door.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use sedge_capability::{End, Event, Failure, Outcome};

use super::characters::Characters;

/// How a door words an answer while it is written.
///
/// Each of its methods returns what is sent at once, and may return nothing.
pub(crate) trait Wording: Send + 'static {
    /// The media type of the whole.
    const MEDIA: &'static str;

    /// Words what stands before the first piece.
    fn begin(&mut self) -> Vec<Bytes>;

    /// Words the next piece of text, which is not empty.
    fn text(&mut self, text: &str) -> Vec<Bytes>;

    /// Words the end of an answer that is whole.
    fn end(&mut self, end: &End) -> Vec<Bytes>;

    /// Words the end of an answer that broke off; what follows must not look like a whole one.
    fn broken(&mut self, failure: Failure) -> Vec<Bytes>;
}

/// A stream in the middle of its answer. Dropping it drops the outcome, which ends the task.
#[derive(Debug)]
struct Running<W> {
    wording: W,
    outcome: Outcome,
    characters: Characters,
    /// What is ready to be sent.
    ready: VecDeque<Bytes>,
    ended: bool,
}

/// Starts the stream; waits for the first piece, so that what fails early has a status of its own.
///
/// # Errors
///
/// What failed before the first piece.
pub(crate) async fn respond<W: Wording>(wording: W, outcome: Outcome) -> Result<Response, Failure> {
    let (characters, ready) = (Characters::default(), VecDeque::new());
    let mut running = Running { wording, outcome, characters, ready, ended: false };
    let first = running.outcome.next().await;
    if let Some(Event::End(end)) = &first
        && let Some(failure) = end.failure.clone()
    {
        return Err(failure);
    }
    running.ready.extend(running.wording.begin());
    running.take(first);
    let pieces = stream::unfold(running, |mut running| async move {
        let piece = running.next().await?;
        Some((Ok::<_, Infallible>(piece), running))
    });
    let headers = [(CONTENT_TYPE, W::MEDIA), (CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

impl<W: Wording> Running<W> {
    /// Returns the next piece, or `None` when all are sent.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(piece);
            }
            if self.ended {
                return None;
            }
            let event = self.outcome.next().await;
            self.take(event);
        }
    }

    fn take(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Chunk(bytes)) => {
                let text = self.characters.push(&bytes);
                if !text.is_empty() {
                    self.ready.extend(self.wording.text(&text));
                }
            }
            Some(Event::End(end)) => {
                self.ended = true;
                let last = match end.failure.clone() {
                    Some(failure) => self.wording.broken(failure),
                    None => self.wording.end(&end),
                };
                self.ready.extend(last);
            }
            None => self.ended = true,
        }
    }
}
