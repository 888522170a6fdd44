//! `sedge exec`: code in a sandbox, here or on another machine.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sedge_base::{ByteSize, ErrorKind, Secret};
use sedge_functions::code::{CodeResult, CodeStatus, Language, MOST_TEXT, PREFIX};
use serde_json::{Value, json};

use crate::api::{Api, decode, segment};
use crate::commands::call::Told;
use crate::commands::session::node_of;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::span;
use crate::ui::{DIM, Ui, spoken};

/// The largest file that is read, in bytes; the node's own limit is less.
const INPUT_LIMIT: u64 = 8 << 20;

/// Run code in a sandbox, here or on another machine
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["file", "code"]))]
pub(crate) struct Exec {
    /// The file that holds the code, or `-` for the standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The code itself
    #[arg(long, value_name = "TEXT")]
    code: Option<String>,
    /// The language: python, javascript, java, cpp, c, go, rust or bash; the file's ending tells it
    #[arg(long, value_name = "LANGUAGE", value_parser = language)]
    lang: Option<Language>,
    /// The file that the code reads as its standard input
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,
    /// The most time, from 1s to 300s
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = span::parse)]
    timeout: Duration,
    /// The most memory, such as 64MiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// The sandbox: `wasm`, `native`, `e2b`, or `auto` for what fits the code
    #[arg(long, value_name = "SANDBOX", default_value = "auto", value_parser = ["auto", "wasm", "native", "e2b"])]
    sandbox: String,
    /// The session whose files it works on, see `sedge session`
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
    /// The node that shall run it, by name or id; a session's own, unless told otherwise
    #[arg(long, value_name = "NODE")]
    on: Option<String>,
    /// The token to ask with; the node's key when left out
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
}

fn language(text: &str) -> Result<Language, String> {
    Language::of_name(text).ok_or_else(|| {
        let names: Vec<_> = Language::all().map(Language::name).collect();
        format!("one of {}", names.join(", "))
    })
}

impl Exec {
    /// Runs it.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let home = settings.home()?;
        let api = match &self.token {
            None => Api::of_home(&home)?,
            Some(token) => Api::with_key(&home, Secret::new(token.clone()))?,
        };
        let language = self.language()?;
        let code = short("the code", self.read_code()?)?;
        let stdin = self.stdin.as_deref().map(read).transpose()?.unwrap_or_default();
        let mut input = json!({
            "code": code,
            "stdin": short("what the code reads", stdin)?,
            "timeout": self.timeout.as_secs_f64(),
            "sandbox": self.sandbox,
        });
        if let Some(session) = &self.session {
            input["session_id"] = json!(session);
        }
        let on = self.on.as_deref().or_else(|| self.session.as_deref().and_then(node_of));
        let memory = self.memory.map(|it| format!("?memory={}", it.as_bytes())).unwrap_or_default();
        let path = format!("functions/{}/call{memory}", segment(&format!("{PREFIX}{language}")));
        let raw = api.call(&path, on, input.to_string().as_bytes())?;
        let told = Told::of(&raw);
        if let Some(failed) = raw.failed {
            return Err(explain(failed, language));
        }
        let result: CodeResult = decode(&raw.body)?;
        if ui.is_json() {
            ui.result(&record(&told, &result), String::new);
        } else {
            show(&told, &result, *ui);
        }
        outcome(&result)
    }

    fn language(&self) -> Result<Language, Failed> {
        let ending = self.file.as_deref().and_then(Path::extension).and_then(|it| it.to_str());
        self.lang.or_else(|| Language::of_ending(ending?)).ok_or_else(|| {
            Failed::new(ErrorKind::Invalid, "nothing tells which language this is")
                .hint("name it with `--lang python`")
        })
    }

    fn read_code(&self) -> Result<String, Failed> {
        match (&self.code, &self.file) {
            (Some(code), _) => Ok(code.clone()),
            (None, Some(file)) => read(file),
            (None, None) => Ok(String::new()),
        }
    }
}

/// Returns a text that a node takes.
fn short(what: &str, text: String) -> Result<String, Failed> {
    let count = text.chars().count() as u64;
    if count > MOST_TEXT {
        let message = format!("{what} has {count} characters, at most {MOST_TEXT} are taken");
        return Err(Failed::new(ErrorKind::Invalid, message)
            .hint("put what it reads into a session: `sedge session put`"));
    }
    Ok(text)
}

/// Reads a text, or the standard input when its name is `-`.
fn read(file: &Path) -> Result<String, Failed> {
    let failed = |err: std::io::Error| Failed::io(&format!("cannot read {}", file.display()), &err);
    let mut text = String::new();
    let opened: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(std::fs::File::open(file).map_err(failed)?),
    };
    opened.take(INPUT_LIMIT).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Says what to install when no machine has the language.
fn explain(failed: Failed, language: Language) -> Failed {
    if failed.code.as_deref() != Some("unknown_capability") {
        return failed;
    }
    let message = format!("no machine that was asked has a toolchain for {language}");
    let hint = format!("install {} on one and start its node again", language.package());
    let mut failed = Failed::new(ErrorKind::Unsupported, message).hint(hint);
    failed.code = Some("no_toolchain".to_owned());
    failed
}

/// Writes what the code wrote, each stream to its own.
fn show(told: &Told, result: &CodeResult, ui: Ui) {
    ui.strange(result.stdout.as_bytes());
    if std::io::stdout().is_terminal() && !result.stdout.is_empty() && !result.stdout.ends_with('\n') {
        ui.piece("\n");
    }
    ui.strange_aside(result.stderr.as_bytes());
    let time = spoken(Duration::from_secs_f64(result.execution_time.max(0.0)));
    let place = result.destination.map_or("nowhere", |it| it.name());
    let mut words = format!("{place} on {} in {time} ({})", told.node_name, result.reason);
    if let Some(peak) = result.peak_memory_bytes {
        words.push_str(&format!(", peak memory {}", ByteSize::from_bytes(peak)));
    }
    if result.truncated {
        let (out, err) = (result.stdout_bytes, result.stderr_bytes);
        words.push_str(&format!(", cut: it wrote {out} and {err} bytes"));
    }
    ui.note(format_args!("{DIM}{words}{DIM:#}"));
}

/// Returns a run for programs: the result's fields, and where and how it is proven.
fn record(told: &Told, result: &CodeResult) -> Value {
    let mut record = serde_json::to_value(result).unwrap_or(Value::Null);
    record["node"] = json!(told.node);
    record["node_name"] = json!(told.node_name);
    record["task"] = json!(told.task);
    record["receipt"] = json!(told.receipt);
    record
}

/// Turns a run that did not succeed into this command's failure.
fn outcome(result: &CodeResult) -> Result<(), Failed> {
    let kind = match result.status {
        CodeStatus::Success => return Ok(()),
        CodeStatus::Error => ErrorKind::Failed,
        CodeStatus::Timeout => ErrorKind::Timeout,
        CodeStatus::SetupError => ErrorKind::Unsupported,
    };
    let message = result.error_message.clone().unwrap_or_else(|| "the code failed".to_owned());
    Err(Failed::new(kind, message))
}
