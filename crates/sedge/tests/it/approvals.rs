//! What a person has to say yes to: the core asks, the edge checks.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use sedge_base::{Clock, ContentId, NodeId, Timestamp};
use sedge_trust::approval::{APPROVAL_LIFE, Approver, Decision, Question, canonical_arguments};
use sedge_trust::{Approval, Nonce, Owner, random_bytes};
use serde_json::{Value, json};

use crate::machine::{Machine, PATIENCE, python, until};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/edge_core.py");
const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../sedge-server/proto/nexus.proto");

/// What the tool is asked for; not in its canonical spelling.
const INPUT: &str = r#"{ "lens": "wide", "count": 1.0 }"#;
const CANONICAL: &str = r#"{"count":1,"lens":"wide"}"#;

/// A core that owns its swarm and has doors for other machines.
fn core() -> Machine {
    let mut machine = Machine::new("core", vec!["--no-model"]);
    machine.write_config("[server]\nlisten = \"127.0.0.1:0\"\n");
    machine.start();
    machine
}

/// A process, and what it says line by line.
struct Talking {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Talking {
    fn of(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|it| sender.send(it))
        });
        Self { child, stdin, lines }
    }

    fn says(&mut self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).unwrap_or_default();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("it gave up: {line}"))
    }

    fn order(&mut self, order: &Value) -> Value {
        writeln!(self.stdin.as_mut().unwrap(), "{order}").unwrap();
        self.says()
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Writes the tools of an edge; a run of `camera` leaves a line in the file that is returned.
fn tools(folder: &Path) -> PathBuf {
    let ran = folder.join("ran");
    let text = format!(
        "[[tool]]\nname = 'camera'\ndescription = 'takes a picture'\n\
         command = ['sh', '-c', 'tee -a \"$0\"; echo >> \"$0\"', '{}']\n\
         [[tool]]\nname = 'echo'\ncommand = ['cat']\napproval = false\n",
        ran.display()
    );
    std::fs::write(folder.join("tools.toml"), text).unwrap();
    ran
}

/// The edge of a ticket, as a process of its own that has taken up its link.
fn edge(machine: &Machine, ticket: &Path) -> Talking {
    let folder = machine.folder();
    let (tools, state) = (folder.join("tools.toml"), folder.join("edge"));
    let mut command = machine.command(&["edge", "run", "--json"]);
    command.arg(ticket).arg("--tools").arg(tools).arg("--state").arg(state);
    let mut edge = Talking::of(&mut command);
    assert_eq!(edge.says(), json!({ "connected": true, "edge": "kitchen", "tools": 2 }));
    edge
}

fn enroll(core: &Machine) -> PathBuf {
    let ticket = core.folder().join("kitchen.json");
    let doors = core.ready["doors"].as_str().unwrap();
    let out = ticket.to_str().unwrap();
    core.json(&["edge", "enroll", "kitchen", "--core", doors, "--out", out]);
    ticket
}

/// A call of the camera in a process of its own.
fn call(core: &Machine, input: &str) -> Child {
    let mut command = core.command(&["call", "edge:kitchen.camera", "--input", input, "--json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn ended(call: Child) -> (Option<i32>, Value) {
    let output = call.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), serde_json::from_str(said.lines().last().unwrap()).unwrap())
}

/// Waits until so many questions are open and heard by somebody; returns the ids.
fn asked(core: &Machine, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    until("a person is asked", || {
        let all = core.json(&["approvals"]);
        let all = all.as_array().unwrap();
        let open = all.iter().filter(|it| it["state"] == "pending" && it["waiting"] == true);
        ids = open.map(|it| it["id"].as_str().unwrap().to_owned()).collect();
        ids.len() == count
    });
    ids
}

fn lines(ran: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(ran).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn audited(core: &Machine, kind: &str) -> Vec<Value> {
    let trail = core.json(&["audit"]);
    trail["entries"].as_array().unwrap().iter().filter(|it| it["kind"] == kind).cloned().collect()
}

/// What a person signs for a run of the camera with [`INPUT`].
fn question(swarm: &Owner) -> Question {
    Question {
        swarm_id: swarm.swarm_id(),
        runs_on: "edge:kitchen".to_owned(),
        capability: "edge:kitchen.camera".to_owned(),
        arguments: canonical_arguments(INPUT.as_bytes()).unwrap().1,
        asked_by: NodeId::from_bytes([7; 32]),
        nonce: Nonce::from_bytes(random_bytes().unwrap()),
    }
}

fn text(approval: &Approval) -> String {
    String::from_utf8(approval.to_bytes().unwrap()).unwrap()
}

/// Everything that a node which was taken over may send, and what the edge says to it.
fn bad_approvals(owner: &Owner, now: Timestamp) -> Vec<(&'static str, bool, String, &'static str)> {
    let sign = |by: &Owner, question: Question, at: Timestamp| {
        Approver::Owner(by).decide(question, Decision::Granted, at).unwrap()
    };
    let stranger = Owner::generate().unwrap();
    let good = || question(owner);
    let mut altered = sign(owner, Question { arguments: ContentId::of(b"{}"), ..good() }, now);
    altered.facts.question.arguments = good().arguments;
    let mut longer = sign(owner, good(), Timestamp::from_millis(now.as_millis() - 600_000));
    longer.facts.expires_at = now.plus(APPROVAL_LIFE);
    let expired = Timestamp::from_millis(now.as_millis() - 301_000);
    let no = Approver::Owner(owner).decide(good(), Decision::Refused, now).unwrap();
    let elsewhere = Question { runs_on: "edge:garden".to_owned(), ..good() };
    let other_tool = Question { capability: "edge:kitchen.echo".to_owned(), ..good() };
    let other_arguments = Question { arguments: ContentId::of(b"{}"), ..good() };
    vec![
        ("nothing", false, String::new(), "no signed approval"),
        ("the word of the node", true, String::new(), "no signed approval"),
        ("no approval", true, "{\"approved\":true}".to_owned(), "is no approval"),
        ("a stranger's", true, text(&sign(&stranger, good(), now)), "not given the right"),
        ("altered", true, text(&altered), "not signed by the approver"),
        ("made to last", true, text(&longer), "more than five minutes"),
        ("expired", true, text(&sign(owner, good(), expired)), "the approval ended at"),
        ("for other arguments", true, text(&sign(owner, other_arguments, now)), "other arguments"),
        ("for another edge", true, text(&sign(owner, elsewhere, now)), "`edge:garden`"),
        ("for another tool", true, text(&sign(owner, other_tool, now)), "`edge:kitchen.echo`"),
        ("a no", true, text(&no), "the approver said no"),
    ]
}

/// The edge enforces it: a node that was taken over sends what it likes, and gets nowhere.
fn the_edge_refuses_what_nobody_signed(core: &Machine, ticket: &Path, ran: &Path) {
    let owner = Owner::load(&core.home()).unwrap().unwrap();
    let authority = core.folder().join("taken-over.pem");
    let mut taken = Talking::of(Command::new(python()).arg(SCRIPT).arg(PROTO).arg(&authority));
    let address = taken.says()["address"].as_str().unwrap().to_owned();
    let mut ticket: Value = serde_json::from_slice(&std::fs::read(ticket).unwrap()).unwrap();
    ticket["core"] = address.into();
    ticket["authority"] = std::fs::read_to_string(&authority).unwrap().into();
    let file = core.folder().join("led-astray.json");
    std::fs::write(&file, ticket.to_string()).unwrap();
    let (exit, error) = core.fails(&["edge", "run", file.to_str().unwrap(), "--tools", "/nowhere"]);
    assert_eq!((exit, &error["kind"]), (6, &"denied".into()), "open to others: {error}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let process = edge(core, &file);
    let registered = taken.order(&json!({ "do": "wait_edge" }));
    assert_eq!(registered, json!({ "edge": "kitchen", "tools": ["camera", "echo"] }));

    let mut run = |approved: bool, input: &str, approval: &str| {
        taken.order(&json!({
            "do": "run", "tool": "camera", "input": input,
            "approved": approved, "approval": approval,
        }))
    };
    let now = Clock::machine().now();
    for (what, approved, approval, expected) in bad_approvals(&owner, now) {
        let said = run(approved, INPUT, &approval);
        assert_eq!(said["failed"], true, "{what}: {said}");
        assert_eq!(said["content"], "this edge refuses to run `camera`", "{what}");
        let details = said["details"].as_str().unwrap();
        assert!(details.contains(expected), "{what}: {details}");
    }
    assert_eq!(lines(ran), [""; 0], "nothing ran");

    let good = Approver::Owner(&owner).decide(question(&owner), Decision::Granted, now).unwrap();
    let said = run(true, "{\"lens\":\"narrow\"}", &text(&good));
    assert_eq!(said["details"], "the approval is for other arguments");
    let said = run(false, INPUT, &text(&good));
    assert_eq!(said, json!({ "failed": false, "content": CANONICAL, "details": "" }));
    let said = run(true, INPUT, &text(&good));
    assert_eq!(said["details"], "the approval was used before, and it is for one run");
    assert_eq!(lines(ran), [CANONICAL], "it ran once");

    // What was used stays used when the edge starts anew.
    drop(process);
    let _process = edge(core, &file);
    taken.order(&json!({ "do": "wait_edge" }));
    let said = taken.order(&json!({
        "do": "run", "tool": "camera", "input": INPUT, "approved": true, "approval": text(&good),
    }));
    assert_eq!(said["details"], "the approval was used before, and it is for one run");
    assert_eq!(lines(ran), [CANONICAL]);
}

#[test]
fn row_207_the_edge_refuses_a_request_without_a_signed_approval() {
    let core = core();
    let ran = tools(core.folder());
    let ticket = enroll(&core);
    the_edge_refuses_what_nobody_signed(&core, &ticket, &ran);
    std::fs::remove_file(&ran).unwrap();

    // The same edge at an honest node: a person signs, and the call goes on.
    let _edge = edge(&core, &ticket);
    core.until_offered("edge:kitchen.camera", "core");
    let echoed = core.json(&["call", "edge:kitchen.echo", "--input", "{\"a\":1}"]);
    assert_eq!(echoed["output"], "{\"a\":1}", "a tool that asks for nothing runs as ever");
    let waits = call(&core, INPUT);
    let id = asked(&core, 1).remove(0);
    assert_eq!(lines(&ran), [""; 0]);
    let said = core.json(&["approve", &id[..8]]);
    assert_eq!(said["question"]["capability"], "edge:kitchen.camera");
    let (exit, called) = ended(waits);
    assert_eq!((exit, called["output"].as_str()), (Some(0), Some(CANONICAL)), "{called}");
    assert_eq!(lines(&ran), [CANONICAL]);
    let granted = audited(&core, "approval.granted");
    let owner = Owner::load(&core.home()).unwrap().unwrap();
    assert_eq!(granted.len(), 1);
    assert_eq!(granted[0]["subject"], owner.public_key().to_string());
    assert_eq!(granted[0]["detail"]["id"], id);
    assert!(granted[0]["detail"]["signed_at"].is_u64());
    let (_, error) = core.fails(&["approve", &id]);
    assert_eq!(error["code"], "approval_decided", "once: {error}");
}

#[test]
fn a_person_says_no_or_somebody_whom_the_owner_named_says_yes() {
    let core = core();
    let ran = tools(core.folder());
    let _edge = edge(&core, &enroll(&core));
    core.until_offered("edge:kitchen.camera", "core");

    let waits = call(&core, "{}");
    let id = asked(&core, 1).remove(0);
    assert_eq!(core.json(&["approve", &id, "--refuse"])["state"], "refused");
    let (exit, said) = ended(waits);
    assert_eq!((exit, &said["error"]["code"]), (Some(6), &"approval_refused".into()), "{said}");
    let again = call(&core, "{}");
    assert_eq!(ended(again).0, Some(6), "a no stands for a while");

    // Somebody with a key of their own: first without the right, then with it.
    let stick = core.folder().join("stick");
    std::fs::create_dir(&stick).unwrap();
    let stick = stick.to_str().unwrap();
    let waits = call(&core, "{\"n\":1}");
    let id = asked(&core, 1).remove(0);
    let made = core.json(&["approver", "--key", stick]);
    let by_stick = ["approve", &id, "--key", stick];
    let (exit, error) = core.fails(&by_stick);
    assert_eq!((exit, &error["kind"]), (6, &"denied".into()), "{error}");
    let right = made["right"].as_str().unwrap();
    let minted = core.json(&["token", "mint", "--capability", right, "--for", "1h"]);
    let minted = minted["token"].as_str().unwrap();
    core.json(&["approver", "--key", stick, "--token", minted]);
    assert_eq!(core.json(&by_stick)["approver"], made["key"]);
    let (exit, called) = ended(waits);
    assert_eq!((exit, &called["output"]), (Some(0), &"{\"n\":1}".into()), "{called}");
    let granted = audited(&core, "approval.granted");
    assert_eq!(granted[0]["subject"], made["key"]);
    assert_eq!(audited(&core, "approval.refused").len(), 1);
    assert_eq!(lines(&ran).len(), 1);

    // The owner takes the right back.
    core.json(&["token", "revoke", minted]);
    let waits = call(&core, "{\"n\":2}");
    let id = asked(&core, 1).remove(0);
    let (_, error) = core.fails(&["approve", &id, "--key", stick]);
    assert_eq!(error["code"], "token_revoked", "{error}");
    core.json(&["approve", &id, "--refuse"]);
    assert_eq!(ended(waits).0, Some(6));
}

#[test]
fn a_question_survives_its_caller_and_a_restart_and_its_answer_runs_once() {
    let mut core = core();
    let ran = tools(core.folder());
    let ticket = enroll(&core);
    let first = edge(&core, &ticket);
    core.until_offered("edge:kitchen.camera", "core");
    let (exit, error) =
        core.fails(&["call", "edge:kitchen.camera", "--input", "{\"n\":1}", "--time", "1s"]);
    assert_eq!((exit, &error["code"]), (8, &"approval_pending".into()), "{error}");
    let id = core.json(&["approvals"])[0]["id"].as_str().unwrap().to_owned();
    assert!(error["message"].as_str().unwrap().contains(&id), "{error}");

    drop(first);
    core.kill();
    core.start();
    let pending = core.json(&["approvals"]);
    assert_eq!((&pending[0]["id"], &pending[0]["waiting"]), (&id.clone().into(), &false.into()));
    assert_eq!(core.json(&["approve", &id])["state"], "granted");

    std::fs::remove_file(&ticket).unwrap();
    let _edge = edge(&core, &enroll(&core));
    core.until_offered("edge:kitchen.camera", "core");
    let called = core.json(&["call", "edge:kitchen.camera", "--input", "{ \"n\": 1 }"]);
    assert_eq!(called["output"], "{\"n\":1}", "{called}");
    let (_, error) =
        core.fails(&["call", "edge:kitchen.camera", "--input", "{\"n\":1}", "--time", "1s"]);
    assert_eq!(error["code"], "approval_pending", "the yes was for one run: {error}");
    assert_eq!(lines(&ran).len(), 1);
}
