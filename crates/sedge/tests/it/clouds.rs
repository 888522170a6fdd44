//! Where code runs when there is a cloud, and when there is none; and many runs at once.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::code::exec;
use crate::machine::{Machine, PATIENCE, until};

/// A stand-in for a cloud that speaks E2B's protocol: it runs nothing, answers, and remembers.
struct StandInCloud {
    address: String,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    asked: Mutex<Vec<Asked>>,
    changed: Condvar,
}

/// A request as it came.
#[derive(Debug, Clone)]
struct Asked {
    line: String,
    headers: BTreeMap<String, String>,
    body: Value,
}

impl StandInCloud {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Seen::default());
        let mine = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&mine);
                thread::spawn(move || seen.answer(stream));
            }
        });
        Self { address, seen }
    }

    fn config(&self, enabled: bool) -> String {
        let address = &self.address;
        format!("[code.cloud]\nenabled = {enabled}\napi = \"{address}\"\nsandbox = \"{address}\"\n")
    }

    fn asked(&self) -> Vec<Asked> {
        self.seen.asked.lock().unwrap().clone()
    }
}

impl Seen {
    fn answer(&self, mut stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut lines = reader.by_ref().lines().map_while(Result::ok);
        let line = lines.next()?;
        let headers: BTreeMap<_, _> = lines
            .take_while(|it| !it.is_empty())
            .filter_map(|it| {
                let (name, value) = it.split_once(':')?;
                Some((name.to_lowercase(), value.trim().to_owned()))
            })
            .collect();
        let length = headers.get("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (status, text) = match line.split(' ').take(2).collect::<Vec<_>>()[..] {
            _ if line.starts_with("DELETE ") => ("204 No Content", String::new()),
            ["POST", "/sandboxes"] if headers.get("x-api-key").is_none_or(|it| it != "e2b_key") => {
                ("401 Unauthorized", json!({ "code": 401 }).to_string())
            }
            ["POST", "/sandboxes"] => {
                let machine = json!({ "sandboxID": "stand-in", "envdAccessToken": "t0ken" });
                ("201 Created", machine.to_string())
            }
            _ => ("200 OK", "{\"type\":\"stdout\",\"text\":\"from afar\\n\"}\n".to_owned()),
        };
        let endless = body["code"].as_str().is_some_and(|it| it.contains("while True"));
        let mut asked = self.asked.lock().unwrap();
        asked.push(Asked { line, headers, body });
        self.changed.notify_all();
        if endless {
            let ended = |it: &mut Vec<Asked>| it.iter().all(|it| !it.line.starts_with("DELETE "));
            drop(self.changed.wait_timeout_while(asked, PATIENCE, ended).unwrap());
        } else {
            drop(asked);
        }
        let length = text.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close");
        stream.write_all(format!("{head}\r\n\r\n{text}").as_bytes()).ok()
    }
}

#[test]
fn row_164_code_runs_here_or_in_a_cloud_and_the_answer_says_where_and_why() {
    let science = "import pandas\nprint('here')";
    let network = "import requests\nprint('here')";
    let place = |got: &Value| {
        (
            got["destination"].as_str().unwrap().to_owned(),
            got["reason"].as_str().unwrap().to_owned(),
        )
    };

    // Without a key: here, where the library may be missing, and the reason says so.
    let plain = Machine::up("plain");
    for (code, class, missing) in [
        (science, "complex data-science code: ", "pandas"),
        (network, "simple network code: ", "requests"),
    ] {
        let got = exec(&plain, "python", code, &[]);
        let (destination, reason) = place(&got);
        assert_eq!(destination, "native", "{got}");
        let told = "not e2b: there is no cloud key: E2B_API_KEY is not set";
        assert!(reason.starts_with(class) && reason.contains(told), "{reason}");
        let no_module = format!("No module named '{missing}'");
        let here = got["stdout"] == "here\n";
        assert!(here || got["stderr"].as_str().unwrap().contains(&no_module), "{got}");
    }
    let (destination, reason) = place(&exec(&plain, "javascript", "console.log(1)", &[]));
    let told = "simple general code: a fresh Wasm instance is enough";
    assert_eq!((destination.as_str(), reason.as_str()), ("wasm", told));
    // Nothing weaker is used in silence: what awaits, what has no snapshot here.
    let awaits = "(async () => { await null; console.log(1) })()";
    let got = exec(&plain, "javascript", awaits, &[]);
    assert!(got["reason"].as_str().unwrap().contains("not wasm: the JavaScript snapshot"), "{got}");
    let (destination, reason) = place(&exec(&plain, "python", "print(1)", &[]));
    assert_eq!(destination, "native");
    assert!(reason.contains("not wasm: the Python snapshot"), "{reason}");
    let got = exec(&plain, "python", "print(1)", &["--sandbox", "wasm"]);
    assert_eq!(got["status"], "setup_error", "{got}");
    assert!(got["error_message"].as_str().unwrap().contains("functions/snapshots.sh"), "{got}");
    let got = exec(&plain, "python", science, &["--sandbox", "e2b"]);
    assert_eq!((&got["status"], &got["destination"]), (&"setup_error".into(), &Value::Null));
    assert!(got["error_message"].as_str().unwrap().contains("E2B_API_KEY is not set"), "{got}");

    // With a key alone: code does not leave before the owner says so.
    let cloud = StandInCloud::new();
    let mut careful = Machine::new("careful", vec!["--no-model"]);
    careful.write_config(&cloud.config(false));
    careful.knows("E2B_API_KEY", "e2b_key");
    careful.start();
    let (destination, reason) = place(&exec(&careful, "python", science, &[]));
    assert_eq!(destination, "native");
    assert!(reason.contains("code may not leave this machine"), "{reason}");
    assert!(cloud.asked().is_empty(), "{:?}", cloud.asked());

    // With both: what needs libraries goes away, everything else stays.
    let mut open = Machine::new("open", vec!["--no-model"]);
    open.write_config(&cloud.config(true));
    open.knows("E2B_API_KEY", "e2b_key");
    open.start();
    let got = exec(&open, "python", science, &[]);
    assert_eq!((&got["status"], &got["stdout"]), (&"success".into(), &"from afar\n".into()));
    assert_eq!(place(&got).0, "e2b");
    assert_eq!(
        place(&got).1,
        "complex data-science code: its libraries are not in the Wasm snapshot"
    );
    until("the machine there has ended", || cloud.asked().len() == 3);
    let asked = cloud.asked();
    assert_eq!(asked[0].body["allow_internet_access"], false, "{asked:?}");
    assert_eq!(asked[1].body["code"], science);
    assert_eq!(asked[1].headers["x-access-token"], "t0ken");
    assert!(asked[2].line.starts_with("DELETE /sandboxes/stand-in "), "{asked:?}");
    let (destination, _) = place(&exec(&open, "python", "print(1)", &[]));
    assert_eq!((destination.as_str(), cloud.asked().len()), ("native", 3));
}

