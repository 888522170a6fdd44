//! Machines that come up at a new place, and are found again.

use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;

use crate::machine::{Machine, UPPER, until};

fn port(machine: &Machine) -> String {
    let status = machine.json(&["status"]);
    let at = status["mesh"][0].as_str().unwrap();
    at.rsplit_once(':').unwrap().1.to_owned()
}

fn online(on: &Machine, other: &Machine) -> bool {
    on.json(&["node", "show", other.name])["status"] == "online"
}

fn both_online(a: &Machine, b: &Machine) {
    for (on, other) in [(a, b), (b, a)] {
        until("both are online again", || online(on, other));
    }
}

#[test]
fn two_that_restart_on_new_ports_are_brought_together_by_a_third() {
    let [mut a, mut b, c] = ["anna", "berta", "carla"].map(Machine::up);
    c.pair(&a);
    c.pair(&b);
    both_online(&a, &b);
    let before = [port(&a), port(&b)];
    a.kill();
    b.kill();
    a.start();
    b.start();
    let after = [port(&a), port(&b)];
    assert!(before[0] != after[0] && before[1] != after[1], "{before:?} {after:?}");
    both_online(&a, &b);
    let at = |on: &Machine, of: &Machine| -> Vec<String> {
        let shown = on.json(&["node", "show", of.name]);
        let all = shown["addresses"].as_array().unwrap().iter();
        all.map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    assert!(at(&a, &b)[0].ends_with(&format!(":{}", after[1])), "the newest address is first");
    b.json(&["deploy", UPPER, "--id", "upper"]);
    a.until_offered("upper", "berta");
    assert_eq!(a.json(&["call", "upper", "--input", "found"])["output"], "FOUND");
}

#[test]
fn what_was_heard_of_a_new_place_is_still_known_after_a_crash() {
    let (mut a, mut b) = (Machine::up("anna"), Machine::up("berta"));
    a.pair(&b);
    // The first one moves: it knows where the other one is.
    a.kill();
    a.start();
    both_online(&a, &b);
    // The other one moves: it can only know from its disk where the first one is now, and the first
    // one cannot know where it is.
    b.kill();
    b.start();
    both_online(&a, &b);
}

/// A port that no other test of this run is given.
fn some_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    30_000 + NEXT.fetch_add(1, Ordering::SeqCst) + (std::process::id() % 20_000) as u16
}

#[test]
fn no_more_addresses_are_kept_than_the_configuration_allows() {
    let mut a = Machine::new("anna", vec!["--no-model"]);
    a.write_config("[mesh]\naddresses_per_member = 2\n");
    a.start();
    let mut b = Machine::new("berta", vec!["--no-model"]);
    b.listens_as_configured();
    let mut ports = Vec::new();
    for turn in 0..4 {
        let port = some_port();
        b.write_config(&format!("[node]\nlisten = \"127.0.0.1:{port}\"\n"));
        b.start();
        if turn == 0 {
            a.pair(&b);
        }
        let now = self::port(&b);
        until("its new address is known", || {
            let known = a.json(&["node", "show", "berta"]);
            let first = known["addresses"][0].as_str().map(str::to_owned);
            first.is_some_and(|it| it.ends_with(&format!(":{now}")))
        });
        ports.push(now);
        b.kill();
    }
    let known = a.json(&["node", "show", "berta"])["addresses"].clone();
    let known: Vec<_> = known.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(known.len(), 2, "{known:?} of {ports:?}");
    assert!(known[0].ends_with(&ports[3]) && known[1].ends_with(&ports[2]), "{known:?}");
}
