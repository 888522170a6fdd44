//! Tokens per second of the engine alone: `cargo bench -p sedge-lm -- MODEL.gguf`.
//!
//! Method: 256 fixed tokens as a prompt, then 64 tokens one by one, always the likeliest; three rounds
//! for each kernel and number of threads, of which the median is printed.

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use sedge_lm::{EngineOptions, Gguf, Kernel, OpenError, open_engine};

const PROMPT: u32 = 256;
const ANSWER: u32 = 64;

fn main() -> ExitCode {
    // The harness hands on its own flags, such as `--bench`.
    let Some(path) = std::env::args().skip(1).find(|it| !it.starts_with('-')) else {
        say("usage: cargo bench -p sedge-lm -- MODEL.gguf (none given, nothing measured)");
        return ExitCode::SUCCESS;
    };
    say(&format!("{path}, {PROMPT} prompt tokens, {ANSWER} answer tokens, median of 3"));
    say("kernel         threads    load ms    prompt/s    answer/s");
    for kernel in [Kernel::Avx512Vnni, Kernel::Avx2] {
        for threads in [1, 2] {
            if let Err(error) = measure(Path::new(&path), kernel, threads) {
                say(&format!("{:<14} {threads:>7}    {error}", kernel.name()));
            }
        }
    }
    ExitCode::SUCCESS
}

#[expect(clippy::print_stdout, reason = "a bench prints its figures")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::disallowed_methods, reason = "a bench measures the time that really passes")]
fn now() -> Instant {
    Instant::now()
}

fn measure(path: &Path, kernel: Kernel, threads: usize) -> Result<(), Box<dyn std::error::Error>> {
    let start = now();
    let threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
    let options = EngineOptions { threads, kernel, window: None };
    let gguf = Gguf::open(path).map_err(OpenError::from)?;
    let mut engine = open_engine(&gguf, &options)?;
    let load = start.elapsed();
    let vocabulary = engine.info().vocabulary as u32;
    let prompt: Vec<u32> = (0..PROMPT).map(|it| (1000 + it * 7) % vocabulary).collect();
    let (mut prompts, mut answers) = (Vec::new(), Vec::new());
    let mut logits = Vec::new();
    for _ in 0..3 {
        let sequence = engine.new_sequence();
        let start = now();
        engine.decode(sequence, &prompt, &mut logits)?;
        prompts.push(f64::from(PROMPT) / start.elapsed().as_secs_f64());
        let start = now();
        for _ in 0..ANSWER {
            let likeliest = (0_u32..).zip(&logits).max_by(|a, b| a.1.total_cmp(b.1));
            engine.decode(sequence, &[likeliest.map_or(0, |it| it.0)], &mut logits)?;
        }
        answers.push(f64::from(ANSWER) / start.elapsed().as_secs_f64());
        engine.truncate(sequence, 0);
    }
    prompts.sort_by(f64::total_cmp);
    answers.sort_by(f64::total_cmp);
    let (load, kernel) = (load.as_millis(), engine.info().kernel);
    say(&format!("{kernel:<14} {threads:>7} {load:>10} {:>11.0} {:>11.1}", prompts[1], answers[1]));
    Ok(())
}
