//! Connections that functions open: where they may lead, and when they end.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc;
use std::{fs, thread};

use crate::machine::{Machine, PATIENCE};
use crate::outbound::machine;

/// The component that opens connections.
const DIAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions/dial.wasm");

/// Says everything back that it hears.
struct Echo {
    address: SocketAddr,
    ended: mpsc::Receiver<()>,
}

impl Echo {
    fn start(at: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = mpsc::channel();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let end = end.clone();
                thread::spawn(move || {
                    let mut bytes = [0; 1024];
                    while let Ok(length @ 1..) = stream.read(&mut bytes) {
                        if stream.write_all(&bytes[..length]).is_err() {
                            break;
                        }
                    }
                    end.send(())
                });
            }
        });
        Self { address, ended }
    }

    fn up() -> Self {
        Self::start((Ipv4Addr::LOCALHOST, 0).into())
    }
}

/// Deploys an application whose component may connect to these places.
fn deploy(machine: &Machine, places: &[&str]) {
    let folder = machine.folder().join("net");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(DIAL, folder.join("dial.wasm")).unwrap();
    let manifest = format!(
        "spin_manifest_version = 2\n[application]\nname = \"net\"\n\
         [[trigger.http]]\nroute = \"/\"\ncomponent = \"dial\"\n\
         [component.dial]\nsource = \"dial.wasm\"\nallowed_outbound_hosts = {places:?}\n"
    );
    fs::write(folder.join("spin.toml"), manifest).unwrap();
    machine.json(&["deploy", folder.join("spin.toml").to_str().unwrap()]);
}

/// Lets a component do things, each a line; returns what it tells, line by line, or nothing when it failed.
fn told(machine: &Machine, at: &str, lines: &[String]) -> Vec<String> {
    let api = machine.ready["api"].as_str().unwrap();
    let key = fs::read_to_string(machine.home().join("api.key")).unwrap();
    let request = ureq::post(format!("http://{api}/fn/{at}/"));
    let request = request.header("authorization", format!("Bearer {}", key.trim()));
    let Ok(mut response) = request.send(lines.join("\n")) else { return Vec::new() };
    let body = response.body_mut().read_to_string().unwrap();
    body.lines().map(str::to_owned).collect()
}

fn say(to: SocketAddr) -> String {
    format!("say {} {} hello", to.ip(), to.port())
}

#[track_caller]
fn check(machine: &Machine, places: &[&str], tries: &[(SocketAddr, bool)]) {
    deploy(machine, places);
    let lines: Vec<String> = tries.iter().map(|it| say(it.0)).collect();
    let got = told(machine, "net", &lines);
    let expected: Vec<&str> =
        tries.iter().map(|it| if it.1 { "heard hello" } else { DENIED }).collect();
    assert_eq!(got, expected, "{places:?}");
}

const DENIED: &str = "error access-denied";

#[test]
fn connections_lead_where_the_manifest_names_them() {
    let (one, other) = (Echo::up(), Echo::up());
    let port = one.address.port();
    let beside = Echo::start((Ipv4Addr::new(127, 0, 0, 2), port).into());
    let (one, other, beside) = (one.address, other.address, beside.address);
    let node = machine(&["tcp://127.0.0.0/8:*"]);
    let end = u32::from(port) + 1;
    let exact = format!("*://127.0.0.1:{port}");
    check(&node, &[&exact], &[(one, true), (other, false), (beside, false)]);
    let network = format!("tcp://127.0.0.0/24:{port}..{end}");
    check(&node, &[&network], &[(one, true), (other, false), (beside, true)]);
    check(&node, &["*://*:*"], &[(one, true), (other, true), (beside, true)]);
    let elsewhere = format!("*://127.0.0.2:{port}");
    check(&node, &[&elsewhere], &[(one, false), (other, false), (beside, true)]);
    // Other schemes are for what the host says itself.
    let redis = format!("redis://127.0.0.1:{port}");
    check(&node, &[&redis], &[(one, false)]);
    check(&node, &[], &[(one, false)]);

    // A function of its own, too.
    let place = format!("tcp://{one}");
    node.json(&["deploy", DIAL, "--id", "dial", "--allow-host", &place]);
    assert_eq!(told(&node, "dial", &[say(one), say(other)]), ["heard hello", DENIED]);
}

#[test]
fn this_machine_is_not_connected_to_unless_its_owner_names_the_place() {
    let echo = Echo::up();
    let node = machine(&["tcp://127.0.0.1:1", "http://127.0.0.1:*"]);
    check(&node, &["*://*:*"], &[(echo.address, false)]);
    let log = fs::read_to_string(node.folder().join("log")).unwrap();
    assert!(log.contains("`functions.local_places` does not name it"), "it says why");
    assert!(log.contains(&format!("tcp://{}", echo.address)), "and where");
}

#[test]
fn only_names_that_were_named_are_looked_up_and_only_by_them_is_their_address_reached() {
    let echo = Echo::up();
    let port = echo.address.port();
    let node = machine(&[&format!("tcp://localhost:{port}")]);
    deploy(&node, &[&format!("tcp://localhost:{port}")]);
    let lines = [
        say(echo.address),
        "find example.com".to_owned(),
        "find localhost.example.com".to_owned(),
        "find 127.0.0.1".to_owned(),
        format!("call localhost {port} hello"),
        format!("call localhost {} hello", port ^ 1),
    ];
    let expected = [DENIED, DENIED, DENIED, "127.0.0.1", "heard hello", DENIED];
    assert_eq!(told(&node, "net", &lines), expected);
}

#[test]
fn nobody_listens_no_datagram_leaves_and_sockets_have_an_end() {
    let node = machine(&["tcp://127.0.0.0/8:*"]);
    deploy(&node, &["*://*:*"]);
    let lines = ["listen 127.0.0.1 0", "listen 0.0.0.0 0", "datagram", "many 100", "many 20"];
    let got = told(&node, "net", &lines.map(str::to_owned));
    assert_eq!(got, [DENIED, DENIED, DENIED, "32 new-socket-limit", "20 none"]);
}

#[test]
fn a_connection_ends_with_the_call_that_opened_it() {
    let echo = Echo::up();
    let node = machine(&["tcp://127.0.0.0/8:*"]);
    let place = format!("tcp://{}", echo.address);
    node.json(&["deploy", DIAL, "--id", "dial", "--allow-host", &place, "--time", "300ms"]);
    let wait = format!("wait {} {}", echo.address.ip(), echo.address.port());
    assert_eq!(told(&node, "dial", &[wait]), [""; 0], "its time is over");
    echo.ended.recv_timeout(PATIENCE).unwrap();
}
