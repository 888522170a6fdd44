//! Code that somebody hands in: what it may do, what it may not, and what is told about it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::machine::{Machine, python, until};

/// A program that greets, in every language.
const HELLO: [(&str, &str); 8] = [
    ("python", "print('hello')"),
    ("javascript", "console.log('hello')"),
    (
        "java",
        "class Main { public static void main(String[] a) { System.out.println(\"hello\"); } }",
    ),
    ("cpp", "#include <iostream>\nint main() { std::cout << \"hello\\n\"; }"),
    ("c", "#include <stdio.h>\nint main(void) { puts(\"hello\"); }"),
    ("go", "package main\nimport \"fmt\"\nfunc main() { fmt.Println(\"hello\") }"),
    ("rust", "fn main() { println!(\"hello\"); }"),
    ("bash", "echo hello"),
];

/// Runs code; returns what came of it, be it good or bad.
#[track_caller]
pub(crate) fn exec(machine: &Machine, language: &str, code: &str, more: &[&str]) -> Value {
    let mut arguments = vec!["exec", "--json", "--lang", language, "--code", code];
    arguments.extend(more);
    let output = machine.run(&arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let first: Value =
        serde_json::from_str(text.lines().next().unwrap_or_default()).unwrap_or_default();
    assert!(first["status"].is_string(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.success(), first["status"] == "success", "{text}");
    first
}

/// Runs code in the machine's own toolchain.
#[track_caller]
fn native(machine: &Machine, language: &str, code: &str) -> Value {
    exec(machine, language, code, &["--sandbox", "native"])
}

/// Returns the folder of snapshots that `functions/snapshots.sh` has filled.
#[expect(clippy::disallowed_methods, reason = "a test takes its snapshots from the environment")]
fn snapshots() -> PathBuf {
    let named = std::env::var("SEDGE_TEST_GUESTS").map(PathBuf::from);
    let folder =
        named.unwrap_or_else(|_| std::env::home_dir().unwrap().join(".cache/sedge/guests"));
    assert!(folder.join("python.wasm").exists(), "run functions/snapshots.sh first");
    folder
}

/// Returns a machine that has the snapshots.
pub(crate) fn with_snapshots(name: &'static str) -> Machine {
    let mut machine = Machine::new(name, vec!["--no-model"]);
    let cache = machine.folder().join("cache");
    fs::create_dir_all(&cache).unwrap();
    symlink(snapshots(), cache.join("guests")).unwrap();
    machine.start();
    machine
}

#[test]
fn row_157_every_language_that_is_here_greets_and_the_others_say_what_to_install() {
    let one = Machine::up("one");
    let offers = one.json(&["capabilities"]);
    let offered = |language: &str| {
        let name = format!("code:{language}");
        offers.as_array().unwrap().iter().any(|it| it["name"] == name.as_str())
    };
    let mut greeted = 0;
    for (language, code) in HELLO {
        if offered(language) {
            let got = native(&one, language, code);
            if got["status"] == "setup_error" {
                let told = got["error_message"].as_str().unwrap();
                assert!(told.contains("install "), "{language}: {told}");
                continue;
            }
            assert_eq!(
                (&got["stdout"], &got["exit_code"]),
                (&"hello\n".into(), &0.into()),
                "{language}: {got}"
            );
            assert_eq!(got["destination"], "native", "{got}");
            greeted += 1;
        } else {
            let (exit, error) = one.fails(&["exec", "--lang", language, "--code", code]);
            let told = (error["message"].as_str().unwrap(), error["hint"].as_str().unwrap());
            assert!(told.0.contains(language) && told.1.contains("install "), "{error}");
            assert_eq!(exit, 11, "{error}");
        }
    }
    // What the tests themselves need: a shell, a C compiler, Python and Rust.
    assert!(greeted >= 4, "only {greeted} languages are here");

    // A machine that has nothing at all: JavaScript can only run in Wasm, and everything else nowhere.
    let mut bare = Machine::new("bare", vec!["--no-model"]);
    let nothing = bare.folder().join("nothing");
    fs::create_dir(&nothing).unwrap();
    bare.sees_only(&nothing);
    bare.start();
    for (language, code) in HELLO {
        if language == "javascript" {
            let got = native(&bare, language, code);
            assert_eq!(got["status"], "setup_error", "{got}");
            let told = "this machine has no toolchain for javascript: install nodejs";
            assert!(got["error_message"].as_str().unwrap().contains(told), "{got}");
            continue;
        }
        let (exit, error) = bare.fails(&["exec", "--lang", language, "--code", code]);
        let told = format!("no machine that was asked has a toolchain for {language}");
        assert_eq!((exit, &error["message"]), (11, &told.into()), "{error}");
        assert!(error["hint"].as_str().unwrap().starts_with("install "), "{error}");
    }
}

#[test]
fn row_158_python_and_wasm_run_without_docker_under_the_same_limits() {
    let mut one = Machine::new("one", vec!["--no-model"]);
    let tools = one.folder().join("tools");
    fs::create_dir(&tools).unwrap();
    let real = "import os, sys; print(os.path.realpath(sys.executable))";
    let real = Command::new(python()).args(["-c", real]).output().unwrap();
    let real = String::from_utf8(real.stdout).unwrap();
    symlink(real.trim(), tools.join("python3")).unwrap();
    // No Docker, and nothing else either.
    one.sees_only(&tools);
    one.start();
    let endless = [("python", "native", "while True: pass"), ("javascript", "wasm", "for (;;) {}")];
    let greedy = [
        ("python", "native", "a = []\nwhile True: a.append(b'x' * 10_000_000)"),
        (
            "javascript",
            "wasm",
            "const a = []; for (;;) a.push(new Uint8Array(10_000_000).fill(1));",
        ),
    ];
    let long = [
        ("python", "native", "print('x' * 200_000)"),
        ("javascript", "wasm", "console.log('x'.repeat(200000))"),
    ];
    for (language, sandbox, code) in
        [("python", "native", "print(1 + 1)"), ("javascript", "wasm", "console.log(1 + 1)")]
    {
        let got = exec(&one, language, code, &["--sandbox", sandbox]);
        assert_eq!(
            (&got["stdout"], &got["destination"]),
            (&"2\n".into(), &sandbox.into()),
            "{got}"
        );
    }
    for (language, sandbox, code) in endless {
        let got = exec(&one, language, code, &["--sandbox", sandbox, "--timeout", "1s"]);
        assert_eq!((&got["status"], &got["timeout"]), (&"timeout".into(), &1.0.into()), "{got}");
    }
    for (language, sandbox, code) in greedy {
        let got = exec(&one, language, code, &["--sandbox", sandbox, "--memory", "64MiB"]);
        assert_eq!(got["status"], "error", "{got}");
    }
    // What is told of a failure and of memory is alike, too.
    let got = exec(&one, "javascript", "console.log('before'); process.exit(3)", &[]);
    assert_eq!((&got["status"], &got["exit_code"]), (&"error".into(), &3.into()), "{got}");
    assert_eq!((&got["stdout"], &got["destination"]), (&"before\n".into(), &"wasm".into()));
    let code = "const it = new Uint8Array(50000000).fill(1); console.log(it[49999999])";
    let peak = exec(&one, "javascript", code, &[])["peak_memory_bytes"].as_u64().unwrap();
    assert!((40_000_000..=60_000_000).contains(&peak), "{peak}");
    for (language, sandbox, code) in long {
        let got = exec(&one, language, code, &["--sandbox", sandbox]);
        assert_eq!(got["stdout"].as_str().map(str::len), Some(100_000), "{language}");
        assert_eq!((&got["truncated"], &got["stdout_bytes"]), (&true.into(), &200_001.into()));
    }
}

#[test]
fn row_159_sockets_forks_and_writes_to_the_system_are_denied() {
    let one = Machine::up("one");
    let code = r#"
import os, socket
def tried(name, action):
    try:
        print(name, "done", action())
    except OSError as error:
        print(name, "denied", error.errno)
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
    tried("socket", lambda: socket.socket(family))
tried("etc", lambda: open("/etc/motd", "w"))
tried("usr", lambda: open("/usr/x", "w"))
tried("root", lambda: open("/x", "w"))
tried("device", lambda: os.mknod("/tmp/sda", 0o60666, os.makedev(8, 0)))
tried("user", lambda: os.setuid(0))
children = 0
try:
    for _ in range(100):
        if os.fork() == 0:
            os.pause() if hasattr(os, "pause") else __import__("signal").pause()
        children += 1
except OSError as error:
    print("fork denied", error.errno)
print("children", children)
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")][0])
"#;
    let got = native(&one, "python", code);
    let out = got["stdout"].as_str().unwrap();
    assert_eq!(got["status"], "success", "{got}");
    assert!(!out.contains("done"), "{out}");
    assert_eq!(out.matches("socket denied").count(), 3, "{out}");
    for denied in
        ["etc denied", "usr denied", "root denied", "device denied", "user denied", "fork denied"]
    {
        assert!(out.contains(denied), "{denied}: {out}");
    }
    let children = out.lines().find_map(|it| it.strip_prefix("children ")).unwrap();
    assert!((1..50).contains(&children.parse::<u32>().unwrap()), "{out}");
    assert!(out.ends_with("0000000000000000\n"), "{out}");
}

#[test]
fn row_160_time_is_clamped_memory_is_bounded_and_output_is_cut() {
    let one = Machine::up("one");
    let timeout = |asked| exec(&one, "bash", "echo ok", &["--timeout", asked])["timeout"].clone();
    assert_eq!((timeout("0s"), timeout("1000s")), (json!(1.0), json!(300.0)));
    let long = "printf 'é%.0s' $(seq 1 200000); printf 'e%.0s' $(seq 1 200000) >&2";
    let got = exec(&one, "bash", long, &[]);
    assert_eq!(got["status"], "success", "{}", got["error_message"]);
    for (stream, count, bytes) in
        [("stdout", "stdout_bytes", 400_000), ("stderr", "stderr_bytes", 200_000)]
    {
        assert_eq!(got[stream].as_str().unwrap().chars().count(), 100_000, "{stream}");
        assert_eq!(got[count], bytes, "{stream}");
    }
    assert_eq!(got["truncated"], true);
    let got = exec(
        &one,
        "python",
        "a = []\nwhile True: a.append(b'x' * 10_000_000)",
        &["--sandbox", "native", "--memory", "64MiB"],
    );
    assert_eq!(got["status"], "error", "{got}");
    // What it may have, and what it may reserve beside: it fills memory between two looks at it.
    assert!(got["peak_memory_bytes"].as_u64().unwrap() < 600 << 20, "{got}");
}

#[test]
fn row_161_an_exit_code_is_an_error() {
    let one = Machine::up("one");
    let got = exec(&one, "bash", "echo before; exit 3", &[]);
    assert_eq!((&got["status"], &got["exit_code"]), (&"error".into(), &3.into()), "{got}");
    assert_eq!(
        (&got["stdout"], &got["error_message"]),
        (&"before\n".into(), &"it ended with exit code 3".into())
    );
    let got = exec(&one, "c", "int main(void) { return *(int *)0; }", &[]);
    assert_eq!((&got["status"], &got["exit_code"]), (&"error".into(), &Value::Null), "{got}");

    // In Wasm too: what was written before stays, and the exception says where.
    let two = with_snapshots("two");
    for (code, exception) in [
        ("print('before')\nimport sys\nsys.exit(3)", ""),
        (
            "print('before')\n1 / 0",
            "line 2, in <module>\n    1 / 0\nZeroDivisionError: division by zero\n",
        ),
        ("print('before')\nimport nothere", "ModuleNotFoundError: No module named 'nothere'\n"),
        ("print('before')\nraise ValueError from KeyError(1)", "direct cause"),
        ("print('before')\nprint(io.open)", "NameError: name 'io' is not defined\n"),
    ] {
        let got = exec(&two, "python", code, &["--sandbox", "wasm"]);
        let exit = if exception.is_empty() { 3 } else { 1 };
        assert_eq!((&got["status"], &got["exit_code"]), (&"error".into(), &exit.into()), "{got}");
        assert_eq!(got["stdout"], "before\n", "{got}");
        assert!(got["stderr"].as_str().unwrap().contains(exception), "{got}");
    }
    // What is no Python is told by where and why, too, though there is no file to show it from.
    let got = exec(&two, "python", "x = 1\nif x\n    print(x)", &["--sandbox", "wasm"]);
    assert_eq!((&got["status"], &got["exit_code"]), (&"error".into(), &1.into()), "{got}");
    let told = "File \"main.py\", line 2\n    if x\nSyntaxError: expected ':'\n";
    assert!(got["stderr"].as_str().unwrap().contains(told), "{got}");
    let files = "try:\n    open('/etc/passwd')\nexcept OSError as error:\n    print('none')";
    assert_eq!(exec(&two, "python", files, &["--sandbox", "wasm"])["stdout"], "none\n");
    assert_eq!(exec(&two, "python", files, &[])["destination"], "native", "it asks for files");
}

#[test]
fn row_162_a_timeout_ends_its_own_run_and_no_other() {
    let one = Machine::up("one");
    thread::scope(|scope| {
        // It goes on until the other one was ended, however long that takes.
        let other = scope.spawn(|| exec(&one, "bash", "sleep 4; echo done", &["--timeout", "60s"]));
        until("the other one runs", || one.json(&["status"])["running"] == 1);
        let code = "trap '' TERM INT HUP; (trap '' TERM; sleep 987654) & \
                    (setsid sleep 987654 &); while :; do sleep 987654; done";
        let endless = exec(&one, "bash", code, &["--timeout", "1s"]);
        assert_eq!(endless["status"], "timeout", "{endless}");
        let other = other.join().unwrap();
        assert_eq!(
            (&other["status"], &other["stdout"]),
            (&"success".into(), &"done\n".into()),
            "{other}"
        );
    });
    until("nothing is left running", || one.json(&["status"])["running"] == 0);
    let left = fs::read_dir("/proc").unwrap().flatten().filter(|it| {
        let line = fs::read(it.path().join("cmdline")).unwrap_or_default();
        line.windows(6).any(|it| it == b"987654")
    });
    assert_eq!(left.count(), 0, "everything that it started ended with it");
}

#[test]
fn row_163_peak_memory_is_within_a_fifth() {
    let one = Machine::up("one");
    let c = "#include <stdlib.h>\nint main(void) { volatile char *it = malloc(50000000);\n\
             for (int at = 0; at < 50000000; at += 1000) it[at] = 1;\n\
             return it[49999000] - 1; }";
    let got = exec(&one, "c", c, &[]);
    assert_eq!(got["status"], "success", "{got}");
    let peak = got["peak_memory_bytes"].as_u64().unwrap();
    assert!((40_000_000..=60_000_000).contains(&peak), "{peak}");
    let task = got["task"].as_str().unwrap();
    assert_eq!(one.json(&["receipt", "verify", task])[0]["valid"], true);
}

#[test]
fn row_264_python_and_javascript_are_fresh_in_every_call() {
    let one = with_snapshots("one");
    for (language, sum, marked) in [
        (
            "python",
            "print(1+1)",
            "import sys, json\nprint(hasattr(json, 'mark'), 'mark' in sys.modules)\njson.mark = sys.modules['mark'] = 1",
        ),
        (
            "javascript",
            "print(1+1)",
            "console.log('mark' in globalThis, 'mark' in Array.prototype); globalThis.mark = Array.prototype.mark = 1",
        ),
    ] {
        let path = format!("functions/code:{language}/call");
        let ask = |code: &str| one.post(&path, &json!({ "code": code, "sandbox": "wasm" }));
        let first = ask(sum);
        assert_eq!(first["destination"], "wasm", "{first}");
        let mut times = Vec::new();
        for call in 0..100 {
            let got = ask(sum);
            assert_eq!((&got["stdout"], &got["stderr"]), (&"2\n".into(), &"".into()), "{got}");
            times.push(Duration::from_secs_f64(got["execution_time"].as_f64().unwrap()));
            if call % 10 == 0 {
                let got = ask(marked);
                assert_eq!(
                    got["stdout"].as_str().unwrap().trim().to_lowercase(),
                    "false false",
                    "{got}"
                );
            }
        }
        times.sort();
        println!("{language}: 100 calls of {sum}: median {:?}, p99 {:?}", times[50], times[98]);
    }
}

#[test]
fn nothing_gets_out_of_a_native_sandbox() {
    let one = Machine::up("one");
    let secret = one.folder().join("secret");
    fs::write(&secret, "the secret").unwrap();
    let secret = secret.display().to_string();
    for (what, code) in [
        (
            "the machine's tree",
            format!("cat {secret} /proc/1/root{secret} /proc/self/root{secret} /.behind{secret}"),
        ),
        ("a link", format!("ln -s {secret} /code/link; cat /code/link")),
        ("the node's home", format!("ls {}", one.home().display())),
        (
            "the first process",
            "cat /proc/1/environ /proc/1/mem /proc/1/maps; ls /proc/1/fd/".to_owned(),
        ),
        ("another namespace", "unshare -r true; nsenter -t 1 -m true".to_owned()),
        ("a mount", "mount -t tmpfs x /tmp; umount /proc; chroot / true".to_owned()),
        (
            "the kernel",
            "echo 1 > /proc/sys/kernel/panic; echo b > /proc/sysrq-trigger; dmesg".to_owned(),
        ),
        ("another user", "su; sudo id; setpriv --reuid 0 true".to_owned()),
    ] {
        let got = exec(&one, "bash", &format!("{{ {code}; }} && echo out"), &[]);
        let out = got["stdout"].as_str().unwrap();
        assert!(!out.contains("secret") && !out.contains("out"), "{what}: {got}");
    }
    // Bombs: each ends by itself or is ended, and the node goes on.
    for (what, code) in [
        ("processes", ":(){ :|:& };:; sleep 0.2"),
        (
            "memory of many",
            "for i in $(seq 40); do (a=$(head -c 30000000 /dev/zero | tr '\\0' x); sleep 5) & done; wait",
        ),
        ("output", "cat /dev/zero"),
        ("files", "head -c 1000000000 /dev/zero > /code/x; head -c 1000000000 /dev/zero > /tmp/x"),
        ("everybody", "kill -9 -1; kill -9 1; kill -9 $PPID"),
    ] {
        let got = exec(&one, "bash", code, &["--timeout", "10s", "--memory", "64MiB"]);
        println!("{what}: {} {}", got["status"], got["error_message"]);
        let got = exec(&one, "bash", "echo still here", &[]);
        assert_eq!(got["stdout"], "still here\n", "{what}: {got}");
    }
    let flood = exec(&one, "bash", "cat /dev/zero", &[]);
    assert_eq!(flood["error_message"], "it wrote more than 64 MiB", "{flood}");
}

/// What each of these would reach or keep belongs to the machine and to no process of the sandbox.
#[test]
fn what_the_kernel_keeps_for_programs_is_bounded_too() {
    let one = Machine::up("one");
    let refused = "
import ctypes, mmap, os, socket
def tries(what, work):
    try:
        work()
        print(what, 'allowed')
    except PermissionError:
        pass
a, b = socket.socketpair()
tries('datagrams', lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
tries('raw', lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_RAW))
tries('buffers', lambda: a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24))
tries('bind', lambda: a.bind('/code/socket'))
tries('connect', lambda: a.connect('/code/socket'))
tries('shared memory', lambda: mmap.mmap(-1, 1 << 20))
# Its own session would have a share of the processor as large as the node's.
tries('a session', os.setsid)
tries('a rank', lambda: os.nice(-1))
print(os.nice(0))
libc = ctypes.CDLL(None, use_errno=True)
context = ctypes.c_ulong(0)
if libc.syscall(206, 1000, ctypes.byref(context)) == 0:
    print('io_setup allowed')
print(open('/proc/self/oom_score_adj').read().strip())
a.sendall(b'x')
print(b.recv(1).decode())
";
    let got = native(&one, "python", refused);
    assert_eq!(got["stdout"], "19\n1000\nx\n", "{got}");
    // Full buffers of sockets, and page tables, count as memory.
    let sockets = "
import os, socket, time
for child in range(8):
    if os.fork() == 0:
        held = []
        for _ in range(100):
            a, b = socket.socketpair()
            a.setblocking(False)
            try:
                while True:
                    a.send(bytes(65536))
            except BlockingIOError:
                held.append((a, b))
        time.sleep(20)
time.sleep(20)
";
    let tables = "
import mmap, time
held = mmap.mmap(-1, 1 << 40, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, mmap.PROT_READ)
held.madvise(15)
for at in range(0, 1 << 40, 1 << 21):
    held[at]
time.sleep(20)
";
    for (what, code) in [("sockets", sockets), ("page tables", tables)] {
        let got = native(&one, "python", code);
        let message = got["error_message"].as_str().unwrap_or_default();
        assert!(message.contains("memory"), "{what}: {got}");
    }
}

#[test]
fn what_a_node_was_started_with_stays_with_the_node() {
    let one = Machine::new("one", vec!["--no-model"]);
    let secret = one.folder().join("secret");
    fs::write(&secret, "the secret").unwrap();
    let up = one.command(&["up", "--no-model", "--detach", "--listen", "127.0.0.1:0"]);
    let mut shell = Command::new("bash");
    shell.args(["-c", "exec 7<>\"$SECRET\"; exec \"$0\" \"$@\""]).arg(up.get_program());
    shell
        .args(up.get_args())
        .env("SECRET", &secret)
        .envs(up.get_envs().filter_map(|(k, v)| Some((k, v?))));
    assert!(shell.status().unwrap().success());
    let got = exec(&one, "bash", "cat <&7; echo over >&7; ls /proc/self/fd | wc -l", &[]);
    one.json(&["down"]);
    assert!(!got["stdout"].as_str().unwrap().contains("secret"), "{got}");
    assert_eq!(fs::read_to_string(&secret).unwrap(), "the secret");
}

#[test]
fn two_runs_in_one_session_do_not_run_each_others_code() {
    let one = Machine::up("one");
    let opened = one.json(&["session", "open"]);
    let session = opened["session_id"].as_str().unwrap();
    thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|number| {
                let one = &one;
                scope.spawn(move || {
                    let code = format!("print('run {number}')");
                    let got = exec(one, "python", &code, &["--session", session]);
                    assert_eq!(got["stdout"], format!("run {number}\n"), "{got}");
                })
            })
            .collect();
        for run in runs {
            run.join().unwrap();
        }
    });
    // A path that is too deep to be looked into counts as too much.
    let deep = "import os\nfor _ in range(2000):\n    os.mkdir('deeper'); os.chdir('deeper')\n\
                import time; time.sleep(20)";
    let got = exec(&one, "python", deep, &["--session", session]);
    assert!(got["error_message"].as_str().unwrap_or_default().contains("100 MiB"), "{got}");
}

