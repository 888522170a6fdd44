//! Every listener of the program, met by a client that speaks in plain text.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};

use crate::machine::{Machine, PATIENCE, until};

const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
/// The beginning of HTTP/2 without TLS, as a plaintext gRPC client sends it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Says something in plain text; returns everything that is said back until the other side hangs up.
fn say(to: SocketAddr, words: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(words).unwrap();
    let mut said = Vec::new();
    // A reset is a refusal, too.
    if let Err(err) = stream.read_to_end(&mut said) {
        assert_eq!(err.kind(), std::io::ErrorKind::ConnectionReset, "{to}: {err}");
    }
    said
}

/// Nothing is answered but a TLS alert at most: a record of type 21.
#[track_caller]
fn check_refused(to: SocketAddr) {
    for words in [REQUEST, PREFACE] {
        let said = say(to, words);
        assert!(said.is_empty() || said[0] == 21, "{to}: {}", String::from_utf8_lossy(&said));
        assert!(said.len() < 16, "{to}: an alert is short");
    }
}

fn address(machine: &Machine, name: &str) -> SocketAddr {
    machine.ready[name].as_str().unwrap().parse().unwrap()
}

/// Returns the TCP ports that a process listens at, in the words of the kernel.
fn listening(machine: &Machine) -> Vec<u16> {
    let pid = machine.ready["pid"].as_u64().unwrap();
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|it| std::fs::read_link(it.ok()?.path()).ok()?.to_str().map(str::to_owned))
        .filter_map(|it| Some(it.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut ports = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap();
        for line in text.lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            // 0A: listening; the tenth field is the socket's inode.
            if fields[3] == "0A" && sockets.iter().any(|it| it == fields[9]) {
                let port = fields[1].rsplit_once(':').unwrap().1;
                ports.push(u16::from_str_radix(port, 16).unwrap());
            }
        }
    }
    ports.sort_unstable();
    ports
}

#[test]
fn row_024_every_listener_refuses_plain_text() {
    let mut one = Machine::new("one", vec!["--no-model"]);
    one.write_config("[server]\ntls = true\nlisten = \"127.0.0.1:0\"\n");
    one.start();
    let two = Machine::up("two");
    one.pair(&two);

    // The invitation's card is gone with the invitation: what is left are the doors.
    let (api, doors) = (address(&one, "api"), address(&one, "doors"));
    let relay = one.json(&["relay", "on", "--listen", "127.0.0.1:0"])["serving"][0].clone();
    let relay: SocketAddr = relay.as_str().unwrap().split_once('@').unwrap().1.parse().unwrap();
    let mut known = vec![api.port(), doors.port(), relay.port()];
    known.sort_unstable();
    until("no other TCP port is open", || listening(&one) == known);
    check_refused(api);
    check_refused(doors);
    check_refused(relay);

    // The mesh's own port is QUIC, which has no plain form: what is none is not answered.
    let status = one.json(&["status"]);
    let mesh: SocketAddr = status["mesh"][0].as_str().unwrap().parse().unwrap();
    let plain = UdpSocket::bind("127.0.0.1:0").unwrap();
    plain.send_to(REQUEST, mesh).unwrap();
    // One that is answered by its version alone, sent after it: had there been an answer to the
    // first, it would have come before.
    let mut unknown_version = vec![0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0];
    unknown_version.resize(1200, 0);
    plain.send_to(&unknown_version, mesh).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = [0; 1500];
    let (length, _) = plain.recv_from(&mut said).unwrap();
    assert_eq!(said[0] & 0x80, 0x80, "a packet of QUIC with a long header");
    assert_eq!(&said[1..5], [0; 4], "and the versions that it speaks: {:?}", &said[..length]);

    // Who speaks TLS is served, with the node's own authority.
    assert_eq!(one.json(&["nodes"]).as_array().unwrap().len(), 2);
}

#[test]
fn without_tls_the_api_is_plain_on_loopback_and_has_no_door_for_edges() {
    let machine = Machine::up("one");
    assert_eq!(machine.ready["doors"], serde_json::Value::Null);
    let said = String::from_utf8(say(address(&machine, "api"), REQUEST)).unwrap();
    assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
    let request = b"POST /nexus.v1.EdgeService/ListEdges HTTP/1.1\r\nhost: localhost\r\n\
                    content-length: 0\r\nconnection: close\r\n\r\n";
    let said = String::from_utf8(say(address(&machine, "api"), request)).unwrap();
    assert!(said.starts_with("HTTP/1.1 401"), "there is no such door: {said}");
    assert!(!machine.home().join("tls.key").exists(), "no key is made that nobody needs");
}
