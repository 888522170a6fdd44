//! `sedge receipt`.

use std::path::PathBuf;

use sedge_base::{ByteSize, ErrorKind, NodeId, Timestamp};
use sedge_node::NodeView;
use sedge_trust::receipt::{MAX_EXPORT_BYTES, VerifyKeys};
use sedge_trust::{Export, Receipt as Record};
use serde_json::json;

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{DIM, GOOD, Table, Ui, spoken};

/// List, show, verify and export receipts
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
    /// A file is verified without a node or a home, against the two public keys that you name.
    Verify {
        /// A receipt's id, its task's id, `last`, or an exported file
        #[arg(value_name = "RECEIPT|FILE", default_value = "last")]
        what: String,
        /// Who ran the task: the node's id, from somebody you trust
        #[arg(long, value_name = "HEX", requires = "requester")]
        executor: Option<NodeId>,
        /// Who asked for it: the node's id, from somebody you trust
        #[arg(long, value_name = "HEX", requires = "executor")]
        requester: Option<NodeId>,
    },
    /// Write receipts to a file that anybody can verify
    Export {
        /// A receipt's id, its task's id, `last`, or `all`
        #[arg(value_name = "RECEIPT", default_value = "last")]
        id: String,
        /// The file; the standard output when left out
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
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
            Verb::Verify { what, executor: Some(executor), requester: Some(requester) } => {
                verify_file(&PathBuf::from(what), VerifyKeys { executor, requester }, *ui)
            }
            Verb::Verify { what, .. } => verify_kept(&api()?, &what, *ui),
            Verb::Export { id, output } => export(&api()?, &id, output, *ui),
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

/// Verifies an exported file against the keys that the person named.
fn verify_file(path: &PathBuf, keys: VerifyKeys, ui: Ui) -> Result<(), Failed> {
    let shown = path.display();
    let length = std::fs::metadata(path)
        .map_err(|err| Failed::io(&format!("cannot read {shown}"), &err))?
        .len();
    if length > MAX_EXPORT_BYTES as u64 {
        let most = ByteSize::from_bytes(MAX_EXPORT_BYTES as u64);
        let message = format!("{shown} has {}, an export has {most} at most", ByteSize::from_bytes(length));
        return Err(Failed::new(ErrorKind::Invalid, message));
    }
    let bytes = std::fs::read(path).map_err(|err| Failed::io(&format!("cannot read {shown}"), &err))?;
    let export = Export::decode(&bytes).map_err(|err| {
        let Failed { kind, message, .. } = Failed::of(err.kind(), &err);
        Failed::new(kind, format!("{shown}: {message}"))
    })?;
    if export.receipts().is_empty() {
        return Err(Failed::new(ErrorKind::Invalid, format!("{shown} holds no receipts")));
    }
    verify(export.receipts(), |_| Ok(keys), ui)
}

/// Verifies a receipt that the node keeps, against the keys of the swarm's members.
fn verify_kept(api: &Api, id: &str, ui: Ui) -> Result<(), Failed> {
    let receipt: Record = api.get(&format!("receipts/{}", segment(id)))?;
    let nodes: Vec<NodeView> = api.get("nodes")?;
    let member = |id: NodeId| match nodes.iter().find(|it| it.id == id) {
        Some(node) => Ok(node.id),
        None => Err(Failed::new(ErrorKind::Denied, format!("the receipt names {id}, which is no member"))
            .hint("name the keys that you trust with `--executor HEX --requester HEX`, and an exported file")),
    };
    let keys = |receipt: &Record| {
        Ok(VerifyKeys {
            executor: member(receipt.body.executor)?,
            requester: member(receipt.body.requester)?,
        })
    };
    verify(&[receipt], keys, ui)
}

fn verify(
    receipts: &[Record],
    keys: impl Fn(&Record) -> Result<VerifyKeys, Failed>,
    ui: Ui,
) -> Result<(), Failed> {
    let mut verified = Vec::new();
    for (place, receipt) in receipts.iter().enumerate() {
        let proof = receipt.verify(&keys(receipt)?).map_err(|err| {
            let failed = Failed::of(err.kind(), &err);
            let message = format!("receipt {} of {} is not valid: {}", place + 1, receipts.len(), failed.message);
            Failed::new(failed.kind, message)
        })?;
        verified.push((receipt, proof));
    }
    let records: Vec<_> = verified
        .iter()
        .map(|(receipt, proof)| {
            json!({
                "valid": true,
                "receipt": proof.id,
                "task": receipt.body.task_id,
                "countersigned": proof.countersigned,
                "rung": receipt.body.rung,
                "executor": receipt.body.executor,
                "requester": receipt.body.requester,
                "input": receipt.body.input_hash,
                "output": receipt.body.output_hash,
            })
        })
        .collect();
    ui.result(&records, || {
        let mut text = String::new();
        for (receipt, proof) in &verified {
            let by = if proof.countersigned { "signed by both ends" } else { "signed by the executor alone" };
            text.push_str(&format!(
                "{GOOD}valid{GOOD:#}  {} {:?}, {by}  {DIM}{}{DIM:#}\n",
                receipt.body.capability, receipt.body.status, proof.id
            ));
        }
        text
    });
    Ok(())
}

fn export(api: &Api, id: &str, output: Option<PathBuf>, ui: Ui) -> Result<(), Failed> {
    let path = match id {
        "all" => "receipts/export".to_owned(),
        id => format!("receipts/{}/export", segment(id)),
    };
    let bytes = api.get_bytes(&path)?;
    let Some(output) = output else {
        ui.raw(&bytes);
        return Ok(());
    };
    std::fs::write(&output, &bytes)
        .map_err(|err| Failed::io(&format!("cannot write {}", output.display()), &err))?;
    ui.result(&json!({ "file": output, "bytes": bytes.len() }), || {
        format!("{GOOD}written{GOOD:#}  {}\nverify it anywhere: sedge receipt verify {} --executor HEX --requester HEX", output.display(), output.display())
    });
    Ok(())
}
