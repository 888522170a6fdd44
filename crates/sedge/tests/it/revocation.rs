//! A member that is a member no more, on every machine, until it is invited again.

use serde_json::Value;

use crate::machine::{Machine, UPPER, until};

/// Names on a machine's list of members.
fn members(machine: &Machine) -> Vec<String> {
    let nodes = machine.json(&["nodes"]);
    let names = nodes.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned());
    names.collect()
}

/// Three machines of one swarm, all with `fn-1`; the first one owns it.
fn three() -> (Machine, Machine, Machine) {
    let (one, two, three) = (Machine::up("one"), Machine::up("two"), Machine::up("three"));
    one.pair(&two);
    one.pair(&three);
    until("two and three know each other", || {
        let nodes = two.json(&["nodes"]);
        let nodes = nodes.as_array().unwrap();
        nodes.len() == 3 && nodes.iter().all(|it| it["status"] == "online")
    });
    one.json(&["deploy", UPPER, "--id", "fn-1", "--to", "all"]);
    for name in ["one", "three"] {
        two.until_offered("fn-1", name);
    }
    (one, two, three)
}

fn call(on: &str) -> [&str; 6] {
    ["call", "fn-1", "--input", "a", "--on", on]
}

/// Whether a machine was told by another one that it is no member.
fn refused_by(machine: &Machine, name: &str) -> bool {
    let nodes = machine.json(&["nodes"]);
    let node = nodes.as_array().unwrap().iter().find(|it| it["name"] == name).unwrap().clone();
    node["reason"].as_str().is_some_and(|it| it.contains("is no member any more"))
}

#[test]
fn row_011_a_revoked_member_is_refused_by_every_node_within_one_round() {
    let (one, mut two, mut three) = three();
    for name in ["one", "three"] {
        assert_eq!(two.json(&call(name))["output"], "A");
    }
    // A member that does not hear of it, and would go on as before: a home from before the revocation.
    two.kill();
    let revoked: Value = one.json(&["revoke", "two"]);
    assert_eq!(revoked["name"], "two");
    assert_eq!(revoked["told"], serde_json::json!(["three"]), "one round, and all know it");
    for machine in [&one, &three] {
        assert_eq!(members(machine).len(), 2, "{:?}", members(machine));
    }
    two.start();
    for name in ["one", "three"] {
        until("its message is refused", || refused_by(&two, name));
        let (_, error) = two.fails(&call(name));
        assert_eq!(error["kind"], "not_found", "{error}");
    }
    assert!(!members(&one).contains(&"two".to_owned()));

    // It is kept on disk, by those that were told, too.
    three.kill();
    three.start();
    assert_eq!(members(&three).len(), 2);
    until("three refuses it after its restart", || refused_by(&two, "three"));

    // A new invitation is the way back, and every node learns of it.
    one.pair(&two);
    two.until_offered("fn-1", "three");
    assert_eq!(two.json(&call("three"))["output"], "A");
    assert_eq!(two.json(&call("one"))["output"], "A");
    until("three has it back", || members(&three).contains(&"two".to_owned()));
}

#[test]
fn a_revoked_member_that_hears_of_it_goes_on_alone() {
    let (one, two, three) = three();
    let (_, error) = two.fails(&["revoke", "three"]);
    assert_eq!(error["code"], "not_owner", "{error}");
    let (_, error) = one.fails(&["revoke", "one"]);
    assert_eq!(error["code"], "is_owner", "{error}");

    one.json(&["revoke", "two"]);
    assert_eq!(members(&one).len(), 2);
    assert_eq!(members(&three).len(), 2);
    until("two knows", || members(&two) == ["two"]);
    assert_eq!(two.json(&call("two"))["output"], "A", "its own functions are its own");
    let (_, error) = two.fails(&call("one"));
    assert_eq!(error["code"], "unknown_node", "{error}");
    one.pair(&two);
    two.until_offered("fn-1", "three");
    assert_eq!(two.json(&call("three"))["output"], "A");
}
