//! Rights that only shrink: at every door, offline, and on the machine that runs the task.

use serde_json::Value;

use crate::machine::{Machine, UPPER, program};

/// Runs a command where there is neither a home, nor a node, nor anything to ask.
fn offline(arguments: &[&str]) -> (bool, Value) {
    let output = program(arguments).arg("--json").output().unwrap();
    let value = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.success(), value)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// Makes a narrower token without a home.
fn narrow(token: &str, limits: &[&str]) -> String {
    let (done, narrowed) = offline(&[&["token", "narrow", token], limits].concat());
    assert!(done, "{narrowed}");
    text(&narrowed["token"]).to_owned()
}

fn call(machine: &Machine, function: &str, token: &str) -> Result<Value, String> {
    let arguments = ["call", function, "--input", "a", "--token", token, "--json"];
    let output = machine.command(&arguments).output().unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    match value["error"]["code"].as_str() {
        Some(code) => Err(code.to_owned()),
        None => Ok(value["output"].clone()),
    }
}

#[test]
fn row_251_a_token_for_one_tool_narrowed_to_ten_calls_refuses_the_11th_another_tool_and_later() {
    let mut one = Machine::up("one");
    let status = one.json(&["status"]);
    assert_eq!(status["mesh"], serde_json::json!([]), "there is no network");
    one.json(&["deploy", UPPER, "--id", "fn-1"]);
    one.json(&["deploy", UPPER, "--id", "fn-2"]);
    let until = ["--until", "2100-01-01T18:00:00Z"];
    let minted = one.json(&[&["token", "mint", "--capability", "fn-1"][..], &until].concat());
    let minted = text(&minted["token"]);
    let token = narrow(minted, &["--calls", "10"]);

    // At the node's own door.
    for number in 1..=10 {
        assert_eq!(call(&one, "fn-1", &token), Ok("A".into()), "call {number}");
    }
    assert_eq!(call(&one, "fn-1", &token), Err("token_used_up".to_owned()));
    assert_eq!(call(&one, "fn-2", &token), Err("token_capability".to_owned()));
    assert_eq!(call(&one, "fn-2", minted), Err("token_capability".to_owned()));
    assert_eq!(call(&one, "fn-1", minted), Ok("A".into()), "the count is the narrowed token's");
    let wider = narrow(&token, &["--calls", "100", "--capability", "fn-2"]);
    assert_eq!(call(&one, "fn-1", &wider), Err("token_used_up".to_owned()), "nothing is gained");
    one.kill();
    one.start();
    assert_eq!(call(&one, "fn-1", &token), Err("token_used_up".to_owned()), "after a power cut");
    let over = narrow(minted, &["--until", "2020-01-01T18:00:00Z"]);
    assert_eq!(call(&one, "fn-1", &over), Err("token_ended".to_owned()));

    // By anybody who knows the owner's key, with no node at all.
    one.kill();
    let owner = text(&status["swarm_key"]);
    let check = |more: &[&str]| {
        let (allowed, said) =
            offline(&[&["token", "check", &token, "--owner", owner], more].concat());
        assert_eq!(allowed, said["error"].is_null(), "{said}");
        said["error"]["code"].as_str().map(str::to_owned)
    };
    let before = ["--at", "2100-01-01T17:59:59Z"];
    assert_eq!(check(&[&["--capability", "fn-1", "--used", "9"][..], &before].concat()), None);
    assert_eq!(
        check(&[&["--capability", "fn-1", "--used", "10"][..], &before].concat()).as_deref(),
        Some("token_used_up")
    );
    assert_eq!(
        check(&[&["--capability", "fn-2"][..], &before].concat()).as_deref(),
        Some("token_capability")
    );
    assert_eq!(
        check(&["--capability", "fn-1", "--at", "2100-01-01T18:01:00Z"]).as_deref(),
        Some("token_ended")
    );
    let (_, shown) = offline(&["token", "show", &token, "--owner", owner]);
    assert_eq!(shown["signed_by_owner"], true);
    assert_eq!(shown["blocks"][1]["limits"][0]["calls"], 10);
    let stranger = text(&status["id"]);
    let (_, shown) = offline(&["token", "show", &token, "--owner", stranger]);
    assert_eq!(shown["signed_by_owner"], false);
}

#[test]
fn the_node_that_runs_the_task_checks_the_token_again() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    one.json(&["deploy", UPPER, "--id", "fn-1"]);
    two.until_offered("fn-1", "one");
    let minted = one.json(&["token", "mint", "--capability", "fn-1"]);
    let token = narrow(text(&minted["token"]), &["--calls", "2"]);
    let elsewhere = narrow(text(&minted["token"]), &["--node", &two.id()]);
    assert_eq!(call(&two, "fn-1", &elsewhere), Err("token_node".to_owned()));

    // Two has counted one call when it asks for the second; one, which ran both, has counted two.
    assert_eq!(call(&one, "fn-1", &token), Ok("A".into()));
    assert_eq!(call(&two, "fn-1", &token), Ok("A".into()));
    let arguments = ["call", "fn-1", "--input", "a", "--token", &token];
    let (_, error) = two.fails(&arguments);
    assert_eq!(error["code"], "token_used_up", "{error}");
    assert!(text(&error["message"]).contains("2 were made"), "{error}");

    // What the owner takes back is void at the other machine's door at once.
    let fresh = narrow(text(&minted["token"]), &[]);
    assert_eq!(call(&two, "fn-1", &fresh), Ok("A".into()));
    let revoked = one.json(&["token", "revoke", text(&minted["token"])]);
    assert_eq!(revoked["told"], serde_json::json!(["two"]));
    assert_eq!(call(&two, "fn-1", &fresh), Err("token_revoked".to_owned()));
    assert_eq!(call(&one, "fn-1", &fresh), Err("token_revoked".to_owned()));
    let (_, error) = two.fails(&["token", "revoke", text(&minted["token"])]);
    assert_eq!(error["code"], "not_owner", "{error}");
    let (_, error) = two.fails(&["token", "mint"]);
    assert_eq!(error["kind"], "denied", "{error}");
}