#[test]
fn code_runs_on_another_machine_with_proof() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    one.until_offered("code:bash", "two");
    let got = exec(
        &one,
        "bash",
        "read it; echo \"$it there\"",
        &["--on", "two", "--stdin", "/etc/hostname"],
    );
    assert_eq!((&got["status"], &got["node_name"]), (&"success".into(), &"two".into()), "{got}");
    let receipt = got["receipt"].as_str().unwrap();
    assert_eq!(one.json(&["receipt", "verify", receipt])[0]["countersigned"], true);
}

#[test]
fn row_165_a_session_keeps_files_between_runs_and_brings_them_up_and_down() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    one.until_offered("code:session", "two");
    let opened = one.json(&["session", "open", "--on", "two"]);
    assert_eq!(opened["node_name"], "two", "{opened}");
    let session = opened["session_id"].as_str().unwrap();

    // Up, run, down.
    let up = one.folder().join("numbers.txt");
    fs::write(&up, "1\n2\n3\n").unwrap();
    one.json(&["session", "put", session, up.to_str().unwrap(), "data/numbers.txt"]);
    let code = "numbers = [int(it) for it in open('data/numbers.txt')]\n\
                import shout\n\
                open('sum.txt', 'w').write(shout.shout(sum(numbers)))";
    let package = one.folder().join("shout.py");
    fs::write(&package, "def shout(it):\n    return f'{it}!'\n").unwrap();
    one.json(&["session", "put", session, package.to_str().unwrap(), ".packages/shout.py"]);
    let ran = exec(&one, "python", code, &["--session", session]);
    assert_eq!((&ran["status"], &ran["node_name"]), (&"success".into(), &"two".into()), "{ran}");
    assert_eq!(ran["destination"], "native");
    let down = one.folder().join("sum.txt");
    one.json(&["session", "get", session, "sum.txt", "--output", down.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&down).unwrap(), "6!");
    let listed = one.json(&["session", "list", session]);
    let has = |path: &str| listed.as_array().unwrap().iter().any(|it| it["path"] == path);
    assert!(has("sum.txt") && has("data/numbers.txt"), "{listed}");

    // The next run, in another language, sees it; a run without the session does not.
    let again = exec(&one, "bash", "cat sum.txt; ln -s /etc/passwd out", &["--session", session]);
    assert_eq!(again["stdout"], "6!", "{again}");
    let apart = exec(&one, "bash", "cat sum.txt", &["--on", "two"]);
    assert_eq!(apart["status"], "error", "{apart}");

    // What a run left behind leads nowhere, and the other node has no part in it.
    let (_, error) = one.fails(&["session", "get", session, "out"]);
    assert_eq!(error["kind"], "not_found", "{error}");
    let (_, error) = two.fails(&["session", "list", session]);
    assert_eq!(error["kind"], "not_found", "{error}");
    let full = exec(
        &one,
        "bash",
        "head -c 80000000 /dev/zero > a; head -c 80000000 /dev/zero > b; sleep 20",
        &["--session", session],
    );
    assert_eq!(full["status"], "error", "{full}");

    one.json(&["session", "close", session]);
    let (_, error) = one.fails(&["session", "list", session]);
    assert_eq!(error["kind"], "not_found", "{error}");
}
