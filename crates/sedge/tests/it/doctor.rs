//! `sedge doctor` names the fault and the next step: one fault after the other is injected.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use sedge_net::{Conn, Frame, FrameReader, FrameWriter, Protocol, Transport};
use sedge_trust::Identity;
use serde_json::{Value, json};

use crate::machine::{Machine, PATIENCE, UPPER, until};
use crate::strangers::{end, place, runtime};

/// Returns what the doctor finds: the code, the subject and the next step of each fault.
fn findings(machine: &Machine) -> Vec<Value> {
    let output = machine.command(&["doctor", "--json"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let found: Vec<Value> = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let grave = found.iter().any(|it| it["grave"] == true);
    assert_eq!(output.status.success(), !grave, "{found:?}");
    found
}

/// Checks that a fault is named with a next step; counts it.
#[track_caller]
fn named(seen: &mut BTreeSet<String>, machine: &Machine, code: &str) {
    let found = findings(machine);
    let it =
        found.iter().find(|it| it["code"] == code).unwrap_or_else(|| panic!("{code}: {found:?}"));
    for key in ["subject", "message", "next_step"] {
        assert!(!it[key].as_str().unwrap().is_empty(), "{it}");
    }
    seen.insert(code.to_owned());
}

#[track_caller]
fn healed(machine: &Machine, code: &str) {
    let found = findings(machine);
    assert!(found.iter().all(|it| it["code"] != code), "{found:?}");
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Breaks a file for the time of a check, then puts it back as it was.
fn broken(path: &Path, bytes: &[u8], check: impl FnOnce()) {
    let before = fs::read(path).unwrap();
    fs::write(path, bytes).unwrap();
    check();
    fs::write(path, before).unwrap();
}

/// Faults of a home whose node is down.
fn of_a_home(seen: &mut BTreeSet<String>) {
    let new = Machine::new("nobody", Vec::new());
    fs::remove_dir(new.home()).unwrap();
    named(seen, &new, "home_missing");
    fs::write(new.home(), "a file").unwrap();
    named(seen, &new, "home_no_folder");

    let mut a = Machine::up("anna");
    let home = a.home();
    a.kill();
    named(seen, &a, "node_died");
    a.start();
    a.json(&["down"]);
    assert_eq!(a.ended(), Some(0));
    named(seen, &a, "not_running");

    mode(&home, 0o755);
    named(seen, &a, "home_open");
    mode(&home, 0o700);
    healed(&a, "home_open");
    fs::write(home.join("config.toml"), "[node]\nlisten_on = 1\n").unwrap();
    named(seen, &a, "config_wrong");
    fs::remove_file(home.join("config.toml")).unwrap();
    for (file, open, damaged) in [
        ("identity.key", "identity_open", "identity_damaged"),
        ("owner.key", "owner_key_open", "owner_key_damaged"),
        ("api.key", "api_key_open", "api_key_damaged"),
    ] {
        let path = home.join(file);
        mode(&path, 0o644);
        named(seen, &a, open);
        mode(&path, 0o600);
        broken(&path, b"x", || named(seen, &a, damaged));
        healed(&a, damaged);
    }
    let database = home.join("sedge.db");
    mode(&database, 0o644);
    named(seen, &a, "database_open");
    mode(&database, 0o600);
    broken(&database, b"no database at all", || named(seen, &a, "database_damaged"));
    fs::create_dir_all(home.join("run")).unwrap();
    fs::write(home.join("run/node.json"), "{").unwrap();
    named(seen, &a, "run_file_damaged");
    fs::remove_file(home.join("run/node.json")).unwrap();
    a.start();
    healed(&a, "run_file_damaged");
}

/// Faults of a node that runs.
fn of_a_node(seen: &mut BTreeSet<String>) {
    let mut a = Machine::up("anna");
    named(seen, &a, "alone");
    let said = a.home().join("run/node.json");
    let kept = fs::read(&said).unwrap();
    fs::remove_file(&said).unwrap();
    named(seen, &a, "no_address");
    fs::write(&said, kept).unwrap();
    let key = a.home().join("api.key");
    broken(&key, b"sedge-another-key-of-some-length\n", || named(seen, &a, "api_key_differs"));
    let pid = a.ready["pid"].to_string();
    let signal =
        |name: &str| assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    signal("-STOP");
    named(seen, &a, "not_answering");
    signal("-CONT");

    a.json(&["deploy", UPPER, "--id", "upper"]);
    a.kill();
    for blob in walk(&a.home().join("blobs")) {
        fs::write(blob, b"no component").unwrap();
    }
    a.start();
    named(seen, &a, "function_broken");

    let small = Machine::up_on_a_disk_of("berta", "8m");
    let home = small.home();
    let output = small.command(&["doctor", "--json"]).env("SEDGE_HOME", home).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\"disk_nearly_full\""), "{text}");
    seen.insert("disk_nearly_full".to_owned());
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

/// Faults between machines.
fn of_a_swarm(seen: &mut BTreeSet<String>) {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap();
    let a = Machine::up("anna");
    let mut b = Machine::new("berta", vec!["--no-model"]);
    // Its cache is there already, and open to others: the meeting place is refused.
    let cache = b.folder().join("cache/run");
    fs::create_dir_all(&cache).unwrap();
    mode(&cache, 0o755);
    b.write_config(&format!("[node]\nlisten = \"{port}\"\n"));
    b.listens_as_configured();
    b.start();
    a.pair(&b);
    named(seen, &b, "port_taken");
    named(seen, &b, "lan_off");
    named(seen, &b, "same_machine_off");
    a.json(&["node", "drain", "berta"]);
    named(seen, &a, "draining");
    b.json(&["relay", "on", "--listen", "127.0.0.1:0"]);
    until("the relay is used", || a.json(&["relay"])["known"][0]["took_us"].is_number());
    b.kill();
    until("the relay is left", || a.json(&["relay"])["known"][0]["healthy"] == false);
    named(seen, &a, "relay_unhealthy");
    named(seen, &a, "member_offline");
    b.start();
    until("it is back", || a.json(&["node", "show", "berta"])["status"] == "online");
    healed(&a, "member_offline");
    a.json(&["revoke", "berta"]);
    until("it knows that it was revoked", || findings(&b).iter().any(|it| it["code"] == "cut_off"));
    named(seen, &b, "cut_off");
}

const SECRET: &str = "a-secret-of-the-two-of-us";

/// Faults of who may come in, and of who decides.
fn of_trust(seen: &mut BTreeSet<String>) {
    let core = Machine::new("core", vec!["--no-model"]);
    core.write_config(&format!(
        "[admission]\nmodes = ['challenge', 'tofu']\n[admission.devices.edge-1]\nsecret = '{SECRET}'\n"
    ));
    let mut core = core;
    core.start();
    // It has a door of its own, for a swarm that it will no longer own.
    let mut edge = Machine::new("edge-1", vec!["--no-model"]);
    edge.write_config("[admission]\nmodes = ['tofu']\n");
    edge.start();
    let stranger = Machine::up("edge-2");
    let list = core.json(&["admission", "list"]);
    let at = list["addresses"][0].as_str().unwrap();

    let joined = edge.json(&["join", "--at", at, "--token", SECRET]);
    assert_eq!(joined["admitted"]["mode"], "challenge", "{joined}");
    named(seen, &edge, "membership_ends");
    named(seen, &edge, "admission_idle");
    stranger.fails(&["join", "--at", at, "--wait", "0s"]);
    named(seen, &core, "asks_to_join");
    let liar = Machine::up("edge-9");
    core.json(&["admission", "ban", &liar.id(), "--for", "1h"]);
    named(seen, &core, "banned");

    core.json(&["quorum", "init", "edge-1"]);
    until("there is a coordinator", || !core.json(&["quorum", "status"])["coordinator"].is_null());
    healed(&core, "no_majority");
    edge.kill();
    until("there is none", || core.json(&["quorum", "status"])["coordinator"].is_null());
    named(seen, &core, "no_majority");

    core.kill();
    core.write_config("[admission]\nmodes = ['dev']\n");
    core.start();
    named(seen, &core, "admission_dev");
}

/// Says as a member what it was told, with a clock of its own.
async fn answer_by_another_clock(conn: &Conn, behind_ms: u64) {
    while let Ok(stream) = conn.accept().await {
        let mut writer = FrameWriter::new(stream.send);
        let asked = FrameReader::new(stream.recv).next().await.unwrap().unwrap();
        // It has no swarm layer: those streams end.
        let Ok(mut said) = asked.parse::<Value>() else { continue };
        let reply = if said["op"] == "advert" {
            let now = said["now"].as_u64().unwrap();
            said["now"] = (now - behind_ms).into();
            said["checkpoint"] = Value::Null;
            Frame::json(REPLY, &said)
        } else {
            Frame::json(REFUSED, &json!({"kind": "denied", "code": "no", "message": "no"}))
        };
        writer.write(&reply.unwrap()).await.unwrap();
        writer.into_inner().finish().await.unwrap();
    }
}

const REPLY: u8 = 3;
const REFUSED: u8 = 5;
const HOUR_MS: u64 = 3_600_000;

/// A member whose clock is an hour behind, and nothing else wrong with it.
fn of_a_clock(seen: &mut BTreeSet<String>) {
    let (one, mut two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    two.kill();
    let (identity, place) = (Identity::load_or_create(&two.home()).unwrap(), place(&one));
    runtime().block_on(async {
        let late = end(&identity).await;
        let conn = late.dial(&place, Protocol::Mesh, PATIENCE).await.unwrap();
        let look = tokio::task::spawn_blocking(move || {
            until("its clock is named", || {
                findings(&one).iter().any(|it| {
                    it["code"] == "clock_differs"
                        && it["message"].as_str().unwrap().contains("behind")
                })
            });
            let mut seen = BTreeSet::new();
            named(&mut seen, &one, "clock_differs");
            seen
        });
        tokio::select! {
            looked = look => seen.extend(looked.unwrap()),
            () = answer_by_another_clock(&conn, HOUR_MS) => panic!("the connection ended"),
        }
        late.close(PATIENCE).await;
    });
}

#[test]
fn twenty_injected_faults_are_named_with_the_next_step() {
    let mut seen = BTreeSet::new();
    of_a_home(&mut seen);
    of_a_node(&mut seen);
    of_a_swarm(&mut seen);
    of_trust(&mut seen);
    of_a_clock(&mut seen);
    // Those of files, disks and functions are counted beside those of the network and of trust.
    let local = ["home_", "config_", "database_", "run_file_", "function_", "disk_"];
    let (beside, mesh): (Vec<_>, Vec<_>) =
        seen.iter().partition(|code| local.iter().any(|it| code.starts_with(it)));
    assert!(mesh.len() >= 20 && beside.len() >= 8, "{mesh:?} {beside:?}");
}

#[test]
fn two_healthy_machines_have_no_fault() {
    let (a, b) = (Machine::up("anna"), Machine::up("berta"));
    a.pair(&b);
    for machine in [&a, &b] {
        let found = findings(machine);
        assert!(found.iter().all(|it| it["grave"] == false), "{found:?}");
    }
}
