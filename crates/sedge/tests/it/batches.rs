//! Many tasks at once: handed in on one machine, run on several, gathered in order.

use std::fs;

use serde_json::{Value, json};

use crate::machine::{Machine, PROBE, until};

const COUNT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions/count.wasm");

/// Hands in a file of tasks; returns the batch's id.
fn submit(machine: &Machine, lines: &[String], more: &[&str]) -> String {
    let file = machine.folder().join("tasks");
    fs::write(&file, lines.join("\n")).unwrap();
    let batch = machine.json(&[&["batch", "submit", file.to_str().unwrap()], more].concat());
    batch["id"].as_str().unwrap().to_owned()
}

#[test]
fn row_082_a_hundred_tasks_are_gathered_in_order_with_the_listed_values() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    // Vector 000-13: a hundred payloads, by turns plus one and times two.
    one.json(&["deploy", COUNT, "--id", "plus", "--to", "all"]);
    one.json(&["deploy", COUNT, "--id", "times", "--to", "two"]);
    one.until_offered("plus", "two");
    one.until_offered("times", "two");
    let line = |it: usize| match it % 2 {
        0 => json!({ "function": "plus", "input": format!("+1 {it}") }).to_string(),
        _ => json!({ "function": "times", "input": format!("*2 {it}") }).to_string(),
    };
    let lines: Vec<_> = (0..100).map(line).collect();
    let id = submit(&one, &lines, &[]);
    let gathered = one.json(&["batch", "gather", &id, "--wait", "60s"]);
    assert_eq!((&gathered["ended"], &gathered["failed"]), (&json!(100), &json!(0)), "{gathered}");
    let results = gathered["results"].as_array().unwrap();
    let value = |it: usize| results[it]["output"].as_str().unwrap().parse::<usize>().unwrap();
    assert_eq!([value(0), value(1), value(98), value(99)], [1, 2, 99, 198]);
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result["index"], index);
        assert_eq!(value(index), if index % 2 == 0 { index + 1 } else { index * 2 });
    }
    // Each ran by the ordinary way: some on the other machine, all with a receipt.
    assert!(results.iter().any(|it| it["node_name"] == "two"));
    let receipt = results[99]["receipt"].as_str().unwrap();
    assert_eq!(one.json(&["receipt", "verify", receipt])[0]["countersigned"], true);
    assert_eq!(one.json(&["batch", "ls"])[0]["id"], *id);
    one.json(&["batch", "rm", &id]);
    let (exit, error) = one.fails(&["batch", "gather", &id]);
    assert_eq!((exit, &error["code"]), (3, &json!("unknown_batch")), "{error}");
}

#[test]
fn a_batch_survives_a_crash_and_what_ran_is_not_repeated() {
    let mut one = Machine::new("one", vec!["--no-model"]);
    // One task of a batch at a time.
    one.write_config("[node]\nmax_tasks = 2\n");
    one.start();
    one.json(&["deploy", PROBE, "--id", "probe"]);
    let lines = ["echo a", "loop", "echo b", "fail on purpose", "nonsense"].map(str::to_owned);
    let id = submit(&one, &lines, &["--function", "probe"]);
    let states = |machine: &Machine| {
        let gathered = machine.json(&["batch", "gather", &id]);
        let results = gathered["results"].as_array().unwrap().clone();
        results.iter().map(|it| it["state"].clone()).collect::<Vec<Value>>()
    };
    until("the endless one runs", || states(&one)[1] == "running");
    assert_eq!(states(&one), ["success", "running", "queued", "queued", "queued"]);
    one.kill();
    one.start();
    let gathered = one.json(&["batch", "gather", &id, "--wait", "60s"]);
    assert_eq!(states(&one), ["success", "interrupted", "success", "failed", "failed"]);
    assert_eq!((&gathered["ended"], &gathered["failed"]), (&json!(5), &json!(3)), "{gathered}");
    assert_eq!(gathered["results"][2]["output"], "b");
    let failure = &gathered["results"][3]["failure"];
    assert!(failure["message"].as_str().unwrap().contains("on purpose"), "{failure}");

    let none = one.folder().join("none");
    fs::write(&none, "").unwrap();
    let (exit, error) = one.fails(&["batch", "submit", none.to_str().unwrap()]);
    assert_eq!((exit, &error["code"]), (2, &json!("invalid_batch")), "{error}");
    fs::write(&none, "no task").unwrap();
    let (_, error) = one.fails(&["batch", "submit", none.to_str().unwrap()]);
    assert!(error["message"].as_str().unwrap().starts_with("line 1 is no task"), "{error}");
}
