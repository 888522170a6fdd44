//! `sedge call`.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use sedge_base::{ByteSize, Secret};
use sedge_capability::Usage;
use serde_json::{Value, json};

use crate::api::{Api, Raw, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::span;
use crate::ui::{DIM, Ui, spoken};

/// The largest input that is read from the standard input, in bytes; the node's own limit is less.
const INPUT_LIMIT: u64 = 64 << 20;

/// Run a function, here or on another machine
#[derive(Debug, clap::Args)]
pub(crate) struct Call {
    /// The function's name
    #[arg(value_name = "NAME")]
    name: String,
    /// The node that shall run it, by name or id
    #[arg(long, value_name = "NODE")]
    on: Option<String>,
    /// The input; the standard input is read when neither this nor a file is given
    #[arg(long, value_name = "TEXT", conflicts_with = "input_file")]
    input: Option<String>,
    /// The file that holds the input
    #[arg(long, value_name = "FILE")]
    input_file: Option<PathBuf>,
    /// The most Wasm instructions
    #[arg(long, value_name = "N")]
    fuel: Option<u64>,
    /// The most memory, such as 64MiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// The most time, such as 500ms
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    time: Option<Duration>,
    /// The token to ask with; the node's key when left out
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
}

/// What a node told about a task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// The node's id.
    pub(crate) node: String,
    /// The node's name.
    pub(crate) node_name: String,
    /// The task's id.
    pub(crate) task: String,
    /// The receipt's id.
    pub(crate) receipt: String,
    /// What it used.
    pub(crate) usage: Usage,
}

impl Told {
    /// Reads it out of the headers of an answer.
    pub(crate) fn of(raw: &Raw) -> Self {
        let text = |name: &str| {
            let value = raw.headers.get(name).and_then(|it| it.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Self {
            node: text("x-sedge-node"),
            node_name: text("x-sedge-node-name"),
            task: text("x-sedge-task"),
            receipt: text("x-sedge-receipt"),
            usage: serde_json::from_str(&text(sedge_server::USAGE_HEADER)).unwrap_or_default(),
        }
    }

    /// Returns it in one line.
    pub(crate) fn words(&self) -> String {
        let Usage { fuel, peak_memory, took_us, cold, .. } = self.usage;
        let mut words = format!("on {} in {}", self.node_name, spoken(Duration::from_micros(took_us)));
        if let Some(fuel) = fuel {
            words.push_str(&format!(", fuel {fuel}"));
        }
        if let Some(peak) = peak_memory {
            words.push_str(&format!(", peak memory {peak}"));
        }
        if cold == Some(true) {
            words.push_str(", cold");
        }
        words.push_str(&format!(", receipt {}", self.receipt.get(..12).unwrap_or("none")));
        words
    }
}

impl Call {
    /// Runs it.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let home = settings.home()?;
        let api = match &self.token {
            None => Api::of_home(&home)?,
            Some(token) => Api::with_key(&home, Secret::new(token.clone()))?,
        };
        let input = self.read_input()?;
        let raw = api.call(&self.path(), self.on.as_deref(), &input)?;
        let told = Told::of(&raw);
        if let Some(failed) = raw.failed {
            if !told.task.is_empty() {
                ui.note(format_args!("{DIM}{}{DIM:#}", told.words()));
            }
            return Err(failed);
        }
        if ui.is_json() {
            ui.result(&record(&told, &raw.body), String::new);
            return Ok(());
        }
        ui.strange(&raw.body);
        if std::io::stdout().is_terminal() && !raw.body.ends_with(b"\n") {
            ui.piece("\n");
        }
        ui.note(format_args!("{DIM}{}{DIM:#}", told.words()));
        Ok(())
    }

    fn path(&self) -> String {
        let mut limits = Vec::new();
        if let Some(fuel) = self.fuel {
            limits.push(format!("fuel={fuel}"));
        }
        if let Some(memory) = self.memory {
            limits.push(format!("memory={}", memory.as_bytes()));
        }
        if let Some(time) = self.time {
            limits.push(format!("time_ms={}", time.as_millis()));
        }
        format!("functions/{}/call?{}", segment(&self.name), limits.join("&"))
    }

    fn read_input(&self) -> Result<Vec<u8>, Failed> {
        if let Some(text) = &self.input {
            return Ok(text.clone().into_bytes());
        }
        if let Some(file) = &self.input_file {
            return std::fs::read(file)
                .map_err(|err| Failed::io(&format!("cannot read {}", file.display()), &err));
        }
        let stdin = std::io::stdin();
        let mut input = Vec::new();
        if !stdin.is_terminal() {
            stdin
                .lock()
                .take(INPUT_LIMIT)
                .read_to_end(&mut input)
                .map_err(|err| Failed::io("cannot read the standard input", &err))?;
        }
        Ok(input)
    }
}

/// Returns an answer for programs: text as text, other bytes in hexadecimal.
fn record(told: &Told, output: &[u8]) -> Value {
    let Told { node, node_name, task, receipt, usage } = told;
    let (field, output) = match str::from_utf8(output) {
        Ok(text) => ("output", text.to_owned()),
        Err(_) => ("output_hex", hex::encode(output)),
    };
    json!({
        field: output,
        "node": node,
        "node_name": node_name,
        "task": task,
        "receipt": receipt,
        "usage": usage,
    })
}
