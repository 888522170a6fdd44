//! The graph that all machines write: apart, together again, and through a machine that cannot read.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::machine::{Machine, until};

/// What a machine sees under a key of the soul `lamp`.
fn seen(machine: &Machine, space: &str, key: &str) -> Value {
    let output = machine.run(&["graph", "get", "lamp", key, "--space", space, "--json"]);
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    seen[0].clone()
}

fn put(machine: &Machine, key: &str, value: &str) -> Value {
    machine.json(&["graph", "put", "lamp", key, value])
}

/// Freezes a node's process, or lets it go on.
fn signal(machine: &Machine, signal: &str) {
    let pid = machine.ready["pid"].to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

#[test]
fn row_032_two_partitioned_peers_write_one_key_heal_and_see_the_same_value() {
    let (one, mut two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    put(&one, "colour", "white");
    until("two sees it", || seen(&two, "open", "colour")["value"] == "white");

    // Each writes while the other is not there, first dead, then frozen; the second write is newer.
    two.kill();
    let first = put(&one, "colour", "red");
    put(&one, "by-one", "1");
    signal(&one, "-STOP");
    two.start();
    assert_eq!(seen(&two, "open", "colour")["value"], "white", "on disk, and nothing came through");
    let second = put(&two, "colour", "green");
    put(&two, "by-two", "2");
    assert!(second["state"].as_u64() > first["state"].as_u64());
    assert_ne!(second["author"], first["author"]);

    signal(&one, "-CONT");
    for machine in [&one, &two] {
        until("both see the same of all keys", || {
            let value = |key| seen(machine, "open", key)["value"].clone();
            value("colour") == "green" && value("by-one") == 1 && value("by-two") == 2
        });
    }
    assert_eq!(seen(&one, "open", "colour"), seen(&two, "open", "colour"));

    // What one deletes is gone on both.
    put(&one, "colour", "null");
    until("two has lost it", || seen(&two, "open", "colour").is_null());
}

#[test]
fn a_watcher_is_told_what_another_machine_puts() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    put(&one, "level", "1");
    until("two sees it", || seen(&two, "open", "level")["value"] == 1);
    let watch = ["graph", "watch", "lamp", "--count", "2", "--json"];
    let mut watching = two.command(&watch).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&told.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["value"], 1, "what stands");
    put(&one, "level", "2");
    assert_eq!(next()["value"], 2, "what comes");
    assert!(watching.wait().unwrap().success());
}

/// Writes down everything that a process holds in memory that can be written: what it received and
/// sends, too.
fn write_memory(pid: u64, to: &Path) {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut file = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut to = fs::File::create(to).unwrap();
    for line in maps.lines().filter(|it| it.contains(" rw")) {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [start, end] = [start, end].map(|it| u64::from_str_radix(it, 16).unwrap());
        file.seek(SeekFrom::Start(start)).unwrap();
        // Some pages, such as the kernel's own, cannot be read.
        drop(std::io::copy(&mut (&mut file).take(end - start), &mut to));
    }
}

/// A text in every form in which it may lie about: as it is, in hexadecimal, and in base64 wherever
/// it may begin, without the characters that its neighbours share.
fn forms(text: &str) -> Vec<String> {
    let hex: String = text.bytes().map(|it| format!("{it:02x}")).collect();
    let mut all = vec![text.to_owned(), hex.to_uppercase(), hex];
    let alphabet = |it: u8| match it {
        0..=25 => b'A' + it,
        26..=51 => b'a' + it - 26,
        52..=61 => b'0' + it - 52,
        62 => b'+',
        _ => b'/',
    };
    for skip in 0..3 {
        let whole = text.as_bytes()[skip..].chunks_exact(3);
        let encoded = whole.flat_map(|it| {
            let bits = u32::from(it[0]) << 16 | u32::from(it[1]) << 8 | u32::from(it[2]);
            [18, 12, 6, 0].map(|by| alphabet(u8::try_from(bits >> by & 63).unwrap()))
        });
        all.push(encoded.map(char::from).collect());
    }
    all
}

/// Whether any of the files, or of those below a folder, holds the text in any form.
fn hold(paths: &[&Path], text: &str) -> bool {
    let mut grep = Command::new("grep");
    grep.args(["--recursive", "--text", "--quiet", "--fixed-strings"]);
    for form in forms(text) {
        grep.args(["-e", &form]);
    }
    let status = grep.arg("--").args(paths).env("LC_ALL", "C").status().unwrap();
    let code = status.code().unwrap();
    assert!(code < 2, "the search itself failed");
    code == 0
}

#[test]
fn the_search_finds_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text");
    let found = |text: &str| {
        fs::write(&file, [&[0, 255], text.as_bytes(), &[0]].concat()).unwrap();
        hold(&[folder.path()], "opensesame")
    };
    for text in ["xx opensesame yy", "6f70656e736573616d65", "eG9wZW5zZXNhbWU=", "b3BlbnNlc2FtZQ=="]
    {
        assert!(found(text), "{text}");
    }
    assert!(!found("open sesame"));
}

#[test]
fn row_033_a_relays_dump_shows_nothing_of_a_space_that_it_carries() {
    const SECRET: &str = "opensesame-of-the-forty";
    let (mut one, mut two) = (Machine::up("one"), Machine::up("two"));
    let mut relay = Machine::up("relay");
    one.pair(&two);
    one.pair(&relay);
    until("two and the relay know each other", || {
        let nodes = two.json(&["nodes"]);
        let nodes = nodes.as_array().unwrap();
        nodes.len() == 3 && nodes.iter().all(|it| it["status"] == "online")
    });
    let space = one.json(&["graph", "found", "family", "--with", "two"]);
    assert_eq!(space["readers"].as_array().unwrap().len(), 2, "{space}");
    let known = |machine: &Machine| machine.run(&["graph", "get", "lamp", "--space", "family"]);
    until("two has the key", || {
        let spaces = two.json(&["graph", "spaces"]);
        spaces.as_array().unwrap().iter().any(|it| it["name"] == "family" && it["readable"] == true)
    });

    // Written while two is not there, and gone when two comes back: the relay alone carries it.
    two.kill();
    one.json(&["graph", "put", "lamp", "code", SECRET, "--space", "family"]);
    one.json(&["graph", "put", "lamp", "colour", "a-plain-colour"]);
    let on_relay = |key| seen(&relay, "family", key);
    until("the relay has it", || !on_relay("code").is_null());
    until("the relay has the plain one", || !seen(&relay, "open", "colour").is_null());
    one.kill();
    two.start();
    until("two reads it", || {
        known(&two).status.success() && seen(&two, "family", "code")["value"] == SECRET
    });

    // The relay itself says that it cannot read it.
    let sealed = seen(&relay, "family", "code");
    assert_eq!((&sealed["readable"], sealed["value"].as_object().is_some()), (&json!(false), true));
    let (_, error) = relay.fails(&["graph", "put", "lamp", "code", "x", "--space", "family"]);
    assert_eq!(error["code"], "no_space_key", "{error}");

    // Everything that it has: memory, with the frames that it received and sent, and its whole folder.
    let dump = relay.folder().join("dump");
    write_memory(relay.ready["pid"].as_u64().unwrap(), &dump);
    relay.kill();
    let (home, log) = (relay.home(), relay.folder().join("log"));
    for place in [&dump, &home] {
        assert!(hold(&[place], "a-plain-colour"), "the search finds what is in the open");
    }
    assert!(!hold(&[&dump, &home, &log], SECRET));
    // On two, which has the key, it lies sealed as well.
    two.kill();
    assert!(!hold(&[&two.home()], SECRET));
}
