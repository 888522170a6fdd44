//! Schedules on running nodes: their times, their receipts, and what a crash does to them.

use serde_json::{Value, json};

use crate::machine::{Machine, PROBE, UPPER, until};

fn one(machine: &Machine, id: &str) -> Value {
    let list = machine.json(&["schedule", "ls"]);
    let found = list.as_array().unwrap().iter().find(|it| it["id"] == id).cloned();
    found.unwrap_or(Value::Null)
}

fn runs(machine: &Machine, id: &str) -> u64 {
    one(machine, id)["runs"].as_u64().unwrap()
}

/// Waits until a run has ended after so many; returns it.
fn ended_after(machine: &Machine, id: &str, number: u64) -> Value {
    let mut found = Value::Null;
    until("a run has ended", || {
        let schedule = one(machine, id);
        let mut last = schedule["last"].as_array().unwrap().iter();
        let ended = |it: &&Value| it["number"].as_u64() > Some(number) && it["state"] != "running";
        found = last.find(ended).cloned().unwrap_or(Value::Null);
        !found.is_null()
    });
    found
}

#[test]
fn row_077_the_next_times_are_right_and_advance_after_a_run() {
    let (one_, two) = (Machine::up("one"), Machine::up("two"));
    one_.pair(&two);
    one_.json(&["deploy", UPPER, "--id", "upper", "--to", "two"]);
    one_.until_offered("upper", "two");
    let next = ["schedule", "next", "*/5 * * * *", "--after", "2026-11-21T12:02:00Z"];
    assert_eq!(
        one_.json(&next),
        json!(["2026-11-21T12:05:00.000Z", "2026-11-21T12:10:00.000Z", "2026-11-21T12:15:00.000Z"])
    );
    let five = one_.json(&["schedule", "add", "upper", "--cron", "*/5 * * * *", "--id", "five"]);
    let times: Vec<_> =
        five["upcoming"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect();
    let step = 5 * 60 * 1000;
    assert_eq!(times.len(), 3);
    assert!(times.iter().all(|it| it % step == 0), "{times:?}");
    assert!(times.windows(2).all(|it| it[1] - it[0] == step), "{times:?}");
    let created = five["created"].as_u64().unwrap();
    assert!((created..=created + step).contains(&times[0]) && times[0] > created, "{five}");

    // One that comes true within the test: it runs on the other machine, advances, leaves a receipt.
    let add = ["schedule", "add", "upper", "--cron", "* * * * * *", "--id", "soon", "--input", "x"];
    let first = one_.json(&add)["next"].as_u64().unwrap();
    let run = ended_after(&one_, "soon", 0);
    assert_eq!((&run["state"], &run["output"]), (&json!("success"), &json!("X")), "{run}");
    assert_eq!((&run["due"], &run["node_name"]), (&json!(first), &json!("two")), "{run}");
    assert!(one(&one_, "soon")["next"].as_u64().unwrap() > first);
    let receipt = run["receipt"].as_str().unwrap();
    assert_eq!(one_.json(&["receipt", "verify", receipt])[0]["countersigned"], true);
    // The other machine knows nothing of the schedule: one node alone begins its runs.
    assert_eq!(two.json(&["schedule", "ls"]), json!([]));
    one_.json(&["schedule", "rm", "soon"]);
    assert_eq!(one(&one_, "soon"), Value::Null);
    assert_eq!(one_.fails(&["schedule", "rm", "soon"]).1["code"], "unknown_schedule");
}

#[test]
fn schedules_survive_a_crash_and_what_was_missed_runs_once_or_not() {
    let mut one_ = Machine::up("one");
    one_.json(&["deploy", UPPER, "--id", "upper"]);
    one_.json(&["deploy", PROBE, "--id", "probe"]);
    let soon = ["--every", "1s", "--input", "x"];
    one_.json(&[&["schedule", "add", "upper", "--id", "kept"], &soon[..]].concat());
    let at = ["--at", "2026-01-01T00:00:00Z"];
    one_.json(&[&["schedule", "add", "upper", "--id", "once", "--input", "x"], &at[..]].concat());
    one_.json(&[
        "schedule", "add", "probe", "--id", "long", "--every", "1h", "--input", "loop", "--time",
        "1h",
    ]);
    ended_after(&one_, "kept", 0);
    ended_after(&one_, "once", 0);
    until("the long one runs", || runs(&one_, "long") == 1);
    one_.kill();
    one_.start();
    // What ran in the crash was interrupted and is not repeated; what was over stays over.
    let long = one(&one_, "long");
    assert_eq!(long["last"][0]["state"], "interrupted", "{long}");
    assert_eq!(runs(&one_, "once"), 1);
    assert_eq!(one(&one_, "once")["next"], Value::Null);
    let before = runs(&one_, "kept");
    ended_after(&one_, "kept", before);
    assert_eq!(runs(&one_, "long"), 1);

    // By hand, and while a run has not ended.
    one_.json(&["schedule", "run", "long"]);
    let (exit, error) = one_.fails(&["schedule", "run", "long"]);
    assert_eq!((exit, &error["code"]), (4, &json!("still_running")), "{error}");
    let (_, error) = one_.fails(&["schedule", "add", "upper", "--id", "kept", "--every", "1s"]);
    assert_eq!(error["code"], "schedule_exists");
    let (_, error) = one_.fails(&["schedule", "add", "upper", "--cron", "61 * * * *"]);
    assert_eq!(error["code"], "invalid_time");
}
