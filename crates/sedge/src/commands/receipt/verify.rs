//! `sedge receipt verify`.

use std::path::{Path, PathBuf};

use sedge_base::{ByteSize, ErrorKind, NodeId};
use sedge_node::NodeView;
use sedge_trust::receipt::{
    Checkpoint, Form, MAX_EXPORT_BYTES, VerifyKeys, is_chain, verify_attestation, verify_chain_file,
};
use sedge_trust::{Export, Receipt};
use serde_json::{Value, json};

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{DIM, GOOD, Ui};

/// What `sedge receipt verify` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// A receipt's id, its task's id, `last`, this node's own `chain`, or an exported file
    #[arg(value_name = "RECEIPT|FILE", default_value = "last")]
    what: String,
    /// Who ran the tasks: the node's id, from somebody you trust
    #[arg(long, value_name = "HEX", requires = "requester")]
    executor: Option<NodeId>,
    /// Who asked for them: a node's id, from somebody you trust; may be given again
    #[arg(long, value_name = "HEX", requires = "executor")]
    requester: Vec<NodeId>,
    /// A checkpoint of the executor that you hold, as `sedge receipt checkpoint` wrote it: shows
    /// that the file is of the same history
    #[arg(long, value_name = "FILE", requires = "executor")]
    checkpoint: Vec<PathBuf>,
}

/// How a person says whom to believe.
const NAME_THEM: &str = "name whom you believe, by whole ids that you know from them: `--executor HEX` who ran it, \
                         `--requester HEX` who asked; `sedge node show NAME` prints the id of a member";

/// What a person trusts.
struct Trusted {
    executor: NodeId,
    requesters: Vec<NodeId>,
    held: Vec<Checkpoint>,
}

impl Verify {
    /// Verifies.
    pub(super) fn run(self, settings: &Settings, ui: Ui) -> Result<(), Failed> {
        let Self { what, executor, requester, checkpoint } = self;
        let Some(executor) = executor else {
            if Path::new(&what).is_file() {
                let message = format!("`{what}` is a file, and a file says nothing about whom to believe");
                return Err(Failed::new(ErrorKind::Invalid, message).hint(NAME_THEM));
            }
            return verify_kept(&Api::of_home(&settings.home()?)?, &what, ui);
        };
        let held = checkpoint.iter().map(|it| read_checkpoint(it)).collect::<Result<_, _>>()?;
        let trusted = Trusted { executor, requesters: requester, held };
        verify_file(Path::new(&what), &trusted, ui)
    }
}

/// Reads a file of bounded size.
fn read(path: &Path) -> Result<Vec<u8>, Failed> {
    let shown = path.display();
    let unreadable = |err| Failed::io(&format!("cannot read {shown}"), &err);
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_EXPORT_BYTES as u64 {
        let (got, most) =
            (ByteSize::from_bytes(length), ByteSize::from_bytes(MAX_EXPORT_BYTES as u64));
        let message = format!("{shown} has {got}, an export has {most} at most");
        return Err(Failed::new(ErrorKind::Invalid, message));
    }
    std::fs::read(path).map_err(unreadable)
}

fn read_checkpoint(path: &Path) -> Result<Checkpoint, Failed> {
    serde_json::from_slice(&read(path)?).map_err(|err| {
        let message = format!("{} is no checkpoint: {err}", path.display());
        Failed::new(ErrorKind::Invalid, message)
    })
}

/// Verifies an exported file against the keys that the person named.
fn verify_file(path: &Path, trusted: &Trusted, ui: Ui) -> Result<(), Failed> {
    let bytes = read(path)?;
    let shown = path.display();
    let of_file = |failed: Failed| Failed { message: format!("{shown}: {}", failed.message), ..failed };
    if is_chain(&bytes) {
        return verify_chain(&bytes, trusted, ui).map_err(of_file);
    }
    if let Some(form) = Form::of(&bytes) {
        let (receipt, keys) = trusted.open(&bytes, form).map_err(of_file)?;
        return verify(&[receipt], &Value::Null, |_| Ok(keys), ui);
    }
    let export = Export::decode(&bytes).map_err(|err| of_file(Failed::of(err.kind(), &err)))?;
    let Some(first) = export.receipts().first() else {
        return Err(Failed::new(ErrorKind::Invalid, format!("{shown} holds no receipts")));
    };
    let mut place = Value::Null;
    match export.anchor() {
        Some(anchor) => {
            let wrong = |err: sedge_trust::receipt::AnchorError| of_file(Failed::of(err.kind(), &err));
            anchor.verify(first, &trusted.executor).map_err(wrong)?;
            for held in &trusted.held {
                anchor.verify_since(held, &trusted.executor).map_err(wrong)?;
            }
            let count = anchor.checkpoint.point.count;
            place = json!({ "sequence": first.body.sequence, "chain": count });
        }
        None if !trusted.held.is_empty() => {
            let message = format!("{shown} does not say where its receipts stand in a chain");
            return Err(Failed::new(ErrorKind::Invalid, message)
                .hint("the executor's own node exports a receipt with its place"));
        }
        None => {}
    }
    verify(export.receipts(), &place, |receipt| trusted.keys(receipt), ui)
}

