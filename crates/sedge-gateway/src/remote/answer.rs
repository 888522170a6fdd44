//! What a provider's answer comes to, in nobody's wire format.

use std::collections::BTreeMap;

use sedge_capability::Usage;
use serde_json::{Map, Value, json};

use crate::chat::ToolCall;

/// The most calls of tools in one answer.
const MOST_CALLS: usize = 128;

/// The longest arguments of all calls together, in bytes: they travel in the end record.
const LONGEST_ARGUMENTS: usize = 256 << 10;

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// It had said everything, or came to a stop text.
    Stop,
    /// Its tokens were spent.
    Length,
    /// It waits for tools.
    ToolCalls,
    /// Its provider withheld something.
    ContentFilter,
}

impl Finish {
    const fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
        }
    }
}

/// An answer as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// What was said and not handed out yet.
    text: String,
    calls: BTreeMap<u64, ToolCall>,
    argued: usize,
    excess: bool,
    finish: Option<Finish>,
    ended: bool,
    usage: Usage,
}

impl Answer {
    /// Takes the next piece of text.
    pub(crate) fn say(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Takes a piece of the call with this number: its id and name when they come, and more of its
    /// arguments.
    pub(crate) fn call(&mut self, index: u64, told: (Option<&str>, Option<&str>), arguments: &str) {
        let (id, name) = told;
        let lengths = [id, name].into_iter().flatten().map(str::len).sum::<usize>();
        self.argued = self.argued.saturating_add(lengths + arguments.len());
        let new = !self.calls.contains_key(&index);
        if self.argued > LONGEST_ARGUMENTS || (new && self.calls.len() >= MOST_CALLS) {
            self.excess = true;
            return;
        }
        let call = self.calls.entry(index).or_default();
        // Some repeat the id with each piece, and some send an empty one.
        for (field, told) in [(&mut call.id, id), (&mut call.name, name)] {
            if let Some(told) = told.filter(|it| !it.is_empty()) {
                told.clone_into(field);
            }
        }
        call.arguments.push_str(arguments);
    }

    /// Returns how many calls there are.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.len() as u64
    }

    /// Takes the reason of the end; counts may follow it.
    pub(crate) fn finish(&mut self, finish: Finish) {
        self.finish = Some(finish);
    }

    /// Takes the word that nothing follows.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Takes how many tokens the prompt has; the newest count holds.
    pub(crate) fn prompt(&mut self, tokens: Option<u32>) {
        self.usage.prompt_tokens = tokens.or(self.usage.prompt_tokens);
    }

    /// Takes how many of them a cache made cheaper.
    pub(crate) fn cached(&mut self, tokens: Option<u32>) {
        self.usage.cached_tokens = tokens.or(self.usage.cached_tokens);
    }

    /// Takes how many tokens the answer has so far.
    pub(crate) fn completion(&mut self, tokens: Option<u32>) {
        self.usage.completion_tokens = tokens.or(self.usage.completion_tokens);
    }

    /// Returns what was said since the last time.
    pub(super) fn take_text(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// Returns whether it asks for more of tools than an answer can carry.
    pub(super) fn is_excessive(&self) -> bool {
        self.excess
    }

    /// Returns whether nothing follows.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Returns whether nothing that matters is missing.
    pub(super) fn is_whole(&self) -> bool {
        self.ended || self.finish.is_some()
    }

    /// Returns the counts and what the end record tells: `finish_reason`, and `tool_calls` if there
    /// are any.
    pub(super) fn told(self) -> (Usage, Map<String, Value>) {
        let mut calls: Vec<_> = self.calls.into_values().collect();
        for (at, call) in calls.iter_mut().enumerate() {
            if call.id.is_empty() {
                call.id = format!("call_{at}");
            }
            if call.arguments.trim().is_empty() {
                "{}".clone_into(&mut call.arguments);
            }
        }
        let mut finish = self.finish.unwrap_or(Finish::Stop);
        // Not everybody has a word of its own for it.
        if finish == Finish::Stop && !calls.is_empty() {
            finish = Finish::ToolCalls;
        }
        let mut detail = Map::new();
        detail.insert("finish_reason".to_owned(), json!(finish.word()));
        if !calls.is_empty() {
            detail.insert("tool_calls".to_owned(), json!(calls));
        }
        (self.usage, detail)
    }
}
