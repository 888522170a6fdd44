//! `sedge schedule`.

use std::path::PathBuf;
use std::time::Duration;

use sedge_base::Timestamp;
use sedge_capability::{Budgets, Name};
use sedge_node::{Missed, RunState, ScheduleAsk, ScheduleView, When, Wish};
use serde_json::Value;

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::span;
use crate::ui::{DIM, Table, Ui};

/// Run functions by themselves: once, every so often, or as a cron expression says
///
/// A schedule belongs to this node, which begins its runs also after a restart; where each runs is for
/// routing to say. Every run leaves a receipt.
#[derive(Debug, clap::Args)]
pub(crate) struct Schedule {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a schedule
    Add(Box<Add>),
    /// Show the schedules of this node, their next times and their last runs
    Ls,
    /// Forget a schedule
    Rm {
        /// Its name
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Run it once now; its next time stays
    Run {
        /// Its name
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Tell when a cron expression is due, without a node
    Next {
        /// The expression, such as "*/5 * * * *"
        #[arg(value_name = "CRON")]
        cron: String,
        /// The zone whose clocks are meant, such as Europe/Berlin
        #[arg(long, value_name = "ZONE", default_value = "UTC")]
        zone: String,
        /// After when, such as 2026-11-21T18:00:00Z; now when left out
        #[arg(long, value_name = "DATE")]
        after: Option<Timestamp>,
        /// How many times to tell
        #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=1000))]
        count: u16,
    },
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("when").required(true))]
struct Add {
    /// The function's name
    #[arg(value_name = "FUNCTION")]
    function: Name,
    /// A cron expression: five fields, or six with seconds in front, or a nickname such as @daily
    #[arg(long, value_name = "CRON", group = "when")]
    cron: Option<String>,
    /// How often, such as 15m; the first run is at once
    #[arg(long, value_name = "TIME", group = "when", value_parser = span::parse)]
    every: Option<Duration>,
    /// Once, at this date, such as 2026-11-21T18:00:00Z
    #[arg(long, value_name = "DATE", group = "when")]
    at: Option<Timestamp>,
    /// The zone whose clocks a cron expression means, such as Europe/Berlin; UTC when left out
    #[arg(long, value_name = "ZONE", requires = "cron")]
    zone: Option<String>,
    /// The name of the schedule; made up when left out
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// The input
    #[arg(long, value_name = "TEXT", conflicts_with = "input_file")]
    input: Option<String>,
    /// The file that holds the input, which is read now
    #[arg(long, value_name = "FILE")]
    input_file: Option<PathBuf>,
    /// The node that shall run it, by name or id
    #[arg(long, value_name = "NODE")]
    on: Option<String>,
    /// The most time of one run, such as 500ms
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    time: Option<Duration>,
    /// After how many runs it ends
    #[arg(long, value_name = "N")]
    max_runs: Option<u64>,
    /// Leave out what was missed while the node was away, instead of running it once
    #[arg(long)]
    skip_missed: bool,
}

impl Schedule {
    /// Does what its verb says.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        if let Verb::Next { cron, zone, after, count } = self.verb {
            return next(When::Cron { cron, zone }, after, usize::from(count), ui);
        }
        let api = Api::of_home(&settings.home()?)?;
        match self.verb {
            Verb::Add(add) => {
                let view: ScheduleView = api.post("schedules", &add.ask()?)?;
                ui.result(&view, || words(std::slice::from_ref(&view)));
            }
            Verb::Ls | Verb::Next { .. } => {
                let views: Vec<ScheduleView> = api.get("schedules")?;
                ui.result(&views, || words(&views));
            }
            Verb::Rm { id } => {
                let removed: Value = api.delete(&format!("schedules/{}", segment(&id)))?;
                ui.result(&removed, || format!("{id} is forgotten\n"));
            }
            Verb::Run { id } => {
                let view: ScheduleView = api.act(&format!("schedules/{}/run", segment(&id)), None)?;
                ui.result(&view, || format!("run {} of {id} has begun\n", view.schedule.runs));
            }
        }
        Ok(())
    }
}

impl Add {
    fn ask(self) -> Result<ScheduleAsk, Failed> {
        let millis = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        let bytes = match (self.input, &self.input_file) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(file)) => std::fs::read(file)
                .map_err(|err| Failed::io(&format!("cannot read {}", file.display()), &err))?,
            (None, None) => Vec::new(),
        };
        let (input, input_hex) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(bytes) => (String::new(), Some(hex::encode(bytes.into_bytes()))),
        };
        let zone = self.zone.unwrap_or_else(|| "UTC".to_owned());
        let when = match (self.cron, self.every, self.at) {
            (Some(cron), ..) => When::Cron { cron, zone },
            (None, Some(every), _) => When::Interval { every_ms: millis(every) },
            (None, None, at) => When::Once { at: at.unwrap_or_default() },
        };
        let budgets = Budgets { time_ms: self.time.map(millis), ..Budgets::default() };
        Ok(ScheduleAsk {
            id: self.id,
            task: Wish { function: self.function, input, input_hex, on: self.on, budgets },
            when,
            missed: if self.skip_missed { Missed::Skip } else { Missed::Run },
            max_runs: self.max_runs,
        })
    }
}

fn next(when: When, after: Option<Timestamp>, count: usize, ui: &Ui) -> Result<(), Failed> {
    let after = after.unwrap_or_else(|| sedge_base::Clock::machine().now());
    let first = when.first(after).map_err(|err| Failed::of(err.kind(), &err))?;
    let times: Vec<String> =
        when.upcoming(first, count).into_iter().map(|it| it.to_string()).collect();
    ui.result(&times, || times.join("\n"));
    Ok(())
}

fn words(views: &[ScheduleView]) -> String {
    if views.is_empty() {
        return format!("{DIM}nothing is scheduled{DIM:#}\n");
    }
    let mut table = Table::new(["id", "function", "when", "next", "runs", "last"]);
    for ScheduleView { schedule, .. } in views {
        let when = match &schedule.when {
            When::Once { .. } => "once".to_owned(),
            When::Interval { every_ms } => {
                format!("every {}", humantime::format_duration(Duration::from_millis(*every_ms)))
            }
            When::Cron { cron, zone } if zone == "UTC" => cron.clone(),
            When::Cron { cron, zone } => format!("{cron} ({zone})"),
        };
        let last = schedule.last.back().map_or("never", |it| match it.state {
            RunState::Running => "running",
            RunState::Success => "ok",
            RunState::Failed => "failed",
            RunState::Interrupted => "interrupted",
        });
        table.row([
            schedule.id.clone(),
            schedule.task.function.to_string(),
            when,
            schedule.next.map_or_else(|| "ended".to_owned(), |it| it.to_string()),
            schedule.runs.to_string(),
            last.to_owned(),
        ]);
    }
    table.text()
}
