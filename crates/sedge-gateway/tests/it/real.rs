//! The default models, fetched by the real fetcher into a cache that test runs share.

use std::path::PathBuf;

use sedge_base::{Cancel, TaskScope};
use sedge_capability::conformance::{self, Sample};
use sedge_capability::{Budgets, Event, Handle, Kind};
use sedge_gateway::{
    DEFAULT_CHAT, DEFAULT_EMBEDDING, EmbedOutput, Gateway, GatewayConfig, GatewaySection,
    Installed, Models, SourceSettings,
};
use sedge_trust::Status;
use serde_json::json;

use crate::asking::{ask, refusal, task};

/// The folder that keeps model files between test runs.
fn cache() -> PathBuf {
    std::env::var_os("SEDGE_TEST_MODELS").map_or_else(
        || {
            let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
            home.join(".cache/sedge/models")
        },
        PathBuf::from,
    )
}

/// Brings a default model into the cache; stops with every source's reason when none has it.
#[track_caller]
fn ensure(id: &str) -> Installed {
    let models = Models::open(&cache(), SourceSettings::default()).unwrap();
    match models.ensure(id, &Cancel::new(), &mut |_| {}) {
        Ok(installed) => installed,
        Err(err) => panic!("{err}"),
    }
}

#[test]
fn the_default_models_can_be_had() {
    for id in [DEFAULT_CHAT, DEFAULT_EMBEDDING] {
        let installed = ensure(id);
        assert_eq!(std::fs::metadata(&installed.path).unwrap().len(), installed.size.as_bytes());
    }
}

/// Returns the default model of a kind, on a node that may not use the network.
#[track_caller]
fn offline(id: &str, kind: Kind) -> Handle {
    ensure(id);
    let section: GatewaySection = toml::from_str("[sources]\noffline = true").unwrap();
    let config = GatewayConfig::try_from(section).unwrap();
    assert!(config.sources.offline);
    let gateway = Gateway::new(config, cache(), &TaskScope::new()).unwrap();
    let mut handles = gateway.capabilities().into_iter();
    handles.find(|it| it.descriptor().kind == kind).unwrap()
}

#[tokio::test]
async fn row_140_a_small_model_inside_answers_without_a_network() {
    let handle = offline(DEFAULT_CHAT, Kind::Chat);
    let question = "What is the capital of France? Answer in one short sentence.";
    let input = json!({
        "messages": [{ "role": "user", "content": question }],
        "temperature": 0,
        "max_tokens": 32,
    });
    let mut outcome = handle.run(task(&handle, &input, Budgets::default())).await.unwrap();
    let (mut pieces, mut ends) = (Vec::new(), Vec::new());
    while let Some(event) = outcome.next().await {
        match event {
            Event::Chunk(bytes) => pieces.push(String::from_utf8(bytes.to_vec()).unwrap()),
            Event::End(end) => ends.push(end),
        }
    }
    let [end] = ends.as_slice() else { panic!("{ends:?}") };
    assert_eq!(end.failure, None);
    assert!(pieces.len() > 1, "tokens are seen one by one: {pieces:?}");
    assert!(pieces.concat().contains("Paris"), "{pieces:?}");
    assert!(end.usage.completion_tokens.is_some_and(|it| it > 1));
    assert_eq!(handle.descriptor().labels["loaded"], "true");
}

#[tokio::test]
async fn an_answer_that_is_cut_off_frees_the_model() {
    let handle = offline(DEFAULT_CHAT, Kind::Chat);
    let ask_for = |text: &str| json!({ "messages": [{ "role": "user", "content": text }] });
    // Both would write on for minutes: nothing says how long the answer may be.
    let endless = ask_for("Count from 1 to 5000 and write every number on a line of its own.");
    let hurried = Budgets { time_ms: Some(20), ..Budgets::default() };
    let (_, end) = ask(&handle, &endless, hurried).await;
    assert_eq!(end.status, Status::Timeout);
    let mut outcome = handle.run(task(&handle, &endless, Budgets::default())).await.unwrap();
    assert!(matches!(outcome.next().await, Some(Event::Chunk(_))));
    drop(outcome);
    // Whoever comes next has an answer before the other two could have been written out.
    let next = Budgets { tokens: Some(2), time_ms: Some(30_000), ..Budgets::default() };
    let (_, end) = ask(&handle, &ask_for("Hello!"), next).await;
    assert_eq!((end.status, end.failure), (Status::Success, None));
}

/// Returns the cosine of two vectors of length 1.
fn nearness(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

#[tokio::test]
async fn a_paraphrase_is_nearer_than_another_subject() {
    let handle = offline(DEFAULT_EMBEDDING, Kind::Embedding);
    let texts = [
        "The cat sleeps on the sofa.",
        "A kitten is napping on the couch.",
        "The central bank raised interest rates.",
    ];
    let (json, end) = ask(&handle, &json!({ "texts": texts }), Budgets::default()).await;
    assert_eq!(end.failure, None);
    let output: EmbedOutput = serde_json::from_str(&json).unwrap();
    assert_eq!(end.usage.prompt_tokens, Some(output.prompt_tokens));
    let [cat, kitten, bank] = output.vectors.as_slice() else { panic!("three vectors") };
    let gap = nearness(cat, kitten) - nearness(cat, bank);
    assert!(gap >= 0.2, "{gap}");
}

#[tokio::test]
async fn embedding_keeps_the_contract() {
    let handle = offline(DEFAULT_EMBEDDING, Kind::Embedding);
    let good = serde_json::to_vec(&json!({ "texts": ["a", "the moon"] })).unwrap();
    let long = json!({ "texts": ["short", "moon ".repeat(600)] });
    let bad = serde_json::to_vec(&long).unwrap();
    let sample = Sample { good: good.into(), bad: Some(bad.into()) };
    assert_eq!(conformance::check(handle.clone(), sample).await, Ok(()));
    assert_eq!(
        refusal(&handle, &long).await,
        "context_length_exceeded: text 1 has 602 tokens, and the window has 512"
    );
}
