//! What people read: help, errors, exit codes.

use std::fs;
use std::net::TcpListener;
use std::process::Output;

use expect_test::{Expect, ExpectFile, expect, expect_file};

use crate::machine::{Machine, program};

/// Shows what a command wrote and how it ended, with the machine's own paths taken out.
fn shown(machine: &Machine, output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let all = format!(
        "{}{}exit {}\n",
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap()
    );
    all.replace(machine.folder().to_str().unwrap(), "DIR")
}

#[track_caller]
fn check(machine: &Machine, arguments: &[&str], expected: Expect) {
    expected.assert_eq(&shown(machine, &machine.run(arguments)));
}

#[track_caller]
fn check_help(arguments: &[&str], expected: ExpectFile) {
    let output = program(arguments).env("COLUMNS", "100").output().unwrap();
    assert!(output.status.success());
    expected.assert_eq(&String::from_utf8(output.stdout).unwrap());
}

#[test]
fn help() {
    check_help(&["--help"], expect_file!["../snapshots/help.txt"]);
    for command in [
        "up",
        "invite",
        "join",
        "new",
        "deploy",
        "call",
        "batch",
        "rollout",
        "schedule",
        "exec",
        "fix",
        "session",
        "secret",
        "plugin",
        "mcp",
        "chat",
        "receipt",
        "bench",
        "artifact",
        "graph",
        "revoke",
        "token",
        "quorum",
        "node",
        "nodes",
        "health",
        "rebalance",
        "cluster",
        "relay",
        "doctor",
        "admission",
        "audit",
        "discover",
        "edge",
        "approve",
        "approver",
        "apps",
    ] {
        let file = format!("{}/tests/snapshots/help_{command}.txt", env!("CARGO_MANIFEST_DIR"));
        check_help(&[command, "--help"], expect_file![file]);
    }
}

#[test]
fn no_node() {
    let machine = Machine::new("one", Vec::new());
    check(
        &machine,
        &["status"],
        expect![[r#"
            error: no node is running in DIR/home
            hint: start one with `sedge up`
            exit 10
        "#]],
    );
    check(
        &machine,
        &["status", "--json"],
        expect![[r#"
            {"error":{"kind":"unavailable","code":null,"message":"no node is running in DIR/home","hint":"start one with `sedge up`","ways":[]}}
            error: no node is running in DIR/home
            hint: start one with `sedge up`
            exit 10
        "#]],
    );
}

#[test]
fn wrong_arguments() {
    let machine = Machine::new("one", Vec::new());
    check(
        &machine,
        &["call", "fn-1", "--time", "soon"],
        expect![[r#"
            error: invalid value 'soon' for '--time <TIME>': a duration looks like 500ms, 5s, 2m or 1h

            For more information, try '--help'.
            exit 2
        "#]],
    );
}

#[test]
fn a_config_with_an_unknown_key_is_refused_and_kept() {
    let machine = Machine::new("one", Vec::new());
    let text = "[node]\nlistn = \"127.0.0.1:1\"\n";
    machine.write_config(text);
    let output = machine.run(&["up", "--no-model"]);
    let said = shown(&machine, &output);
    assert!(said.contains("listn") && said.contains("DIR/home/config.toml"), "{said}");
    assert!(said.ends_with("exit 2\n"), "{said}");
    assert_eq!(fs::read_to_string(machine.home().join("config.toml")).unwrap(), text);
}

#[test]
fn a_port_in_use_is_named_with_the_next_step() {
    let machine = Machine::new("one", Vec::new());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = machine.run(&["up", "--no-model", "--api", &address]);
    let said = shown(&machine, &output);
    let port = taken.local_addr().unwrap().port();
    assert!(said.contains(&format!("error: port {port} of 127.0.0.1 is in use")), "{said}");
    assert!(said.contains("--api"), "{said}");
    assert!(said.ends_with("exit 4\n"), "{said}");
}

#[test]
fn a_home_that_cannot_be_made_is_named() {
    let machine = Machine::new("one", Vec::new());
    fs::write(machine.folder().join("file"), "").unwrap();
    let home = machine.folder().join("file/home");
    let output = machine.run(&["up", "--no-model", "--home", home.to_str().unwrap()]);
    let said = shown(&machine, &output);
    assert!(said.starts_with("error: cannot create DIR/file/home"), "{said}");
}

#[test]
fn a_second_node_in_one_home_is_refused() {
    let machine = Machine::up("one");
    let output = machine.run(&["up", "--no-model", "--api", "127.0.0.1:0"]);
    let said = shown(&machine, &output);
    assert!(said.starts_with("error: another node runs in DIR/home\nhint: "), "{said}");
    assert!(said.ends_with("exit 4\n"), "{said}");
}

#[test]
fn a_node_behind_is_started_and_stopped() {
    let machine = Machine::new("one", Vec::new());
    let up = ["up", "--detach", "--no-model", "--api", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    assert_eq!(machine.json(&up)["ready"], true);
    assert_eq!(machine.json(&["status"])["members"], 1);
    assert_eq!(machine.json(&["down"])["stopped"], true);
    let (exit, _) = machine.fails(&["down"]);
    assert_eq!(exit, 10);
}

#[test]
fn a_file_that_holds_no_receipts_is_refused() {
    let machine = Machine::new("one", Vec::new());
    let key = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
    let verify = |file: &str| {
        let path = machine.folder().join(file);
        let arguments =
            ["receipt", "verify", path.to_str().unwrap(), "--executor", key, "--requester", key];
        shown(&machine, &program(&arguments).output().unwrap())
    };
    assert!(verify("missing.json").starts_with("error: cannot read DIR/missing.json"));
    fs::write(machine.folder().join("other.json"), "{}").unwrap();
    let said = verify("other.json");
    assert!(said.starts_with("error: DIR/other.json: "), "{said}");
}