#[test]
fn a_cloud_that_hangs_or_says_no_is_told() {
    let cloud = StandInCloud::new();
    let mut one = Machine::new("one", vec!["--no-model"]);
    one.write_config(&cloud.config(true));
    one.knows("E2B_API_KEY", "e2b_key");
    one.start();
    let endless = "import pandas\nwhile True: pass";
    let got = exec(&one, "python", endless, &["--timeout", "1s"]);
    assert_eq!((&got["status"], &got["destination"]), (&"timeout".into(), &"e2b".into()), "{got}");
    until("the machine there has ended", || cloud.asked().len() == 3);

    let mut other = Machine::new("other", vec!["--no-model"]);
    other.write_config(&cloud.config(true));
    other.knows("E2B_API_KEY", "another_key");
    other.start();
    let (_, error) = other.fails(&["exec", "--lang", "python", "--code", "import pandas"]);
    assert!(error["message"].as_str().unwrap().contains("401"), "{error}");
    assert!(!error.to_string().contains("another_key"), "{error}");
}

/// What an agent runs now and then that it should not: language, sandbox, code, time in seconds.
const HOSTILE: [(&str, &str, &str, u32); 9] = [
    ("bash", "native", ":(){ :|:& };:; exit 1", 5),
    ("python", "native", "a = []\nwhile True: a.append(b'x' * 10_000_000)", 5),
    ("bash", "native", "cat /dev/zero", 5),
    ("javascript", "wasm", "setInterval(() => {}, 0)", 1),
    ("bash", "native", "kill -9 -1; kill -9 1; exit 1", 5),
    ("bash", "native", "(setsid sleep 300 &); sleep 300", 1),
    ("javascript", "wasm", "const a = []; for (;;) a.push(new Uint8Array(1e7).fill(1))", 5),
    ("bash", "native", "ln -s / r; cat r/etc/shadow /proc/1/environ && echo out", 5),
    ("bash", "native", "exec 3<>/dev/tcp/127.0.0.1/22; echo b >/proc/sysrq-trigger", 5),
];

/// Returns the memory of a process in KiB, how many files it has open and how many children.
fn uses(pid: u32) -> (u64, usize, usize) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let memory = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
    let memory = memory.trim().trim_end_matches(" kB").parse().unwrap();
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let child = |it: &fs::DirEntry| {
        let stat = fs::read_to_string(it.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(')').and_then(|(_, it)| it.split_whitespace().nth(1));
        parent == Some(pid.to_string().as_str())
    };
    let children = fs::read_dir("/proc").unwrap().flatten().filter(child).count();
    (memory, files, children)
}

/// Runs so many programs, four at a time, a third of them hostile.
fn run_many(one: &Machine, count: usize) {
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                break;
            }
            let ask = |language: &str, ask: Value| {
                one.post(&format!("functions/code:{language}/call?memory=67108864"), &ask)
            };
            if at % 3 == 2 {
                let (language, sandbox, code, timeout) = HOSTILE[at / 3 % HOSTILE.len()];
                let hostile = json!({ "code": code, "sandbox": sandbox, "timeout": timeout });
                let got = ask(language, hostile);
                assert!(got["status"] == "error" || got["status"] == "timeout", "{code}: {got}");
                assert!(!got["stdout"].as_str().unwrap().contains("out"), "{code}: {got}");
            } else {
                let (language, code) = match at % 4 {
                    0 => ("python", format!("print({at} * {at})")),
                    1 => ("javascript", format!("console.log({at} * {at})")),
                    _ => ("bash", format!("echo $(({at} * {at}))")),
                };
                let got = ask(language, json!({ "code": code, "timeout": 60 }));
                assert_eq!(got["stdout"], format!("{}\n", at * at), "{got}");
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(work);
        }
    });
}

#[test]
fn two_hundred_runs_of_which_a_third_is_hostile_leave_nothing_behind() {
    let one = Machine::up("one");
    run_many(&one, 60);
    let (memory, files, _) = uses(one.pid());
    run_many(&one, 140);
    until("nothing is left of them", || uses(one.pid()).2 == 0);
    let (memory_after, files_after, _) = uses(one.pid());
    println!("{memory} KiB and {files} files after 60, {memory_after} and {files_after} after 200");
    assert!(memory_after < memory + (48 << 10), "{memory} KiB before, {memory_after} after");
    assert!(files_after < files + 20, "{files} files before, {files_after} after");
    assert_eq!(exec(&one, "bash", "echo still here", &[])["stdout"], "still here\n");
}
