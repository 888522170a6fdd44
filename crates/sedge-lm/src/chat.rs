//! Conversations with a model: prompt, answer, and what is kept between turns.
//!
//! Invariants: nothing is computed for a prompt that does not fit, and nothing is cut from it. The
//! same file, messages, sampling and limits give the same answer, whatever was asked before and
//! however many threads compute.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sedge_base::{ByteSize, ErrorKind};

use crate::constrain::{ConstrainError, Constraint, Shape, Shaper};
use crate::engine::{Engine, EngineError, EngineOptions, ModelInfo, OpenError, open_engine};
use crate::gguf::Gguf;
use crate::kept::KeptSequences;
use crate::kernels::Kernel;
use crate::sample::{Sampler, Sampling};
use crate::template::{ChatTemplate, Message, RenderError};
use crate::text::{Flow, TextStream};
use crate::tokenizer::Tokenizer;

/// How many tokens of a prompt are computed between two looks at the stop flag.
const PROMPT_STEP: usize = 128;
/// The most stop strings, and the longest, in bytes.
const MAX_STOPS: usize = 16;
const MAX_STOP: usize = 256;

/// How a model is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many threads compute; answers do not depend on it. All processors but one if `None`.
    pub threads: Option<NonZeroUsize>,
    /// Which kernel computes; answers do not depend on it.
    pub kernel: Kernel,
    /// The most tokens of prompt and answer together, if fewer than the model's own window.
    pub window: Option<usize>,
    /// How much memory earlier conversations may keep, so that their next turn starts at once.
    pub kept: ByteSize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: None,
            kernel: Kernel::Auto,
            window: None,
            kept: ByteSize::from_bytes(256 << 20),
        }
    }
}

/// What a model is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The conversation so far; the model answers the last message.
    pub messages: Vec<Message>,
    /// The most tokens of the answer. What the window leaves if `None`.
    pub max_tokens: Option<u32>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts before which the answer ends: up to 16, of 1 to 256 bytes.
    pub stop: Vec<String>,
    /// The shape that the answer must have.
    pub shape: Option<Shape>,
}

/// What happens while a model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A part of the prompt was read.
    Prompt {
        /// Tokens read so far, those that were kept from earlier included.
        done: usize,
        /// Tokens of the whole prompt.
        total: usize,
    },
    /// The answer goes on; always whole characters.
    Text(&'a str),
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Finish {
    /// The model was done, or a stop string came, or the shape was complete.
    Stop,
    /// The answer reached its most tokens.
    Length,
    /// The caller said stop.
    Cancelled,
}

/// How an answer came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// How many of them were kept from an earlier conversation.
    pub cached_prompt_tokens: usize,
    /// Tokens of the answer.
    pub completion_tokens: usize,
    /// How long reading the prompt took.
    pub prompt: Duration,
    /// How long writing the answer took.
    pub decode: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The conversation does not become a prompt.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The prompt leaves no room for an answer.
    #[error("the prompt has {tokens} tokens, and the window has {window}")]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens of the window.
        window: usize,
    },
    /// The answer that is asked for does not fit beside the prompt.
    #[error(
        "a prompt of {tokens} tokens and an answer of {max_tokens} exceed the window of {window}"
    )]
    AnswerTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens asked for.
        max_tokens: usize,
        /// Tokens of the window.
        window: usize,
    },
    /// A stop string cannot be used.
    #[error("stop texts are up to {MAX_STOPS}, of 1 to {MAX_STOP} bytes")]
    Stop,
    /// The answer cannot be given its shape.
    #[error(transparent)]
    Shape(#[from] ConstrainError),
    /// The model gave no token that can be taken.
    #[error("the model gave no usable token")]
    NoToken,
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl ChatError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Render(it) => it.kind(),
            Self::PromptTooLong { .. } | Self::AnswerTooLong { .. } | Self::Stop => {
                ErrorKind::Invalid
            }
            Self::Shape(it) => it.kind(),
            Self::NoToken => ErrorKind::Corrupt,
            Self::Engine(it) => it.kind(),
        }
    }
}

