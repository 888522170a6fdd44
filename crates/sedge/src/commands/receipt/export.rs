//! `sedge receipt export`.

use std::path::PathBuf;

use serde_json::json;

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::ui::{GOOD, Ui};

/// What `sedge receipt export` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// A receipt's id, its task's id, `last`, `all` that this node keeps, or its own whole `chain`
    #[arg(value_name = "RECEIPT", default_value = "last")]
    id: String,
    /// The file; the standard output when left out
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Of a chain, from this place on
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Of one receipt, show too how the chain goes on from its first so many receipts
    #[arg(long, value_name = "N", conflicts_with = "from")]
    since: Option<u64>,
}

impl Export {
    /// Writes the file.
    pub(super) fn run(self, api: &Api, ui: Ui) -> Result<(), Failed> {
        let Self { id, output, from, since } = self;
        let path = match id.as_str() {
            "all" => "receipts/export".to_owned(),
            "chain" => format!("receipts/chain?from={}", from.unwrap_or(0)),
            id => {
                let since = since.map_or_else(String::new, |it| format!("?since={it}"));
                format!("receipts/{}/export{since}", segment(id))
            }
        };
        let bytes = api.get_bytes(&path)?;
        let Some(output) = output else {
            ui.raw(&bytes);
            return Ok(());
        };
        let shown = output.display();
        std::fs::write(&output, &bytes)
            .map_err(|err| Failed::io(&format!("cannot write {shown}"), &err))?;
        ui.result(&json!({ "file": output, "bytes": bytes.len() }), || {
            let verify = "sedge receipt verify";
            format!(
                "{GOOD}written{GOOD:#}  {shown}\nverify it anywhere: {verify} {shown} --executor HEX --requester HEX"
            )
        });
        Ok(())
    }
}
