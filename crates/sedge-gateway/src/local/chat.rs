//! A chat model on this machine's processor.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sedge_base::{ContentId, ErrorKind};
use sedge_capability::{Budgets, Capability, Descriptor, Failure, Kind, Outcome, Task, Usage};
use sedge_lm::{
    ChatError, ChatRequest, Finish, Finished, Gguf, Message, Model, Options, Piece, Role, Sampling,
    Shape,
};
use sedge_trust::Rung;
use serde_json::json;

use super::{Described, Local, OpenError, Says, describe, not_loaded, threads};
use crate::catalog::{Facts, Preset};
use crate::chat::{ChatInput, ChatMessage, ChatRole};
use crate::config::GatewayConfig;
use crate::models::Installed;
use crate::worker::{Done, Engine, Reply, Settings, Worker};

/// A chat model on this machine's processor, loaded when it is needed.
///
/// Its chunks are pieces of text, each of them whole UTF-8. The end's detail has `finish_reason`
/// (`stop` or `length`), `model`, `prompt_ms`, `decode_ms` and `tokens_per_second`. When the input says
/// how tokens are chosen, the end has the profile under which they are chosen again.
#[derive(Debug)]
struct LocalChat {
    described: Described,
    preset: Preset,
    context: u32,
    worker: Worker<ChatEngine>,
}

/// Opens a chat model's file far enough to describe it.
pub(super) fn open(
    installed: &Installed,
    config: &GatewayConfig,
    settings: Settings,
) -> Result<Arc<dyn Local>, OpenError> {
    let facts = match &installed.facts {
        Some(facts) => facts.clone(),
        None => facts_of(installed)?,
    };
    let context = config.context.map_or(facts.context, |it| it.get().min(facts.context));
    let says = Says {
        kind: Kind::Chat,
        summary: format!(
            "Answers conversations with {}, a {} model of {} million parameters, on this machine.",
            installed.id,
            facts.family,
            facts.parameters.div_ceil(1_000_000)
        ),
        input: ChatInput::json_schema(),
        output: json!({ "type": "string", "contentMediaType": "text/plain; charset=utf-8" }),
        context,
        limits: Budgets { tokens: Some(context), ..Budgets::default() },
        rung: Rung::BitReplayable,
    };
    let described = describe(installed, &facts, says)?;
    let engine = ChatEngine {
        model: installed.id.clone(),
        path: installed.path.clone(),
        options: Options {
            threads: Some(threads(config)),
            window: Some(context as usize),
            ..Options::default()
        },
    };
    let worker = Worker::new(engine, settings);
    Ok(Arc::new(LocalChat { described, preset: installed.preset, context, worker }))
}

impl Local for LocalChat {
    fn is_loaded(&self) -> bool {
        self.worker.is_loaded()
    }

    fn load(&self) -> Result<(), Failure> {
        self.worker.load()
    }
}

#[async_trait]
impl Capability for LocalChat {
    fn descriptor(&self) -> Arc<Descriptor> {
        self.described.get(self.worker.is_loaded())
    }

    async fn run(&self, task: Task) -> Result<Outcome, Failure> {
        let input = ChatInput::read(&task.input)
            .map_err(|err| Failure::new(err.kind(), "invalid_input", err))?;
        refuse_what_it_cannot(&input)?;
        let ask = ChatAsk {
            // A caller who leaves the seed open still gets an answer that can be repeated.
            seed: input.seed.unwrap_or_else(|| seed_of(&task)),
            preset: self.preset,
            budget: task.budgets.tokens,
            input,
        };
        // A token gives one piece at most, and one more is what was held back at the end.
        self.worker.start(&task, ask, self.context as usize + 1)
    }
}

