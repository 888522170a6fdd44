//! `sedge rollout`.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use sedge_capability::Name;
use sedge_node::{
    Gate, Phase, Rollout as Record, RolloutAsk, RolloutState, RolloutStrategy, StepState,
};

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::span;
use crate::ui::{BAD, BOLD, DIM, GOOD, Table, Ui};

/// Bring a new version of a function to machines step by step, and back when it fares badly
///
/// This node leads the rollout, also after a restart. What each machine had before stays there until
/// the rollout has ended.
#[derive(Debug, clap::Args)]
pub(crate) struct Rollout {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Plan a rollout and begin it
    Start(Box<Plan>),
    /// Plan a rollout; `sedge rollout go` begins it
    Plan(Box<Plan>),
    /// Begin a rollout that was planned
    Go {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// List the rollouts that this node leads or has led
    Ls,
    /// Show one, machine by machine
    Show {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Bring the old version back
    Rollback {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct Plan {
    /// The function's name
    #[arg(value_name = "FUNCTION")]
    function: Name,
    /// The new component's file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// In which order
    #[arg(long, value_name = "HOW", default_value = "rolling")]
    strategy: Order,
    /// The share of machines that get it first, in percent; one at least
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u8).range(1..=100))]
    percent: u8,
    /// A machine that gets it, by name or id; may be said several times. When left out: those that
    /// have the function, or all when none has it
    #[arg(long, value_name = "NODE")]
    to: Vec<String>,
    /// What a canary has to show: calls=20, success=95 (percent), p95=2.0 (times the old one),
    /// window=30s, patience=10m; may be said several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = gate)]
    gate: Vec<Rule>,
    /// An input that the new version is asked on each machine; may be said several times
    #[arg(long, value_name = "INPUT")]
    probe: Vec<String>,
}

/// In which order a new version takes the place of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    /// Machine by machine
    Rolling,
    /// Beside the old one everywhere, then all at once
    BlueGreen,
    /// On a share of the machines first, on the others when it fares well
    Canary,
}

/// One key of the gate.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    Calls(u64),
    Success(f64),
    P95(f64),
    Window(u64),
    Patience(u64),
}

impl From<Order> for RolloutStrategy {
    fn from(order: Order) -> Self {
        match order {
            Order::Rolling => Self::Rolling,
            Order::BlueGreen => Self::BlueGreen,
            Order::Canary => Self::Canary,
        }
    }
}

fn gate(text: &str) -> Result<Rule, String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    let number = || value.parse::<f64>().map_err(|err| err.to_string());
    let time = || span::parse(value).map(millis);
    match key {
        "calls" => value.parse().map(Rule::Calls).map_err(|err| err.to_string()),
        "success" => number().map(Rule::Success),
        "p95" => number().map(Rule::P95),
        "window" => time().map(Rule::Window),
        "patience" => time().map(Rule::Patience),
        _ => Err("the keys are calls, success, p95, window and patience".to_owned()),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Rollout {
    /// Does what its verb says.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        let at = |id: &str, verb: &str| format!("rollouts/{}{verb}", segment(id));
        let record: Record = match self.verb {
            Verb::Start(plan) => plan.put(&api, true)?,
            Verb::Plan(plan) => plan.put(&api, false)?,
            Verb::Go { id } => api.act(&at(&id, "/start"), None)?,
            Verb::Show { id } => api.get(&at(&id, ""))?,
            Verb::Rollback { id } => api.act(&at(&id, "/rollback"), None)?,
            Verb::Ls => {
                let records: Vec<Record> = api.get("rollouts")?;
                ui.result(&records, || list(&records));
                return Ok(());
            }
        };
        ui.result(&record, || words(&record));
        Ok(())
    }
}

