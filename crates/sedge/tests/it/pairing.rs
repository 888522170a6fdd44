//! How machines come together, and how they do not.

use crate::machine::Machine;

fn invite(machine: &Machine) -> (String, String) {
    let invitation = machine.json(&["invite", "--no-wait"]);
    let text = |it: &serde_json::Value| it.as_str().unwrap().to_owned();
    (text(&invitation["code"]), text(&invitation["addresses"][0]))
}

#[test]
fn a_node_listens_on_the_mesh_only_from_its_first_invitation_on() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    assert_eq!(one.json(&["status"])["mesh"], serde_json::json!([]));
    one.pair(&two);
    for machine in [&one, &two] {
        let status = machine.json(&["status"]);
        assert_eq!(status["members"], 2);
        assert_eq!(status["mesh"].as_array().map(Vec::len), Some(1), "{status}");
    }
    assert_eq!(two.json(&["status"])["owner"], false);
}

#[test]
fn a_wrong_code_burns_the_right_one() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    let (code, at) = invite(&one);
    // Another last word of the same list: the first one of the code, or the second if they agree.
    let words: Vec<&str> = code.split('-').collect();
    let last = if words[1] == words[3] { words[2] } else { words[1] };
    let wrong = [words[0], words[1], words[2], last].join("-");
    let (exit, error) = two.fails(&["join", &wrong, "--at", &at]);
    assert_eq!((exit, &error["kind"]), (5, &"unauthenticated".into()), "{error}");

    let (_, error) = two.fails(&["join", &code, "--at", &at]);
    assert!(error["message"].is_string(), "{error}");
    assert_eq!(one.json(&["status"])["members"], 1);
    assert_eq!(two.json(&["status"])["members"], 1);
}

#[test]
fn a_code_is_used_once() {
    let (one, two, three) = (Machine::up("one"), Machine::up("two"), Machine::up("three"));
    let (code, at) = invite(&one);
    two.json(&["join", &code, "--at", &at]);
    let (_, error) = three.fails(&["join", &code, "--at", &at]);
    assert!(error["message"].is_string(), "{error}");
    assert_eq!(one.json(&["status"])["members"], 2);
}

#[test]
fn an_expired_code_admits_nobody() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    // It waits for somebody to come, which is until the code has expired.
    let told = one.run(&["invite", "--ttl", "1s", "--json"]);
    assert_eq!(told.status.code(), Some(8));
    let told = String::from_utf8(told.stdout).unwrap();
    let told: Vec<serde_json::Value> =
        told.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(told[1]["error"]["kind"], "timeout", "{told:?}");
    let code = told[0]["code"].as_str().unwrap();
    let at = told[0]["addresses"][0].as_str().unwrap();
    let (exit, error) = two.fails(&["join", code, "--at", at]);
    assert_eq!((exit, &error["kind"]), (10, &"unavailable".into()), "{error}");
    assert_eq!(one.json(&["status"])["members"], 1);
    assert_eq!(two.json(&["status"])["members"], 1);
}

#[test]
fn words_that_are_no_code_are_named() {
    let one = Machine::up("one");
    let (exit, error) = one.fails(&["join", "7-xyzzy-plugh-frotz"]);
    assert_eq!((exit, &error["kind"]), (2, &"invalid".into()));
    assert!(error["message"].as_str().unwrap().contains("xyzzy"), "{error}");
}

#[test]
fn a_join_while_the_other_side_is_down_says_which_way_failed_and_why() {
    let (mut one, two) = (Machine::up("one"), Machine::up("two"));
    let (code, at) = invite(&one);
    one.kill();
    let (exit, error) = two.fails(&["join", &code, "--at", &at]);
    assert_eq!((exit, &error["kind"]), (10, &"unavailable".into()), "{error}");
    let ways = error["ways"].as_array().unwrap();
    let address = ways.iter().find(|it| it["way"] == "address").expect("the address was tried");
    assert!(!address["reason"].as_str().unwrap().is_empty());
    assert!(!address["next_step"].as_str().unwrap().is_empty());
}
