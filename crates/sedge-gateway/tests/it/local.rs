//! The engine inside, with a tiny model of random numbers that stands in for a real one.

use expect_test::{Expect, expect};
use sedge_base::TaskScope;
use sedge_capability::conformance::{self, Sample};
use sedge_capability::{Budgets, Handle};
use sedge_gateway::{Gateway, GatewayConfig, GatewaySection};
use sedge_lm::testing::tiny_model;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::asking::{ask, refusal};

/// A node's models with the tiny one as its only.
struct Bench {
    gateway: Gateway,
    _folder: TempDir,
}

impl Bench {
    fn new(keys: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny-double.gguf");
        std::fs::write(&path, tiny_model(1)).unwrap();
        let text = format!("chat = {path:?}\nembedding = \"none\"\n{keys}");
        let section: GatewaySection = toml::from_str(&text).unwrap();
        let config = GatewayConfig::try_from(section).unwrap();
        let gateway = Gateway::new(config, folder.path().join("models"), &TaskScope::new());
        Self { gateway: gateway.unwrap(), _folder: folder }
    }

    fn handle(&self) -> Handle {
        self.gateway.capabilities().remove(0)
    }

    fn label(&self, name: &str) -> String {
        self.handle().descriptor().labels[name].clone()
    }
}

fn hello(more: &Value) -> Value {
    let mut input = json!({ "messages": [{ "role": "user", "content": "hi" }], "seed": 7 });
    let more = more.as_object().cloned().unwrap_or_default();
    input.as_object_mut().unwrap().extend(more);
    input
}

/// A prompt of more than 600 tokens.
fn long() -> Value {
    json!({ "messages": [{ "role": "user", "content": "#!".repeat(300) }] })
}

#[track_caller]
fn same(got: &str, expected: Expect) {
    expected.assert_eq(got);
}

#[tokio::test]
async fn chat_keeps_the_contract() {
    let bench = Bench::new("");
    let good = serde_json::to_vec(&hello(&json!({ "max_tokens": 8 }))).unwrap();
    let bad = serde_json::to_vec(&long()).unwrap();
    let sample = Sample { good: good.into(), bad: Some(bad.into()) };
    assert_eq!(conformance::check(bench.handle(), sample).await, Ok(()));
}

#[tokio::test]
async fn labels_tell_the_files_figures_and_whether_it_is_loaded() {
    let bench = Bench::new("");
    let labels = |bench: &Bench| {
        let labels = bench.handle().descriptor().labels.clone();
        labels.iter().fold(String::new(), |all, (name, value)| format!("{all}{name} {value}\n"))
    };
    same(
        &labels(&bench),
        expect![[r#"
        loaded false
        model.context 512
        model.family llama
        model.parameters 133440
        model.quantisation Q8_0
    "#]],
    );
    ask(&bench.handle(), &hello(&json!({ "max_tokens": 1 })), Budgets::default()).await;
    assert_eq!(bench.label("loaded"), "true");
    assert!(bench.gateway.status()[0].loaded);
}

#[tokio::test]
async fn a_prompt_beyond_the_window_is_told_with_both_numbers() {
    same(
        &refusal(&Bench::new("").handle(), &long()).await,
        expect!["context_length_exceeded: the prompt has 651 tokens, and the window has 512"],
    );
    same(
        &refusal(&Bench::new("context = 64").handle(), &long()).await,
        expect!["context_length_exceeded: the prompt has 651 tokens, and the window has 64"],
    );
}

#[tokio::test]
async fn an_answer_beyond_the_window_is_told_with_all_numbers() {
    let input = hello(&json!({ "max_tokens": 4000 }));
    same(
        &refusal(&Bench::new("").handle(), &input).await,
        expect![
            "context_length_exceeded: a prompt of 53 tokens and an answer of 4000 exceed the window of 512"
        ],
    );
}

#[tokio::test]
async fn the_token_budget_ends_an_answer() {
    let bench = Bench::new("");
    for (asked, budget, tokens) in
        [(json!({}), 3, 3), (json!({ "max_tokens": 2 }), 3, 2), (json!({ "max_tokens": 5 }), 3, 3)]
    {
        let budgets = Budgets { tokens: Some(budget), ..Budgets::default() };
        let (_, end) = ask(&bench.handle(), &hello(&asked), budgets).await;
        assert_eq!(end.failure, None, "{asked}");
        assert_eq!(end.usage.completion_tokens, Some(tokens), "{asked}");
        assert_eq!(end.detail["finish_reason"], "length", "{asked}");
    }
}

#[tokio::test]
async fn a_budget_that_the_window_cannot_hold_is_no_fault() {
    let bench = Bench::new("context = 64");
    for budget in [None, Some(64), Some(63)] {
        let budgets = Budgets { tokens: budget, ..Budgets::default() };
        let (_, end) = ask(&bench.handle(), &hello(&json!({})), budgets).await;
        assert_eq!(end.failure, None, "{budget:?}");
        assert_eq!(end.detail["finish_reason"], "length", "{budget:?}");
        let used = end.usage.prompt_tokens.zip(end.usage.completion_tokens);
        assert_eq!(used, Some((53, 11)), "{budget:?}");
    }
}

#[tokio::test]
async fn an_explicit_zero_of_tokens_gives_none() {
    let bench = Bench::new("");
    let input = hello(&json!({ "max_tokens": 0 }));
    let (text, end) = ask(&bench.handle(), &input, Budgets::default()).await;
    assert_eq!((text.as_str(), end.usage.completion_tokens), ("", Some(0)));
}

#[tokio::test]
async fn the_end_tells_how_it_went() {
    let bench = Bench::new("");
    let input = hello(&json!({ "max_tokens": 4, "temperature": 0 }));
    let (_, end) = ask(&bench.handle(), &input, Budgets::default()).await;
    let mut keys: Vec<_> = end.detail.keys().map(String::as_str).collect();
    keys.sort_unstable();
    same(&keys.join(" "), expect!["decode_ms finish_reason model prompt_ms tokens_per_second"]);
    assert_eq!(end.detail["model"], bench.handle().descriptor().name.as_str());
    assert!(end.detail["tokens_per_second"].is_f64());
    let (_, again) = ask(&bench.handle(), &input, Budgets::default()).await;
    assert_eq!(again.usage.prompt_tokens, end.usage.prompt_tokens);
    assert!(again.usage.cached_tokens > end.usage.cached_tokens, "the prompt was kept");
}

#[tokio::test]
async fn a_seed_gives_the_same_answer_on_any_number_of_threads() {
    let asked = json!({ "max_tokens": 24, "temperature": 1 });
    let input = hello(&asked);
    let mut answers = Vec::new();
    for threads in ["threads = 1", "threads = 2"] {
        let bench = Bench::new(threads);
        answers.push(ask(&bench.handle(), &input, Budgets::default()).await.0);
    }
    assert!(!answers[0].is_empty());
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn an_answer_obeys_its_schema() {
    let bench = Bench::new("");
    let input = hello(&json!({ "schema": { "type": "boolean" } }));
    let (text, end) = ask(&bench.handle(), &input, Budgets::default()).await;
    assert!(serde_json::from_str::<bool>(&text).is_ok(), "{text}");
    assert_eq!(end.detail["finish_reason"], "stop");
    let odd = hello(&json!({ "schema": { "type": "colour" } }));
    let refused = refusal(&bench.handle(), &odd).await;
    assert!(refused.starts_with("invalid_schema: "), "{refused}");
}