impl Plan {
    fn put(self, api: &Api, start: bool) -> Result<Record, Failed> {
        let wasm = std::fs::read(&self.file)
            .map_err(|err| Failed::io(&format!("cannot read {}", self.file.display()), &err))?;
        let mut gate = Gate::default();
        for rule in self.gate {
            match rule {
                Rule::Calls(calls) => gate.calls = calls,
                Rule::Success(percent) => gate.success = percent,
                Rule::P95(times) => gate.p95 = times,
                Rule::Window(ms) => gate.window_ms = ms,
                Rule::Patience(ms) => gate.patience_ms = ms,
            }
        }
        let ask = RolloutAsk {
            strategy: self.strategy.into(),
            percent: self.percent,
            gate,
            nodes: self.to,
            probes: self.probe,
            options: None,
            start,
        };
        api.put(&format!("rollouts/{}", segment(self.function.as_str())), &ask, &wasm)
    }
}

fn coloured(state: RolloutState) -> String {
    let name = state.name();
    match state {
        RolloutState::Completed => format!("{GOOD}{name}{GOOD:#}"),
        RolloutState::RolledBack | RolloutState::Failed => format!("{BAD}{name}{BAD:#}"),
        RolloutState::Pending | RolloutState::InProgress => name.to_owned(),
    }
}

fn strategy(record: &Record) -> String {
    match record.strategy {
        RolloutStrategy::Rolling => "rolling".to_owned(),
        RolloutStrategy::BlueGreen => "blue-green".to_owned(),
        RolloutStrategy::Canary => format!("canary {} %", record.percent),
    }
}

fn list(records: &[Record]) -> String {
    if records.is_empty() {
        return format!("{DIM}this node leads no rollout{DIM:#}\n");
    }
    let mut table = Table::new(["id", "function", "strategy", "state", "nodes", "since"]);
    for it in records {
        let done = it.steps.iter().filter(|it| it.state == StepState::Done).count();
        table.row([
            it.id.clone(),
            it.function.to_string(),
            strategy(it),
            it.state.name().to_owned(),
            format!("{done} of {}", it.steps.len()),
            it.created.to_string(),
        ]);
    }
    table.text()
}

fn words(record: &Record) -> String {
    let Record { id, function, content, state, phase, reason, steps, .. } = record;
    let mut text = format!(
        "{BOLD}{id}{BOLD:#}  {function} to {}, {}: {}\n",
        content.short(),
        strategy(record),
        coloured(*state)
    );
    if *state == RolloutState::InProgress {
        let doing = match phase {
            Phase::Forward => "brings the new version",
            Phase::Watch { .. } => "watches the canaries",
            Phase::Promote => "brings the new version to the others",
            Phase::Back => "brings the old version back",
        };
        text.push_str(&format!("{doing}\n"));
    }
    if let Some(reason) = reason {
        text.push_str(&format!("{reason}\n"));
    }
    let mut table = Table::new(["node", "canary", "state", "before", "failure"]);
    for step in steps {
        let state = match step.state {
            StepState::Pending => "pending",
            StepState::Begun => "begun",
            StepState::Done => "done",
            StepState::RolledBack => "rolled back",
        };
        let before = match (&step.before, step.known) {
            (Some(it), _) => it.content.short(),
            (None, true) => "nothing".to_owned(),
            (None, false) => "not asked yet".to_owned(),
        };
        table.row([
            step.node_name.clone(),
            if step.canary { "yes" } else { "no" }.to_owned(),
            state.to_owned(),
            before,
            step.failure.as_ref().map_or_else(String::new, |it| it.message.clone()),
        ]);
    }
    text.push_str(&table.text());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_the_gate() {
        assert_eq!(gate("calls=4"), Ok(Rule::Calls(4)));
        assert_eq!(gate("success=99.5"), Ok(Rule::Success(99.5)));
        assert_eq!(gate("window=2m"), Ok(Rule::Window(120_000)));
        for bad in ["", "calls", "calls=x", "speed=1", "window=soon"] {
            assert!(gate(bad).is_err(), "{bad}");
        }
    }
}
