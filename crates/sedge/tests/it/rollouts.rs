//! New versions on their way to running nodes: to the end, back, and through a crash.

use std::fs;

use serde_json::{Value, json};

use crate::machine::{Machine, PROBE, UPPER, until};

/// Three machines of one swarm that all have `upper` as `fn-1`, with an environment of its own.
fn three() -> [Machine; 3] {
    let machines = ["anna", "berta", "carla"].map(Machine::up);
    for other in &machines[1..] {
        machines[0].pair(other);
    }
    for machine in &machines {
        until("all three list each other online", || {
            machine.json(&["nodes", "--status", "online"]).as_array().unwrap().len() == 3
        });
    }
    machines[0].json(&["deploy", UPPER, "--id", "fn-1", "--to", "all", "--env", "KEPT=yes"]);
    for machine in &machines {
        for node in ["anna", "berta", "carla"] {
            machine.until_offered("fn-1", node);
        }
    }
    machines
}

fn show(machine: &Machine, id: &str) -> Value {
    machine.json(&["rollout", "show", id])
}

fn until_state(machine: &Machine, id: &str, state: &str) -> Value {
    let mut last = Value::Null;
    until(&format!("the rollout is {state}"), || {
        last = show(machine, id);
        let now = last["state"].as_str().unwrap();
        assert!(now == state || now == "pending" || now == "in_progress", "{last}");
        now == state
    });
    last
}

/// What a machine answers itself.
fn answer(machine: &Machine, on: &str, input: &str) -> Value {
    machine.json(&["call", "fn-1", "--input", input, "--on", on])["output"].clone()
}

/// Which canary a rollout has.
fn canaries(rollout: &Value) -> Vec<String> {
    let steps = rollout["steps"].as_array().unwrap().iter();
    let canaries = steps.filter(|it| it["canary"] == true);
    canaries.map(|it| it["node_name"].as_str().unwrap().to_owned()).collect()
}

fn until_watched(machine: &Machine, id: &str) {
    until("the canary is watched", || show(machine, id)["phase"]["watch"]["since"].is_number());
}

#[test]
fn row_075_a_canary_that_fails_half_its_calls_is_rolled_back_and_the_old_version_answers() {
    let [anna, mut berta, carla] = three();
    // The new version answers what it knows and traps on the rest: half of what it is asked here.
    let gate = ["--gate", "calls=6", "--gate", "success=90", "--gate", "window=10m"];
    let start = ["rollout", "start", "fn-1", PROBE, "--strategy", "canary"];
    let started = berta.json(&[&start[..], &gate[..]].concat());
    let id = started["id"].as_str().unwrap().to_owned();
    assert_eq!(canaries(&started), ["anna"], "10 % of 3 is one, vector 000-11: {started}");
    until_watched(&berta, &id);
    let (exit, error) = berta.fails(&[&start[..], &gate[..]].concat());
    assert_eq!((exit, &error["code"]), (4, &json!("rollout_state")), "{error}");

    // Killed in the middle, the one that leads goes on where it was.
    berta.kill();
    assert_eq!(answer(&carla, "anna", "upper x"), "X", "the canary has the new version");
    assert_eq!(answer(&carla, "carla", "upper x"), "UPPER X", "the others have the old one");
    berta.start();
    assert_eq!(show(&berta, &id)["state"], "in_progress");
    for number in 0..8 {
        let input = if number % 2 == 0 { "echo on" } else { "trap" };
        let output = carla.run(&["call", "fn-1", "--input", input, "--on", "anna", "--json"]);
        // It may be back already: then the old version answers everything.
        assert!(output.status.success() || input == "trap", "{output:?}");
    }
    let ended = until_state(&berta, &id, "rolled_back");
    let reason = ended["reason"].as_str().unwrap();
    assert!(reason.contains("tasks of the new version failed"), "{reason}");
    let steps = ended["steps"].as_array().unwrap();
    assert_eq!(steps[0]["state"], "rolled_back", "{ended}");
    assert!(steps[1..].iter().all(|it| it["state"] == "pending"), "{ended}");
    for node in ["anna", "berta", "carla"] {
        assert_eq!(answer(&anna, node, "trap"), "TRAP", "the old version answers on {node}");
    }
    // With the options that it had there.
    assert_eq!(steps[0]["before"]["options"]["env"], json!({ "KEPT": "yes" }), "{ended}");
    let listed = berta.json(&["rollout", "ls"]);
    assert_eq!((&listed[0]["id"], &listed[0]["state"]), (&json!(id), &json!("rolled_back")));
}

