//! Chains of receipts as strangers and other members see them, and tasks that are run again.

use std::fs;
use std::path::{Path, PathBuf};

use sedge_base::NodeId;
use sedge_trust::receipt::{ChainFileError, verify_chain_file};
use serde_json::Value;

use crate::machine::{Machine, PROBE, UPPER, program, until};

/// Verifies a file in a process without a home; returns whether it passes, and what it says.
fn stranger(
    file: &Path,
    executor: &Machine,
    requesters: &[&Machine],
    more: &[&str],
) -> (bool, Value) {
    let mut arguments = vec!["receipt".to_owned(), "verify".to_owned(), "--json".to_owned()];
    arguments.push(file.to_str().unwrap().to_owned());
    arguments.extend(["--executor".to_owned(), executor.id()]);
    for requester in requesters {
        arguments.extend(["--requester".to_owned(), requester.id()]);
    }
    arguments.extend(more.iter().map(|it| (*it).to_owned()));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let output = program(&arguments).output().unwrap();
    (output.status.success(), serde_json::from_slice(&output.stdout).unwrap())
}

fn message(said: &Value) -> &str {
    said["error"]["message"].as_str().unwrap()
}

/// Runs four tasks on `two`, for both machines in turn; returns the file of its chain, once both ends
/// have signed every record.
fn exported_chain(one: &Machine, two: &Machine) -> PathBuf {
    one.pair(two);
    one.json(&["deploy", UPPER, "--id", "fn-1", "--to", "two"]);
    one.until_offered("fn-1", "two");
    two.until_offered("fn-1", "two");
    for (requester, input) in [(one, "first"), (two, "second"), (one, "third"), (one, "last")] {
        requester.json(&["call", "fn-1", "--input", input]);
    }
    let file = two.folder().join("chain.jsonl");
    // The requester's signature comes back after its answer.
    until("both ends have signed every record", || {
        two.json(&["receipt", "export", "chain", "--output", file.to_str().unwrap()]);
        let (valid, said) = stranger(&file, two, &[one, two], &[]);
        assert!(valid, "{said}");
        assert_eq!((&said["records"], &said["checkpoint"]["count"]), (&4.into(), &4.into()));
        said["countersigned"] == 4
    });
    file
}