/// A chat model in memory. Dropping it frees everything.
pub struct Model {
    engine: Box<dyn Engine>,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    shaper: Option<Shaper>,
    kept: KeptSequences,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("info", self.engine.info()).finish_non_exhaustive()
    }
}

impl Model {
    /// Opens a model file.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(path: &Path, options: &Options) -> Result<Self, OpenError> {
        Self::from_gguf(&Gguf::open(path)?, options)
    }

    /// Opens a model that was read already.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn from_gguf(gguf: &Gguf, options: &Options) -> Result<Self, OpenError> {
        let threads = options.threads.unwrap_or_else(all_but_one);
        let engine = EngineOptions { threads, kernel: options.kernel, window: options.window };
        Self::with_engine(gguf, options, open_engine(gguf, &engine)?)
    }

    /// Puts everything that is not the engine's around an engine.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn with_engine(
        gguf: &Gguf,
        options: &Options,
        engine: Box<dyn Engine>,
    ) -> Result<Self, OpenError> {
        let tokenizer = Tokenizer::from_gguf(gguf)?;
        let (tokens, logits) = (tokenizer.vocabulary(), engine.info().vocabulary);
        if tokens != logits {
            let what = format!("{tokens} tokens, but the model knows {logits}");
            return Err(OpenError::Tokenizer { what });
        }
        let none = || OpenError::Template { what: "the file has none".to_owned() };
        let source = gguf.text("tokenizer.chat_template").ok_or_else(none)?;
        let template = ChatTemplate::new(source)?;
        let kept = KeptSequences::new(options.kept, engine.info().token_bytes);
        Ok(Self { engine, tokenizer, template, shaper: None, kept })
    }

    /// Returns what is known about the model.
    pub fn info(&self) -> &ModelInfo {
        self.engine.info()
    }

    /// Returns the model's vocabulary.
    pub const fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Returns the tokens of a conversation's prompt.
    ///
    /// # Errors
    ///
    /// See [`RenderError`].
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, RenderError> {
        self.template.render(messages, &self.tokenizer)
    }

    /// Answers a conversation, piece by piece; blocks until the answer ends.
    ///
    /// `stop` is looked at before every token and every 128 tokens of the prompt; when it is set, or
    /// `sink` breaks, the answer ends as [`Finish::Cancelled`] and what was computed is kept.
    ///
    /// # Errors
    ///
    /// See [`ChatError`]; pieces that went out before stay out.
    pub fn chat(
        &mut self,
        request: ChatRequest,
        stop: &AtomicBool,
        sink: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<Finished, ChatError> {
        let prompt = self.prompt(&request.messages)?;
        let most = self.room(&prompt, request.max_tokens)?;
        let fits = |it: &String| (1..=MAX_STOP).contains(&it.len());
        if request.stop.len() > MAX_STOPS || !request.stop.iter().all(fits) {
            return Err(ChatError::Stop);
        }
        let constraint = match &request.shape {
            Some(shape) => Some(self.shaper()?.begin(shape)?),
            None => None,
        };
        let (sequence, cached) = self.kept.take(&mut *self.engine, &prompt);
        let mut answer = Answer {
            engine: &mut *self.engine,
            tokenizer: &self.tokenizer,
            sequence,
            computed: prompt[..cached].to_vec(),
            logits: Vec::new(),
            stop,
            sink,
        };
        let choice = Choice {
            sampler: Sampler::new(request.sampling),
            constraint,
            text: TextStream::new(request.stop),
            most,
        };
        let result = answer.run(&prompt, choice);
        let computed = std::mem::take(&mut answer.computed);
        self.kept.put(&mut *self.engine, sequence, computed);
        result.map(|it| Finished { cached_prompt_tokens: cached, ..it })
    }

    /// Returns how many tokens the answer may have.
    fn room(&self, prompt: &[u32], asked: Option<u32>) -> Result<usize, ChatError> {
        let (tokens, window) = (prompt.len(), self.engine.info().window);
        if tokens >= window {
            return Err(ChatError::PromptTooLong { tokens, window });
        }
        let Some(asked) = asked else { return Ok(window - tokens) };
        let max_tokens = asked as usize;
        if tokens + max_tokens > window {
            return Err(ChatError::AnswerTooLong { tokens, max_tokens, window });
        }
        Ok(max_tokens)
    }

    fn shaper(&mut self) -> Result<&Shaper, ConstrainError> {
        let shaper = match self.shaper.take() {
            Some(shaper) => shaper,
            None => Shaper::new(&self.tokenizer)?,
        };
        Ok(self.shaper.insert(shaper))
    }
}

