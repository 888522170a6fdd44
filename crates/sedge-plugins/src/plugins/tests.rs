//! Plugins on a double of a host: what an entry point's text says is what it does.

use std::fs;
use std::path::Path;

use async_trait::async_trait;
use sedge_capability::{
    Capability, Descriptor, End, Failure, Idempotence, Kind, Outcome, Task, Usage,
};
use sedge_trust::receipt::Rung;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::*;
use crate::{Entry, PluginsSection, Ready};

/// A double: `echo` answers with its input, `fail` fails; the other words are imports.
#[derive(Debug)]
struct HostDouble {
    turns: Arc<Semaphore>,
}

struct EntryDouble(String);

#[async_trait]
impl Host for HostDouble {
    async fn ready(&self, _name: &str, entry: &Entry) -> Result<Ready, Failure> {
        let _turn = self.turns.acquire().await;
        let text = String::from_utf8(entry.bytes.to_vec()).unwrap();
        if text == "damaged" {
            return Err(Failure::new(ErrorKind::Invalid, "not_wasm", "it is damaged"));
        }
        let imports = text.split_whitespace().skip(1).map(str::to_owned).collect();
        Ok(Ready { imports, handle: Arc::new(EntryDouble(text)) })
    }
}

#[async_trait]
impl Capability for EntryDouble {
    fn descriptor(&self) -> Arc<Descriptor> {
        Arc::new(Descriptor {
            name: "double".parse().unwrap(),
            kind: Kind::Function,
            summary: String::new(),
            input: Descriptor::bytes_schema(),
            output: Descriptor::bytes_schema(),
            labels: BTreeMap::new(),
            limits: Default::default(),
            idempotence: Idempotence::Once,
            rung: Rung::Attested,
            content: None,
        })
    }

    async fn run(&self, task: Task) -> Result<Outcome, Failure> {
        if self.0.starts_with("fail") {
            return Err(Failure::new(ErrorKind::Failed, "failed", "asked to"));
        }
        Ok(Outcome::ready(task.input, End::success(Usage::default())))
    }
}

/// A folder of plugins, a store, and the plugins of a node.
struct Bench {
    folder: TempDir,
    store: Store,
    turns: Arc<Semaphore>,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("sedge.db")).await.unwrap();
        Self { folder, store, turns: Arc::new(Semaphore::new(1)) }
    }

    fn put(&self, name: &str, version: &str, more: Value, entry: &str) {
        let mut manifest =
            json!({ "name": name, "version": version, "entry_point": "it.wasm", "hooks": ["h"] });
        manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let folder = self.folder.path().join("plugins").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("plugin.json"), manifest.to_string()).unwrap();
        fs::write(folder.join("it.wasm"), entry).unwrap();
    }

    async fn plugins(&self) -> Plugins {
        let section = PluginsSection {
            env: [("KEY".to_owned(), "value".to_owned())].into(),
            ..PluginsSection::default()
        };
        let plugins = Plugins::new(Parts {
            host: Arc::new(HostDouble { turns: Arc::clone(&self.turns) }),
            store: self.store.clone(),
            clock: Clock::manual(Timestamp::from_millis(1)),
            node: NodeId::from_bytes([1; 32]),
            folder: self.folder.path().join("plugins"),
            config: section.try_into().unwrap(),
            hooks: Arc::default(),
        });
        plugins.remember().await.unwrap();
        plugins
    }
}

async fn enable(plugins: &Plugins, name: &str) -> Result<PluginView, ChangeError> {
    let view = plugins.show(name)?;
    let rights = view.rights.into_iter().map(|it| it.right).collect();
    plugins.enable(name, Agreement { content: view.content.unwrap(), rights }).await
}

/// Returns who was called, and whether they answered.
async fn called(plugins: &Plugins) -> Vec<(String, bool)> {
    let emitted = plugins.emit("h", &json!({ "n": 1 })).await.unwrap();
    emitted.calls.into_iter().map(|it| (it.plugin, it.answer.is_some())).collect()
}