#[test]
fn row_248_an_exported_chain_names_the_record_that_was_flipped_moved_or_dropped() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    let file = exported_chain(&one, &two);
    let chain = fs::read(&file).unwrap();
    let keys: [NodeId; 2] = [one.id().parse().unwrap(), two.id().parse().unwrap()];
    let failing =
        |chain: &[u8]| match verify_chain_file(chain, keys[1], |it| keys.contains(it), &[]) {
            Err(ChainFileError::Record(broken)) => broken.index,
            other => panic!("no record is named: {other:?}"),
        };
    let lines: Vec<_> = chain.split_inclusive(|it| *it == b'\n').collect();
    assert_eq!(lines.len(), 5, "one line before the records");
    let mut at = lines[0].len();
    for (record, line) in lines[1..].iter().enumerate() {
        for place in at..at + line.len() - 1 {
            let mut flipped = chain.clone();
            flipped[place] ^= 1 << (place % 8);
            assert_eq!(failing(&flipped), record, "byte {place}");
        }
        at += line.len();
    }
    for first in 0..4 {
        for second in first + 1..4 {
            let mut moved = lines.clone();
            moved.swap(first + 1, second + 1);
            assert_eq!(failing(&moved.concat()), first);
        }
        assert_eq!(
            failing(&lines[..=first].concat()),
            first,
            "the tail from {first} on is dropped"
        );
    }

    // The program says the same, and takes keys only from outside.
    let spoiled = two.folder().join("spoiled.jsonl");
    let mut flipped = chain.clone();
    let place = lines[0].len() + lines[1].len() + 200;
    flipped[place] ^= 1;
    fs::write(&spoiled, &flipped).unwrap();
    let (valid, said) = stranger(&spoiled, &two, &[&one, &two], &[]);
    assert!(!valid && message(&said).contains("record 1 of the chain fails"), "{said}");
    fs::write(&spoiled, lines[..4].concat()).unwrap();
    let (valid, said) = stranger(&spoiled, &two, &[&one, &two], &[]);
    assert!(!valid && message(&said).contains("record 3 of the chain fails"), "{said}");
    let (valid, said) = stranger(&file, &one, &[&one, &two], &[]);
    assert!(!valid, "another executor's key passes: {said}");
    let (valid, said) = stranger(&file, &two, &[&two], &[]);
    assert!(!valid && message(&said).contains("record 0 of the chain fails"), "{said}");

    // A chain that its own node cut and signed anew passes, unless somebody kept a checkpoint.
    let held = one.folder().join("checkpoint.json");
    until("the other node keeps the newest checkpoint", || {
        let chains = one.json(&["receipt", "chains"]);
        chains["members"][0]["checkpoint"]["point"]["count"] == 4
    });
    one.json(&["receipt", "checkpoint", "two", "--output", held.to_str().unwrap()]);
    let held = ["--checkpoint", held.to_str().unwrap()];
    let (valid, said) = stranger(&file, &two, &[&one, &two], &held);
    assert!(valid && said["held"] == 1, "{said}");

    // One receipt by itself, with its place in the chain.
    let single = two.folder().join("single.json");
    let id = two.json(&["receipt", "show", "last"])["body"]["task_id"].clone();
    let export = [
        "receipt",
        "export",
        id.as_str().unwrap(),
        "--since",
        "2",
        "--output",
        single.to_str().unwrap(),
    ];
    two.json(&export);
    let (valid, said) = stranger(&single, &two, &[&one, &two], &held);
    assert!(valid, "{said}");
    assert_eq!((&said[0]["place"]["sequence"], &said[0]["place"]["chain"]), (&3.into(), &4.into()));
}

#[test]
fn a_receipt_leaves_in_other_tools_envelopes_too() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    one.json(&["deploy", UPPER, "--id", "fn-1", "--to", "two"]);
    one.until_offered("fn-1", "two");
    let receipt = one.json(&["call", "fn-1", "--input", "wrapped"])["receipt"].clone();
    let receipt = receipt.as_str().unwrap();
    for form in ["cose", "in-toto"] {
        let file = one.folder().join(form);
        let path = file.to_str().unwrap();
        one.json(&["receipt", "export", receipt, "--format", form, "--output", path]);
        let (valid, said) = stranger(&file, &two, &[&two, &one], &[]);
        assert!(valid, "{said}");
        assert_eq!(
            (&said[0]["receipt"], &said[0]["countersigned"]),
            (&receipt.into(), &true.into())
        );
        assert!(!stranger(&file, &one, &[&two], &[]).0, "exchanged keys pass");
        let (exit, error) = one.fails(&["receipt", "verify", path]);
        assert_eq!(exit, 2, "a file does not say whom to believe: {error}");
        assert!(error["hint"].as_str().unwrap().contains("--executor"), "{error}");
        let (exit, _) = one.fails(&["receipt", "export", "chain", "--format", form]);
        assert_eq!(exit, 2);
    }
    assert_eq!(two.json(&["receipt", "verify", "chain"])["records"], 1);
}

/// Copies a stopped node's home.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
}

