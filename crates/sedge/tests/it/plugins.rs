//! Plugins: how they are found, judged, agreed to, called, stopped and replaced.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::code::with_snapshots;
use crate::machine::{Machine, PROBE, UPPER, until};

const ENVIRON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions/environ.wasm");
const STUCK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions/stuck.wasm");

/// A JavaScript plugin that says what it was told.
const SAYS: &str = "const told = JSON.parse(require('fs').readFileSync(0, 'utf8'));\n\
                    console.log(JSON.stringify({ hook: told.hook, told: told.data, kept: told.config.word }));\n";

/// Puts a plugin into the node's folder.
fn put(machine: &Machine, name: &str, manifest: &str, files: &[(&str, &[u8])]) {
    let folder = machine.home().join("plugins").join(name);
    fs::create_dir_all(&folder).unwrap();
    for (file, bytes) in files {
        fs::write(folder.join(file), bytes).unwrap();
    }
    if !manifest.is_empty() {
        // The manifest at once, as whoever replaces a version does.
        fs::write(folder.join("new"), manifest).unwrap();
        fs::rename(folder.join("new"), folder.join("plugin.json")).unwrap();
    }
}

/// Returns a manifest with some more fields.
fn manifest(name: &str, version: &str, entry: &str, more: Value) -> String {
    let mut it =
        json!({ "name": name, "version": version, "entry_point": entry, "hooks": ["told"] });
    it.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    it.to_string()
}

fn component(path: &str) -> Vec<u8> {
    fs::read(Path::new(path)).unwrap()
}

fn show(machine: &Machine, name: &str) -> Value {
    machine.json(&["plugin", "show", name])
}

