//! Agents that somebody else runs, behind a name server that somebody else wrote.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::machine::{Machine, python};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/agents.py");

/// The process with the servers.
struct Town {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    ports: Value,
}

impl Town {
    fn open() -> Self {
        let mut child = Command::new(python())
            .arg(SCRIPT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|err| panic!("cannot run {}: {err}; run ./test.sh", python()));
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut town = Self { child, stdin, stdout, ports: Value::Null };
        town.ports = town.line();
        town
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the script gave up; if a module is missing, run ./test.sh"))
    }

    /// Returns which web server was asked for what, under which name.
    fn asked(&mut self) -> Value {
        writeln!(self.stdin).unwrap();
        self.line()
    }

    fn at(&self, port: &str) -> String {
        format!("127.0.0.1:{}", self.ports[port])
    }

    fn discover(&self, machine: &Machine, arguments: &[&str]) -> Value {
        let (dns, group) = (self.at("dns"), self.at("mdns"));
        let usual = ["discover", "--within", "30s", "--dns-server", &dns, "--mdns-group", &group];
        machine.json(&[&usual, arguments].concat())
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn names(found: &Value) -> Vec<(&str, &str)> {
    let agents = found["agents"].as_array().unwrap().iter();
    agents
        .map(|it| (it["card"]["name"].as_str().unwrap(), it["found_by"].as_str().unwrap()))
        .collect()
}

#[test]
fn row_051_agents_are_found_in_every_way_and_their_cards_fetched() {
    let machine = Machine::new("one", Vec::new());
    let mut town = Town::open();
    let found = town.discover(&machine, &["--dns", "home.test"]);
    let mut by_dns = names(&found);
    by_dns.sort_unstable();
    assert_eq!(by_dns, [("new", "dns"), ("old", "dns")], "{found}");
    assert_eq!(found["failed"], json!([]));
    let new = found["agents"].as_array().unwrap().iter().find(|it| it["card"]["name"] == "new");
    let skill = json!({ "id": "sum", "name": "Sum up", "description": "makes texts short" });
    assert_eq!(new.unwrap()["card"]["skills"], json!([skill]));
    let host = format!("new.home.test:{}", town.ports["new"]);
    let asked = town.asked();
    let wanted = json!(["new", "/.well-known/agent-card.json", host]);
    assert!(asked.as_array().unwrap().contains(&wanted), "by its own name: {asked}");
    let wanted = "/.well-known/agent.json";
    assert!(
        asked.as_array().unwrap().iter().any(|it| it[0] == "old" && it[1] == wanted),
        "{asked}"
    );

    let fixed = format!("http://{}/", town.at("old"));
    assert_eq!(names(&town.discover(&machine, &["--static", &fixed])), [("old", "static")]);
    assert_eq!(names(&town.discover(&machine, &["--mdns"])), [("new", "mdns")]);
    let cluster = town.discover(&machine, &["--kubernetes", "agents.lab"]);
    assert_eq!(names(&cluster), [("new", "kubernetes")]);
}

#[test]
fn one_place_that_fails_hides_no_other() {
    let machine = Machine::new("one", Vec::new());
    let town = Town::open();
    let ways = ["--dns", "nobody.test", "--dns", "mixed.test", "--static", "http://127.0.0.1:1"];
    let found = town.discover(&machine, &ways);
    assert_eq!(names(&found), [("new", "dns")]);
    let failed: Vec<_> = found["failed"].as_array().unwrap().iter().map(|it| &it["why"]).collect();
    assert_eq!(failed.len(), 3, "{found}");
    assert!(failed[0].as_str().unwrap().starts_with("no SRV record for `_a2a._tcp.nobody.test`"));

    let skilled = town.discover(&machine, &["--dns", "home.test", "--can", "SHORT"]);
    assert_eq!(names(&skilled), [("new", "dns")]);
    let (exit, error) = machine.fails(&["discover", "--static", "http://127.0.0.1:1"]);
    assert_eq!((exit, error["kind"].as_str()), (3, Some("not_found")), "{error}");
    let (exit, error) = machine.fails(&["discover"]);
    assert_eq!(exit, 2, "{error}");
}