/// Returns one less than the machine has processors, and at least one.
fn all_but_one() -> NonZeroUsize {
    let all = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new(all - 1).unwrap_or(NonZeroUsize::MIN)
}

/// How the tokens of an answer are chosen, and when it ends.
struct Choice {
    sampler: Sampler,
    constraint: Option<Constraint>,
    text: TextStream,
    most: usize,
}

/// An answer under way.
struct Answer<'a> {
    engine: &'a mut dyn Engine,
    tokenizer: &'a Tokenizer,
    sequence: crate::engine::SequenceId,
    /// What the sequence holds.
    computed: Vec<u32>,
    logits: Vec<f32>,
    stop: &'a AtomicBool,
    sink: &'a mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
}

impl Answer<'_> {
    fn run(&mut self, prompt: &[u32], mut choice: Choice) -> Result<Finished, ChatError> {
        let begun = now();
        let read = self.read(prompt)?;
        let prompt_took = begun.elapsed();
        let mut completion_tokens = 0;
        let begun = now();
        let finish = match read {
            ControlFlow::Break(()) => Finish::Cancelled,
            ControlFlow::Continue(()) => self.write(&mut choice, &mut completion_tokens)?,
        };
        let mut rest = String::new();
        choice.text.end(&mut rest);
        if finish != Finish::Cancelled && !rest.is_empty() {
            let _over = (self.sink)(Piece::Text(&rest));
        }
        Ok(Finished {
            finish,
            prompt_tokens: prompt.len(),
            cached_prompt_tokens: 0,
            completion_tokens,
            prompt: prompt_took,
            decode: begun.elapsed(),
        })
    }

    /// Reads what of the prompt is not computed yet.
    fn read(&mut self, prompt: &[u32]) -> Result<ControlFlow<()>, ChatError> {
        let total = prompt.len();
        for step in prompt[self.computed.len()..].chunks(PROMPT_STEP) {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(ControlFlow::Break(()));
            }
            self.decode(step)?;
            let done = self.computed.len();
            if (self.sink)(Piece::Prompt { done, total }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Writes the answer, token after token.
    fn write(&mut self, choice: &mut Choice, count: &mut usize) -> Result<Finish, ChatError> {
        let mut history = self.computed.clone();
        while *count < choice.most {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Finish::Cancelled);
            }
            if let Some(constraint) = &mut choice.constraint {
                constraint.allow(&mut self.logits)?;
            }
            let picked = choice.sampler.pick(&mut self.logits, &history);
            let token = picked.ok_or(ChatError::NoToken)?;
            if self.tokenizer.is_end(token) {
                return Ok(Finish::Stop);
            }
            history.push(token);
            *count += 1;
            let mut out = String::new();
            let flow = choice.text.push(self.tokenizer.piece(token), &mut out);
            if !out.is_empty() && (self.sink)(Piece::Text(&out)).is_break() {
                return Ok(Finish::Cancelled);
            }
            if flow == Flow::Stopped {
                return Ok(Finish::Stop);
            }
            if let Some(constraint) = &mut choice.constraint {
                constraint.accept(token)?;
                if constraint.is_done() {
                    return Ok(Finish::Stop);
                }
            }
            if *count < choice.most {
                self.decode(&[token])?;
            }
        }
        Ok(Finish::Length)
    }

    fn decode(&mut self, tokens: &[u32]) -> Result<(), ChatError> {
        self.engine.decode(self.sequence, tokens, &mut self.logits)?;
        self.computed.extend_from_slice(tokens);
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "no async runtime here; only durations are told")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

#[cfg(test)]
mod tests;