/// Calls whoever registered for `told`.
fn emit(machine: &Machine) -> Vec<Value> {
    let emitted = machine.json(&["plugin", "emit", "told", "--data", r#"{"n": "one"}"#]);
    emitted["calls"].as_array().unwrap().clone()
}

#[test]
fn row_230_json_yaml_and_comment_plugins_are_listed() {
    let mut one = with_snapshots("one");
    let more = one.folder().join("more");
    one.write_config(&format!("[plugins]\nfolders = [{:?}]\n", more.display().to_string()));
    put(
        &one,
        "first",
        &manifest("a-json", "1.0.0", "it.wasm", json!({})),
        &[("it.wasm", &component(UPPER))],
    );
    let yaml = "# A comment of YAML.\nname: b-yaml\nversion: 2.0.0\nentry_point: it.js\nhooks:\n  - told\n";
    put(&one, "second", "", &[("plugin.yaml", yaml.as_bytes()), ("it.js", SAYS.as_bytes())]);
    let python = "# plugin: {\"name\": \"c-comment\", \"version\": \"3.0.0\", \"hooks\": [\"told\"]}\nprint(1)\n";
    put(&one, "third", "", &[("it.py", python.as_bytes())]);
    let toml = "[project]\nname = 'x'\n[tool.codomyrmex.plugin]\nname = 'd-pyproject'\nversion = '4.0.0'\n\
                entry_point = 'it.py'\nhooks = ['told']\n";
    fs::create_dir_all(more.join("fourth")).unwrap();
    fs::write(more.join("fourth/pyproject.toml"), toml).unwrap();
    fs::write(more.join("fourth/it.py"), "print('{}')").unwrap();
    one.kill();
    one.start();
    let list = one.json(&["plugin", "list"]);
    let told = list["plugins"].as_array().unwrap().iter().map(|it| {
        assert_eq!(
            (&it["state"], &it["valid"], &it["score"]),
            (&"disabled".into(), &true.into(), &100.into()),
            "{it}"
        );
        [&it["name"], &it["version"], &it["format"]].map(|it| it.as_str().unwrap().to_owned())
    });
    let expected = [
        ["a-json", "1.0.0", "json"],
        ["b-yaml", "2.0.0", "yaml"],
        ["c-comment", "3.0.0", "comment"],
        ["d-pyproject", "4.0.0", "pyproject"],
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert_eq!(list["problems"], json!([]));
    // And they answer: a component and JavaScript, each in Wasm.
    for name in ["a-json", "b-yaml"] {
        one.json(&["plugin", "enable", name, "--yes"]);
    }
    let answers: Vec<_> = emit(&one).iter().map(|it| it["answer"].clone()).collect();
    let upper = json!({ "CONFIG": {}, "DATA": { "N": "ONE" }, "ENV": {}, "HOOK": "TOLD" });
    assert_eq!(answers, [upper, json!({ "hook": "told", "told": { "n": "one" } })]);
}

#[test]
fn row_231_a_plugin_is_enabled_called_once_and_disabled() {
    let mut one = Machine::up("one");
    let more = json!({
        "hooks": ["told", "task.finished"], "rights": ["env:WORD"], "config": { "word": "kept" },
        "description": "says what it was told",
    });
    put(&one, "says", &manifest("says", "1.0.0", "it.js", more), &[("it.js", SAYS.as_bytes())]);
    one.kill();
    one.write_config("[plugins.env]\nWORD = 'secret'\n");
    one.start();
    assert_eq!(show(&one, "says")["state"], "disabled");
    assert_eq!(emit(&one), [] as [Value; 0]);
    // Nobody agreed: what it asks for is said, and nothing changes.
    let (exit, error) = one.fails(&["plugin", "enable", "says"]);
    let told = error["message"].as_str().unwrap();
    assert!(told.contains("read the value of `WORD` in `[plugins.env]`"), "{told}");
    assert_eq!((exit, &show(&one, "says")["state"]), (6, &"disabled".into()));
    let enabled = one.json(&["plugin", "enable", "says", "--yes"]);
    assert_eq!((&enabled["state"], &enabled["agreed"]), (&"active".into(), &true.into()));
    let calls = emit(&one);
    assert_eq!(calls.len(), 1, "{calls:?}");
    let answer = json!({ "hook": "told", "told": { "n": "one" }, "kept": "kept" });
    assert_eq!((&calls[0]["plugin"], &calls[0]["answer"]), (&"says".into(), &answer));
    assert_eq!(show(&one, "says")["calls"], 1);
    // What happens in the node is told, too; and what was decided stays decided.
    one.kill();
    one.start();
    assert_eq!(show(&one, "says")["state"], "active");
    one.json(&["deploy", UPPER, "--id", "upper"]);
    one.json(&["call", "upper", "--input", "x"]);
    until("the plugin was told of the task", || show(&one, "says")["calls"] == 1);
    assert_eq!(show(&one, "says")["failures"], 0);
    let disabled = one.json(&["plugin", "disable", "says"]);
    assert_eq!((&disabled["state"], &disabled["enabled"]), (&"disabled".into(), &false.into()));
    assert_eq!(emit(&one), [] as [Value; 0]);
    // It was agreed to before: nobody is asked again.
    assert_eq!(one.json(&["plugin", "enable", "says"])["state"], "active");
    fs::remove_dir_all(one.home().join("plugins/says")).unwrap();
    until("the plugin is unloaded", || show(&one, "says")["state"] == "unloaded");
    assert_eq!(one.fails(&["plugin", "show", "nobody"]).1["code"], "unknown_plugin");
}

#[test]
fn row_232_two_issues_score_60_and_risky_plugins_are_refused() {
    let one = Machine::up("one");
    let upper = component(UPPER);
    let two = json!({ "hooks": [], "colour": "red" });
    put(&one, "two", &manifest("two", "1.0.0", "it.wasm", two), &[("it.wasm", &upper)]);
    let python = b"import json\nimport subprocess\nprint(subprocess.run(['id']))\n";
    put(&one, "risky", &manifest("risky", "1.0.0", "it.py", json!({})), &[("it.py", python)]);
    let clock = [("it.wasm", &component(ENVIRON)[..])];
    put(&one, "hidden", &manifest("hidden", "1.0.0", "it.wasm", json!({})), &clock);
    put(
        &one,
        "asks",
        &manifest("asks", "1.0.0", "it.wasm", json!({ "rights": ["clock"] })),
        &clock,
    );
    let other = json!({ "sha256": "00".repeat(32) });
    put(&one, "other", &manifest("other", "1.0.0", "it.wasm", other), &[("it.wasm", &upper)]);
    let more = json!({ "rights": ["http:example.com"] });
    put(&one, "network", &manifest("network", "1.0.0", "it.wasm", more), &[("it.wasm", &upper)]);
    put(&one, "out", &manifest("out", "1.0.0", "../../config.toml.wasm", json!({})), &[]);
    let list = one.json(&["plugin", "reload"]);
    assert_eq!(list["plugins"].as_array().unwrap().len(), 7);
    let view = show(&one, "two");
    assert_eq!((&view["score"], &view["valid"]), (&60.into(), &true.into()), "{view}");
    assert_eq!(one.json(&["plugin", "enable", "two", "--yes"])["state"], "active");
    assert_eq!(one.json(&["plugin", "enable", "asks", "--yes"])["state"], "active");
    for (name, code) in [
        ("risky", "risky_import"),
        ("hidden", "risky_import"),
        ("other", "other_content"),
        ("network", "unknown_right"),
        ("out", "entry_point"),
    ] {
        let view = show(&one, name);
        assert_eq!((&view["state"], &view["valid"]), (&"error".into(), &false.into()), "{view}");
        assert_eq!(view["issues"][0]["code"], code, "{view}");
        let (exit, error) = one.fails(&["plugin", "enable", name, "--yes"]);
        assert_eq!((exit, &error["code"]), (2, &"invalid_plugin".into()), "{error}");
        assert_eq!(show(&one, name)["state"], "error");
    }
    let called: Vec<_> = emit(&one).iter().map(|it| it["plugin"].clone()).collect();
    assert_eq!(called, ["asks"]);
}

#[test]
fn row_233_plugins_that_loop_or_allocate_a_gigabyte_are_stopped_and_the_node_goes_on() {
    let one = Machine::up("one");
    let short = json!({ "limits": { "time": "500ms" }, "priority": 2 });
    let greedy = "const all = [];\nfor (let i = 0; i < 1024; i++) all.push(new Uint8Array(1 << 20).fill(1));\n\
                  console.log(all.length);\n";
    put(
        &one,
        "loops",
        &manifest("loops", "1.0.0", "it.wasm", short.clone()),
        &[("it.wasm", &component(STUCK))],
    );
    put(&one, "spins", &manifest("spins", "1.0.0", "it.js", short), &[("it.js", b"for (;;) {}")]);
    let more = json!({ "priority": 1, "limits": { "time": "60s" } });
    put(
        &one,
        "greedy",
        &manifest("greedy", "1.0.0", "it.js", more),
        &[("it.js", greedy.as_bytes())],
    );
    put(
        &one,
        "upper",
        &manifest("upper", "1.0.0", "it.wasm", json!({})),
        &[("it.wasm", &component(UPPER))],
    );
    one.json(&["plugin", "reload"]);
    for name in ["loops", "spins", "greedy", "upper"] {
        one.json(&["plugin", "enable", name, "--yes"]);
    }
    for _ in 0..3 {
        let calls = emit(&one);
        let told: Vec<_> = calls.iter().map(|it| (&it["plugin"], &it["failure"]["kind"])).collect();
        let kinds = ["timeout", "timeout", "failed"].map(Value::from);
        let names = ["loops", "spins", "greedy", "upper"].map(Value::from);
        let expected: Vec<_> = names.iter().zip(kinds.iter().chain([&Value::Null])).collect();
        assert_eq!(told, expected, "{calls:?}");
        assert_eq!(calls[3]["answer"]["HOOK"], "TOLD");
    }
    for name in ["loops", "spins", "greedy"] {
        let view = show(&one, name);
        assert_eq!((&view["state"], &view["failures"]), (&"error".into(), &3.into()), "{view}");
    }
    // The host is alive, holds none of it, and the sound one is called on.
    assert_eq!(emit(&one).len(), 1);
    let resident = one.json(&["status"])["resident"].as_u64().unwrap();
    assert!(resident < 1 << 30, "the node holds {resident} bytes");
    one.json(&["deploy", PROBE, "--id", "probe"]);
    one.json(&["call", "probe", "--input", "echo alive"]);
    assert_eq!(one.json(&["plugin", "enable", "loops"])["state"], "active");
}

#[test]
fn row_234_a_new_version_that_is_dropped_in_is_active_without_a_restart() {
    let one = Machine::up("one");
    let pid = one.pid();
    let first = manifest("it", "1.0.0", "it.wasm", json!({}));
    put(&one, "it", &first, &[("it.wasm", &component(UPPER))]);
    until("the plugin is found and validated", || {
        let list = one.json(&["plugin", "list"]);
        list["plugins"].as_array().unwrap().iter().any(|it| it["valid"] == true)
    });
    one.json(&["plugin", "enable", "it", "--yes"]);
    let answers = |version: &str| {
        let calls = emit(&one);
        assert_eq!(calls.len(), 1, "some version answers at any time: {calls:?}");
        assert!(calls[0]["failure"].is_null(), "{calls:?}");
        calls[0]["version"] == version
    };
    assert!(answers("1.0.0"));
    // A new one that is no good leaves the old one where it is, and says so.
    put(&one, "it", &manifest("it", "1.1.0", "bad.wasm", json!({})), &[("bad.wasm", b"no Wasm")]);
    until("the bad one is refused", || show(&one, "it")["valid"] == false);
    let view = show(&one, "it");
    assert_eq!((&view["state"], &view["active"]), (&"active".into(), &"1.0.0".into()), "{view}");
    assert!(view["issues"][0]["message"].as_str().unwrap().contains("not WebAssembly"), "{view}");
    // A good one takes over, without a moment in which nobody answers.
    put(&one, "it", &manifest("it", "2.0.0", "it.js", json!({})), &[("it.js", SAYS.as_bytes())]);
    until("the new one answers", || answers("2.0.0"));
    // One that asks for more waits until somebody has agreed.
    let more = manifest("it", "3.0.0", "it.js", json!({ "rights": ["random"] }));
    put(&one, "it", &more, &[]);
    until("the greedy one is seen", || show(&one, "it")["version"] == "3.0.0");
    let view = show(&one, "it");
    assert_eq!((&view["active"], &view["agreed"]), (&"2.0.0".into(), &false.into()), "{view}");
    assert!(answers("2.0.0"));
    let (_, error) = one.fails(&["plugin", "enable", "it"]);
    assert!(error["message"].as_str().unwrap().contains("draw random numbers"), "{error}");
    one.json(&["plugin", "enable", "it", "--yes"]);
    assert!(answers("3.0.0"));
    let view = show(&one, "it");
    let versions = view["versions"].as_array().unwrap().iter().map(|it| &it["version"]);
    assert_eq!(versions.collect::<Vec<_>>(), ["3.0.0", "2.0.0", "1.1.0", "1.0.0"]);
    assert_eq!(one.pid(), pid);
}
