//! Providers over real connections to a double on loopback.

use std::sync::atomic::{AtomicUsize, Ordering};

use expect_test::{Expect, expect};
use sedge_base::{Secret, TaskScope};
use sedge_capability::conformance::{self, Sample};
use sedge_capability::{Budgets, Event, Handle, Kind};
use sedge_gateway::{Environment, Gateway, GatewayConfig, GatewaySection, Providers};
use sedge_trust::Status;
use serde_json::{Value, json};

use crate::asking::{ask, task};
use crate::stub::{Ending, Reply, StubProvider};

const KEY: &str = "sk-of-the-test-0123456789";

/// What each API answers to a short conversation, and to texts.
const CHATS: &[(&str, &str)] = &[
    ("openai", include_str!("../../recordings/openai/chat.sse")),
    ("anthropic", include_str!("../../recordings/anthropic/chat.sse")),
    ("google", include_str!("../../recordings/google/chat.sse")),
    ("mistral", include_str!("../../recordings/mistral/chat.sse")),
    ("ollama", include_str!("../../recordings/ollama/chat.ndjson")),
    ("custom", include_str!("../../recordings/custom/chat.sse")),
];

/// Returns the models of a provider that is a double.
fn handles(api: &str, stub: &StubProvider, more: &str) -> Vec<Handle> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("providers.yaml");
    let base = stub.url();
    let text = format!(
        "providers:\n  {api}:\n    base_url: {base}/base\n    api_key: ${{KEY}}\n    timeout: 500ms\n    models:\n{more}"
    );
    std::fs::write(&path, text).unwrap();
    let env = Environment::new(|it| (it == "KEY").then(|| Secret::new(KEY.to_owned())));
    let providers = Providers::read(&path, &env).unwrap().unwrap();
    let section: GatewaySection = toml::from_str("chat = \"none\"\nembedding = \"none\"").unwrap();
    let config = GatewayConfig::try_from(section).unwrap();
    let gateway = Gateway::new(config, folder.path().join("models"), &TaskScope::new()).unwrap();
    gateway.with_providers(providers).unwrap().capabilities()
}

fn handle(api: &str, stub: &StubProvider) -> Handle {
    handles(api, stub, "      - m\n").remove(0)
}

fn hello() -> Value {
    json!({ "messages": [{ "role": "user", "content": "hi" }] })
}

/// Asks a provider that answers so; returns what came of it.
async fn answered(api: &str, reply: Reply) -> String {
    let stub = StubProvider::start(move |_| reply.clone());
    let (text, end) = ask(&handle(api, &stub), &hello(), Budgets::default()).await;
    let failure = end.failure.map(|it| format!("{} {}: {it}", it.kind.name(), it.code));
    let told = format!("{text:?} {}", failure.unwrap_or_else(|| "ok".to_owned()));
    assert!(!told.contains(KEY), "{told}");
    told
}

#[tokio::test]
async fn every_provider_keeps_the_contract() {
    for (api, recorded) in CHATS {
        let stub = StubProvider::start(move |_| Reply::recorded(recorded));
        let good = serde_json::to_vec(&hello()).unwrap().into();
        let bad = Some(b"{\"messages\":[]}".as_slice().into());
        let checked = conformance::check(handle(api, &stub), Sample { good, bad }).await;
        assert_eq!(checked, Ok(()), "{api}");
    }
}

#[tokio::test]
async fn the_key_goes_where_the_api_has_it() {
    for (api, header, value) in [
        ("openai", "authorization", format!("Bearer {KEY}")),
        ("anthropic", "x-api-key", KEY.to_owned()),
        ("google", "x-goog-api-key", KEY.to_owned()),
        ("ollama", "authorization", format!("Bearer {KEY}")),
    ] {
        let (_, recorded) = CHATS.iter().find(|(it, _)| *it == api).unwrap();
        let stub = StubProvider::start(move |_| Reply::recorded(recorded));
        let (text, end) = ask(&handle(api, &stub), &hello(), Budgets::default()).await;
        assert_eq!((text.as_str(), end.status), ("Hello, mesh!", Status::Success), "{api}");
        assert_eq!(end.detail["provider"], api);
        let heard = stub.heard().remove(0);
        assert!(heard.path.starts_with("/base/"), "{}", heard.path);
        assert_eq!(heard.headers[header], value, "{api}");
        assert!(heard.body.is_object(), "{api}");
    }
}

