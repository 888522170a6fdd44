//! `kill -9` at bad moments: nothing acknowledged is lost, nobody waits for the dead.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::machine::{Machine, PROBE, UPPER, until};

#[test]
fn a_node_that_dies_during_a_call_is_an_error_at_the_other_side() {
    let (one, mut two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    one.json(&["deploy", PROBE, "--id", "probe", "--to", "two"]);
    one.until_offered("probe", "two");
    thread::scope(|scope| {
        let call =
            scope.spawn(|| one.fails(&["call", "probe", "--input", "loop", "--time", "60s"]));
        until("the call runs", || one.json(&["status"])["running"] == 1);
        two.kill();
        let (exit, error) = call.join().unwrap();
        assert_eq!((exit, &error["kind"]), (10, &"unavailable".into()), "{error}");
    });
    until("the dead is listed as offline", || {
        let nodes = one.json(&["nodes"]);
        nodes.as_array().unwrap().iter().any(|it| it["name"] == "two" && it["status"] == "offline")
    });
}

#[test]
fn deployments_that_were_acknowledged_survive() {
    let (one, mut two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    let mut acknowledged = BTreeSet::new();
    for round in 0..3 {
        let done = AtomicUsize::new(0);
        let more = thread::scope(|scope| {
            let deploying = scope.spawn(|| {
                let mut more = Vec::new();
                for number in 0.. {
                    let id = format!("fn-{round}-{number}");
                    let told = one.run(&["deploy", UPPER, "--id", &id, "--to", "two", "--json"]);
                    if !told.status.success() {
                        break;
                    }
                    more.push(id);
                    done.fetch_add(1, Ordering::SeqCst);
                }
                more
            });
            until("some are acknowledged", || done.load(Ordering::SeqCst) > round);
            two.kill();
            deploying.join().unwrap()
        });
        assert!(!more.is_empty());
        acknowledged.extend(more);
        two.start();
        let offers = two.json(&["capabilities"]);
        let there: BTreeSet<_> =
            offers.as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
        for id in &acknowledged {
            assert!(there.contains(id.as_str()), "{id} is lost, {there:?} are there");
        }
        let last = acknowledged.last().unwrap();
        assert_eq!(two.json(&["call", last, "--input", "alive"])["output"], "ALIVE");
    }
}

#[test]
fn receipts_that_were_acknowledged_survive_and_their_chain_goes_on() {
    let mut one = Machine::up("one");
    one.json(&["deploy", UPPER, "--id", "fn-1"]);
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let done = AtomicUsize::new(0);
        let home = one.home();
        let more = thread::scope(|scope| {
            let calling = scope.spawn(|| {
                let mut more = Vec::new();
                loop {
                    let mut call =
                        crate::machine::program(&["call", "fn-1", "--input", "x", "--json"]);
                    let told = call.env("SEDGE_HOME", &home).output().unwrap();
                    if !told.status.success() {
                        return more;
                    }
                    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
                    more.push(told["receipt"].as_str().unwrap().to_owned());
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
            until("some are acknowledged", || done.load(Ordering::SeqCst) > 3 + round);
            one.kill();
            calling.join().unwrap()
        });
        acknowledged.extend(more);
        one.start();
        for receipt in &acknowledged {
            assert_eq!(one.json(&["receipt", "verify", receipt])[0]["receipt"], receipt.as_str());
        }
    }
    let kept = one.json(&["receipt", "list", "--limit", "10000"]);
    let mut places: Vec<_> = kept
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["body"]["sequence"].as_u64().unwrap())
        .collect();
    places.sort_unstable();
    assert!(places.iter().copied().eq(0..places.len() as u64), "{places:?}");
}

#[test]
fn a_killed_node_leaves_nothing_that_hinders_the_next() {
    let mut one = Machine::up("one");
    one.kill();
    let (exit, error) = one.fails(&["status"]);
    assert_eq!((exit, &error["kind"]), (10, &"unavailable".into()));
    assert!(error["hint"].as_str().unwrap().contains("sedge up"), "{error}");
    one.start();
    assert_eq!(one.json(&["status"])["name"], "one");
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let one = Machine::up_on_a_disk_of("one", "8m");
    one.json(&["deploy", UPPER, "--id", "fn-1"]);
    let kept = one.json(&["call", "fn-1", "--input", "before"])["receipt"].clone();

    let ballast = one.home().join("ballast");
    let mut file = File::create(&ballast).unwrap();
    let block = [1; 4096];
    let full = loop {
        if let Err(error) = file.write_all(&block) {
            break error.kind();
        }
    };
    assert_eq!(full, std::io::ErrorKind::StorageFull);

    let (exit, error) = one.fails(&["call", "fn-1", "--input", "meanwhile"]);
    assert_eq!((exit, &error["code"]), (7, &"disk_full".into()), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("make room"), "{error}");
    let (exit, error) = one.fails(&["deploy", PROBE, "--id", "fn-2"]);
    assert_eq!((exit, &error["kind"]), (7, &"exhausted".into()), "{error}");
    assert_eq!(one.json(&["status"])["name"], "one");

    drop(file);
    fs::remove_file(&ballast).unwrap();
    assert_eq!(one.json(&["call", "fn-1", "--input", "after"])["output"], "AFTER");
    let verified = one.json(&["receipt", "verify", kept.as_str().unwrap()]);
    assert_eq!((&verified[0]["receipt"], &verified[0]["valid"]), (&kept, &true.into()));
    let offers = one.json(&["capabilities"]);
    assert!(offers.as_array().unwrap().iter().all(|it| it["name"] != "fn-2"), "{offers}");
    let receipts = one.json(&["receipt", "list"]);
    let places: Vec<_> =
        receipts.as_array().unwrap().iter().map(|it| it["body"]["sequence"].as_u64()).collect();
    assert_eq!(places, [Some(1), Some(0)], "the chain has no gap");
}
