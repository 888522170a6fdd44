//! The steps of the demo, each with what makes it true.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use sedge_base::{ErrorKind, NodeId};
use sedge_node::{DeployOptions, Deployed, Invitation, Joined, NodeView, Offer, Presence, Routed};
use sedge_server::{InviteAsk, JoinAsk};
use sedge_trust::{Receipt, Status};
use serde_json::{Value, json};

use super::stage::{Actor, Stage};
use crate::api::{Api, Raw};
use crate::commands::call::Told;
use crate::commands::chat::{self, Heard};
use crate::failed::Failed;
use crate::ui::Ui;

/// The nodes: only the second one has models.
const CAST: [(&str, &[&str]); 3] = [("one", &["--no-model"]), ("two", &[]), ("three", &["--no-model"])];

/// A component in C: ASCII letters to upper case. Its source is `functions/c/upper.c`.
const UPPER: &[u8] = include_bytes!("../../../../../functions/upper.wasm");

/// The name that the component gets.
const FUNCTION: &str = "upper";

/// What is asked.
const QUESTION: &str = "What is the capital of France? Answer in one sentence.";

/// The model that answers.
const MODEL: &str = sedge_gateway::DEFAULT_CHAT;

fn check(holds: bool, otherwise: impl Into<String>) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(Failed::new(ErrorKind::Failed, otherwise)) }
}

pub(super) fn start(stage: &mut Stage, cache: &std::path::Path) -> Result<String, Failed> {
    let mut says = String::new();
    for (name, arguments) in CAST {
        stage.enter(name, arguments, cache)?;
        let has = if arguments.is_empty() { "with models" } else { "no model" };
        let address = stage.actor(name)?.api.address();
        says.push_str(&format!("{name}: http://{address}/v1, {has}\n"));
    }
    Ok(says)
}

/// The first node invites, each other one joins at its address.
pub(crate) fn pair(stage: &Stage) -> Result<String, Failed> {
    let mut says = String::new();
    for Actor { name, api, .. } in stage.actors().iter().skip(1) {
        let invitation = invite(stage)?;
        let joined = join(api, &invitation)?;
        says.push_str(&format!(
            "{name} joined with `{}` by {} in {} ms\n", invitation.code, joined.way, joined.took_ms
        ));
    }
    until_all_online(stage)?;
    says.push_str("all list each other");
    Ok(says)
}

/// Lets the first node invite somebody.
pub(crate) fn invite(stage: &Stage) -> Result<Invitation, Failed> {
    stage.actor("one")?.api.post("invites", &InviteAsk { ttl_s: Some(60) })
}

/// Joins at the inviter's address.
pub(crate) fn join(api: &Api, invitation: &Invitation) -> Result<Joined, Failed> {
    let Some(address) = invitation.addresses.first() else {
        return Err(Failed::new(ErrorKind::Unavailable, "the invitation names no address"));
    };
    let ask = JoinAsk { code: invitation.code.clone(), at: Some(address.to_string()), relay: None };
    let joined: Joined = api.post("join", &ask)?;
    check(joined.inviter_name == "one", "another node than the inviter answered")?;
    Ok(joined)
}

/// Waits until every node lists every other one as online.
pub(crate) fn until_all_online(stage: &Stage) -> Result<(), Failed> {
    stage.until_all_see("all others online", |api| {
        let nodes: Vec<NodeView> = api.get("nodes")?;
        let online = nodes.iter().filter(|it| it.status == Presence::Online).count();
        Ok(online == stage.actors().len())
    })
}

pub(super) fn deploy(stage: &Stage) -> Result<String, Failed> {
    let api = &stage.actor("one")?.api;
    let options = DeployOptions { idempotent: true, ..DeployOptions::default() };
    let path = format!("functions/{FUNCTION}?to=all");
    let deployed: Vec<Deployed> = api.put(&path, &options, UPPER)?;
    check(deployed.len() == CAST.len(), format!("{} nodes took it, not 3", deployed.len()))?;
    let mut says = format!("{} bytes from one, ", UPPER.len());
    for it in &deployed {
        if let Some(failure) = &it.failure {
            return Err(Failed::new(failure.kind, format!("{} refused it: {failure}", it.node_name)));
        }
        let content = it.content == Some(sedge_base::ContentId::of(UPPER));
        check(content, format!("{} has other bytes", it.node_name))?;
        says.push_str(&format!("{} ok in {} ms  ", it.node_name, it.took_ms));
    }
    stage.until_all_see("the component on every node", |api| {
        Ok(offering(api, FUNCTION)? == stage.actors().len())
    })?;
    Ok(says)
}

/// Returns how many nodes offer a capability, as one of them knows.
pub(crate) fn offering(api: &Api, name: &str) -> Result<usize, Failed> {
    let offers: Vec<Offer> = api.get("capabilities")?;
    Ok(offers.iter().filter(|it| it.descriptor.name.as_str() == name).count())
}

pub(super) fn call_remote(stage: &Stage) -> Result<String, Failed> {
    let told = call(stage.actor("one")?, Some("three"), "from one to three", "FROM ONE TO THREE")?;
    check(told.node_name == "three", format!("{} ran it, not three", told.node_name))?;
    Ok(format!("one asked, three answered `FROM ONE TO THREE`: {}", told.words()))
}

