//! Tokens per second of the engine alone: `cargo bench -p sedge-lm --bench engine -- MODEL.gguf`.
//!
//! Method: 256 fixed tokens as a prompt, then 64 tokens one by one, always the likeliest; three rounds
//! for each kernel and number of threads, of which the median is printed. With `--turn THREADS`, one
//! round of the fastest kernel, as a line of JSON, for `bench/llama.sh`.

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sedge_lm::{Engine, EngineOptions, Gguf, Kernel, OpenError, open_engine};

const PROMPT: u32 = 256;
const ANSWER: u32 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let turn = arguments.iter().position(|it| it == "--turn");
    // The harness hands on its own flags, such as `--bench`.
    let path = arguments.iter().find(|it| !it.starts_with('-'));
    let Some(path) = path.map(Path::new) else {
        say(
            "usage: cargo bench -p sedge-lm -- MODEL.gguf [--turn THREADS] (none given, nothing measured)",
        );
        return ExitCode::SUCCESS;
    };
    if let Some(at) = turn {
        let threads = arguments.get(at + 1).and_then(|it| it.parse().ok());
        let threads = threads.unwrap_or(NonZeroUsize::MIN);
        return match one_turn(path, threads) {
            Ok(line) => {
                say(&line);
                ExitCode::SUCCESS
            }
            Err(error) => {
                complain(&*error);
                ExitCode::FAILURE
            }
        };
    }
    say(&format!(
        "{}, {PROMPT} prompt tokens, {ANSWER} answer tokens, median of 3",
        path.display()
    ));
    say("kernel         threads    load ms    prompt/s    answer/s");
    for kernel in Kernel::ALL.into_iter().filter(|it| *it != Kernel::Scalar) {
        for threads in [1, 2].into_iter().filter_map(NonZeroUsize::new) {
            match measure(path, kernel, threads) {
                Ok(line) => say(&line),
                Err(error) => say(&format!("{:<14} {threads:>7}    {error}", kernel.name())),
            }
        }
    }
    ExitCode::SUCCESS
}

#[expect(clippy::print_stdout, reason = "a bench prints its figures")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "a script reads the other stream")]
fn complain(error: &dyn Error) {
    eprintln!("error: {error}");
}

#[expect(clippy::disallowed_methods, reason = "a bench measures the time that really passes")]
fn now() -> Instant {
    Instant::now()
}

fn open(
    path: &Path,
    kernel: Kernel,
    threads: NonZeroUsize,
) -> Result<Box<dyn Engine>, Box<dyn Error>> {
    let gguf = Gguf::open(path).map_err(OpenError::from)?;
    Ok(open_engine(&gguf, &EngineOptions { threads, kernel, window: None })?)
}

/// One round with warm caches.
fn one_turn(path: &Path, threads: NonZeroUsize) -> Result<String, Box<dyn Error>> {
    let mut engine = open(path, Kernel::Auto, threads)?;
    round(&mut *engine, 16, 4)?;
    let (prompt, answer) = round(&mut *engine, PROMPT, ANSWER)?;
    let kernel = engine.info().kernel;
    Ok(format!(r#"{{"prompt":{prompt:.2},"answer":{answer:.2},"kernel":"{kernel}"}}"#))
}

fn measure(path: &Path, kernel: Kernel, threads: NonZeroUsize) -> Result<String, Box<dyn Error>> {
    let start = now();
    let mut engine = open(path, kernel, threads)?;
    let load = start.elapsed().as_millis();
    let (mut prompts, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (prompt, answer) = round(&mut *engine, PROMPT, ANSWER)?;
        prompts.push(prompt);
        answers.push(answer);
    }
    prompts.sort_by(f64::total_cmp);
    answers.sort_by(f64::total_cmp);
    let kernel = engine.info().kernel;
    Ok(format!("{kernel:<14} {threads:>7} {load:>10} {:>11.0} {:>11.1}", prompts[1], answers[1]))
}

/// Returns the tokens per second of a prompt and of an answer; choosing a token is not timed.
fn round(engine: &mut dyn Engine, prompt: u32, answer: u32) -> Result<(f64, f64), Box<dyn Error>> {
    let vocabulary = engine.info().vocabulary as u32;
    let tokens: Vec<u32> = (0..prompt).map(|it| (1000 + it * 7) % vocabulary).collect();
    let sequence = engine.new_sequence();
    let mut logits = Vec::new();
    let start = now();
    engine.decode(sequence, &tokens, &mut logits)?;
    let reading = start.elapsed();
    let mut writing = Duration::ZERO;
    for _ in 0..answer {
        let likeliest = (0_u32..).zip(&logits).max_by(|a, b| a.1.total_cmp(b.1));
        let token = likeliest.map_or(0, |it| it.0);
        let start = now();
        engine.decode(sequence, &[token], &mut logits)?;
        writing += start.elapsed();
    }
    engine.truncate(sequence, 0);
    let rate = |count: u32, took: Duration| f64::from(count) / took.as_secs_f64();
    Ok((rate(prompt, reading), rate(answer, writing)))
}
