//! `sedge bench`: figures of this machine, each with how it was measured.

mod artifact;
mod code;
mod engine;
mod model;
mod nodes;
mod proofs;
mod transport;

use std::time::Duration;

use sedge_base::ByteSize;
use serde::Serialize;
use serde_json::json;

use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BOLD, DIM, Table, Ui, spoken};

/// Measure this machine: start, memory, calls here and there, tokens, receipts
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// How many calls of each sort
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    rounds: u32,
    /// Leave out what needs a model
    #[arg(long)]
    no_model: bool,
    /// How large an artifact is sent from one node to the other
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    artifact: ByteSize,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
struct Figure {
    /// What was measured.
    what: &'static str,
    /// The value with its unit.
    value: String,
    /// What to hold it against, with its unit.
    beside: String,
    /// How it was measured.
    method: String,
}

impl Figure {
    fn new(what: &'static str, value: impl Into<String>, method: impl Into<String>) -> Self {
        Self { what, value: value.into(), beside: String::new(), method: method.into() }
    }

    fn beside(self, beside: impl Into<String>) -> Self {
        Self { beside: beside.into(), ..self }
    }
}

impl Bench {
    /// Measures.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let machine = machine();
        let build = if cfg!(debug_assertions) { "debug build: these figures are not the product's" } else { "release build" };
        ui.note(format_args!("{DIM}{machine}; {build}{DIM:#}"));
        let mut figures = Vec::new();
        figures.extend(proofs::measure()?);
        figures.extend(engine::measure(self.rounds)?);
        figures.extend(transport::measure(self.rounds)?);
        figures.push(size()?);
        figures.extend(nodes::measure(&self, settings, *ui)?);
        let record = json!({ "machine": machine, "build": build, "figures": figures });
        ui.result(&record, || {
            let mut table = Table::new(["what", "value", "beside"]);
            for it in &figures {
                table.row([it.what.to_owned(), it.value.clone(), it.beside.clone()]);
            }
            let mut text = format!("{}\n{BOLD}how{BOLD:#}\n", table.text());
            for it in &figures {
                text.push_str(&format!("{}: {}\n", it.what, it.method));
            }
            text.push_str(&format!("on {machine}, {build}; again with `sedge bench --rounds {}`\n", self.rounds));
            text
        });
        Ok(())
    }
}

/// Returns the size of this very program.
fn size() -> Result<Figure, Failed> {
    let path = std::env::current_exe().and_then(|it| it.metadata());
    let bytes = path.map_err(|err| Failed::io("cannot look at the program's file", &err))?.len();
    Ok(Figure::new("program", ByteSize::from_bytes(bytes).to_string(), "size of this program's file"))
}

/// Returns what the machine is, as far as it tells.
fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|it| it.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unnamed processor", |(_, name)| name);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {threads} threads, {} {}", std::env::consts::OS, std::env::consts::ARCH)
}

/// Sums up single times.
fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| {
        let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times.get(place).copied().unwrap_or_default()
    };
    format!("p50 {}, p99 {}", spoken(at(50)), spoken(at(99)))
}
