//! `sedge health`.

use sedge_node::SwarmHealth;

use super::node::state;
use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BOLD, Table, Ui};

/// Show how the whole swarm fares, and what to do about each machine
#[derive(Debug, clap::Args)]
pub(crate) struct Health {}

impl Health {
    /// Shows it.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let Self {} = self;
        let health: SwarmHealth = Api::of_home(&settings.home()?)?.get("health")?;
        ui.result(&health, || words(&health));
        Ok(())
    }
}

fn words(health: &SwarmHealth) -> String {
    let mut text = format!(
        "{BOLD}{} of {} machines are healthy{BOLD:#} ({:.0} %): {} online, {} draining, {} functions, \
         {} tasks finished\n",
        health.healthy_nodes,
        health.total_nodes,
        health.health_percent,
        health.online,
        health.draining,
        health.total_functions,
        health.total_invocations,
    );
    let mut table = Table::new(["name", "state", "last heard", "functions", "advice"]);
    for node in &health.nodes {
        let mut marks = vec![state(node.status)];
        marks.extend(node.draining.then_some("draining"));
        marks.extend(node.health.overloaded.then_some("overloaded"));
        let heard = node.health.seconds_since_heartbeat;
        table.row([
            node.name.clone(),
            marks.join(", "),
            heard.map_or_else(|| "never".to_owned(), |it| format!("{it} s ago")),
            node.functions.to_string(),
            node.health.advice.words().to_owned(),
        ]);
    }
    text.push_str(&table.text());
    text
}
