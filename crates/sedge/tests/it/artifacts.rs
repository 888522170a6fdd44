//! Large content by its hash, from machine to machine.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use sedge_base::ContentId;
use serde_json::Value;

use crate::machine::{Machine, until};

/// How many bytes are verified together.
const GROUP: usize = 16_384;

fn first_group() -> Vec<u8> {
    (0..16_384_u32).map(|it| it.wrapping_mul(167).to_le_bytes()[1]).collect::<Vec<_>>()
}

/// Writes a file of this size in which no two groups of 16 KiB are alike.
fn write_file(machine: &Machine, name: &str, size: usize) -> PathBuf {
    let path = machine.folder().join(name);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).unwrap());
    let mut group: Vec<u8> =
        (0..16_384_u32).map(|it| it.wrapping_mul(167).to_le_bytes()[1]).collect();
    let (mut left, mut number) = (size, 0_u64);
    while left > 0 {
        group[..8].copy_from_slice(&number.to_le_bytes());
        let length = left.min(group.len());
        file.write_all(&group[..length]).unwrap();
        (left, number) = (left - length, number + 1);
    }
    file.flush().unwrap();
    path
}

fn put(machine: &Machine, name: &str, size: usize) -> String {
    let path = write_file(machine, name, size);
    let stored = machine.json(&["artifact", "put", path.to_str().unwrap()]);
    assert_eq!(stored["size"], size);
    stored["id"].as_str().unwrap().to_owned()
}

fn listed(machine: &Machine) -> Vec<String> {
    let list = machine.json(&["artifact", "ls"]);
    let ids = list["artifacts"].as_array().unwrap().iter();
    ids.map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn row_094_three_megabytes_travel_in_chunks_eleven_are_refused_and_the_oldest_goes() {
    let mut two = Machine::new("two", vec!["--no-model"]);
    two.write_config("[artifacts]\nlargest = \"10MiB\"\nroom = \"20MiB\"\n");
    two.start();
    let one = Machine::up("one");
    one.pair(&two);

    let bytes = 3_000_000;
    let first = put(&one, "first", bytes);
    let output = two.folder().join("out");
    let fetched = two.json(&["artifact", "get", &first, "--output", output.to_str().unwrap()]);
    let sent = fs::read(one.folder().join("first")).unwrap();
    assert!(fs::read(&output).unwrap() == sent);
    let digest = two.json(&["artifact", "digest", &first]);
    let content = ContentId::of(&sent);
    assert_eq!(digest["content"], content.to_string());
    assert_eq!(digest["cid"], sedge_trust::seed::local_cid(&content));
    assert_eq!(fetched["groups"], bytes.div_ceil(GROUP));
    assert_eq!((&fetched["received"], &fetched["resumed"]), (&bytes.into(), &0.into()));
    assert_eq!(fetched["from"][0]["node"], one.id());
    // It is here: nobody is asked again.
    let again = two.json(&["artifact", "get", &first]);
    assert_eq!((&again["received"], &again["resumed"]), (&0.into(), &bytes.into()));

    // Eleven megabytes are refused, from a file and from another machine.
    let large = write_file(&two, "large", 11_000_000);
    let (exit, error) = two.fails(&["artifact", "put", large.to_str().unwrap()]);
    assert_eq!((exit, &error["code"]), (7, &"artifact_too_large".into()));
    let large = put(&one, "large", 11_000_000);
    let (exit, error) = two.fails(&["artifact", "get", &large]);
    assert_eq!((exit, &error["code"]), (7, &"artifact_too_large".into()));
    assert_eq!(listed(&two), std::slice::from_ref(&first));

    // The room is for two of nine megabytes: what was not used for the longest time goes.
    let [second, third] = ["second", "third"].map(|it| put(&one, it, 9_000_000 + it.len()));
    two.json(&["artifact", "get", &second]);
    two.json(&["artifact", "get", &third]);
    assert_eq!(listed(&two), [third, second]);
    assert!(listed(&one).contains(&first), "the other machine's copy is its own");
}

#[test]
fn row_257_a_gigabyte_that_was_cut_at_sixty_percent_is_resumed() {
    const SIZE: usize = 1_000_000_000;
    let (mut one, two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    let path = write_file(&one, "model", SIZE);
    let stored = one.json(&["artifact", "put", path.to_str().unwrap()]);
    fs::remove_file(path).unwrap();
    let id = stored["id"].as_str().unwrap();

    let get = ["artifact", "get", id, "--json"];
    let cut = two.command(&get).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    until("sixty percent are there", || {
        let list = two.json(&["artifact", "ls"]);
        list["artifacts"][0]["here"].as_u64().is_some_and(|it| it >= SIZE as u64 / 10 * 6)
    });
    one.kill();
    let cut = cut.wait_with_output().unwrap();
    let error: Value = serde_json::from_slice(&cut.stdout).unwrap();
    assert_eq!(error["error"]["code"], "artifact_incomplete", "{error}");
    let list = two.json(&["artifact", "ls"]);
    assert_eq!(list["artifacts"][0]["whole"], false, "{list}");

    one.start();
    until("the holder is back", || {
        let nodes = two.json(&["nodes"]);
        nodes.as_array().unwrap().iter().all(|it| it["status"] == "online")
    });
    let fetched = two.json(&["artifact", "get", id]);
    let [resumed, received] = ["resumed", "received"].map(|it| fetched[it].as_u64().unwrap());
    assert!(resumed >= SIZE as u64 / 10 * 6, "{fetched}");
    assert_eq!(resumed + received, SIZE as u64);
    // The holder's new process counts from zero what it gave.
    let served = one.json(&["artifact", "ls"])["served"].as_u64();
    assert_eq!(served, Some(received), "no byte travels twice");
    assert_eq!(two.json(&["artifact", "ls"])["artifacts"][0]["whole"], true);
    // What lies on the disk there is what was put here, byte by byte.
    let mut file = File::open(two.home().join("artifacts").join(id)).unwrap();
    let (mut group, mut expected) = (vec![0; GROUP], first_group());
    for number in 0..SIZE.div_ceil(GROUP) {
        expected[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let length = GROUP.min(SIZE - number * GROUP);
        file.read_exact(&mut group[..length]).unwrap();
        assert!(group[..length] == expected[..length], "group {number}");
    }
}

#[test]
fn a_pointer_leads_to_its_artifact_and_a_changed_one_nowhere() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    let id = put(&one, "weights", 40_000);
    let path = two.folder().join("pointer.json");
    let path = path.to_str().unwrap();
    let point = ["artifact", "point", &id, "--type", "model-weights", "--dimensions", "100x4"];
    one.json(&[&point[..], &["--output", path]].concat());
    let fetched = two.json(&["artifact", "get", path]);
    assert_eq!(fetched["id"], *id);

    let text = fs::read_to_string(path).unwrap();
    let change = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).unwrap();
        two.fails(&["artifact", "get", path])
    };
    let (exit, error) = change("100x4", "100x5");
    assert_eq!((exit, &error["code"]), (5, &"bad_pointer".into()));
    let (exit, error) = change(&one.id(), &"ab".repeat(32));
    assert_eq!((exit, &error["code"]), (6, &"unknown_signer".into()));
    let (exit, _) = two.fails(&["artifact", "get", "no-such-file"]);
    assert_eq!(exit, 2);
}

