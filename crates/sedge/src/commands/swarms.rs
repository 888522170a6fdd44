//! `sedge swarms`.

use std::path::PathBuf;

use sedge_base::{NodeId, SwarmId};
use sedge_node::Status;
use serde::Serialize;

use crate::api::Api;
use crate::failed::Failed;
use crate::settings::{Settings, swarms_in};
use crate::ui::{Table, Ui};

/// List the swarms that this machine belongs to
///
/// A machine belongs to one swarm, and to as many more as it likes: in each it is a node with keys, members,
/// functions, receipts and rights of its own, and no swarm knows of the others. `sedge up --swarm NAME` makes the
/// node of one more; afterwards `sedge up` starts them all, and `--swarm NAME` with any command says which is meant.
#[derive(Debug, clap::Args)]
pub(crate) struct Swarms {}

/// One swarm, as this machine knows it.
#[derive(Debug, Serialize)]
struct Known {
    /// What the machine's owner calls it; `None`: that of the home itself.
    name: Option<String>,
    home: PathBuf,
    /// Whether the machine's node in it runs.
    running: bool,
    swarm: Option<SwarmId>,
    node: Option<NodeId>,
    node_name: Option<String>,
    /// Whether this node owns the swarm.
    owner: Option<bool>,
    members: Option<usize>,
}

impl Swarms {
    /// Lists them.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let Self {} = self;
        let home = settings.machine()?;
        let mut homes = vec![(None, home.clone())];
        homes.extend(swarms_in(&home).into_iter().map(|(name, home)| (Some(name), home)));
        let swarms: Vec<_> = homes.into_iter().map(|(name, home)| known(name, home)).collect();
        ui.result(&swarms, || words(&swarms));
        Ok(())
    }
}

fn known(name: Option<String>, home: PathBuf) -> Known {
    let status = Api::of_home(&home).and_then(|it| it.get::<Status>("status")).ok();
    Known {
        name,
        home,
        running: status.is_some(),
        swarm: status.as_ref().map(|it| it.swarm),
        node: status.as_ref().map(|it| it.id),
        owner: status.as_ref().map(|it| it.owner),
        members: status.as_ref().map(|it| it.members),
        node_name: status.map(|it| it.name),
    }
}

fn words(swarms: &[Known]) -> String {
    let unknown = || "–".to_owned();
    let mut table = Table::new(["swarm", "state", "id", "this machine", "node", "members"]);
    for it in swarms {
        let name = it.name.clone().unwrap_or_else(|| "(the home's own)".to_owned());
        let role = match it.owner {
            Some(true) => ", owner",
            Some(false) | None => "",
        };
        table.row([
            name,
            if it.running { "up" } else { "down" }.to_owned(),
            it.swarm.map_or_else(unknown, |it| it.to_string()),
            it.node_name.as_ref().map_or_else(unknown, |it| format!("{it}{role}")),
            it.node.map_or_else(unknown, |it| it.short()),
            it.members.map_or_else(unknown, |it| it.to_string()),
        ]);
    }
    table.text()
}