#[tokio::test]
async fn labels_say_whose_model_it_is_and_what_it_takes() {
    let stub = StubProvider::start(|_| Reply::no(500, ""));
    let more = "      - name: a\n        tools: false\n        context: 128\n      - name: b\n        kind: embedding\n";
    let all = handles("custom", &stub, more);
    let told = all.iter().fold(String::new(), |all, it| {
        let it = it.descriptor();
        format!("{all}{} {} {:?} {:?}\n", it.name, it.kind, it.rung, it.labels)
    });
    same(
        &told,
        expect![[r#"
            custom/a chat Attested {"model.context": "128", "model.images": "false", "model.tools": "false", "provider": "custom", "provider.api": "custom"}
            custom/b embedding Attested {"provider": "custom", "provider.api": "custom"}
        "#]],
    );
    let mut input = hello();
    input["tools"] = json!([{ "name": "f" }]);
    let refused = all[0].run(task(&all[0], &input, Budgets::default())).await.unwrap_err();
    assert_eq!(refused.code, "unsupported_parameter");
    assert!(stub.heard().is_empty(), "nothing was asked");
}

#[track_caller]
fn same(got: &str, expected: Expect) {
    expected.assert_eq(got);
}

#[tokio::test]
async fn texts_become_vectors() {
    let body = include_str!("../../recordings/openai/embed.json");
    let stub = StubProvider::start(|_| Reply::good("application/json", body));
    let more = "      - name: e\n        kind: embedding\n";
    let handle = handles("openai", &stub, more).remove(0);
    assert_eq!(handle.descriptor().kind, Kind::Embedding);
    let good = serde_json::to_vec(&json!({ "texts": ["a", "b"] })).unwrap().into();
    let bad = Some(b"{\"texts\":[]}".as_slice().into());
    assert_eq!(conformance::check(handle.clone(), Sample { good, bad }).await, Ok(()));
    let (vectors, _) = ask(&handle, &json!({ "texts": ["a", "b"] }), Budgets::default()).await;
    assert_eq!(vectors, r#"{"vectors":[[0.6,0.8],[0.0,1.0]],"prompt_tokens":5}"#);
    let (_, end) = ask(&handle, &json!({ "texts": ["a"] }), Budgets::default()).await;
    assert_eq!(end.failure.unwrap().code, "provider_unreadable", "two vectors for one text");
}

#[tokio::test]
async fn a_no_is_told_for_what_it_is() {
    let mut all = String::new();
    let limit = r#"{"error":{"message":"Rate limit reached","code":"rate_limit_exceeded"}}"#;
    let mut waits = Reply::no(429, limit);
    waits.headers.push(("retry-after", "20".to_owned()));
    let key = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}."}}}}"#);
    let repeats = format!(r#"{{"error":{{"message":"no: {KEY}"}}}}"#);
    let mut moved = Reply::no(307, "");
    moved.headers.push(("location", "http://127.0.0.1:9/elsewhere".to_owned()));
    for reply in [
        Reply::no(429, limit),
        waits,
        Reply::no(401, &key),
        Reply::no(400, &repeats),
        Reply::no(404, r#"{"error":{"message":"The model `m` does not exist"}}"#),
        Reply::no(400, r#"{"error":{"message":"x","code":"context_length_exceeded"}}"#),
        Reply::no(500, "<html>oh</html>"),
        Reply { status: 404, ..Reply::good("text/html", "<html>nginx</html>") },
        Reply::good("text/html; charset=utf-8", "<html>welcome</html>"),
        Reply::good("application/json", r#"{"error":{"message":"busy","code":503}}"#),
        moved,
    ] {
        let status = reply.status;
        all.push_str(&format!("{status}: {}\n", answered("openai", reply).await));
    }
    same(
        &all,
        expect![[r#"
        429: "" exhausted provider_rate_limited: `openai` takes no more for now: Rate limit reached
        429: "" exhausted provider_rate_limited: `openai` takes no more for now; it asks to wait 20 s: Rate limit reached
        401: "" unavailable provider_key_refused: `openai` refuses the key of the node that asked it
        400: "" invalid provider_refused_input: `openai` does not take this: no: …
        404: "" not_found provider_has_no_model: `openai` has no such model: The model `m` does not exist
        400: "" invalid context_length_exceeded: the conversation is too long for `openai`: x
        500: "" unavailable provider_failed: `openai` failed with status 500
        404: "" unavailable provider_is_none: `openai` answers with a web page: its `base_url` is hardly right
        200: "" unavailable provider_is_none: `openai` answers with a web page: its `base_url` is hardly right
        200: "" unavailable provider_failed: `openai` failed with status 503: busy
        307: "" unavailable provider_redirects: `openai` sends its callers elsewhere, where a key does not follow
    "#]],
    );
}

#[tokio::test]
async fn a_stream_that_breaks_or_stalls_is_no_answer() {
    let mut all = String::new();
    for (api, recorded) in CHATS {
        // Everything but the reason of the end and what follows it.
        let mut cut = Reply::recorded(recorded);
        let said = |it: &Vec<u8>| String::from_utf8_lossy(it).contains("mesh!");
        let mesh = cut.pieces.iter().position(said).unwrap();
        cut.pieces.truncate(mesh);
        for ending in [Ending::BreaksOff, Ending::Stalls, Ending::Whole] {
            let told = answered(api, cut.clone().ending(ending)).await;
            all.push_str(&format!("{api} {ending:?}: {told}\n"));
        }
    }
    same(
        &all,
        expect![[r#"
        openai BreaksOff: "Hello, " unavailable provider_broke_off: `openai` broke off in the middle of its answer
        openai Stalls: "Hello, " timeout provider_silent: `openai` sent nothing for 500ms
        openai Whole: "Hello, " unavailable provider_broke_off: `openai` broke off in the middle of its answer
        anthropic BreaksOff: "Hello, " unavailable provider_broke_off: `anthropic` broke off in the middle of its answer
        anthropic Stalls: "Hello, " timeout provider_silent: `anthropic` sent nothing for 500ms
        anthropic Whole: "Hello, " unavailable provider_broke_off: `anthropic` broke off in the middle of its answer
        google BreaksOff: "Hello, " unavailable provider_broke_off: `google` broke off in the middle of its answer
        google Stalls: "Hello, " timeout provider_silent: `google` sent nothing for 500ms
        google Whole: "Hello, " unavailable provider_broke_off: `google` broke off in the middle of its answer
        mistral BreaksOff: "Hello, " unavailable provider_broke_off: `mistral` broke off in the middle of its answer
        mistral Stalls: "Hello, " timeout provider_silent: `mistral` sent nothing for 500ms
        mistral Whole: "Hello, " unavailable provider_broke_off: `mistral` broke off in the middle of its answer
        ollama BreaksOff: "Hello, " unavailable provider_broke_off: `ollama` broke off in the middle of its answer
        ollama Stalls: "Hello, " timeout provider_silent: `ollama` sent nothing for 500ms
        ollama Whole: "Hello, " unavailable provider_broke_off: `ollama` broke off in the middle of its answer
        custom BreaksOff: "Hello, " unavailable provider_broke_off: `custom` broke off in the middle of its answer
        custom Stalls: "Hello, " timeout provider_silent: `custom` sent nothing for 500ms
        custom Whole: "Hello, " unavailable provider_broke_off: `custom` broke off in the middle of its answer
    "#]],
    );
}

#[tokio::test]
async fn whoever_has_said_everything_may_hang_up_as_they_like() {
    for (api, recorded) in CHATS {
        for ending in [Ending::BreaksOff, Ending::Stalls] {
            let told = answered(api, Reply::recorded(recorded).ending(ending)).await;
            assert_eq!(told, "\"Hello, mesh!\" ok", "{api} {ending:?}");
        }
    }
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_unavailable() {
    let stub = StubProvider::start(|_| Reply::no(500, ""));
    let handle = handle("openai", &stub);
    drop(stub);
    let (_, end) = ask(&handle, &hello(), Budgets::default()).await;
    let failure = end.failure.unwrap();
    assert!(failure.kind.is_retryable(), "{failure}");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let counting = asked.clone();
    let (_, recorded) = CHATS[0];
    let stub = StubProvider::start(move |_| {
        counting.fetch_add(1, Ordering::SeqCst);
        Reply { waits: true, ..Reply::recorded(recorded) }
    });
    let handle = handle("openai", &stub);
    let mut outcome = handle.run(task(&handle, &hello(), Budgets::default())).await.unwrap();
    stub.go_on();
    let Some(Event::Chunk(first)) = outcome.next().await else { panic!("no piece") };
    assert_eq!((&first[..], stub.sent()), (b"Hello".as_slice(), 2), "before more was sent");
    drop(outcome);
    let budgets = Budgets { time_ms: Some(200), ..Budgets::default() };
    let (_, end) = ask(&handle, &hello(), budgets).await;
    assert_eq!(end.status, Status::Timeout, "its time ends what a provider does not");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
