//! `sedge batch`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sedge_base::ErrorKind;
use sedge_capability::{Budgets, Name};
use sedge_node::{Batch as Record, BatchAsk, BatchState, Gathered, Wish};
use serde_json::Value;

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::span;
use crate::ui::{BAD, BOLD, DIM, Table, Ui};

/// The longest list of tasks that is read, in bytes.
const TASKS_LIMIT: u64 = 16 << 20;

/// Hand in many tasks at once, and gather their results in order
///
/// A batch is on disk before it is acknowledged, and goes on after a restart; a task that ran when the
/// node stopped is not repeated. Results are kept for an hour.
#[derive(Debug, clap::Args)]
pub(crate) struct Batch {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Hand in up to 1,000 tasks; prints the batch's id and returns
    Submit {
        /// A file with a task per line, `-` for the standard input: its input alone when a function
        /// is named, else JSON such as {"function":"fn-1","input":"x","on":"kitchen"}
        #[arg(value_name = "FILE")]
        tasks: PathBuf,
        /// The function of every task
        #[arg(long, value_name = "NAME")]
        function: Option<Name>,
        /// The node that shall run them, by name or id
        #[arg(long, value_name = "NODE", requires = "function")]
        on: Option<String>,
    },
    /// Gather the results, in the order in which the tasks were handed in
    Gather {
        /// The batch's id
        #[arg(value_name = "ID")]
        id: String,
        /// How long to wait until every task has ended, at most 10m
        #[arg(long, value_name = "TIME", value_parser = span::parse, default_value = "0s")]
        wait: Duration,
    },
    /// List the batches that are kept
    Ls,
    /// Forget a batch and its results; what waits does not begin
    Rm {
        /// The batch's id
        #[arg(value_name = "ID")]
        id: String,
    },
}

impl Batch {
    /// Does what its verb says.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        match self.verb {
            Verb::Submit { tasks, function, on } => {
                let text = read(&tasks)?;
                let ask = BatchAsk { tasks: wishes(&text, function.as_ref(), on.as_ref())? };
                let batch: Record = api.post("batches", &ask)?;
                ui.result(&batch, || format!("{} of {} tasks\n", batch.id, batch.tasks));
            }
            Verb::Gather { id, wait } => {
                let path = format!("batches/{}?wait_s={}", segment(&id), wait.as_secs());
                let gathered: Gathered = api.get(&path)?;
                ui.result(&gathered, || results(&gathered));
            }
            Verb::Ls => {
                let batches: Vec<Record> = api.get("batches")?;
                ui.result(&batches, || list(&batches));
            }
            Verb::Rm { id } => {
                let removed: Value = api.delete(&format!("batches/{}", segment(&id)))?;
                ui.result(&removed, || format!("{id} is forgotten\n"));
            }
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<String, Failed> {
    let mut text = String::new();
    let done = if path == Path::new("-") {
        std::io::stdin().lock().take(TASKS_LIMIT).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|it| it.take(TASKS_LIMIT).read_to_string(&mut text))
    };
    match done {
        Err(err) => Err(Failed::io(&format!("cannot read {}", path.display()), &err)),
        Ok(_) if text.len() as u64 == TASKS_LIMIT => {
            Err(Failed::new(ErrorKind::Invalid, "the list of tasks is longer than 16 MiB"))
        }
        Ok(_) => Ok(text),
    }
}

fn wishes(
    text: &str,
    function: Option<&Name>,
    on: Option<&String>,
) -> Result<Vec<Wish>, Failed> {
    let wish = |(number, line): (usize, &str)| match function {
        Some(function) => Ok(Wish {
            function: function.clone(),
            input: line.to_owned(),
            input_hex: None,
            on: on.cloned(),
            budgets: Budgets::default(),
        }),
        None => serde_json::from_str(line).map_err(|err| {
            Failed::new(ErrorKind::Invalid, format!("line {} is no task: {err}", number + 1))
        }),
    };
    text.lines().enumerate().map(wish).collect()
}

fn results(gathered: &Gathered) -> String {
    let Gathered { batch, results } = gathered;
    let mut text = String::new();
    for it in results {
        let said = match (&it.ran.failure, &it.ran.output, &it.ran.output_hex) {
            (Some(failure), ..) => format!("{BAD}{failure}{BAD:#}"),
            (None, Some(output), _) => output.clone(),
            (None, None, Some(hex)) => hex.clone(),
            (None, None, None) => match it.state {
                BatchState::Interrupted => format!("{BAD}interrupted{BAD:#}"),
                BatchState::Running => format!("{DIM}running{DIM:#}"),
                _ => format!("{DIM}waits{DIM:#}"),
            },
        };
        text.push_str(&format!("{BOLD}{:>4}{BOLD:#}  {said}\n", it.index));
    }
    text.push_str(&format!(
        "{DIM}{} of {} have ended, {} of them badly{DIM:#}\n",
        batch.ended, batch.tasks, batch.failed
    ));
    text
}

fn list(batches: &[Record]) -> String {
    if batches.is_empty() {
        return format!("{DIM}no batch is kept{DIM:#}\n");
    }
    let mut table = Table::new(["id", "tasks", "ended", "failed", "since"]);
    for it in batches {
        table.row([
            it.id.clone(),
            it.tasks.to_string(),
            it.ended.to_string(),
            it.failed.to_string(),
            it.created.to_string(),
        ]);
    }
    table.text()
}
