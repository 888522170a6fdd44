//! An embedding model on this machine's processor.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sedge_base::ErrorKind;
use sedge_capability::{Budgets, Capability, Descriptor, Failure, Kind, Outcome, Task, Usage};
use sedge_lm::{EmbedError, Embedder};
use sedge_trust::Rung;
use serde_json::json;

use super::{Described, Local, OpenError, Says, describe, not_loaded, threads};
use crate::config::GatewayConfig;
use crate::embed::{EmbedInput, EmbedOutput};
use crate::models::Installed;
use crate::worker::{Done, Engine, Reply, Settings, Worker};

/// An embedding model on this machine's processor, loaded when it is needed.
///
/// Its one chunk is an [`EmbedOutput`] in JSON. The end's detail has `model`.
#[derive(Debug)]
struct LocalEmbed {
    described: Described,
    worker: Worker<EmbedEngine>,
}

/// Opens an embedding model far enough to describe it; only known models are of this kind.
pub(super) fn open(
    installed: &Installed,
    config: &GatewayConfig,
    settings: Settings,
) -> Result<Arc<dyn Local>, OpenError> {
    let missing = || OpenError::Missing { id: installed.id.clone(), what: "what it is" };
    let facts = installed.facts.as_ref().ok_or_else(missing)?;
    let says = Says {
        kind: Kind::Embedding,
        summary: format!(
            "Turns texts of up to {} tokens into vectors with {}, on this machine.",
            facts.context, installed.id
        ),
        input: EmbedInput::json_schema(),
        output: EmbedOutput::json_schema(),
        context: facts.context,
        limits: Budgets::default(),
        rung: Rung::Attested,
    };
    let described = describe(installed, facts, says)?;
    let engine = EmbedEngine {
        model: installed.id.clone(),
        path: installed.path.clone(),
        threads: threads(config),
    };
    Ok(Arc::new(LocalEmbed { described, worker: Worker::new(engine, settings) }))
}

impl Local for LocalEmbed {
    fn is_loaded(&self) -> bool {
        self.worker.is_loaded()
    }

    fn load(&self) -> Result<(), Failure> {
        self.worker.load()
    }
}

#[async_trait]
impl Capability for LocalEmbed {
    fn descriptor(&self) -> Arc<Descriptor> {
        self.described.get(self.worker.is_loaded())
    }

    async fn run(&self, task: Task) -> Result<Outcome, Failure> {
        let input = EmbedInput::read(&task.input)
            .map_err(|err| Failure::new(err.kind(), "invalid_input", err))?;
        // All vectors come as one piece.
        self.worker.start(&task, input, 1)
    }
}

/// What the model's thread does.
#[derive(Debug)]
struct EmbedEngine {
    model: String,
    path: PathBuf,
    threads: NonZeroUsize,
}

impl Engine for EmbedEngine {
    const THREAD: &'static str = "sedge-embed";
    type Loaded = Embedder;
    type Input = EmbedInput;

    fn load(&self) -> Result<Embedder, Failure> {
        Embedder::open(&self.path, self.threads)
            .map_err(|err| not_loaded(&self.model, err.kind(), &err))
    }

    fn answer(
        &self,
        embedder: &mut Embedder,
        input: EmbedInput,
        reply: &mut Reply,
    ) -> Result<Done, Failure> {
        let mut output = EmbedOutput::default();
        // The engine computes each text by itself, so one at a time costs nothing.
        for (at, text) in input.texts.iter().enumerate() {
            if reply.is_stopped() {
                break;
            }
            let embedded = embedder.embed(&[text]).map_err(|err| refused(err, at))?;
            output.prompt_tokens += embedded.tokens;
            output.vectors.extend(embedded.vectors);
        }
        // Whoever stopped it does not read on; a part is no answer.
        if output.vectors.len() == input.texts.len() {
            let json = serde_json::to_vec(&output)
                .map_err(|err| Failure::new(ErrorKind::Internal, "unwritable_output", err))?;
            reply.piece(Bytes::from(json))?;
        }
        let usage = Usage { prompt_tokens: Some(output.prompt_tokens), ..Usage::default() };
        let detail = [("model".to_owned(), json!(self.model))].into_iter().collect();
        Ok(Done { usage, detail, profile: None })
    }
}

/// Returns the code and the sentence for an engine's refusal of the text at this place.
fn refused(err: EmbedError, text: usize) -> Failure {
    let (code, err) = match err {
        EmbedError::TooLong { tokens, window, .. } => {
            ("context_length_exceeded", EmbedError::TooLong { text, tokens, window })
        }
        EmbedError::TooLarge { bytes, most, .. } => {
            ("invalid_input", EmbedError::TooLarge { text, bytes, most })
        }
        err => ("engine_failed", err),
    };
    Failure::new(err.kind(), code, err)
}