#[test]
fn a_member_that_goes_back_in_its_chain_is_reported_and_changes_nothing() {
    let (one, mut two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    two.json(&["deploy", UPPER, "--id", "fn-1"]);
    let kept = || one.json(&["receipt", "chains"])["members"][0].clone();
    let sign = |two: &Machine, inputs: &[&str]| {
        for input in inputs {
            two.json(&["call", "fn-1", "--on", "two", "--input", input]);
        }
        two.json(&["receipt", "checkpoint"])["point"]["count"].clone()
    };
    assert_eq!(sign(&two, &["a", "b"]), 2);
    until("the checkpoint of two is kept", || kept()["checkpoint"]["point"]["count"] == 2);
    two.json(&["down"]);
    assert_eq!(two.ended(), Some(0));
    let backup = two.folder().join("backup");
    copy(&two.home(), &backup);

    two.start();
    assert_eq!(sign(&two, &["c", "d"]), 4);
    until("its next checkpoint is kept", || kept()["checkpoint"]["point"]["count"] == 4);
    assert_eq!(kept()["contradiction"], Value::Null);
    let before = kept()["checkpoint"].clone();
    two.json(&["down"]);
    assert_eq!(two.ended(), Some(0));

    // The node's state is set back and another history begins.
    fs::remove_dir_all(two.home()).unwrap();
    copy(&backup, &two.home());
    two.start();
    assert_eq!(sign(&two, &["x", "y", "z"]), 5);
    until("two histories are seen", || !kept()["contradiction"].is_null());
    assert_eq!(kept()["checkpoint"], before, "what was kept stays");
    assert_eq!(kept()["contradiction"]["known"], before);
    assert_eq!(one.json(&["status"])["two_histories"], serde_json::json!(["two"]));
    let doctor = String::from_utf8(one.run(&["doctor", "--json"]).stdout).unwrap();
    assert!(doctor.contains("\"two_histories\""), "{doctor}");
    let held = one.folder().join("held.json");
    one.json(&["receipt", "checkpoint", "two", "--output", held.to_str().unwrap()]);
    let file = two.folder().join("chain.jsonl");
    two.json(&["receipt", "export", "chain", "--output", file.to_str().unwrap()]);
    assert!(stranger(&file, &two, &[&two], &[]).0);
    let more = ["--checkpoint", held.to_str().unwrap()];
    let (valid, said) = stranger(&file, &two, &[&two], &more);
    assert!(!valid && message(&said).contains("record 3 of the chain fails"), "{said}");
}

#[test]
fn row_250_a_hundred_wasm_receipts_are_replayed_on_another_node_and_a_models_says_why_not() {
    let (one, two) = (Machine::up_with_model("one"), Machine::up("two"));
    one.pair(&two);
    one.json(&["deploy", UPPER, "--id", "fn-1", "--to", "all"]);
    one.until_offered("fn-1", "one");
    one.until_offered("fn-1", "two");
    let mut receipts = Vec::new();
    for number in 0..100 {
        let input = format!("number {number}");
        let called = one.json(&["call", "fn-1", "--on", "one", "--input", &input]);
        receipts.push(called["receipt"].as_str().unwrap().to_owned());
    }
    let mut replay = vec!["receipt", "replay", "--on", "two"];
    replay.extend(receipts.iter().map(String::as_str));
    let replayed = one.json(&replay);
    let replayed = replayed.as_array().unwrap();
    assert_eq!(replayed.len(), 100);
    let mut outputs = std::collections::BTreeSet::new();
    for (it, receipt) in replayed.iter().zip(&receipts) {
        assert_eq!(it["equal"], true, "{it}");
        assert_eq!((&it["receipt"], &it["node"]), (&receipt.as_str().into(), &two.id().into()));
        assert_eq!(it["output"]["first"], it["output"]["again"]);
        assert_eq!(it["fuel"]["first"], it["fuel"]["again"]);
        assert_ne!(it["again"], it["receipt"]);
        outputs.insert(it["output"]["again"].to_string());
        let shown = one.json(&["receipt", "show", receipt]);
        assert_eq!(shown["body"]["rung"], "re-runnable");
        assert_eq!(shown["body"]["executor"], one.id());
    }
    assert_eq!(outputs.len(), 100, "a hundred different tasks");

    one.json(&["chat", "hello", "--max-tokens", "3"]);
    assert_eq!(one.json(&["receipt", "show", "last"])["body"]["rung"], "attested");
    let (exit, error) = one.fails(&["receipt", "replay", "last", "--on", "two"]);
    assert_eq!((exit, &error["code"]), (11, &"not_replayable".into()), "{error}");
    let why = error["message"].as_str().unwrap();
    assert!(why.contains("attested only: a model answered"), "{why}");
}

#[test]
fn what_cannot_be_replayed_any_more_says_what_is_gone() {
    let one = Machine::up("one");
    one.json(&["deploy", UPPER, "--id", "fn-1"]);
    let call = |input: &str| {
        let file = one.folder().join("input");
        fs::write(&file, input).unwrap();
        let arguments = ["call", "fn-1", "--input-file", file.to_str().unwrap()];
        one.json(&arguments)["receipt"].as_str().unwrap().to_owned()
    };
    let small = call("small");
    let large = call(&"x".repeat((1 << 20) + 1));
    let replay = |receipt: &str| one.fails(&["receipt", "replay", receipt]).1;
    assert_eq!(one.json(&["receipt", "replay", &small])[0]["equal"], true);
    assert_eq!(replay(&large)["code"], "input_gone");
    one.json(&["deploy", PROBE, "--id", "fn-1"]);
    assert_eq!(replay(&small)["code"], "component_gone");
}

/// A machine with a model that computes with so many threads, and a window of so many tokens.
fn with_model(name: &'static str, threads: u32, window: u32) -> Machine {
    let mut machine = Machine::new(name, Vec::new());
    fs::write(machine.folder().join("tiny.gguf"), sedge_lm::testing::tiny_model(7)).unwrap();
    configure(&machine, threads, window);
    machine.start();
    machine
}

fn configure(machine: &Machine, threads: u32, window: u32) {
    let path = machine.folder().join("tiny.gguf").display().to_string();
    machine.write_config(&format!(
        "[gateway]\nchat = {path:?}\nembedding = \"none\"\nthreads = {threads}\ncontext = {window}\n"
    ));
}

#[test]
fn a_models_answer_to_an_input_with_a_seed_is_computed_again_bit_for_bit() {
    let (one, mut two) = (with_model("one", 1, 256), with_model("two", 2, 256));
    one.pair(&two);
    let ask = |more: &[&str]| {
        let said = ["chat", "tell me", "--on", "one", "--max-tokens", "24"];
        let said = one.json(&[&said[..], more].concat());
        (said["text"].clone(), one.json(&["receipt", "show", "last"])["body"].clone())
    };
    until("two knows the models", || two.json(&["models"]).to_string().contains("one"));
    let (text, first) = ask(&["--seed", "7", "--temperature", "1"]);
    assert_eq!((&first["rung"], &first["executor"]), (&"bit-replayable".into(), &one.id().into()));
    let profile = first["profile"].as_str().unwrap();
    assert!(profile.starts_with(sedge_lm::ARITHMETIC), "{profile}");
    let (other, _) = ask(&["--seed", "8", "--temperature", "1"]);
    assert_ne!(text, other, "the seed counts");

    // Another process, with another number of threads, computes the same bits.
    let id = first["task_id"].as_str().unwrap().to_owned();
    let replayed = one.json(&["receipt", "replay", &id, "--on", "two"])[0].clone();
    assert_eq!((&replayed["equal"], &replayed["node"]), (&true.into(), &two.id().into()));
    assert_eq!(replayed["output"]["first"], first["output_hash"]);
    assert_eq!(replayed["output"]["again"], first["output_hash"]);
    assert_eq!(replayed["profile"]["again"], profile);
    // So does the likeliest token of each, which needs no chance.
    ask(&["--temperature", "0"]);
    assert_eq!(one.json(&["receipt", "replay", "last", "--on", "two"])[0]["equal"], true);
    // What the input leaves open cannot be held against anybody.
    assert_eq!(ask(&[]).1["rung"], "attested");

    // Under other settings the answer proves nothing, and that is said.
    two.kill();
    configure(&two, 1, 128);
    two.start();
    until("two is back", || one.json(&["models"]).to_string().contains("two"));
    let (exit, error) = one.fails(&["receipt", "replay", &id, "--on", "two"]);
    assert_eq!(exit, 13, "{error}");
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.contains("window=256") && hint.contains("window=128"), "{error}");
}
