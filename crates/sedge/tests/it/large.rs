//! Machines of a swarm that is too large for everybody to talk to everybody: made small by the
//! configuration, so that a few real processes are many.

use serde_json::json;

use crate::machine::{Machine, UPPER, until};

/// Five machines of one swarm, of which each talks to a few; the first one owns it.
fn five() -> [Machine; 5] {
    let machines = ["one", "two", "three", "four", "five"].map(|name| {
        let mut machine = Machine::new(name, vec!["--no-model"]);
        machine.write_config("[node]\nfull_mesh = 2\n");
        machine.start();
        machine
    });
    for other in &machines[1..] {
        machines[0].pair(other);
    }
    for machine in &machines {
        until_online(machine, 5);
    }
    machines
}

fn until_online(machine: &Machine, count: usize) {
    until("they are listed online", || {
        let online = machine.json(&["nodes", "--status", "online"]);
        online.as_array().unwrap().len() == count
    });
}

#[test]
fn in_a_large_swarm_offers_deaths_and_revocations_reach_everybody() {
    let [one, two, three, four, mut five] = five();
    four.json(&["deploy", UPPER, "--id", "fn-1", "--to", "here"]);
    for machine in [&one, &two, &three, &five] {
        machine.until_offered("fn-1", "four");
        let called = machine.json(&["call", "fn-1", "--input", "a"]);
        assert_eq!((&called["output"], &called["node_name"]), (&json!("A"), &json!("four")));
    }

    five.kill();
    for machine in [&one, &two, &three, &four] {
        until_online(machine, 4);
    }
    five.start();
    for machine in [&one, &two, &three, &four, &five] {
        until_online(machine, 5);
    }

    let revoked = one.json(&["revoke", "three"]);
    let mut told: Vec<_> = revoked["told"].as_array().unwrap().clone();
    told.sort_by_key(ToString::to_string);
    assert_eq!(told, ["five", "four", "two"]);
    for machine in [&one, &two, &four, &five] {
        assert_eq!(machine.json(&["nodes"]).as_array().unwrap().len(), 4, "it is off the list");
        let (_, error) = three.fails(&["call", "fn-1", "--input", "a", "--on", machine.name]);
        assert!(error["code"].is_string(), "{error}");
    }
}