#[tokio::test]
async fn the_enabled_are_called_in_order_and_stay_so_over_a_restart() {
    let bench = Bench::new().await;
    bench.put("a", "1.0.0", json!({}), "echo");
    bench.put("b", "1.0.0", json!({ "priority": 5, "config": { "k": 1 } }), "echo");
    bench.put("c", "1.0.0", json!({ "hooks": ["other"] }), "echo");
    let plugins = bench.plugins().await;
    assert!(plugins.list().plugins.iter().all(|it| it.state == State::Disabled && it.valid));
    assert_eq!(called(&plugins).await, []);
    for name in ["a", "b", "c"] {
        assert_eq!(enable(&plugins, name).await.unwrap().state, State::Active);
    }
    let emitted = plugins.emit("h", &json!({ "n": 1 })).await.unwrap();
    let first = &emitted.calls[0];
    let heard = json!({ "hook": "h", "data": { "n": 1 }, "config": { "k": 1 }, "env": {} });
    assert_eq!((first.plugin.as_str(), &first.answer), ("b", &Some(heard)));
    assert_eq!(emitted.calls[1].plugin, "a");
    assert_eq!(plugins.disable("b").await.unwrap().state, State::Disabled);
    assert_eq!(called(&plugins).await, [("a".to_owned(), true)]);
    let plugins = bench.plugins().await;
    assert_eq!(called(&plugins).await, [("a".to_owned(), true)]);
    let refused = plugins.emit("a b", &Value::Null).await.unwrap_err();
    assert_eq!(refused.code(), "bad_hook");
    let refused = plugins.emit("h", &"x".repeat(70_000).into()).await.unwrap_err();
    assert_eq!(refused.code(), "data_too_large");
}

#[tokio::test]
async fn who_fails_three_times_in_a_row_is_called_no_more_until_enabled_again() {
    let bench = Bench::new().await;
    bench.put("a", "1.0.0", json!({}), "fail");
    bench.put("b", "1.0.0", json!({}), "echo");
    let plugins = bench.plugins().await;
    enable(&plugins, "a").await.unwrap();
    enable(&plugins, "b").await.unwrap();
    for _ in 0..3 {
        assert_eq!(called(&plugins).await, [("a".to_owned(), false), ("b".to_owned(), true)]);
    }
    let view = plugins.show("a").unwrap();
    assert_eq!((view.state, view.failures), (State::Error, 3));
    assert_eq!(view.error.as_deref(), Some("asked to"));
    assert_eq!(called(&plugins).await, [("b".to_owned(), true)]);
    assert_eq!(enable(&plugins, "a").await.unwrap().state, State::Active);
    assert_eq!(called(&plugins).await.len(), 2);
}

#[tokio::test]
async fn imports_that_rights_do_not_cover_are_refused() {
    let bench = Bench::new().await;
    let clock = "echo wasi:clocks/wall-clock@0.2.0 wasi:io/poll@0.2.0";
    bench.put("covered", "1.0.0", json!({ "rights": ["clock", "env:KEY"] }), clock);
    bench.put("hidden", "1.0.0", json!({}), clock);
    bench.put("net", "1.0.0", json!({}), "echo wasi:http/outgoing-handler@0.2.0");
    bench.put("value", "1.0.0", json!({ "rights": ["env:OTHER"] }), "echo");
    bench.put("damaged", "1.0.0", json!({}), "damaged");
    let plugins = bench.plugins().await;
    assert_eq!(enable(&plugins, "covered").await.unwrap().state, State::Active);
    let emitted = plugins.emit("h", &Value::Null).await.unwrap();
    assert_eq!(emitted.calls[0].answer.as_ref().unwrap()["env"], json!({ "KEY": "value" }));
    for (name, code) in [
        ("hidden", "risky_import"),
        ("net", "risky_import"),
        ("value", "no_value"),
        ("damaged", "refused"),
    ] {
        let view = plugins.show(name).unwrap();
        assert_eq!((view.state, view.valid, view.score), (State::Error, false, 80), "{name}");
        assert_eq!(view.issues[0].code, code);
        assert_eq!(enable(&plugins, name).await.unwrap_err().code(), "invalid_plugin", "{name}");
    }
}