/// Derives a seed from the task's id.
fn seed_of(task: &Task) -> u64 {
    let id = ContentId::of(task.id.as_str().as_bytes());
    id.as_bytes()[..8].iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// Reads from a model's file what is not known about it.
fn facts_of(installed: &Installed) -> Result<Facts, OpenError> {
    let wrong = |source| OpenError::File { id: installed.id.clone(), source };
    let missing = |what| OpenError::Missing { id: installed.id.clone(), what };
    let file = Gguf::open(&installed.path).map_err(wrong)?;
    let family = file.text("general.architecture").ok_or_else(|| missing("its architecture"))?;
    let context = file.number(&format!("{family}.context_length"));
    let context = context.and_then(|it| u32::try_from(it).ok()).filter(|it| *it > 0);
    let mut formats = BTreeMap::new();
    for name in file.tensor_names() {
        let tensor = file.tensor(name).map_err(wrong)?;
        *formats.entry(tensor.format.name()).or_insert(0) += tensor.bytes.len();
    }
    let most = formats.into_iter().max_by_key(|(_, bytes)| *bytes);
    let (quantisation, _) = most.ok_or_else(|| missing("any tensor"))?;
    Ok(Facts {
        family: family.to_owned(),
        quantisation: quantisation.to_owned(),
        parameters: file.parameters(),
        context: context.ok_or_else(|| missing("its context length"))?,
    })
}

/// Returns what an answer depends on besides the model's file and the input, which has the seed.
fn profile(model: &Model, sampling: &Sampling) -> String {
    let Sampling { temperature, top_p, top_k, repeat_penalty, repeat_last, seed: _ } = *sampling;
    let (arithmetic, window) = (model.info().arithmetic, model.info().window);
    format!(
        "{arithmetic} window={window} temperature={temperature} top_p={top_p} top_k={top_k} \
         repeat={repeat_penalty}/{repeat_last}"
    )
}

/// How much less likely a token becomes that was just used.
const REPEAT_PENALTY: f32 = 1.1;

/// One conversation on its way to the model's thread.
#[derive(Debug)]
struct ChatAsk {
    input: ChatInput,
    seed: u64,
    preset: Preset,
    /// The token budget of the task.
    budget: Option<u32>,
}

impl ChatAsk {
    /// Returns whether the input alone decides every token: it names a seed, or always takes the
    /// likeliest, and no budget that it does not name ends the answer before.
    fn decides_every_token(&self, window: usize) -> bool {
        let Self { input, budget, .. } = self;
        let chosen = input.seed.is_some() || input.temperature == Some(0.0);
        let most = input.max_tokens.map_or(window, |it| it as usize);
        chosen && budget.is_none_or(|it| it as usize >= most)
    }

    /// Returns what the engine is asked; the model's presets fill what the caller left open.
    fn request(self, model: &Model) -> Result<ChatRequest, ChatError> {
        let Self { input, seed, preset, budget } = self;
        let ChatInput { messages, max_tokens, temperature, top_p, seed: _, stop, schema, .. } =
            input;
        let messages: Vec<_> = messages.into_iter().map(message).collect();
        let window = model.info().window;
        let max_tokens = match (max_tokens, budget) {
            (Some(asked), budget) => Some(asked.min(budget.unwrap_or(u32::MAX))),
            // A budget allows so many tokens; unlike a caller, it does not ask for them.
            (None, Some(budget)) if (budget as usize) < window => {
                let left = window.saturating_sub(model.prompt(&messages)?.len());
                Some(budget.min(u32::try_from(left).unwrap_or(u32::MAX)))
            }
            (None, _) => None,
        };
        let sampling = Sampling {
            temperature: temperature.unwrap_or(preset.temperature),
            top_p: top_p.unwrap_or(preset.top_p),
            seed,
            // Small models love to say the same again; a shaped answer may have to.
            repeat_penalty: if schema.is_some() { 1.0 } else { REPEAT_PENALTY },
            ..Sampling::default()
        };
        Ok(ChatRequest { messages, max_tokens, sampling, stop, shape: schema.map(Shape::Schema) })
    }
}

fn message(message: ChatMessage) -> Message {
    let role = match message.role {
        ChatRole::System => Role::System,
        ChatRole::User => Role::User,
        // Turns of tools were refused before.
        ChatRole::Assistant | ChatRole::Tool => Role::Assistant,
    };
    Message { role, content: message.content }
}

/// Refuses by name what this engine would have to leave out.
fn refuse_what_it_cannot(input: &ChatInput) -> Result<(), Failure> {
    let what = match (input.needs_tools(), input.needs_eyes()) {
        (true, _) => "tools",
        (false, true) => "images",
        (false, false) => return Ok(()),
    };
    let text = format!("`{what}` are not supported by this model");
    Err(Failure::new(ErrorKind::Invalid, "unsupported_parameter", text))
}

/// What the model's thread does.
#[derive(Debug)]
struct ChatEngine {
    model: String,
    path: PathBuf,
    options: Options,
}

impl Engine for ChatEngine {
    const THREAD: &'static str = "sedge-chat";
    type Loaded = Model;
    type Input = ChatAsk;

    fn load(&self) -> Result<Model, Failure> {
        Model::open(&self.path, &self.options)
            .map_err(|err| not_loaded(&self.model, err.kind(), &err))
    }

    fn answer(&self, model: &mut Model, ask: ChatAsk, reply: &mut Reply) -> Result<Done, Failure> {
        let decided = ask.decides_every_token(model.info().window);
        let request = ask.request(model).map_err(|err| refused(&err))?;
        let profile = decided.then(|| profile(model, &request.sampling));
        let stop = Arc::clone(reply.stop_flag());
        let mut broken = None;
        let finished = model.chat(request, &stop, &mut |piece| {
            let Piece::Text(text) = piece else { return ControlFlow::Continue(()) };
            match reply.piece(Bytes::copy_from_slice(text.as_bytes())) {
                Ok(()) => ControlFlow::Continue(()),
                Err(failure) => {
                    broken = Some(failure);
                    ControlFlow::Break(())
                }
            }
        });
        match broken {
            Some(failure) => Err(failure),
            None => {
                let finished = finished.map_err(|err| refused(&err))?;
                let profile = profile.filter(|_| finished.finish != Finish::Cancelled);
                Ok(Done { profile, ..done(&self.model, &finished) })
            }
        }
    }
}

/// Returns the code and the sentence for an engine's refusal.
fn refused(err: &ChatError) -> Failure {
    let code = match err {
        ChatError::PromptTooLong { .. } | ChatError::AnswerTooLong { .. } => {
            "context_length_exceeded"
        }
        ChatError::Render(_) | ChatError::Stop => "invalid_input",
        ChatError::Shape(_) => "invalid_schema",
        _ => "engine_failed",
    };
    Failure::new(err.kind(), code, err)
}

/// Returns what the end of an answer tells.
fn done(model: &str, finished: &Finished) -> Done {
    let count = |tokens: usize| Some(u32::try_from(tokens).unwrap_or(u32::MAX));
    let usage = Usage {
        prompt_tokens: count(finished.prompt_tokens),
        cached_tokens: count(finished.cached_prompt_tokens),
        completion_tokens: count(finished.completion_tokens),
        ..Usage::default()
    };
    let reason = match finished.finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Cancelled => "cancelled",
    };
    let detail = [
        ("finish_reason", json!(reason)),
        ("model", json!(model)),
        ("prompt_ms", json!(milliseconds(finished.prompt))),
        ("decode_ms", json!(milliseconds(finished.decode))),
        ("tokens_per_second", json!(rate(finished.completion_tokens, finished.decode))),
    ];
    let detail = detail.into_iter().map(|(key, it)| (key.to_owned(), it)).collect();
    Done { usage, detail, profile: None }
}

/// Returns a time in milliseconds, to the microsecond.
fn milliseconds(took: Duration) -> f64 {
    took.as_micros() as f64 / 1000.0
}

/// Returns tokens per second, to a tenth; 0 when no time was measured.
fn rate(tokens: usize, took: Duration) -> f64 {
    let exact = tokens as f64 / took.as_secs_f64();
    if exact.is_finite() { (exact * 10.0).round() / 10.0 } else { 0.0 }
}
