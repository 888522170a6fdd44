//! `sedge receipt`.

mod chains;
mod export;
mod replay;
mod verify;

use sedge_base::Timestamp;
use sedge_trust::Receipt as Record;

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{Table, Ui, spoken};

/// List, show, verify, replay and export receipts
#[derive(Debug, clap::Args)]
pub(crate) struct Receipt {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the newest
    List {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Show one whole
    Show {
        /// Its id or the beginning of it, its task's id, or `last`
        #[arg(value_name = "RECEIPT", default_value = "last")]
        id: String,
    },
    /// Verify one that this node keeps, or every one in an exported file
    ///
    /// A file is verified without a node or a home, against the public keys that you name.
    Verify(verify::Verify),
    /// Write receipts to a file that anybody can verify
    Export(export::Export),
    /// Run a task again with the same component or model and input, and compare
    Replay(replay::Replay),
    /// Show this node's newest checkpoint, and what it keeps of other nodes' chains
    Chains,
    /// Sign a checkpoint of this node's chain now, or write the one kept of another node
    Checkpoint(chains::Take),
}

impl Receipt {
    /// Does what its verb says.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = || Api::of_home(&settings.home()?);
        match self.verb {
            Verb::List { limit } => {
                let receipts: Vec<Record> = api()?.get(&format!("receipts?limit={limit}"))?;
                ui.result(&receipts, || list(&receipts));
                Ok(())
            }
            Verb::Show { id } => {
                let receipt: Record = api()?.get(&format!("receipts/{}", segment(&id)))?;
                ui.result(&receipt, || {
                    serde_json::to_string_pretty(&receipt).unwrap_or_else(|err| err.to_string())
                });
                Ok(())
            }
            Verb::Verify(verify) => verify.run(settings, *ui),
            Verb::Export(export) => export.run(&api()?, *ui),
            Verb::Replay(replay) => replay.run(&api()?, *ui),
            Verb::Chains => chains::show(&api()?, *ui),
            Verb::Checkpoint(take) => take.run(&api()?, *ui),
        }
    }
}

fn list(receipts: &[Record]) -> String {
    if receipts.is_empty() {
        return "no receipts yet".to_owned();
    }
    let mut table = Table::new(["receipt", "capability", "status", "ran on", "took", "proof", "confirmed", "ended"]);
    for receipt in receipts {
        let body = &receipt.body;
        let rung = serde_json::to_value(body.rung).ok();
        table.row([
            receipt.id().map_or_else(|err| err.to_string(), |it| it.short()),
            body.capability.clone(),
            format!("{:?}", body.status),
            body.executor.short(),
            spoken(body.took()),
            rung.as_ref().and_then(|it| it.as_str()).unwrap_or("?").to_owned(),
            if receipt.requester_signature.is_some() { "yes" } else { "no" }.to_owned(),
            Timestamp::from_millis(body.ended_ms).to_string(),
        ]);
    }
    table.text()
}