#[tokio::test]
async fn a_new_version_takes_over_when_it_is_valid_and_asks_for_no_more() {
    let bench = Bench::new().await;
    bench.put("a", "1.0.0", json!({}), "echo");
    let plugins = bench.plugins().await;
    let first = enable(&plugins, "a").await.unwrap();
    bench.put("a", "2.0.0", json!({}), "damaged");
    let view = plugins.reload().await.plugins.remove(0);
    assert_eq!((view.state, view.valid), (State::Active, false));
    assert_eq!(view.active.as_deref(), Some("1.0.0"));
    bench.put("a", "2.1.0", json!({ "rights": ["random"] }), "echo");
    let view = plugins.reload().await.plugins.remove(0);
    assert_eq!((view.active.as_deref(), view.agreed), (Some("1.0.0"), false));
    let old = Agreement { content: first.content.unwrap(), rights: BTreeSet::new() };
    assert_eq!(plugins.enable("a", old).await.unwrap_err().code(), "plugin_changed");
    assert_eq!(enable(&plugins, "a").await.unwrap().active.as_deref(), Some("2.1.0"));
    // Less is no more.
    bench.put("a", "2.2.0", json!({}), "echo");
    let view = plugins.reload().await.plugins.remove(0);
    assert_eq!(view.active.as_deref(), Some("2.2.0"));
    let versions: Vec<_> = view.versions.iter().map(|it| it.version.as_str()).collect();
    assert_eq!(versions, ["2.2.0", "2.1.0", "2.0.0", "1.0.0"]);
    fs::remove_dir_all(bench.folder.path().join("plugins/a")).unwrap();
    assert_eq!(plugins.reload().await.plugins[0].state, State::Unloaded);
    assert_eq!(called(&plugins).await, []);
}

#[tokio::test]
async fn the_states_before_active_can_be_seen() {
    let bench = Bench::new().await;
    let plugins = Arc::new(bench.plugins().await);
    bench.put("a", "1.0.0", json!({}), "echo");
    let held = bench.turns.acquire().await.unwrap();
    let state = |plugins: &Plugins| plugins.show("a").map(|it| it.state).ok();
    let looking = Arc::clone(&plugins);
    let looked = async move { looking.reload().await };
    let seen = async {
        while state(&plugins) != Some(State::Loading) {
            tokio::task::yield_now().await;
        }
        drop(held);
    };
    tokio::join!(looked, seen);
    assert_eq!(state(&plugins), Some(State::Disabled));
    let enabling = enable(&plugins, "a");
    let seen = async {
        while state(&plugins) == Some(State::Disabled) {
            tokio::task::yield_now().await;
        }
        state(&plugins)
    };
    let (enabled, seen) = tokio::join!(enabling, seen);
    assert_eq!(seen, Some(State::Initializing));
    assert_eq!(enabled.unwrap().state, State::Active);
}

#[tokio::test]
async fn two_of_one_name_are_told() {
    let bench = Bench::new().await;
    bench.put("a", "1.0.0", json!({}), "echo");
    let folder = bench.folder.path().join("plugins");
    fs::create_dir(folder.join("b")).unwrap();
    copy(&folder.join("a"), &folder.join("b"));
    let list = bench.plugins().await.list();
    assert_eq!(list.plugins.len(), 1);
    assert!(list.problems[0].ends_with("another plugin is called `a`"), "{:?}", list.problems);
}

fn copy(from: &Path, to: &Path) {
    for name in ["plugin.json", "it.wasm"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}
