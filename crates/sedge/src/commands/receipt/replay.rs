//! `sedge receipt replay`.

use sedge_base::ErrorKind;
use sedge_node::Replayed;

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::ui::{BAD, GOOD, Table, Ui};

/// What `sedge receipt replay` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    /// Receipts' ids, their tasks' ids, or `last`
    #[arg(value_name = "RECEIPT", default_value = "last")]
    ids: Vec<String>,
    /// The one node to run it on; else another one than the first time, if there is one
    #[arg(long, value_name = "NODE")]
    on: Option<String>,
}

impl Replay {
    /// Runs each again; fails at the end when one gave something else.
    pub(super) fn run(self, api: &Api, ui: Ui) -> Result<(), Failed> {
        let Self { ids, on } = self;
        let mut all = Vec::new();
        for id in &ids {
            let path = format!("receipts/{}/replay", segment(id));
            let replayed: Replayed = api.act(&path, on.as_deref()).map_err(|failed| Failed {
                message: format!("receipt {id}: {}", failed.message),
                ..failed
            })?;
            all.push(replayed);
        }
        let different = all.iter().filter(|it| !it.equal).count();
        ui.result(&all, || words(&all));
        if different == 0 {
            return Ok(());
        }
        let message = format!("{different} of {} runs gave something else", all.len());
        let hint = match all.iter().find(|it| !it.profile.equal()) {
            Some(it) => format!(
                "the model ran under other settings: `{}` then, `{}` now; it proves nothing",
                it.profile.first.as_deref().unwrap_or("none"),
                it.profile.again.as_deref().unwrap_or("none"),
            ),
            None => "a component that is deployed with other settings there may answer otherwise"
                .to_owned(),
        };
        Err(Failed::new(ErrorKind::Corrupt, message).hint(hint))
    }
}

fn words(all: &[Replayed]) -> String {
    let mut table = Table::new(["receipt", "again on", "output", "fuel", "status"]);
    for it in all {
        let output = if it.output.equal() {
            format!("{GOOD}equal{GOOD:#}")
        } else {
            format!("{BAD}{} then, {} now{BAD:#}", it.output.first.short(), it.output.again.short())
        };
        let fuel = if it.fuel.equal() {
            it.fuel.first.to_string()
        } else {
            format!("{BAD}{} then, {} now{BAD:#}", it.fuel.first, it.fuel.again)
        };
        let status = if it.status.equal() {
            format!("{:?}", it.status.first)
        } else {
            format!("{BAD}{:?} then, {:?} now{BAD:#}", it.status.first, it.status.again)
        };
        table.row([it.receipt.short(), it.node_name.clone(), output, fuel, status]);
    }
    table.text()
}
