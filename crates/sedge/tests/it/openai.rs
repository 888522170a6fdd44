//! The official OpenAI client for Python, as it is.

use std::process::Command;

use serde_json::Value;

use crate::machine::{Machine, python};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/openai_client.py");

/// Runs the client against a machine; the first word says what it shall do.
fn client(machine: &Machine, what: &str) -> Value {
    let python = python();
    let key = std::fs::read_to_string(machine.home().join("api.key")).unwrap();
    let base = format!("http://{}/v1", machine.ready["api"].as_str().unwrap());
    let output = Command::new(&python)
        .args([SCRIPT, what])
        .env("OPENAI_BASE_URL", base)
        .env("OPENAI_API_KEY", key.trim())
        .output()
        .unwrap_or_else(|err| panic!("cannot run {python}: {err}; run ./test.sh"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\nif a module is missing, run ./test.sh");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn row_135_an_ordinary_openai_client_chats_and_sees_an_answer() {
    let machine = Machine::up_with_model("one");
    let got = client(&machine, "chat");
    assert!(got["completion_tokens"].as_u64().is_some_and(|it| it > 0), "{got}");
    assert_eq!(got["whole"], got["streamed"], "greedy answers are alike");
    assert!(got["whole"].as_str().is_some_and(|it| !it.is_empty()), "{got}");
}

#[test]
fn a_node_without_a_model_answers_through_one_that_has() {
    let (one, two) = (Machine::up("one"), Machine::up_with_model("two"));
    one.pair(&two);
    let model = two.json(&["models"])[0]["name"].as_str().unwrap().to_owned();
    one.until_offered(&model, "two");
    let there = client(&one, "chat");
    let here = client(&two, "chat");
    assert_eq!(there["whole"], here["whole"]);
    assert_eq!(there["node"], "two");

    let chat = one.json(&["chat", "hello", "--temperature", "0", "--max-tokens", "8"]);
    assert_eq!(chat["sedge"]["node_name"], "two");
    assert_eq!(chat["model"], model.as_str());
}

#[test]
fn mistakes_raise_the_classes_that_clients_expect() {
    let machine = Machine::up_with_model("one");
    let got = client(&machine, "mistakes");
    assert_eq!(got["wrong_key"], "AuthenticationError");
    assert_eq!(got["unknown_model"], "NotFoundError model_not_found");
    assert_eq!(got["too_long"], "BadRequestError context_length_exceeded");
    assert_eq!(got["tools"], "BadRequestError unsupported_parameter");
}
