//! `print(1+1)` in each sandbox, beside the interpreter started by itself.

use std::process::{Command, Stdio};
use std::time::Duration;

use sedge_functions::code::{CodeResult, PREFIX};
use serde_json::json;
use tokio::time::Instant;

use super::{Figure, percentiles};
use crate::api::{Api, decode, segment};
use crate::failed::Failed;

/// What is measured: what it is called, the language, its code, the interpreter and its option.
const LANGUAGES: [(&str, &str, &str, [&str; 2]); 2] = [
    ("Python", "python", "print(1+1)", ["python3", "-c"]),
    ("JavaScript", "javascript", "console.log(1+1)", ["node", "-e"]),
];

/// Runs each in Wasm and natively, on this node, as far as it has what that needs.
pub(super) fn measure(api: &Api, rounds: u32) -> Result<Vec<Figure>, Failed> {
    let rounds = rounds.div_ceil(20).max(11);
    let mut figures = Vec::new();
    for (name, language, code, interpreter) in LANGUAGES {
        let mut sandboxes = Vec::new();
        for (sandbox, where_it_runs) in [("wasm", "in Wasm"), ("native", "in a native sandbox")] {
            if let Some(times) = runs(api, language, code, sandbox, rounds)? {
                sandboxes.push((where_it_runs, times));
            }
        }
        let bare = bare(interpreter, code, rounds);
        let beside = bare.map_or("the interpreter is not on this machine".to_owned(), |it| {
            format!("`{}` by itself {}", interpreter[0], percentiles(it))
        });
        for (where_it_runs, (inside, whole)) in sandboxes {
            let value = format!("inside {}; whole {}", percentiles(inside), percentiles(whole));
            let method = format!(
                "{name} adds 1 and 1 and prints it, {where_it_runs}, {rounds} times: inside is what the sandbox took, whole is a call through the API with a receipt on disk"
            );
            figures.push(Figure::new(what(name, where_it_runs), value, method).beside(beside.clone()));
        }
    }
    Ok(figures)
}

/// Returns what the figure is called.
fn what(name: &str, where_it_runs: &str) -> &'static str {
    match (name, where_it_runs) {
        ("Python", "in Wasm") => "Python in Wasm",
        ("Python", _) => "Python, native sandbox",
        (_, "in Wasm") => "JavaScript in Wasm",
        _ => "JavaScript, native sandbox",
    }
}

/// What the sandbox took of each run, and what each took as a whole.
type Times = (Vec<Duration>, Vec<Duration>);

/// Runs the code so often; `None` when the node has not that sandbox for the language.
fn runs(api: &Api, language: &str, code: &str, sandbox: &str, rounds: u32) -> Result<Option<Times>, Failed> {
    let path = format!("functions/{}/call", segment(&format!("{PREFIX}{language}")));
    let input = json!({ "code": code, "sandbox": sandbox }).to_string();
    let (mut inside, mut whole) = (Vec::new(), Vec::new());
    // The first run on a machine compiles the snapshot; it and a few more are not counted.
    for round in 0..rounds + 5 {
        let began = Instant::now();
        let raw = api.call(&path, None, input.as_bytes())?;
        let took = began.elapsed();
        if raw.failed.is_some() {
            return Ok(None);
        }
        let result: CodeResult = decode(&raw.body)?;
        if result.stdout != "2\n" {
            return Ok(None);
        }
        if round >= 5 {
            inside.push(Duration::from_secs_f64(result.execution_time.max(0.0)));
            whole.push(took);
        }
    }
    Ok(Some((inside, whole)))
}

/// Starts the interpreter so often; `None` when it is not there.
fn bare(interpreter: [&str; 2], code: &str, rounds: u32) -> Option<Vec<Duration>> {
    let [program, option] = interpreter;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        let status = Command::new(program).arg(option).arg(code).stdout(Stdio::null()).status().ok()?;
        times.push(began.elapsed());
        if !status.success() {
            return None;
        }
    }
    Some(times)
}
