//! The small-model engine alone, at one and two threads: what no chat can be faster than.

use std::num::NonZeroUsize;
use std::path::Path;

use sedge_base::ErrorKind;
use sedge_gateway::{DEFAULT_CHAT, Models, SourceSettings};
use sedge_lm::{EngineOptions, Gguf, open_engine};
use tokio::time::Instant;

use super::Figure;
use crate::failed::Failed;
use crate::settings::Settings;

/// Tokens of the prompt.
const PROMPT: u32 = 256;

/// Tokens of the answer.
const ANSWER: u32 = 64;

/// How often each is taken; the median counts.
const ROUNDS: usize = 5;

/// Measures in this process, without a node; the model must be installed.
pub(super) fn measure(settings: &Settings) -> Result<Vec<Figure>, Failed> {
    let models = Models::open(&settings.models()?, SourceSettings::default())
        .map_err(|err| Failed::of(err.kind(), &err))?;
    let installed = models.find(DEFAULT_CHAT).map_err(|err| Failed::of(err.kind(), &err))?;
    let Some(installed) = installed else {
        return Err(Failed::new(ErrorKind::NotFound, format!("{DEFAULT_CHAT} is not installed")));
    };
    let path = &installed.path;
    let mut figures = Vec::new();
    for (threads, what) in [(1, "engine alone, 1 thread"), (2, "engine alone, 2 threads")] {
        figures.push(alone(path, threads, what)?);
    }
    Ok(figures)
}

fn alone(path: &Path, threads: usize, what: &'static str) -> Result<Figure, Failed> {
    let failed = |err: &dyn std::error::Error| Failed::of(ErrorKind::Internal, err);
    let options = EngineOptions {
        threads: NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN),
        ..EngineOptions::default()
    };
    let file = Gguf::open(path).map_err(|err| failed(&err))?;
    let mut engine = open_engine(&file, &options).map_err(|err| failed(&err))?;
    let vocabulary = u32::try_from(engine.info().vocabulary).unwrap_or(u32::MAX);
    let prompt: Vec<u32> = (0..PROMPT).map(|it| (1000 + it * 7) % vocabulary).collect();
    let (mut prompts, mut answers, mut logits) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let sequence = engine.new_sequence();
        let began = Instant::now();
        engine.decode(sequence, &prompt, &mut logits).map_err(|err| failed(&err))?;
        prompts.push(f64::from(PROMPT) / began.elapsed().as_secs_f64());
        let began = Instant::now();
        for _ in 0..ANSWER {
            let likeliest = (0_u32..).zip(&logits).max_by(|a, b| a.1.total_cmp(b.1));
            let next = [likeliest.map_or(0, |it| it.0)];
            engine.decode(sequence, &next, &mut logits).map_err(|err| failed(&err))?;
        }
        answers.push(f64::from(ANSWER) / began.elapsed().as_secs_f64());
        engine.truncate(sequence, 0);
    }
    let median = |mut speeds: Vec<f64>| {
        speeds.sort_by(f64::total_cmp);
        speeds.get(ROUNDS / 2).copied().unwrap_or_default()
    };
    let value = format!("prompt {:.0} tokens/s, answer {:.1} tokens/s", median(prompts), median(answers));
    let method = format!(
        "{PROMPT} fixed tokens as a prompt, then {ANSWER} one by one, always the likeliest, {} kernels, median of {ROUNDS}",
        engine.info().kernel
    );
    Ok(Figure::new(what, value, method))
}
