//! The agent as a function of a node, asking the model of another one.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::functions::ask;
use crate::machine::Machine;

const AGENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions/agent.wasm");

#[test]
fn an_agent_behind_the_http_door_chats_by_a_nodes_model_and_never_sees_its_key() {
    let model = Machine::up_with_model("model");
    let place = format!("http://{}", model.ready["api"].as_str().unwrap());
    let name = model.json(&["models"])[0]["name"].as_str().unwrap().to_owned();
    let mut one = Machine::new("one", vec!["--no-model"]);
    one.write_config(&format!("[functions]\nlocal_places = [{place:?}]\n"));
    one.start();
    let key = fs::read_to_string(model.home().join("api.key")).unwrap();
    let mut command = one.command(&["secret", "set", "MODEL_KEY", "--place", &place]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", key.trim()).unwrap();
    assert!(child.wait().unwrap().success());

    let base = format!("OPENAI_BASE_URL={place}/v1");
    let wanted = format!("OPENAI_MODEL={name}");
    let header = format!("{place} authorization=Bearer {{MODEL_KEY}}");
    let deploy = ["deploy", AGENT, "--id", "agent", "--env", &base, "--env", &wanted];
    let deploy = [&deploy[..], &["--allow-host", &place, "--add-header", &header]].concat();
    one.json(&deploy);

    let got = ask(&one, "GET", "/fn/agent/health", "", true);
    let health: Value = serde_json::from_str(&got.body).unwrap();
    assert_eq!((got.status, &health["model"]), (200, &name.as_str().into()), "{health}");
    let hello = r#"{"message":"hello","max_tokens":8}"#;
    let got = ask(&one, "POST", "/fn/agent/api/chat", hello, true);
    let told: Value = serde_json::from_str(&got.body).unwrap();
    assert_eq!(got.status, 200, "{told}");
    assert!(told["reply"].as_str().is_some_and(|it| !it.is_empty()), "{told}");
    assert!(told["usage"]["completion_tokens"].as_u64().is_some_and(|it| it > 0), "{told}");
    assert_eq!(told["model"], name.as_str(), "{told}");
    // What the model's door refuses is told as its answer.
    let messages =
        r#"{"messages":[{"role":"user","content":"hello"}],"max_tokens":8,"model":"nothing"}"#;
    let got = ask(&one, "POST", "/fn/agent/api/chat", messages, true);
    assert_eq!(got.status, 502, "{}", got.body);
    assert!(got.body.contains("404"), "{}", got.body);
}
