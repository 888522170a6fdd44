//! The file of providers, read with an environment of the test's own.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::chat::ChatInput;

/// An environment of the tests' own.
fn environment() -> Environment {
    let value = |name: &str| match name {
        "OPENAI_API_KEY" => Some("sk-from-the-environment"),
        "HERE" => Some("http://127.0.0.1:8080"),
        "EMPTY" => Some(""),
        _ => None,
    };
    Environment::new(move |name| value(name).map(|it| Secret::new(it.to_owned())))
}

fn read(text: &str) -> Result<Read, ProvidersError> {
    Reading { path: "providers.yaml", env: &environment() }.file(text)
}

#[track_caller]
fn check(text: &str, expected: Expect) {
    let told = match read(text) {
        Err(err) => err.to_string(),
        Ok(read) => read.providers.all.iter().fold(String::new(), |all, it| {
            let Provider { name, api, base_url, key, silence, models } = it;
            let models: Vec<_> = models.iter().map(|(name, it)| format!("{name} {it:?}")).collect();
            let models = models.join("\n  ");
            let api = api.name;
            format!("{all}{name}: {api} at {base_url}, {key:?}, {silence:?}\n  {models}\n")
        }),
    };
    expected.assert_eq(&told);
}

#[test]
fn what_is_not_written_is_not_used() {
    check("", expect![""]);
    check("providers:\n", expect![""]);
    check("# nothing\nproviders: {}\n", expect![""]);
}

#[test]
fn a_provider_is_where_its_vendor_has_it_unless_told_otherwise() {
    check(
        "providers:
  openai:
    api_key: ${OPENAI_API_KEY}
    models: [gpt-4o-mini]
  attic:
    api: custom
    base_url: ${HERE}/v1/
    timeout: 5s
    models:
      - name: org/model:7b
        context: 8192
        tools: false
        temperature: 0
        preset: creative
      - name: e5
        kind: embedding
",
        expect![[r#"
            attic: custom at http://127.0.0.1:8080/v1, None, 5s
              attic/org/model:7b Offered { model: "org/model:7b", kind: Chat, context: Some(8192), tools: false, images: false, preset: Preset { temperature: Some(0.0), top_p: None, max_tokens: None } }
              attic/e5 Offered { model: "e5", kind: Embedding, context: None, tools: true, images: false, preset: Preset { temperature: None, top_p: None, max_tokens: None } }
            openai: openai at https://api.openai.com/v1, Some(…), 60s
              openai/gpt-4o-mini Offered { model: "gpt-4o-mini", kind: Chat, context: None, tools: true, images: true, preset: Preset { temperature: None, top_p: None, max_tokens: None } }
        "#]],
    );
}

#[test]
fn one_that_is_switched_off_needs_nothing() {
    let text = "providers:
  anthropic:
    enabled: false
    api_key: ${NOT_SET}
    models: [claude]
";
    check(text, expect![""]);
    check(
        &text.replace("false", "true"),
        expect![
            "`providers.anthropic.api_key` in providers.yaml needs the variable `NOT_SET`, which the environment does not have"
        ],
    );
    let empty = text.replace("false", "true").replace("NOT_SET", "EMPTY");
    check(
        &empty,
        expect![
            "`providers.anthropic.api_key` in providers.yaml needs the variable `EMPTY`, which the environment does not have"
        ],
    );
}

#[test]
fn wrong_keys_and_values_are_named_and_never_shown() {
    check(
        "provider: {}\n",
        expect!["providers.yaml is wrong: unknown field `provider`, expected `providers`"],
    );
    check(
        "providers:\n  openai:\n    apikey: sk-secret\n    models: [m]\n",
        expect![
            "providers.yaml is wrong at `providers.openai`: unknown field `apikey`, expected one of `enabled`, `api`, `api_base`, `base_url`, `api_key`, `timeout`, `models`"
        ],
    );
    check(
        "providers:\n  openai:\n    enabled: sk-secret\n",
        expect![
            "providers.yaml is wrong at `providers.openai`: invalid type: string …, expected a boolean"
        ],
    );
    check(
        "providers:\n  mine:\n    models: [m]\n",
        expect![
            "`providers.mine.api` in providers.yaml must be one of openai, anthropic, google, mistral, ollama, custom"
        ],
    );
    check(
        "providers:\n  custom:\n    base_url: http://10.0.0.9/v1\n    api_key: k\n    models: [m]\n",
        expect![
            "`providers.custom.base_url` in providers.yaml must be https:// when `api_key` is set"
        ],
    );
    check(
        "providers:\n  google:\n    models: [m]\n",
        expect![
            "`providers.google.api_key` in providers.yaml must be set: this provider answers nobody without"
        ],
    );
    check(
        "providers:\n  ollama:\n    models: [m, m]\n",
        expect![
            "`providers.ollama.models[1]` in providers.yaml must be another model than those before it"
        ],
    );
    check(
        "providers:\n  anthropic:\n    api_key: k\n    models: [{name: m, kind: embedding}]\n",
        expect![
            "`providers.anthropic.models[0].kind` in providers.yaml must be chat: anthropic has no other models"
        ],
    );
}

#[test]
fn a_key_in_the_file_itself_is_noticed() {
    let text = "providers:\n  openai:\n    api_key: sk-1\n    models: [m]\n";
    assert!(read(text).unwrap().has_keys);
    assert!(!read(&text.replace("sk-1", "${OPENAI_API_KEY}")).unwrap().has_keys);
}

#[test]
fn presets_fill_what_is_absent_and_nothing_else() {
    let preset = PresetName::Creative.values();
    let input = |json: &str| ChatInput::read(json.as_bytes()).unwrap();
    let absent = input(r#"{"messages":[{"role":"user","content":""}]}"#);
    let filled = preset.fill(absent.clone(), Some(9));
    assert_eq!((filled.temperature, filled.max_tokens), (Some(0.9), Some(9)));
    let zero = input(
        r#"{"messages":[{"role":"user","content":""}],"temperature":0,"top_p":0,"max_tokens":0}"#,
    );
    let own = Preset { temperature: Some(0.0), top_p: None, max_tokens: Some(5) };
    assert_eq!(preset.fill(zero.clone(), Some(9)), zero);
    assert_eq!(own.or(preset).fill(absent, None).temperature, Some(0.0));
}

proptest! {
    #[test]
    fn odd_files_never_panic(text in "\\PC{0,60}|(providers|openai|models|[:{}\\[\\], \\n$-]){0,40}") {
        drop(read(&text));
    }
}
