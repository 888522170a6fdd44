//! A provider's stream on its way to an answer; opens no connection.

use sedge_base::ErrorKind;
use sedge_capability::{Failure, Usage};
use serde_json::{Map, Value};

use super::answer::Answer;
use super::frames::{Frames, TooLong};
use super::refusal::{self, Said};
use crate::providers::Api;

/// The most bytes of one streamed answer.
const LONGEST_STREAM: u64 = 64 << 20;

/// Reads one streamed answer, in pieces of any size.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    provider: &'a str,
    api: &'static Api,
    frames: Frames,
    answer: Answer,
    read: u64,
}

impl<'a> Decoder<'a> {
    /// Begins an answer of a provider, which is named in failures.
    pub(crate) fn new(provider: &'a str, api: &'static Api) -> Self {
        let (frames, answer) = (Frames::new(api.framing), Answer::default());
        Self { provider, api, frames, answer, read: 0 }
    }

    /// Takes the next piece; returns the text that it brings.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<String, Failure> {
        self.read = self.read.saturating_add(bytes.len() as u64);
        if self.read > LONGEST_STREAM {
            return Err(self.unreadable("it is longer than any answer"));
        }
        let frames = self.frames.push(bytes).map_err(|err: TooLong| self.unreadable(err))?;
        for frame in frames {
            self.frame(&frame)?;
        }
        Ok(self.answer.take_text())
    }

    /// Returns whether nothing follows.
    pub(crate) fn is_ended(&self) -> bool {
        self.answer.is_ended()
    }

    /// Returns whether the answer could end here.
    pub(crate) fn is_whole(&self) -> bool {
        self.answer.is_whole()
    }

    /// Ends the answer; returns the last text, the counts, and what the end record tells.
    pub(crate) fn finish(mut self) -> Result<(String, Usage, Map<String, Value>), Failure> {
        let last = self.frames.finish().map_err(|err: TooLong| self.unreadable(err))?;
        if let Some(frame) = last.filter(|_| !self.answer.is_ended()) {
            // Half a document at the end is half an answer, whatever else it is.
            if !self.answer.is_whole() || serde_json::from_slice::<Value>(&frame).is_ok() {
                self.frame(&frame)
                    .map_err(|it| if is_odd(&it) { broke_off(self.provider) } else { it })?;
            }
        }
        if !self.answer.is_whole() {
            return Err(broke_off(self.provider));
        }
        let text = self.answer.take_text();
        let (usage, detail) = self.answer.told();
        Ok((text, usage, detail))
    }

    fn frame(&mut self, frame: &[u8]) -> Result<(), Failure> {
        // OpenAI's end, which is no JSON.
        if frame.trim_ascii() == b"[DONE]" {
            self.answer.end();
            return Ok(());
        }
        let Ok(object) = serde_json::from_slice::<Value>(frame) else {
            return Err(self.unreadable("a part of it is no JSON"));
        };
        if let Some(said) = Said::of(&object) {
            return Err(refusal::failure(self.provider, said.status(), &said, None));
        }
        self.api.wire.take(&object, &mut self.answer);
        if self.answer.is_excessive() {
            return Err(self.unreadable("it asks for more of tools than an answer can carry"));
        }
        Ok(())
    }

    fn unreadable(&self, why: impl std::fmt::Display) -> Failure {
        unreadable(self.provider, why)
    }
}

/// The code of answers that are not understood.
const UNREADABLE: &str = "provider_unreadable";

fn is_odd(failure: &Failure) -> bool {
    failure.code == UNREADABLE
}

/// Returns the failure for an answer that is not what the API promises.
pub(super) fn unreadable(provider: &str, why: impl std::fmt::Display) -> Failure {
    let text = format!("the answer of `{provider}` is not understood: {why}");
    Failure::new(ErrorKind::Unavailable, UNREADABLE, text)
}

/// Returns the failure for an answer without its end.
pub(super) fn broke_off(provider: &str) -> Failure {
    let text = format!("`{provider}` broke off in the middle of its answer");
    Failure::new(ErrorKind::Unavailable, "provider_broke_off", text)
}
