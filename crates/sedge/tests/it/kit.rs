//! From `sedge new` to an answer, with each language's own tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::functions::ask;
use crate::machine::{Machine, program};

/// Returns the folder of guests, whose `bin` has the compilers that `functions/toolchains.sh` brings.
#[expect(clippy::disallowed_methods, reason = "a test takes its compilers from the environment")]
fn guests() -> PathBuf {
    let named = std::env::var("SEDGE_TEST_GUESTS").map(PathBuf::from);
    let folder =
        named.unwrap_or_else(|_| std::env::home_dir().unwrap().join(".cache/sedge/guests"));
    assert!(folder.join("bin/rustc").exists(), "run functions/toolchains.sh first");
    folder
}

/// Lets a command find the compilers, and keep what it builds of foreign code for the next time.
fn with_tools(command: &mut Command) -> &mut Command {
    let guests = guests();
    let found = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths(
        [guests.join("bin"), "/usr/bin".into()].into_iter().chain(std::env::split_paths(&found)),
    );
    command.env("PATH", path.unwrap()).env("CARGO_TARGET_DIR", guests.join("kit"))
}

/// Makes a function by `sedge new` and by the commands that it says; returns its component.
fn made(folder: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let mut new = program(&["new", name, "--json"]);
    let output = with_tools(new.args(arguments).current_dir(folder)).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["missing"], Value::Array(Vec::new()), "{told}");
    let within = folder.join(name);
    let readme = fs::read_to_string(within.join("README.md")).unwrap();
    for step in told["build"].as_array().unwrap() {
        let step = step.as_str().unwrap();
        assert!(readme.contains(step), "{readme}");
        let mut shell = Command::new("sh");
        shell.args(["-c", step]).current_dir(&within);
        let output = with_tools(&mut shell).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{name}: {step}: {}", String::from_utf8_lossy(&said));
    }
    let made = told["made"].as_str().unwrap();
    assert!(readme.contains(&format!("sedge deploy {made} --id {name}")), "{readme}");
    // Cargo was told of a folder that outlives this test.
    within.join(
        made.strip_prefix("target/")
            .map_or(PathBuf::from(made), |it| guests().join("kit").join(it)),
    )
}

/// Deploys a function over bytes and calls it, well and badly.
fn greets(machine: &Machine, name: &str, component: &Path) {
    machine.json(&["deploy", component.to_str().unwrap(), "--id", name]);
    assert_eq!(machine.json(&["call", name, "--input", "Ada"])["output"], "Hello, Ada!");
    assert_eq!(machine.json(&["call", name, "--input", " Zoë\n"])["output"], "Hello, Zoë!");
    let (exit, error) = machine.fails(&["call", name, "--input", ""]);
    assert_eq!(error["message"], "say a name", "{error}");
    assert_eq!(exit, 12, "{error}");
}

/// Deploys what answers HTTP, and asks it.
fn answers(machine: &Machine, name: &str, component: &Path) {
    machine.json(&["deploy", component.to_str().unwrap(), "--id", name]);
    let got = ask(machine, "GET", &format!("/fn/{name}/hello/Ada"), "", true);
    assert_eq!((got.status, got.body.as_str()), (200, "Hello, Ada!"));
    assert_eq!(got.header("content-type"), Some("text/plain; charset=utf-8"));
    let got = ask(machine, "GET", &format!("/fn/{name}/else"), "", true);
    assert_eq!((got.status, got.body.as_str()), (404, "ask for /hello/NAME"));
}

#[test]
fn a_function_in_rust_over_bytes_and_one_over_http() {
    let one = Machine::up("one");
    greets(&one, "greet-rust", &made(one.folder(), "greet-rust", &["--lang", "rust"]));
    let web = made(one.folder(), "web-rust", &["--lang", "rust", "--http"]);
    answers(&one, "web-rust", &web);
    // What is deployed is the component, whatever the compiler wrote.
    assert!(fs::read(web).unwrap().starts_with(b"\0asm\x01\0\0\0"));
}

#[test]
fn a_function_in_c_needs_the_compiler_alone() {
    let one = Machine::up("one");
    greets(&one, "greet-c", &made(one.folder(), "greet-c", &["--lang", "c"]));
}

#[test]
fn a_function_in_javascript() {
    let one = Machine::up("one");
    greets(&one, "greet-js", &made(one.folder(), "greet-js", &["--lang", "js"]));
}

#[test]
fn a_function_in_python_over_bytes_and_one_over_http() {
    let one = Machine::up("one");
    greets(&one, "greet-py", &made(one.folder(), "greet-py", &["--lang", "python"]));
    answers(&one, "web-py", &made(one.folder(), "web-py", &["--lang", "python", "--http"]));
}

#[test]
fn a_folder_that_is_there_is_left_alone_and_what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let new = |arguments: &[&str]| {
        let output = program(arguments).current_dir(folder.path()).env("PATH", "/nowhere").output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), said)
    };
    let (exit, said) = new(&["new", "one", "--lang", "js"]);
    assert_eq!(exit, 0, "{said}");
    assert_eq!(said, "npm is not on this machine: https://nodejs.org, version 18 or newer\n");
    let before = fs::read_to_string(folder.path().join("one/function.js")).unwrap();
    let (exit, said) = new(&["new", "one", "--lang", "rust"]);
    assert_eq!((exit, said.lines().next()), (4, Some("error: one is there already")), "{said}");
    assert_eq!(fs::read_to_string(folder.path().join("one/function.js")).unwrap(), before);
    assert!(!folder.path().join("one/Cargo.toml").exists());
    let (exit, said) = new(&["new", "two", "--lang", "c", "--http"]);
    assert!(exit == 11 && said.contains("`--http` goes with rust and python"), "{exit} {said}");
    assert!(!folder.path().join("two").exists());
    assert_eq!(new(&["new", "../two", "--lang", "c"]).0, 2);
    let (exit, said) = new(&["new", "two", "--lang", "cobol"]);
    assert!(exit == 2 && said.contains("one of rust, js, python, c"), "{exit} {said}");
}