impl Trusted {
    /// Opens an envelope whose receipt names one of the requesters.
    fn open(&self, file: &[u8], form: Form) -> Result<(Receipt, VerifyKeys), Failed> {
        let mut refused = Failed::new(ErrorKind::Denied, "nobody vouches for a requester");
        for requester in &self.requesters {
            let keys = VerifyKeys { executor: self.executor, requester: *requester };
            match verify_attestation(file, form, &keys) {
                Ok((receipt, _)) => return Ok((receipt, keys)),
                Err(err) => refused = Failed::of(err.kind(), &err),
            }
        }
        Err(refused)
    }

    fn keys(&self, receipt: &Receipt) -> Result<VerifyKeys, Failed> {
        let named = receipt.body.requester;
        let known = self.requesters.iter().find(|it| **it == named).or(self.requesters.first());
        match known {
            Some(requester) => Ok(VerifyKeys { executor: self.executor, requester: *requester }),
            None => Err(Failed::new(ErrorKind::Denied, format!("nobody vouches for {named}"))),
        }
    }
}

fn verify_chain(bytes: &[u8], trusted: &Trusted, ui: Ui) -> Result<(), Failed> {
    let known = |node: &NodeId| trusted.requesters.contains(node);
    let proven = verify_chain_file(bytes, trusted.executor, known, &trusted.held)
        .map_err(|err| Failed::of(err.kind(), &err))?;
    let point = &proven.checkpoint.point;
    let record = json!({
        "valid": true,
        "executor": trusted.executor,
        "from": proven.from,
        "records": proven.records,
        "countersigned": proven.countersigned,
        "last": proven.last,
        "checkpoint": { "count": point.count, "root": point.root, "taken_ms": point.taken_ms },
        "held": trusted.held.len(),
    });
    ui.result(&record, || {
        let held = match trusted.held.len() {
            0 => "without a checkpoint of your own, an older history of the same node would pass too"
                .to_owned(),
            count => format!("it goes on from {count} checkpoints that you hold"),
        };
        format!(
            "{GOOD}valid{GOOD:#}  the whole chain from place {}: {} records, {} signed by both ends\n{DIM}root {} of {} receipts, {}; {held}{DIM:#}",
            proven.from, proven.records, proven.countersigned, point.root, point.count,
            proven.checkpoint.taken()
        )
    });
    Ok(())
}

/// Verifies a receipt that the node keeps, or its chain, against the keys of the swarm's members.
fn verify_kept(api: &Api, id: &str, ui: Ui) -> Result<(), Failed> {
    if id == "chain" {
        let nodes: Vec<NodeView> = api.get("nodes")?;
        let own = nodes.iter().find(|it| it.here).map(|it| it.id);
        let executor = own
            .ok_or_else(|| Failed::new(ErrorKind::Internal, "the node does not list itself"))?;
        let requesters = nodes.iter().map(|it| it.id).collect();
        let trusted = Trusted { executor, requesters, held: Vec::new() };
        return verify_chain(&api.get_bytes("receipts/chain")?, &trusted, ui);
    }
    let receipt: Receipt = api.get(&format!("receipts/{}", segment(id)))?;
    let nodes: Vec<NodeView> = api.get("nodes")?;
    let member = |id: NodeId| match nodes.iter().find(|it| it.id == id) {
        Some(node) => Ok(node.id),
        None => Err(Failed::new(ErrorKind::Denied, format!("the receipt names {id}, which is no member"))
            .hint("name the keys that you trust with `--executor HEX --requester HEX`, and an exported file")),
    };
    let keys = |receipt: &Receipt| {
        Ok(VerifyKeys {
            executor: member(receipt.body.executor)?,
            requester: member(receipt.body.requester)?,
        })
    };
    verify(&[receipt], &Value::Null, keys, ui)
}

fn verify(
    receipts: &[Receipt],
    place: &Value,
    keys: impl Fn(&Receipt) -> Result<VerifyKeys, Failed>,
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
                "place": place,
            })
        })
        .collect();
    ui.result(&records, || {
        let mut text = String::new();
        let stands = match (place["sequence"].as_u64(), place["chain"].as_u64()) {
            (Some(at), Some(count)) => format!(", number {} of {count} in its chain", at + 1),
            _ => String::new(),
        };
        for (receipt, proof) in &verified {
            let by = if proof.countersigned { "signed by both ends" } else { "signed by the executor alone" };
            text.push_str(&format!(
                "{GOOD}valid{GOOD:#}  {} {:?}, {by}{stands}  {DIM}{}{DIM:#}\n",
                receipt.body.capability, receipt.body.status, proof.id
            ));
        }
        text
    });
    Ok(())
}
