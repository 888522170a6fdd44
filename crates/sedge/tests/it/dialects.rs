//! Three vendors' official clients for Python, as they are, on one port.

use std::process::Command;

use serde_json::Value;

use crate::machine::{Machine, python};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/dialects.py");

/// Asks a machine the same with each client.
pub(crate) fn clients(machine: &Machine, script: &str, model: &str) -> Value {
    let python = python();
    let key = std::fs::read_to_string(machine.home().join("api.key")).unwrap();
    let output = Command::new(&python)
        .arg(script)
        .env("NODE", machine.ready["api"].as_str().unwrap())
        .env("KEY", key.trim())
        .env("MODEL", model)
        .output()
        .unwrap_or_else(|err| panic!("cannot run {python}: {err}; run ./test.sh"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\nif a module is missing, run ./test.sh");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn row_259_each_vendors_own_client_chats_and_streams_and_sees_equal_answers() {
    let machine = Machine::up_with_model("one");
    let got = clients(&machine, SCRIPT, "");
    let (openai, anthropic, ollama) = (&got["openai"], &got["anthropic"], &got["ollama"]);
    let text = openai["whole"].as_str().filter(|it| !it.is_empty()).unwrap();
    let joined = |it: &Value| {
        let pieces = it["pieces"].as_array().unwrap().iter();
        pieces.map(|it| it.as_str().unwrap()).collect::<String>()
    };
    for seen in [openai, anthropic, ollama] {
        assert_eq!((seen["whole"].as_str(), joined(seen).as_str()), (Some(text), text), "{got}");
        assert!(seen["pieces"].as_array().unwrap().len() > 1, "in pieces: {seen}");
        assert_eq!(seen["tokens"], openai["tokens"], "{got}");
        let unknown = seen["unknown"].as_str().unwrap();
        assert!(unknown.ends_with("404"), "{unknown}");
        assert!(seen["stranger"].as_str().unwrap().ends_with("401"), "{seen}");
    }
    assert_eq!(anthropic["final"], text);
    assert_eq!(ollama["generated"], text, "a text is a conversation of one turn");
    assert_eq!(
        (&openai["why"], &anthropic["why"], &ollama["why"]),
        (&"length".into(), &serde_json::json!(["max_tokens", "max_tokens"]), &"length".into()),
    );
    assert_eq!(anthropic["refused"], "BadRequestError 400");
    assert_eq!(ollama["models"].as_array().unwrap().len(), 1);
    assert_eq!((&ollama["family"], &ollama["loaded"]), (&"llama".into(), &true.into()));
}
