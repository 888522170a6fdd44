//! `sedge cluster`.

use sedge_cluster::{ClusterHealth, EdgeNode, Healed, NodeDict};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BOLD, DIM, Table, Ui};

/// See the swarm as a cluster: say what its machines are, bring back what lay on lost ones
///
/// The same is there for programs: an older edge API, `/api/v1/edge-computing` on the node's API.
#[derive(Debug, clap::Args)]
pub(crate) struct Cluster {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show how the cluster fares
    Health,
    /// Say what a machine is: its name for people, its place, how many functions it may get
    Register {
        /// The machine: a member's name or id
        #[arg(value_name = "NODE")]
        node: String,
        /// Its name, for people; the member's unless told otherwise
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Where it stands
        #[arg(long, value_name = "PLACE", default_value = "")]
        location: String,
        /// The most functions that this cluster puts there, 1 to 10,000
        #[arg(long, value_name = "COUNT", default_value_t = 10)]
        max_functions: u32,
    },
    /// Take a machine out of the cluster; it stays a member of the swarm
    Deregister {
        /// The machine
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Bring functions that lay on lost machines to others
    Heal,
}

/// What was mended.
#[derive(Debug, Serialize, Deserialize)]
struct Mended {
    changes: usize,
    healed: Vec<Healed>,
}

impl Cluster {
    /// Does what its verb says.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        match self.verb {
            Verb::Health => {
                let health: ClusterHealth = api.get("edge-computing/health")?;
                ui.result(&health, || words(&health));
            }
            Verb::Register { node, name, location, max_functions } => {
                let name = name.unwrap_or_else(|| node.clone());
                let metadata = Map::new();
                let said = EdgeNode { location, metadata, max_functions, ..EdgeNode::new(node, name) };
                let known: NodeDict = api.post("edge-computing/nodes", &said)?;
                ui.result(&known, || {
                    let place = if known.location.is_empty() { "no place said" } else { &known.location };
                    format!("{BOLD}{}{BOLD:#} is {} ({place}), {}\n", known.id, known.name, known.status.name())
                });
            }
            Verb::Deregister { node } => {
                let path = format!("edge-computing/nodes/{}", segment(&node));
                let gone: Value = api.delete(&path)?;
                ui.result(&gone, || match gone["deregistered"] == true {
                    true => format!("{BOLD}{node}{BOLD:#} is out of the cluster\n"),
                    false => format!("{BOLD}{node}{BOLD:#} was not in the cluster\n"),
                });
            }
            Verb::Heal => {
                let mended: Mended = api.post("edge-computing/auto-heal", &())?;
                ui.result(&mended, || healed(&mended.healed));
            }
        }
        Ok(())
    }
}

fn words(health: &ClusterHealth) -> String {
    let mut text = format!(
        "{BOLD}{} machines{BOLD:#}: {} online, {} draining, {} functions, {} tasks finished\n",
        health.total_nodes,
        health.online,
        health.draining,
        health.total_functions,
        health.total_invocations,
    );
    let mut table = Table::new(["id", "status", "functions"]);
    for node in &health.nodes {
        let draining = if node.draining { ", draining" } else { "" };
        table.row([
            node.id.clone(),
            format!("{}{draining}", node.status.name()),
            node.functions.to_string(),
        ]);
    }
    text.push_str(&table.text());
    text
}

fn healed(healed: &[Healed]) -> String {
    if healed.is_empty() {
        return format!("{DIM}nothing was lost that could be brought back{DIM:#}\n");
    }
    let line = |it: &Healed| format!("{BOLD}{}{BOLD:#} from {} to {}\n", it.function_id, it.from, it.to);
    healed.iter().map(line).collect()
}
