//! Edges whose program was generated from the proto file, by somebody else's tools.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::machine::{Machine, python, until};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/edge_client.py");
const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../sedge-server/proto/nexus.proto");

/// A machine whose doors are open to other machines, at any free port of loopback.
fn open() -> Machine {
    let mut machine = Machine::new("one", vec!["--no-model"]);
    machine.write_config("[server]\nlisten = \"127.0.0.1:0\"\n");
    machine.start();
    machine
}

/// A process that is one or several edges.
struct Client {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Client {
    fn of(machine: &Machine) -> Self {
        let key = std::fs::read_to_string(machine.home().join("api.key")).unwrap();
        let doors = machine.ready["doors"].as_str().unwrap();
        let authority = machine.home().join("tls.pem");
        let mut child = Command::new(python())
            .args([SCRIPT, PROTO, doors, authority.to_str().unwrap(), key.trim()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|err| panic!("cannot run {}: {err}; run ./test.sh", python()));
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdin, stdout }
    }

    fn order(&mut self, order: &Value) -> Value {
        writeln!(self.stdin, "{order}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("the client gave up: {line}; if a module is missing, run ./test.sh")
        })
    }

    fn register(&mut self, link: &str, id: &str, token: &str, tools: &[&str]) -> Value {
        let tools: Vec<_> = tools.iter().map(|it| json!({ "name": it })).collect();
        let order =
            json!({ "do": "register", "link": link, "id": id, "token": token, "tools": tools });
        self.order(&order)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn mint(machine: &Machine, arguments: &[&str]) -> String {
    let minted = machine.json(&[&["token", "mint"], arguments].concat());
    minted["token"].as_str().unwrap().to_owned()
}

#[test]
fn row_023_a_generated_client_registers_over_the_stream() {
    let machine = open();
    let mut client = Client::of(&machine);
    let token = mint(&machine, &["--capability", "edge:kitchen"]);
    let said = client.register("k", "kitchen", &token, &["echo"]);
    let expected = json!({ "success": true, "error": "", "heartbeat": 30, "version": "1.0.0" });
    assert_eq!(said, expected);

    // The stream goes both ways: a tool is asked for and answers.
    machine.until_offered("edge:kitchen.echo", "one");
    let mut call =
        machine.command(&["call", "edge:kitchen.echo", "--input", "{\"a\":1}", "--json"]);
    let call = call.stdout(Stdio::piped()).spawn().unwrap();
    let run = client.order(&json!({ "do": "run", "link": "k" }));
    assert_eq!(run, json!({ "tool": "echo", "timeout": 60 }));
    let called = call.wait_with_output().unwrap();
    let called: Value = serde_json::from_slice(&called.stdout).unwrap();
    assert_eq!(called["output"], "echo got {\"a\":1}", "{called}");
    assert!(called["receipt"].is_string(), "{called}");
}

#[test]
fn row_208_an_edge_that_answers_for_another_is_refused_and_audited() {
    let machine = open();
    let mut client = Client::of(&machine);
    let key = std::fs::read_to_string(machine.home().join("api.key")).unwrap();
    for id in ["kitchen", "garden"] {
        assert_eq!(client.register(id, id, key.trim(), &["echo"])["success"], true);
    }
    machine.until_offered("edge:kitchen.echo", "one");
    let mut call =
        machine.command(&["call", "edge:kitchen.echo", "--input", "{\"a\":1}", "--json"]);
    let call = call.stdout(Stdio::piped()).spawn().unwrap();
    let forged = client.order(&json!({ "do": "forge", "link": "kitchen", "by": "garden" }));
    let end = client.order(&json!({ "do": "wait_end", "link": "garden" }));
    assert_eq!(end["code"], "PERMISSION_DENIED", "{end}");
    let trail = machine.json(&["audit"]);
    let entry = &trail["entries"][0];
    assert_eq!(
        (&entry["kind"], &entry["subject"]),
        (&"edge.foreign_result".into(), &"edge:garden".into()),
        "{trail}"
    );
    let detail = json!({ "asked": "edge:kitchen", "execution": forged["execution"] });
    assert_eq!(entry["detail"], detail);

    client.order(&json!({ "do": "answer", "link": "kitchen" }));
    let called = call.wait_with_output().unwrap();
    let called: Value = serde_json::from_slice(&called.stdout).unwrap();
    assert_eq!(called["output"], "echo got {\"a\":1}", "whoever was asked is heard: {called}");
}

#[test]
fn only_the_right_token_makes_an_edge() {
    let machine = open();
    let mut client = Client::of(&machine);
    let garden = mint(&machine, &["--capability", "edge:garden"]);
    let everything = mint(&machine, &[]);
    let once = mint(&machine, &["--capability", "edge:kitchen", "--calls", "1"]);
    for (token, error) in [
        ("", "invalid authentication token"),
        ("sedge-token.AAAA", "invalid authentication token"),
        (garden.as_str(), "edge not in allowed list"),
        (everything.as_str(), "edge not in allowed list"),
    ] {
        let said = client.register("k", "kitchen", token, &["echo"]);
        assert_eq!((&said["success"], &said["error"]), (&json!(false), &json!(error)), "{token}");
        let end = client.order(&json!({ "do": "wait_end", "link": "k" }));
        assert!(end["code"].is_string(), "the stream ends: {end}");
    }
    let first = client.order(&json!({ "do": "first_heartbeat" }));
    assert_eq!(first["details"], "first message must be registration");
    let wrong = client.register("k", "kit chen", &once, &[]);
    assert_eq!(wrong["success"], false);
    assert!(offered(&machine).is_empty(), "nobody changed anything");

    assert_eq!(client.register("k", "kitchen", &once, &["echo"])["success"], true);
    let again = client.register("l", "kitchen", &once, &["echo"]);
    assert_eq!(again["success"], false, "a token for one call is good for one link: {again}");
}

/// Returns the names of what the edges of a machine offer.
fn offered(machine: &Machine) -> Vec<String> {
    let offers = machine.json(&["capabilities"]);
    let names = offers.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap());
    names.filter(|it| it.starts_with("edge:")).map(str::to_owned).collect()
}

#[test]
fn edges_are_listed_and_the_newest_link_stays() {
    let machine = open();
    let mut client = Client::of(&machine);
    let key = std::fs::read_to_string(machine.home().join("api.key")).unwrap();
    for id in ["c", "a", "b"] {
        assert_eq!(client.register(id, id, key.trim(), &["echo", "old"])["success"], true);
    }
    let list = |client: &mut Client, size: u32, token: &str| {
        client.order(&json!({ "do": "list", "size": size, "token": token }))
    };
    let page = list(&mut client, 2, "");
    let ids: Vec<_> =
        page["edges"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!((ids, &page["total"], &page["next"]), (vec!["a", "b"], &json!(3), &json!("Mg==")));
    let rest = list(&mut client, 2, "Mg==");
    assert_eq!((&rest["edges"][0]["id"], &rest["next"]), (&json!("c"), &json!("")));
    assert_eq!(list(&mut client, 2, "!")["code"], "INVALID_ARGUMENT");
    let unkeyed = json!({ "do": "list", "size": 1, "token": "", "keyed": false });
    assert_eq!(client.order(&unkeyed)["code"], "UNAUTHENTICATED");

    client.order(&json!({ "do": "heartbeat", "link": "a" }));
    let status = |client: &mut Client, id: &str| client.order(&json!({ "do": "status", "id": id }));
    until("the heartbeat is known", || status(&mut client, "a")["memory"] == 1_u64 << 33);
    let known = status(&mut client, "a");
    assert_eq!(known["status"], "EDGE_CONNECTION_STATUS_CONNECTED");
    assert_eq!((&known["tools"], &known["channels"]), (&json!(["echo", "old"]), &json!(["slack"])));
    assert_eq!(status(&mut client, "x")["status"], "EDGE_CONNECTION_STATUS_DISCONNECTED");

    // A second link under one id: the first ends, its end takes nothing away.
    assert_eq!(client.register("new", "a", key.trim(), &["echo"])["success"], true);
    let end = client.order(&json!({ "do": "wait_end", "link": "a" }));
    assert_eq!(end["code"], "ABORTED", "{end}");
    assert_eq!(status(&mut client, "a")["tools"], json!(["echo"]));
    let five = ["edge:a.echo", "edge:b.echo", "edge:b.old", "edge:c.echo", "edge:c.old"];
    assert_eq!(offered(&machine), five);
    drop(client);
    until("nothing is offered any more", || offered(&machine).is_empty());
}
