//! Servers of Redis: messages that call components, and components that ask.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::machine::{Machine, until};
use crate::outbound::machine;

const GUESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions");
const PASSWORD: &str = "s3cret-of-redis";

/// A server of Redis with a password, on a port of its own.
struct Redis {
    port: u16,
    child: Child,
    folder: TempDir,
}

impl Redis {
    fn start() -> Self {
        // Somebody else may take the port in between; then the server says so by ending, and another is tried.
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            let port =
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            let mut child = run(port, folder.path());
            if is_up(port, &mut child) {
                return Self { port, child, folder };
            }
        }
        panic!("no server of Redis has started");
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.child = run(self.port, self.folder.path());
        assert!(is_up(self.port, &mut self.child), "it starts again");
    }

    fn address(&self) -> String {
        format!("redis://:{PASSWORD}@127.0.0.1:{}", self.port)
    }

    /// Publishes a message; returns how many have heard it.
    fn publish(&self, channel: &str, message: &str) -> String {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        let mut stream = BufReader::new(stream);
        let commands = format!("AUTH {PASSWORD}\r\nPUBLISH {channel} {message}\r\n");
        stream.get_mut().write_all(commands.as_bytes()).unwrap();
        let lines: Vec<String> = stream.lines().take(2).map(Result::unwrap).collect();
        lines[1].clone()
    }

    /// Publishes a message as soon as somebody hears it.
    #[track_caller]
    fn tell(&self, channel: &str, message: &str) {
        until("the channel is heard", || self.publish(channel, message) == ":1");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a server; `./test.sh` brings the program.
fn run(port: u16, folder: &Path) -> Child {
    let port = port.to_string();
    let options = ["--port", &port, "--bind", "127.0.0.1", "--requirepass", PASSWORD];
    Command::new("redis-server")
        .args(options)
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until a server answers; returns whether it did, and has not ended instead.
fn is_up(port: u16, child: &mut Child) -> bool {
    let mut ended = false;
    until("a server of Redis is up", || {
        ended = child.try_wait().unwrap().is_some();
        ended || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    !ended
}

const RADIO: &str = r#"
spin_manifest_version = 2

[application]
name = "radio"

[application.trigger.redis]
address = "redis://:{{ password }}@127.0.0.1:{{ port }}/1"

[variables]
port = { required = true }
password = { required = true, secret = true }

[[trigger.http]]
route = "/keep"
component = "keep"

[[trigger.redis]]
channel = "news"
component = "hear"

[component.keep]
source = "keep.wasm"
key_value_stores = ["default"]
allowed_outbound_hosts = ["redis://127.0.0.1:{{ port }}"]

[component.hear]
source = "hear.wasm"
key_value_stores = ["default"]
"#;

/// Writes the application's folder and deploys it; returns everything that was said.
fn deploy(machine: &Machine, manifest: &str, port: u16, how: &[&str]) -> (bool, String) {
    let folder = machine.folder().join("radio");
    fs::create_dir_all(&folder).unwrap();
    for guest in ["keep.wasm", "hear.wasm"] {
        fs::copy(Path::new(GUESTS).join(guest), folder.join(guest)).unwrap();
    }
    let path = folder.join("spin.toml");
    fs::write(&path, manifest).unwrap();
    let (port, password) = (format!("port={port}"), format!("password={PASSWORD}"));
    let arguments =
        ["deploy", path.to_str().unwrap(), "--variable", &port, "--variable", &password];
    let output = machine.run(&[&arguments[..], how].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// Lets the component that keeps things do one; returns its answer.
fn keep(machine: &Machine, line: &str) -> String {
    let api = machine.ready["api"].as_str().unwrap();
    let key = fs::read_to_string(machine.home().join("api.key")).unwrap();
    let request = ureq::post(format!("http://{api}/fn/radio/keep"));
    let request = request.header("authorization", format!("Bearer {}", key.trim()));
    request.send(line).unwrap().body_mut().read_to_string().unwrap()
}

/// Returns what the node says of its one channel.
fn channel(machine: &Machine) -> Value {
    let rows = machine.json(&["apps"]);
    let found = rows.as_array().unwrap().iter().find(|it| it["channel"] == "news");
    found.cloned().unwrap_or(Value::Null)
}

#[test]
fn messages_call_a_component_whatever_happens_to_server_and_node() {
    let mut redis = Redis::start();
    let server = format!("redis://127.0.0.1:{}", redis.port);
    let mut one = machine(&[&server]);
    let mut said = String::new();
    let (done, words) = deploy(&one, RADIO, redis.port, &[]);
    assert!(done, "{words}");
    assert!(words.contains(&format!("news  {server}/1")), "{words}");
    said.push_str(&words);

    let heard = || keep(&one, "spin default get heard");
    redis.tell("news", "one");
    redis.tell("news", "fail");
    assert_eq!(redis.publish("other", "nobody"), ":0");
    redis.tell("news", "two");
    until("each message calls it, in their order", || heard() == "one,two");
    until("the node counts them", || channel(&one)["messages"] == 3);
    let row = channel(&one);
    let expected = json!({ "app": "radio", "function": "radio.hear", "channel": "news",
        "server": format!("{server}/1"), "heard": true, "why": null, "since": row["since"],
        "messages": 3, "failed": 1 });
    assert_eq!(row, expected);

    redis.kill();
    until("the server is missed", || channel(&one)["heard"] == false);
    let why = channel(&one)["why"].to_string();
    assert!(
        why.contains("server closed") || why.contains("not reached") || why.contains("broke"),
        "{why}"
    );
    said.push_str(&String::from_utf8(one.run(&["apps"]).stdout).unwrap());
    redis.start_again();
    redis.tell("news", "three");
    until("it goes on when the server is back", || heard() == "one,two,three");
    until("the node says so", || channel(&one)["heard"] == true);

    one.kill();
    let before = fs::read_to_string(one.folder().join("log")).unwrap();
    assert!(before.contains("channel_lost") && before.contains("channel_heard"));
    one.start();
    redis.tell("news", "four");
    until("it goes on after a restart", || {
        keep(&one, "spin default get heard") == "one,two,three,four"
    });
    said.push_str(&String::from_utf8(one.run(&["apps"]).stdout).unwrap());
    assert!(said.contains("heard: ") && said.contains("away: "), "{said}");

    // A version without the trigger hears nothing, and the application's end ends it.
    let (done, words) = deploy(&one, RADIO, redis.port, &["--id", "radio", "--json"]);
    assert!(done, "{words}");
    said.push_str(&words);
    one.json(&["apps", "rm", "radio"]);
    until("nobody hears it", || redis.publish("news", "five") == ":0");
    assert_eq!(channel(&one), Value::Null);

    // The password is in no word, and in no log down to its last detail.
    let log = fs::read_to_string(one.folder().join("log")).unwrap();
    assert!(log.contains("DEBUG"), "the log has every detail");
    for text in [&said, &before, &log, &one.json(&["capabilities"]).to_string()] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

#[test]
fn a_channel_is_refused_where_functions_may_not_reach_its_server_or_the_component_hears_none() {
    let one = machine(&["redis://127.0.0.1:7000"]);
    let (done, words) = deploy(&one, RADIO, 7001, &[]);
    assert!(!done && words.contains("may not reach redis://127.0.0.1:7001/1"), "{words}");
    assert!(!words.contains(PASSWORD), "{words}");
    let deaf = RADIO.replace("source = \"hear.wasm\"", "source = \"keep.wasm\"");
    let (done, words) = deploy(&one, &deaf, 7000, &[]);
    assert!(!done && words.contains("exports `fermyon:spin/inbound-redis`"), "{words}");
    let wrong = RADIO.replace("@127.0.0.1:{{ port }}/1", "@127.0.0.1/x");
    let (done, words) = deploy(&one, &wrong, 7000, &[]);
    assert!(!done && words.contains("redis trigger `news`: the address is not one"), "{words}");
    assert!(!words.contains(PASSWORD), "{words}");
}

#[test]
fn components_ask_servers_that_their_manifest_names() {
    let redis = Redis::start();
    let one = machine(&[&format!("redis://127.0.0.1:{}", redis.port)]);
    let (done, words) = deploy(&one, RADIO, redis.port, &[]);
    assert!(done, "{words}");
    let ask = |line: &str| keep(&one, &format!("redis {} {line}", redis.address()));
    for (line, told) in [
        ("get a", "none"),
        ("set a 1", "set"),
        ("get a", "1"),
        ("incr a", "2"),
        ("sadd s x y z", "3"),
        ("srem s y q", "1"),
        ("smembers s", "x,z"),
        ("get s", "error Error::TypeError"),
        ("incr s", "error Error::TypeError"),
        ("del a s nothing", "2"),
        ("execute SET n 41", "[RedisResult::Status(\"OK\")]"),
        ("execute INCRBY n 1", "[RedisResult::Int64(42)]"),
        ("execute MGET n nothing", "[RedisResult::Binary([52, 50]), RedisResult::Nil]"),
        (
            "execute NONSENSE",
            "error Error::Other(\"ERR unknown command 'NONSENSE', with args beginning with: \")",
        ),
        ("many", "8 Error::TooManyConnections"),
    ] {
        assert_eq!(ask(line), told, "{line}");
    }
    // What it publishes calls the other component.
    until("the channel is heard", || channel(&one)["heard"] == true);
    assert_eq!(ask("publish news hello"), "published");
    until("the message has come", || keep(&one, "spin default get heard") == "hello");

    let wrong = format!("redis redis://:wrong@127.0.0.1:{} get a", redis.port);
    assert!(keep(&one, &wrong).contains("WRONGPASS"), "{}", keep(&one, &wrong));
    for elsewhere in
        ["redis redis://127.0.0.1:1 get a", "redis redis://localhost get a", "redis x get a"]
    {
        assert_eq!(keep(&one, elsewhere), "error Error::InvalidAddress", "{elsewhere}");
    }
}