pub(super) fn call_any(stage: &Stage) -> Result<String, Failed> {
    let told = call(stage.actor("three")?, None, "anywhere", "ANYWHERE")?;
    let known = CAST.iter().any(|(name, _)| told.node_name == *name);
    check(known, format!("`{}` ran it", told.node_name))?;
    Ok(format!("three asked, {} answered `ANYWHERE`: {}", told.node_name, told.words()))
}

fn call(actor: &Actor, on: Option<&str>, input: &str, expected: &str) -> Result<Told, Failed> {
    let raw: Raw = actor.api.call(&format!("functions/{FUNCTION}/call"), on, input.as_bytes())?;
    let told = Told::of(&raw);
    if let Some(failed) = raw.failed {
        return Err(failed);
    }
    let got = String::from_utf8_lossy(&raw.body);
    check(got == expected, format!("the component answered `{got}`, not `{expected}`"))?;
    check(!told.receipt.is_empty(), "the task has no receipt")?;
    Ok(told)
}

/// The OpenAI door of a node without a model; the answer streams from the node that has one.
pub(super) fn ask(stage: &Stage, ui: Ui) -> Result<String, Failed> {
    stage.until_all_see("the model", |api| Ok(offering(api, MODEL)? == 1))?;
    let body = json!({
        "model": MODEL,
        "messages": [{ "role": "user", "content": QUESTION }],
        "temperature": 0,
        "max_tokens": 48,
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    ui.piece(format_args!("        {QUESTION}\n        > "));
    let Heard { text, origin, usage } = chat::hear(&stage.actor("one")?.api, &body, None, ui)?;
    check(text.contains("Paris"), format!("the model answered `{text}`"))?;
    check(origin["node_name"] == "two", format!("{} answered, not two", origin["node_name"]))?;
    check(origin["receipt"].is_string(), "the answer has no receipt")?;
    let speed = origin["tokens_per_second"].as_f64().unwrap_or(0.0);
    Ok(format!(
        "one was asked, two answered with {MODEL}: {} tokens, {speed:.0} tokens/s",
        usage["completion_tokens"]
    ))
}

pub(super) fn why(stage: &Stage) -> Result<String, Failed> {
    let routed: Routed = stage.actor("one")?.api.get("decisions/last")?;
    check(routed.words.contains("two"), "the decision does not name the node that answered")?;
    Ok(routed.words)
}

/// Every receipt of every node, in a process that has no home, against keys from the list of nodes;
/// and one with another output hash, which must not pass.
pub(super) fn verify(stage: &Stage) -> Result<String, Failed> {
    let nodes: Vec<NodeView> = stage.actor("one")?.api.get("nodes")?;
    let keys: BTreeMap<NodeId, &str> = nodes.iter().map(|it| (it.id, it.name.as_str())).collect();
    let mut says = String::new();
    let mut count = 0;
    for actor in stage.actors() {
        let receipts: Vec<Receipt> = actor.api.get("receipts?limit=1000")?;
        for receipt in receipts {
            let name = |id: NodeId| keys.get(&id).copied().unwrap_or("a stranger");
            let body = &receipt.body;
            if name(body.requester) != actor.name {
                continue;
            }
            check(body.status == Status::Success, format!("a receipt says {:?}", body.status))?;
            let file = stage.folder().join(format!("{count}.json"));
            let bytes = actor.api.get_bytes(&format!("receipts/{}/export", body.task_id))?;
            fs::write(&file, &bytes).map_err(|err| Failed::io(&file.display().to_string(), &err))?;
            let verified = stranger(&file, body.executor, body.requester)?;
            check(verified[0]["valid"] == true, "a receipt is not valid")?;
            check(verified[0]["countersigned"] == true, "a receipt is signed by one end only")?;
            if count == 0 {
                let other = sedge_base::ContentId::of(b"another output").to_string();
                let changed = String::from_utf8_lossy(&bytes);
                let changed = changed.replacen(&body.output_hash.to_string(), &other, 1);
                fs::write(&file, changed).map_err(|err| Failed::io(&file.display().to_string(), &err))?;
                let passed = stranger(&file, body.executor, body.requester).is_ok();
                check(!passed, "a receipt with another output hash passed")?;
            }
            count += 1;
            says.push_str(&format!(
                "{} for {} on {}: signed by both\n", body.capability, name(body.requester), name(body.executor)
            ));
        }
    }
    check(count == 3, format!("{count} receipts for 3 tasks"))?;
    says.push_str("one with another output hash was refused");
    Ok(says)
}

/// Verifies a file in another process that knows no home, only two keys.
fn stranger(file: &std::path::Path, executor: NodeId, requester: NodeId) -> Result<Value, Failed> {
    let program = std::env::current_exe()
        .map_err(|err| Failed::io("this program's own file is not known", &err))?;
    let output = Command::new(program)
        .args(["receipt", "verify", "--json"])
        .arg(file)
        .args(["--executor", &executor.to_string(), "--requester", &requester.to_string()])
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|err| Failed::io("the verifying process does not start", &err))?;
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    if output.status.success() {
        return Ok(said);
    }
    let message = said["error"]["message"].as_str().unwrap_or("the verifying process failed");
    Err(Failed::new(ErrorKind::Corrupt, message))
}
