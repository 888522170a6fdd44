//! `sedge receipt chains` and `sedge receipt checkpoint`.

use std::path::PathBuf;

use sedge_base::ErrorKind;
use sedge_node::{Chains, Witness};
use sedge_trust::receipt::Checkpoint;

use crate::api::Api;
use crate::failed::Failed;
use crate::ui::{BAD, GOOD, Table, Ui};

/// What `sedge receipt checkpoint` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Take {
    /// Another node's name or id: the newest checkpoint that is kept of it
    #[arg(value_name = "NODE")]
    node: Option<String>,
    /// The file; the standard output when left out
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Take {
    /// Takes it.
    pub(super) fn run(self, api: &Api, ui: Ui) -> Result<(), Failed> {
        let Self { node, output } = self;
        let checkpoint: Checkpoint = match &node {
            None => api.act("chains/checkpoint", None)?,
            Some(node) => kept(api, node)?.kept.checkpoint,
        };
        if let Some(output) = &output {
            let text = serde_json::to_vec(&checkpoint).map_err(|err| {
                Failed::new(ErrorKind::Internal, format!("unwritable checkpoint: {err}"))
            })?;
            std::fs::write(output, text)
                .map_err(|err| Failed::io(&format!("cannot write {}", output.display()), &err))?;
        }
        ui.result(&checkpoint, || {
            let point = &checkpoint.point;
            format!("{} receipts, root {}, {}", point.count, point.root, checkpoint.taken())
        });
        Ok(())
    }
}

fn kept(api: &Api, name: &str) -> Result<Witness, Failed> {
    let chains: Chains = api.get("chains")?;
    let fits = |it: &Witness| {
        it.node_name == name || (name.len() >= 4 && it.kept.node.to_string().starts_with(name))
    };
    chains.members.into_iter().find(fits).ok_or_else(|| {
        let message = format!("no checkpoint of `{name}` is kept here");
        Failed::new(ErrorKind::NotFound, message).hint("`sedge receipt chains` lists those that are")
    })
}

/// Shows what is known of chains.
pub(super) fn show(api: &Api, ui: Ui) -> Result<(), Failed> {
    let chains: Chains = api.get("chains")?;
    ui.result(&chains, || words(&chains));
    Ok(())
}

fn words(chains: &Chains) -> String {
    let mut table = Table::new(["chain of", "receipts", "root", "signed", "history"]);
    if let Some(own) = &chains.own {
        table.row(row("this node", own, "its own".to_owned()));
    }
    for Witness { node_name, kept } in &chains.members {
        let history = match &kept.contradiction {
            None => format!("{GOOD}one{GOOD:#}"),
            Some(it) => format!("{BAD}two{BAD:#}: {}", it.reason),
        };
        table.row(row(node_name, &kept.checkpoint, history));
    }
    table.text()
}

fn row(name: &str, checkpoint: &Checkpoint, history: String) -> [String; 5] {
    let root: String = checkpoint.point.root.to_string().chars().take(10).collect();
    let count = checkpoint.point.count.to_string();
    [name.to_owned(), count, root, checkpoint.taken().to_string(), history]
}
