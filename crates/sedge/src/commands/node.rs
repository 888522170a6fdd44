//! `sedge node`.

use std::time::Duration;

use sedge_node::{Drained, Moved, NodeView, Presence};
use sedge_server::RebalanceAsk;

use super::rebalance;
use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BOLD, DIM, Ui, spoken};

/// Look at one machine, or let it take no new work
#[derive(Debug, clap::Args)]
pub(crate) struct Node {
    #[command(subcommand)]
    action: Action,
}

/// What to do with the machine.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show everything that is known about a machine
    Show {
        /// The node, by name, id or the beginning of an id
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Let a machine take no new work; what runs there goes on
    Drain {
        /// The node, by name, id or the beginning of an id
        #[arg(value_name = "NODE")]
        node: String,
        /// Move its functions to other machines, too
        #[arg(long)]
        evacuate: bool,
    },
    /// Let a machine take new work again
    Undrain {
        /// The node, by name, id or the beginning of an id
        #[arg(value_name = "NODE")]
        node: String,
    },
}

impl Node {
    /// Does it.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        match self.action {
            Action::Show { node } => {
                let node: NodeView = api.get(&format!("nodes/{}", segment(&node)))?;
                ui.result(&node, || words(&node));
            }
            Action::Drain { node, evacuate } => {
                let drained: Drained =
                    api.post(&format!("nodes/{}/drain", segment(&node)), &())?;
                if !evacuate {
                    ui.result(&drained, || drain_words(&drained));
                    return Ok(());
                }
                ui.note(drain_words(&drained).trim_end());
                let ask = RebalanceAsk { evacuate: Some(node), dry_run: false };
                let moved: Vec<Moved> = api.post("rebalance", &ask)?;
                ui.result(&moved, || rebalance::words(&moved, false));
                return rebalance::ended(&moved);
            }
            Action::Undrain { node } => {
                let drained: Drained =
                    api.post(&format!("nodes/{}/undrain", segment(&node)), &())?;
                ui.result(&drained, || drain_words(&drained));
            }
        }
        Ok(())
    }
}

fn drain_words(drained: &Drained) -> String {
    let name = &drained.node_name;
    match (drained.draining, drained.changed) {
        (true, true) => format!(
            "{BOLD}{name}{BOLD:#} takes no new work; `sedge node undrain {name}` lets it again\n"
        ),
        (true, false) => format!("{BOLD}{name}{BOLD:#} took no new work already\n"),
        (false, true) => format!("{BOLD}{name}{BOLD:#} takes new work again\n"),
        (false, false) => format!("{BOLD}{name}{BOLD:#} took new work already\n"),
    }
}

/// Returns a state's word.
pub(super) const fn state(status: Presence) -> &'static str {
    match status {
        Presence::Online => "online",
        Presence::Offline => "offline",
        Presence::Connecting => "connecting",
    }
}

fn words(node: &NodeView) -> String {
    let unknown = || "–".to_owned();
    let mut marks = vec![state(node.status)];
    marks.extend(node.draining.then_some("draining"));
    marks.extend(node.health.overloaded.then_some("overloaded"));
    marks.extend(node.health.flapping.then_some("flapping"));
    let labels = node.about.labels.iter().map(|(key, value)| format!("{key}={value}"));
    let labels: Vec<_> = labels.collect();
    let memory = match (node.free_memory, node.total_memory) {
        (Some(free), Some(total)) => format!("{free} free of {total}"),
        _ => unknown(),
    };
    let functions: Vec<_> = node.functions.iter().map(ToString::to_string).collect();
    let addresses: Vec<_> = node.addresses.iter().map(ToString::to_string).collect();
    let distance = match (node.here, node.rtt_us, node.path) {
        (true, ..) => "here".to_owned(),
        (_, Some(rtt), Some(path)) => {
            format!("{} {}", spoken(Duration::from_micros(rtt)), path.name())
        }
        _ => unknown(),
    };
    let about = &node.about;
    let lines = [
        ("id", node.id.to_string()),
        ("state", marks.join(", ")),
        ("advice", node.health.advice.words().to_owned()),
        ("last heard", node.health.seconds_since_heartbeat.map_or_else(unknown, |it| format!("{it} s ago"))),
        ("location", if about.location.is_empty() { unknown() } else { about.location.clone() }),
        ("labels", if labels.is_empty() { "–".to_owned() } else { labels.join(", ") }),
        ("machine", format!("{} {}, {} processors, sedge {}", about.os, about.arch, about.cpus, about.version)),
        ("busy", node.cpu_percent.map_or_else(unknown, |it| format!("{it:.0} %"))),
        ("memory", memory),
        ("tasks", format!("{} of {}, {} finished", node.running, node.limit, node.invocations)),
        ("functions", functions.join(", ")),
        ("distance", distance),
        ("addresses", addresses.join(", ")),
    ];
    let mut text = format!("{BOLD}{}{BOLD:#}\n", node.name);
    for (label, value) in lines {
        text.push_str(&format!("  {DIM}{label:10}{DIM:#} {value}\n"));
    }
    if let Some(reason) = &node.reason {
        text.push_str(&format!("  {DIM}{:10}{DIM:#} {reason}\n", "reason"));
    }
    text
}