#[test]
fn what_nobody_has_is_said_and_what_is_removed_is_gone() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    let id = put(&one, "file", 20_000);
    assert_eq!(one.json(&["artifact", "rm", &id])["removed"], *id);
    let (exit, error) = one.fails(&["artifact", "rm", &id]);
    assert_eq!((exit, &error["code"]), (3, &"unknown_artifact".into()));
    let (exit, error) = two.fails(&["artifact", "get", &id]);
    assert_eq!((exit, &error["code"]), (3, &"unknown_artifact".into()));
    assert_eq!(two.json(&["artifact", "ls"])["artifacts"], Value::Array(Vec::new()));
}

#[test]
fn where_one_holder_breaks_off_another_goes_on() {
    let size = 200 * GROUP;
    let (one, two, three) = (Machine::up("one"), Machine::up("two"), Machine::up("three"));
    one.pair(&two);
    one.pair(&three);
    until("all know each other", || {
        let nodes = two.json(&["nodes"]);
        let nodes = nodes.as_array().unwrap();
        nodes.len() == 3 && nodes.iter().all(|it| it["status"] == "online")
    });
    let id = put(&one, "file", size);
    assert_eq!(put(&three, "file", size), id);
    // Both copies are damaged, each at another place: neither gives what it cannot prove.
    for (machine, group) in [(&one, 150), (&three, 50)] {
        let path = machine.home().join("artifacts").join(&id);
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(b"damage", group * GROUP as u64 + 100).unwrap();
    }
    let fetched = two.json(&["artifact", "get", &id]);
    let from = fetched["from"].as_array().unwrap();
    let given: u64 = from.iter().map(|it| it["bytes"].as_u64().unwrap()).sum();
    assert_eq!((from.len(), given), (2, size as u64), "{fetched}");
    assert!(from.iter().any(|it| it["fault"].is_string()), "{fetched}");
    let whole = fs::read(two.home().join("artifacts").join(&id)).unwrap();
    assert!(whole == fs::read(one.folder().join("file")).unwrap());
}
