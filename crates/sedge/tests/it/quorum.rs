//! Decisions that need a majority, between real processes.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use crate::machine::{Machine, until};

/// Machines of one swarm that know each other; the first one owns it.
fn swarm<const N: usize>(names: [&'static str; N]) -> [Machine; N] {
    paired(names.map(Machine::up))
}

/// The same on one machine: wherever they listen after a restart, they find each other.
fn neighbours<const N: usize>(names: [&'static str; N], meeting: &Path) -> [Machine; N] {
    paired(names.map(|name| {
        let mut machine = Machine::new(name, vec!["--no-model"]);
        symlink(meeting, machine.folder().join("cache")).unwrap();
        machine.start();
        machine
    }))
}

fn paired<const N: usize>(machines: [Machine; N]) -> [Machine; N] {
    for other in &machines[1..] {
        machines[0].pair(other);
    }
    for machine in &machines {
        until("all list each other online", || {
            let nodes = machine.json(&["nodes"]);
            let nodes = nodes.as_array().unwrap();
            nodes.len() == N && nodes.iter().all(|it| it["status"] == "online")
        });
    }
    machines
}

fn status(machine: &Machine) -> Value {
    machine.json(&["quorum", "status"])
}

/// The name and fence of the coordinator that all of these machines name; waits until they do.
fn settled<'a>(machines: impl Iterator<Item = &'a Machine> + Clone) -> (String, u64) {
    let mut led = (String::new(), 0);
    until("all name one coordinator", || {
        let mut said = machines.clone().map(|it| status(it)["coordinator"].clone());
        let first = said.next().unwrap();
        led =
            (first["name"].as_str().unwrap_or("").to_owned(), first["fence"].as_u64().unwrap_or(0));
        !first.is_null() && said.all(|it| it == first)
    });
    led
}

#[test]
fn row_048_a_killed_coordinator_is_replaced_by_exactly_one_within_five_seconds() {
    let mut machines = swarm(["one", "two", "three"]);
    machines[0].json(&["quorum", "init", "two", "three"]);
    let (mut leader, mut fence) = settled(machines.iter());
    let claimed = machines[1].json(&["quorum", "claim", "backup", "--ttl", "1h"]);
    let mut shortest = u64::MAX;
    for _ in 0..5 {
        let killed = machines.iter().position(|it| it.name == leader).unwrap();
        machines[killed].kill();
        let left = || machines.iter().enumerate().filter(|it| it.0 != killed).map(|it| it.1);
        until("the killed one is replaced", || {
            left().all(|it| status(it)["handover"]["fence"].as_u64() > Some(fence))
        });
        let (new, new_fence) = settled(left());
        assert_ne!(new, leader);
        assert!(new_fence > fence && new_fence > claimed["fence"].as_u64().unwrap());
        // Exactly one: both that are left have the same history, with one name under each fence.
        let histories: Vec<_> = left().map(|it| status(it)["history"].clone()).collect();
        assert_eq!(histories[0], histories[1]);
        let history = histories[0].as_array().unwrap();
        let fences: Vec<_> = history.iter().map(|it| it["fence"].as_u64().unwrap()).collect();
        assert!(fences.is_sorted_by(|a, b| a < b), "{fences:?}");
        // By what the nodes saw: from the last sign of life to the new one, the slower of both.
        let took = left().map(|it| status(it)["handover"]["took_ms"].as_u64().unwrap()).max();
        shortest = shortest.min(took.unwrap());
        // What was decided before is still decided.
        let log = left().next().unwrap().json(&["quorum", "log"]);
        assert_eq!(log["claims"][0]["fence"], claimed["fence"]);
        if shortest <= 5000 {
            break;
        }
        machines[killed].start();
        (leader, fence) = settled(machines.iter());
    }
    println!("replaced within {shortest} ms");
    assert!(shortest <= 5000, "the shortest took {shortest} ms");
}

#[test]
fn row_047_a_worker_refuses_what_only_the_coordinator_does_and_names_it() {
    let machines = swarm(["one", "two", "three", "four"]);
    let [one, two, three, four] = &machines;
    one.json(&["quorum", "init", "two", "three"]);
    let (leader, _) = settled([one, two, three].into_iter());
    let roles = |name: &str| {
        let nodes = status(one)["nodes"].clone();
        nodes.as_array().unwrap().iter().find(|it| it["name"] == name).unwrap()["roles"].clone()
    };
    assert_eq!(roles("two"), json!(["coordinator"]));
    assert_eq!(roles("four"), json!(["worker"]), "what a node is unless the owner says otherwise");

    until("the worker knows who is coordinator", || status(four)["coordinator"]["name"] == *leader);
    for role in ["worker", "scout", "specialist"] {
        one.json(&["quorum", "role", "four", role]);
        assert_eq!(roles("four"), json!([role]));
        until("it knows it itself", || {
            let nodes = status(four)["nodes"].clone();
            let here = nodes.as_array().unwrap().iter().find(|it| it["here"] == true).cloned();
            here.unwrap()["roles"] == json!([role])
        });
        // From another machine, over the mesh; and from itself.
        for asker in [two, four] {
            let (exit, error) = asker.fails(&["quorum", "claim", "job", "--on", "four"]);
            assert_eq!((exit, &error["code"]), (6, &json!("not_coordinator")), "{error}");
            let text = error["message"].as_str().unwrap();
            assert!(text.contains(&format!("node {leader} is")), "{text}");
        }
    }
    // The coordinator grants it, to a worker, too.
    let claim = four.json(&["quorum", "claim", "job"]);
    assert_eq!(claim["holder"], four.id());
    let (exit, error) = two.fails(&["quorum", "claim", "job"]);
    assert_eq!((exit, &error["code"]), (4, &json!("claim_held")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("node four"), "{error}");

    // Nobody but the owner makes a coordinator, or changes who votes.
    for arguments in [&["quorum", "role", "four", "coordinator"][..], &["quorum", "add", "four"]] {
        let (exit, error) = two.fails(arguments);
        assert_eq!((exit, &error["code"]), (6, &json!("not_owner")), "{error}");
    }
    let (_, error) = one.fails(&["quorum", "role", "two", "worker"]);
    assert_eq!(error["code"], "is_voter", "{error}");
}

#[test]
fn row_080_of_two_claimers_within_five_seconds_one_wins_and_after_its_crash_the_other_takes_over() {
    let mut machines = swarm(["one", "two", "three"]);
    machines[0].json(&["quorum", "init", "two", "three"]);
    settled(machines.iter());
    let claim = ["quorum", "claim", "task/001", "--ttl", "5s", "--json"];
    // Both at once, from two processes.
    let said: Vec<Value> = std::thread::scope(|scope| {
        let asking = [1, 2].map(|it| {
            let command = &machines[it];
            scope.spawn(move || command.run(&claim))
        });
        let outputs = asking.into_iter().map(|it| it.join().unwrap());
        outputs.map(|it| serde_json::from_slice(&it.stdout).unwrap()).collect()
    });
    let (winner, loser) = if said[0]["fence"].is_u64() { (1, 2) } else { (2, 1) };
    let won = &said[winner - 1];
    assert_eq!(won["holder"], machines[winner].id(), "{said:?}");
    assert_eq!(said[loser - 1]["error"]["code"], "claim_held", "one winner: {said:?}");
    let log = machines[0].json(&["quorum", "log"]);
    assert_eq!(log["claims"].as_array().unwrap().len(), 1, "{log}");
    assert_eq!(log["claims"][0]["holder"], won["holder"], "{log}");

    machines[winner].kill();
    let mut taken = Value::Null;
    until("the second takes over", || {
        let output = machines[loser].run(&claim);
        taken = serde_json::from_slice(&output.stdout).unwrap();
        output.status.success()
    });
    assert_eq!(taken["holder"], machines[loser].id(), "{taken}");
    assert!(taken["fence"].as_u64() > won["fence"].as_u64(), "{taken} after {won}");
    // Not before the window of the first was over.
    let ended = |it: &Value| it["until"].as_u64().unwrap();
    assert!(ended(&taken) - 5000 >= ended(won), "{taken} after {won}");
    // Back again, the first finds the claim held, and cannot give back what is not its own.
    machines[winner].start();
    until("it knows the coordinator", || !status(&machines[winner])["coordinator"].is_null());
    let fence = won["fence"].to_string();
    let freed = machines[winner].json(&["quorum", "release", "task/001", "--fence", &fence]);
    assert_eq!(freed["released"], false);
}

#[test]
fn what_was_decided_survives_when_every_voter_is_killed_at_once() {
    let meeting = tempfile::tempdir().unwrap();
    let mut machines = neighbours(["one", "two", "three"], meeting.path());
    machines[0].json(&["quorum", "init", "two", "three"]);
    settled(machines.iter());
    for number in 0..5 {
        machines[1].json(&["quorum", "record", &format!("line {number}")]);
    }
    let claim = machines[2].json(&["quorum", "claim", "job", "--ttl", "1h"]);
    let (_, fence) = settled(machines.iter());
    for machine in &mut machines {
        machine.kill();
    }
    for machine in &mut machines {
        machine.start();
    }
    let (_, after) = settled(machines.iter());
    assert!(after >= fence, "{after} after {fence}");
    for machine in &machines {
        let log = machine.json(&["quorum", "log"]);
        let lines = log["records"].as_array().unwrap().iter().map(|it| &it["text"]);
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines, ["line 0", "line 1", "line 2", "line 3", "line 4"]);
        assert_eq!(log["claims"][0]["fence"], claim["fence"]);
    }
    let fence = claim["fence"].to_string();
    let freed = machines[2].json(&["quorum", "release", "job", "--fence", &fence]);
    assert_eq!(freed["released"], true);

    // A minority decides nothing and says so.
    machines[0].kill();
    machines[1].kill();
    until("who leads is unknown", || status(&machines[2])["coordinator"].is_null());
    for arguments in [&["quorum", "record", "alone"][..], &["quorum", "log"]] {
        let (exit, error) = machines[2].fails(arguments);
        assert_eq!((exit, &error["code"]), (10, &json!("no_majority")), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("bring voters back"), "{error}");
    }
}

#[test]
fn voters_are_named_in_the_configuration_added_and_removed() {
    let one = Machine::new("one", vec!["--no-model"]);
    one.write_config("[quorum]\nvoters = [\"one\", \"two\"]\n");
    let mut one = one;
    one.start();
    let (two, three) = (Machine::up("two"), Machine::up("three"));
    one.pair(&two);
    settled([&one, &two].into_iter());
    let said = status(&one);
    assert!(said["warning"].as_str().unwrap().contains("no majority survives"), "{said}");
    one.pair(&three);
    let added = one.json(&["quorum", "add", "three"]);
    assert_eq!((&added["voters"], &added["warning"]), (&json!(3), &Value::Null), "{added}");
    settled([&one, &two, &three].into_iter());
    let (_, error) = one.fails(&["quorum", "init", "three"]);
    assert_eq!(error["code"], "quorum_exists", "{error}");
    one.json(&["quorum", "remove", "two"]);
    until("two knows that it votes no more", || status(&two)["voters"] == 2);
    two.json(&["quorum", "record", "asked by one that does not vote"]);
}

#[test]
fn another_machine_is_drained_by_the_coordinator_alone_and_oneself_by_anybody() {
    let machines = swarm(["one", "two", "three"]);
    let drain =
        |on: &Machine, whom: &Machine| on.json(&["node", "drain", whom.name])["changed"].clone();
    assert_eq!(drain(&machines[1], &machines[2]), true, "without a quorum anybody may");
    machines[1].json(&["node", "undrain", "three"]);
    machines[0].json(&["quorum", "init", "two", "three"]);
    let (leader, _) = settled(machines.iter());
    let (led, others): (Vec<&Machine>, Vec<&Machine>) =
        machines.iter().partition(|it| it.name == leader);
    let (exit, error) = others[0].fails(&["node", "drain", others[1].name]);
    assert_eq!((exit, &error["code"]), (6, &json!("coordinator_drains")), "{error}");
    assert!(error["message"].as_str().unwrap().contains(&leader), "{error}");
    assert_eq!(others[1].json(&["nodes"])[0]["draining"], false);
    assert_eq!(drain(led[0], others[1]), true);
    assert_eq!(drain(others[0], others[0]), true, "its own operator always may");
}
