//! A page in a real browser, which has nothing of ours but `sdks/browser/sedge.js`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};

use crate::machine::{Machine, PATIENCE};

const PAGE: &str = include_str!("../foreign/page.html");
const SDK: &str = include_str!("../../../../sdks/browser/sedge.js");

/// Serves the page and its module from a port of this machine until it has reported.
fn serve(listener: TcpListener) -> mpsc::Receiver<Value> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let sender = sender.clone();
            // A browser keeps connections in store that it never uses.
            thread::spawn(move || answer(stream.unwrap(), &sender));
        }
    });
    receiver
}

fn answer(mut stream: TcpStream, sender: &mpsc::Sender<Value>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    if reader.read_line(&mut request).is_err() {
        return;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
    }
    let (status, kind, text) = match request.split(' ').nth(1).unwrap_or_default() {
        "/report" => {
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            drop(sender.send(serde_json::from_slice(&body).unwrap()));
            ("200 OK", "text/plain", "")
        }
        "/sedge.js" => ("200 OK", "text/javascript", SDK),
        path if path.starts_with("/?") => ("200 OK", "text/html", PAGE),
        _ => ("404 Not Found", "text/plain", ""),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes())));
}

/// A browser without a window, killed when it is dropped.
struct Browser(Child);

impl Browser {
    fn open(machine: &Machine, address: &str) -> Self {
        let profile = machine.folder().join("profile");
        let mut command = Command::new("chromium");
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--mute-audio"])
            // The node's authority is in no store of the browser; the page checks the node's key.
            .arg("--ignore-certificate-errors")
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("--remote-debugging-port=0")
            .arg(address)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn();
        Self(child.unwrap_or_else(|err| panic!("cannot run chromium: {err}; run ./test.sh")))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Opens the page in a browser at a machine; returns what the page reports.
fn report(listener: TcpListener, machine: &Machine, url: &str) -> Value {
    let here = listener.local_addr().unwrap();
    let minted = machine.json(&["token", "mint", "--capability", "door:page"]);
    let (token, node) = (minted["token"].as_str().unwrap(), machine.id());
    let reports = serve(listener);
    let address = format!("http://{here}/?url={url}&node={node}&token={token}");
    let _browser = Browser::open(machine, &address);
    reports.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the page has not reported"))
}

fn check(report: &Value) {
    let expected = json!({
        "verified": [1, 2],
        "from_the_first": true,
        "heard": true,
        "forged": "the signature is not by the page's key over this message",
        "wrong_token": "this is not this node's API key",
        "wrong_node": "another node answers",
    });
    assert_eq!(*report, expected);
}

#[test]
fn row_022_a_page_joins_and_its_signed_message_is_verified() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut machine = Machine::new("one", vec!["--no-model"]);
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let text = format!("[server]\nlisten = \"127.0.0.1:0\"\norigins = [{origin:?}]\n");
    machine.write_config(&text);
    machine.start();
    let url = format!("wss://{}/ws", machine.ready["doors"].as_str().unwrap());
    check(&report(listener, &machine, &url));
}

#[test]
fn a_page_of_this_machine_joins_on_loopback() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let machine = Machine::up("one");
    let url = format!("ws://{}/ws", machine.ready["api"].as_str().unwrap());
    check(&report(listener, &machine, &url));
}

#[test]
fn a_page_of_another_site_is_refused_before_a_word() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut machine = Machine::new("one", vec!["--no-model"]);
    machine.write_config("[server]\nlisten = \"127.0.0.1:0\"\n");
    machine.start();
    let url = format!("wss://{}/ws", machine.ready["doors"].as_str().unwrap());
    let report = report(listener, &machine, &url);
    assert_eq!(report, json!({ "failed": "the connection has ended" }));
}
