//! `sedge receipt export`.

use std::path::PathBuf;

use sedge_base::ErrorKind;
use sedge_trust::receipt::Form;
use serde_json::json;

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::ui::{DIM, GOOD, Ui};

/// What `sedge receipt export` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// A receipt's id, its task's id, `last`, `all` that this node keeps, or its own whole `chain`
    #[arg(value_name = "RECEIPT", default_value = "last")]
    id: String,
    /// The file; the standard output when left out
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// `json` for this program; one receipt also as `cose` or `in-toto`, for other tools
    #[arg(long, value_enum, default_value_t = Format::Json, value_name = "FORMAT")]
    format: Format,
    /// Of a chain, from this place on
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Of one receipt, show too how the chain goes on from its first so many receipts
    #[arg(long, value_name = "N", conflicts_with = "from")]
    since: Option<u64>,
}

/// A file's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Receipts with their place in the chain
    Json,
    /// A `COSE_Sign1` around the receipt
    Cose,
    /// An in-toto statement in a DSSE envelope
    InToto,
}

impl Export {
    /// Writes the file.
    pub(super) fn run(self, api: &Api, ui: Ui) -> Result<(), Failed> {
        let Self { id, output, format, from, since } = self;
        let form = match format {
            Format::Json => None,
            Format::Cose => Some(Form::Cose),
            Format::InToto => Some(Form::InToto),
        };
        let path = match (id.as_str(), form) {
            ("all" | "chain", Some(_)) => {
                let message = "one receipt at a time is written as `cose` or `in-toto`";
                return Err(Failed::new(ErrorKind::Invalid, message));
            }
            ("all", None) => "receipts/export".to_owned(),
            ("chain", None) => format!("receipts/chain?from={}", from.unwrap_or(0)),
            (id, Some(form)) => format!("receipts/{}/export?format={}", segment(id), form.name()),
            (id, None) => {
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
                "{GOOD}written{GOOD:#}  {shown}\nverify it anywhere: {verify} {shown} --executor HEX --requester HEX\n{DIM}HEX: the whole ids of who ran it and of who asked, as `sedge node show NAME` prints them{DIM:#}"
            )
        });
        Ok(())
    }
}