#[test]
fn row_075_a_canary_that_fares_well_goes_everywhere_and_can_be_brought_back() {
    let [anna, berta, carla] = three();
    let started = anna.json(&[
        "rollout",
        "start",
        "fn-1",
        PROBE,
        "--strategy",
        "canary",
        "--percent",
        "34",
        "--gate",
        "calls=4",
        "--gate",
        "window=0s",
        "--gate",
        "p95=1000",
        "--probe",
        "echo a",
        "--probe",
        "upper b",
        "--to",
        "carla",
        "--to",
        "berta",
        "--to",
        "anna",
    ]);
    let id = started["id"].as_str().unwrap();
    assert_eq!(canaries(&started), ["carla"]);
    until_state(&anna, id, "completed");
    for node in ["anna", "berta", "carla"] {
        assert_eq!(answer(&berta, node, "upper x"), "X");
    }
    anna.json(&["rollout", "rollback", id]);
    let ended = until_state(&anna, id, "rolled_back");
    assert_eq!(ended["reason"], "it was asked to go back");
    for node in ["anna", "berta", "carla"] {
        assert_eq!(answer(&carla, node, "upper x"), "UPPER X");
    }
    let (exit, error) = anna.fails(&["rollout", "rollback", id]);
    assert_eq!((exit, &error["code"]), (4, &json!("rollout_state")), "{error}");
}

#[test]
fn row_075_blue_and_green_switch_together_and_a_green_that_fails_its_probe_never_answers() {
    let [anna, berta, _carla] = three();
    let start = ["rollout", "start", "fn-1", PROBE, "--strategy", "blue-green"];
    let bad = anna.json(&[&start[..], &["--probe", "echo a", "--probe", "trap"]].concat());
    let ended = until_state(&anna, bad["id"].as_str().unwrap(), "rolled_back");
    assert!(ended["reason"].as_str().unwrap().contains("failed a probe"), "{ended}");
    assert_eq!(answer(&berta, "anna", "trap"), "TRAP");
    let good = anna.json(&[&start[..], &["--probe", "echo a"]].concat());
    until_state(&anna, good["id"].as_str().unwrap(), "completed");
    for node in ["anna", "berta", "carla"] {
        assert_eq!(answer(&berta, node, "upper x"), "X");
    }
    // What waited beside the old version is gone.
    until("no green is left", || {
        let offers = anna.json(&["capabilities"]);
        offers.as_array().unwrap().iter().all(|it| it["name"] != "fn-1.green")
    });
}

#[test]
fn row_075_a_rolling_rollout_that_fails_on_one_node_is_undone_on_all() {
    let [anna, berta, mut carla] = three();
    let broken = anna.folder().join("broken.wasm");
    fs::write(&broken, b"no component").unwrap();
    let started = anna.json(&["rollout", "start", "fn-1", broken.to_str().unwrap()]);
    let ended = until_state(&anna, started["id"].as_str().unwrap(), "rolled_back");
    assert!(ended["reason"].as_str().unwrap().starts_with("on node anna: "), "{ended}");
    assert_eq!(answer(&berta, "anna", "x"), "X");
    // One that nobody named is not needed.
    carla.kill();
    until("carla is away", || {
        anna.json(&["nodes", "--status", "online"]).as_array().unwrap().len() == 2
    });
    let started = anna.json(&["rollout", "start", "fn-2", UPPER, "--to", "anna", "--to", "berta"]);
    until_state(&anna, started["id"].as_str().unwrap(), "completed");
    anna.json(&["rollout", "rollback", started["id"].as_str().unwrap()]);
    until_state(&anna, started["id"].as_str().unwrap(), "rolled_back");
    let (_, error) = anna.fails(&["call", "fn-2", "--input", "x"]);
    assert_eq!(error["code"], "unknown_capability", "what had nothing before has nothing again");
}

#[test]
fn row_076_a_plan_is_listed_from_pending_to_completed() {
    let [anna, berta, _carla] = three();
    let planned = anna.json(&["rollout", "plan", "fn-1", PROBE, "--strategy", "rolling"]);
    let id = planned["id"].as_str().unwrap();
    let state = || anna.json(&["rollout", "ls"])[0]["state"].clone();
    assert_eq!((planned["state"].clone(), state()), (json!("pending"), json!("pending")));
    assert_eq!(answer(&berta, "anna", "upper x"), "UPPER X", "nothing was done yet");
    let going = anna.json(&["rollout", "go", id]);
    assert_eq!(going["state"], "in_progress");
    until_state(&anna, id, "completed");
    assert_eq!(state(), "completed");
    for node in ["anna", "berta", "carla"] {
        assert_eq!(answer(&berta, node, "upper x"), "X");
    }
    let (_, error) = anna.fails(&["rollout", "go", id]);
    assert_eq!(error["message"], format!("rollout {id} is completed"));
    let (exit, error) = anna.fails(&["rollout", "show", "nothing"]);
    assert_eq!((exit, &error["code"]), (3, &json!("unknown_rollout")));
    let text = String::from_utf8(anna.run(&["rollout", "ls"]).stdout).unwrap();
    assert!(text.contains("3 of 3") && text.contains("completed"), "{text}");
}
