//! The official MCP client for Python, as it is, and a client that speaks JSON by hand.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::machine::{Machine, UPPER, program, python, until};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/mcp_client.py");

/// Lets the official client start `sedge mcp` of a machine and call tools.
fn client(machine: &Machine, calls: &Value) -> Value {
    let environment = json!({ "SEDGE_HOME": machine.home() }).to_string();
    let output = Command::new(python())
        .args([SCRIPT, env!("CARGO_BIN_EXE_sedge"), &environment, &calls.to_string()])
        .output()
        .unwrap_or_else(|err| panic!("cannot run {}: {err}; run ./test.sh", python()));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\nif a module is missing, run ./test.sh");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn row_178_a_foreign_client_sees_the_health_of_the_live_cluster_and_not_of_an_empty_one() {
    let (one, mut two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    one.json(&["deploy", UPPER, "--id", "fn-1", "--to", "all"]);
    one.json(&["deploy", UPPER, "--id", "fn-2", "--to", "two"]);
    one.until_offered("fn-1", "two");
    one.until_offered("fn-2", "two");
    let health = || json!(["edge_computing_cluster_health", {}]);
    let calls = json!([
        health(),
        ["edge_computing_list_capabilities", {}],
        ["edge_computing_health_check", {}],
        ["edge_computing_health_check", { "heartbeat_timeout_seconds": 0.25 }],
        ["edge_computing_health_check", { "heartbeat_timeout_seconds": "soon" }],
        ["no_such_tool", {}],
    ]);
    let said = client(&one, &calls);
    assert_eq!(said["server"], "sedge");
    let tools: Vec<_> = said["tools"].as_object().unwrap().keys().collect();
    assert_eq!(
        tools,
        [
            "edge_computing_cluster_health",
            "edge_computing_list_capabilities",
            "edge_computing_health_check"
        ]
    );
    let schema = &said["tools"]["edge_computing_health_check"];
    assert_eq!(schema["properties"]["heartbeat_timeout_seconds"]["default"], 60.0);

    let results = &said["results"];
    let told = &results[0]["structured"];
    assert_eq!(results[0]["error"], false, "{told}");
    let node = |id: &str, functions: u32| json!({ "id": id, "status": "online", "functions": functions, "draining": false });
    assert_eq!(
        *told,
        json!({
            "status": "success", "total_nodes": 2, "online": 2, "draining": 0, "total_functions": 3,
            "total_invocations": told["total_invocations"], "nodes": [node("one", 1), node("two", 2)],
        })
    );
    let text = results[0]["text"][0].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), *told, "for clients that read text");
    assert_eq!(
        results[1]["structured"],
        json!({
            "status": "success",
            "node_statuses": ["online", "offline", "degraded", "syncing", "maintenance"],
            "deployment_strategies": ["rolling", "blue_green", "canary"],
            "schedule_types": ["once", "interval", "cron_like"],
        })
    );
    let check = &results[2]["structured"];
    assert_eq!(
        [&check["status"], &check["monitored_nodes"], &check["total_checks"]],
        [&json!("success"), &json!(2), &json!(2)]
    );
    assert_eq!((&check["timeout_seconds"], &check["healthy_nodes"]), (&json!(60.0), &json!(2)));
    assert_eq!(check["recommendations"], json!({ "one": "Normal", "two": "Normal" }));
    assert_eq!(results[3]["structured"]["timeout_seconds"], 0.25, "{results}");
    assert_eq!(results[4]["error"], true);
    let why = results[4]["structured"]["message"].as_str().unwrap();
    assert!(why.starts_with("the arguments are wrong"), "{why}");
    assert!(results[5]["refused"].as_str().unwrap().contains("no_such_tool"), "{results}");

    // It is the live cluster: what happens there is told by the next call.
    two.kill();
    until("the dead one is noticed", || one.json(&["health"])["online"] == 1);
    let told = &client(&one, &json!([health()]))["results"][0]["structured"];
    assert_eq!((&told["total_nodes"], &told["online"]), (&json!(2), &json!(1)), "{told}");
}

#[test]
fn without_a_node_a_tool_says_so_and_the_server_goes_on() {
    let machine = Machine::new("one", Vec::new());
    let mut child = program(&["mcp"])
        .env("SEDGE_HOME", machine.home())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ask = |id: u32, method: &str, params: Value| {
        let ask = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        writeln!(stdin, "{ask}").unwrap();
        let answer: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    };
    // An older client is answered in its own revision.
    let hello = json!({
        "protocolVersion": "2024-11-05", "capabilities": {},
        "clientInfo": { "name": "hand", "version": "1" },
    });
    assert_eq!(ask(1, "initialize", hello)["result"]["protocolVersion"], "2024-11-05");
    for id in 2..4 {
        let call = json!({ "name": "edge_computing_cluster_health", "arguments": {} });
        let result = ask(id, "tools/call", call)["result"].clone();
        assert_eq!(result["isError"], true, "{result}");
        let text: Value =
            serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text["status"], "error");
        assert!(text["message"].as_str().unwrap().starts_with("no node is running"), "{text}");
        assert_eq!(text["hint"], "start one with `sedge up`");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success(), "the client that leaves is no failure");
}
