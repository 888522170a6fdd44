//! `sedge nodes`.

use std::time::Duration;

use sedge_node::NodeView;

use super::node::state;
use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{Table, Ui, spoken};

/// List the machines: state, distance, load, memory
#[derive(Debug, clap::Args)]
pub(crate) struct Nodes {
    /// Only those in this state: online, offline or connecting
    #[arg(long, value_name = "STATE", value_parser = ["online", "offline", "connecting"])]
    status: Option<String>,
}

impl Nodes {
    /// Lists them.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let path = self.status.map_or_else(|| "nodes".to_owned(), |it| format!("nodes?status={it}"));
        let nodes: Vec<NodeView> = Api::of_home(&settings.home()?)?.get(&path)?;
        ui.result(&nodes, || words(&nodes));
        Ok(())
    }
}

fn words(nodes: &[NodeView]) -> String {
    let unknown = || "–".to_owned();
    let mut table = Table::new(["name", "id", "state", "distance", "tasks", "busy", "free memory", "offers"]);
    for node in nodes {
        let mut marks = vec![state(node.status)];
        marks.extend(node.draining.then_some("draining"));
        let distance = match node.rtt_us {
            _ if node.here => "here".to_owned(),
            Some(rtt) => match node.path {
                Some(path) => format!("{} {}", spoken(Duration::from_micros(rtt)), path.name()),
                None => spoken(Duration::from_micros(rtt)),
            },
            None => unknown(),
        };
        table.row([
            node.name.clone(),
            node.id.short(),
            marks.join(", "),
            distance,
            format!("{} of {}", node.running, node.limit),
            node.cpu_percent.map_or_else(unknown, |it| format!("{it:.0} %")),
            node.free_memory.map_or_else(unknown, |it| it.to_string()),
            node.capabilities.to_string(),
        ]);
    }
    let mut text = table.text();
    for node in nodes {
        if let Some(reason) = &node.reason {
            text.push_str(&format!("{}: {reason}\n", node.name));
        }
    }
    text
}
