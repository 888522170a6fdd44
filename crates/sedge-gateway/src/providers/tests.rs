//! The conformance check that every API passes, and what each of them is told.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use sedge_capability::{Failure, Usage};
use serde_json::{Map, Value, json};

use super::recordings::{CHATS, MIDWAY, TOOLS, VECTORS};
use super::*;
use crate::remote::Decoder;

/// A whole answer.
type Whole = (String, Usage, Map<String, Value>);

/// Reads a recorded answer in pieces of so many bytes.
fn decode(api: &'static Api, recorded: &[u8], piece: usize) -> Result<Whole, Failure> {
    let mut decoder = Decoder::new("p", api);
    let mut text = String::new();
    for piece in recorded.chunks(piece) {
        text.push_str(&decoder.push(piece)?);
        if decoder.is_ended() {
            break;
        }
    }
    let (last, usage, detail) = decoder.finish()?;
    Ok((text + &last, usage, detail))
}

/// Reads it in pieces of every sort, which makes no difference.
#[track_caller]
fn decoded(name: &str, recorded: &str) -> Result<Whole, Failure> {
    let api = find(name).unwrap();
    let whole = decode(api, recorded.as_bytes(), recorded.len());
    for piece in [1, 2, 7, 100] {
        assert_eq!(decode(api, recorded.as_bytes(), piece), whole, "{name} in pieces of {piece}");
    }
    whole
}

#[test]
fn every_api_has_its_recordings_and_a_name_of_its_own() {
    let named: Vec<_> = APIS.iter().map(|it| it.name).collect();
    for recorded in [CHATS, TOOLS, MIDWAY] {
        assert_eq!(recorded.iter().map(|(name, _)| *name).collect::<Vec<_>>(), named);
    }
    let vectors: Vec<_> = VECTORS.iter().map(|(name, _)| *name).collect();
    let embeds = APIS.iter().filter(|it| it.wire.embed("m", &[]).is_some());
    assert_eq!(embeds.map(|it| it.name).collect::<Vec<_>>(), vectors);
}

#[test]
fn the_same_answer_comes_to_the_same_whoever_gives_it() {
    for (name, recorded) in CHATS {
        let (text, usage, detail) = decoded(name, recorded).unwrap();
        assert_eq!(text, "Hello, mesh!", "{name}");
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(12), Some(4)), "{name}");
        assert!(usage.cached_tokens.is_none_or(|it| it == 0), "{name}");
        assert_eq!(Value::from(detail), json!({ "finish_reason": "stop" }), "{name}");
    }
}

#[test]
fn the_same_calls_of_tools_come_to_the_same() {
    for (name, recorded) in TOOLS {
        let (text, usage, detail) = decoded(name, recorded).unwrap();
        assert_eq!(text, "", "{name}: what a model thinks is not what it answers");
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(90), Some(20)), "{name}");
        // Ollama tells neither how many tokens a cache had, nor ids.
        let (cached, ids) = match *name {
            "ollama" => (None, ["call_0", "call_1"]),
            _ => (Some(64), ["call_a", "call_b"]),
        };
        assert_eq!(usage.cached_tokens, cached, "{name}");
        let calls = json!([
            { "id": ids[0], "name": "weather", "arguments": r#"{"city":"Oslo"}"# },
            { "id": ids[1], "name": "clock", "arguments": "{}" },
        ]);
        let expected = json!({ "finish_reason": "tool_calls", "tool_calls": calls });
        assert_eq!(Value::from(detail), expected, "{name}");
    }
}

#[test]
fn half_an_answer_is_never_taken_for_a_whole_one() {
    for (name, recorded) in CHATS.iter().chain(TOOLS) {
        let whole = decoded(name, recorded).unwrap();
        let api = find(name).unwrap();
        for end in 0..recorded.len() {
            match decode(api, &recorded.as_bytes()[..end], 64) {
                Ok((text, _, detail)) => {
                    // Only what follows the reason of the end may be missing: counts.
                    assert_eq!((text, detail), (whole.0.clone(), whole.2.clone()), "{name} {end}");
                }
                Err(failure) => assert_eq!(failure.code, "provider_broke_off", "{name} {end}"),
            }
        }
    }
}

#[test]
fn an_error_inside_an_answer_is_an_error() {
    for (name, recorded) in MIDWAY {
        let failure = decoded(name, recorded).unwrap_err();
        assert_eq!((failure.kind, &*failure.code), (ErrorKind::Unavailable, "provider_failed"));
        let mut decoder = Decoder::new("p", find(name).unwrap());
        let begun = recorded.find("overload").or(recorded.find("error")).unwrap();
        let first = recorded[..begun].rfind('\n').unwrap();
        assert!(decoder.push(&recorded.as_bytes()[..=first]).is_ok_and(|it| it == "Hel"), "{name}");
    }
}

#[test]
fn what_is_no_answer_at_all_is_told_as_such() {
    for api in APIS {
        for odd in ["<html>busy</html>", "data: <html>\n\n", "data: {\n\n{\n", "null\n[]\n", ""] {
            let failure = decode(api, odd.as_bytes(), 5).unwrap_err();
            let codes = ["provider_broke_off", "provider_unreadable"];
            assert!(codes.contains(&&*failure.code), "{} {odd}: {failure}", api.name);
        }
    }
}

#[test]
fn vectors_have_length_one_and_the_order_of_the_texts() {
    for (name, recorded) in VECTORS {
        let wire = find(name).unwrap().wire;
        let output = wire.vectors(&serde_json::from_str(recorded).unwrap()).unwrap();
        assert_eq!(output.vectors, [[0.6, 0.8], [0.0, 1.0]], "{name}");
        let told = if *name == "google" { 0 } else { 5 };
        assert_eq!(output.prompt_tokens, told, "{name}");
        assert!(wire.vectors(&json!({})).is_none(), "{name}");
    }
}

fn conversation(more: Value) -> ChatInput {
    let mut input = json!({ "messages": [{ "role": "user", "content": "hi" }] });
    let more = more.as_object().cloned().unwrap_or_default();
    input.as_object_mut().unwrap().extend(more);
    ChatInput::read(input.to_string().as_bytes()).unwrap()
}

#[test]
fn a_zero_is_a_zero_and_nothing_is_nothing() {
    let zeros = conversation(json!({ "temperature": 0, "top_p": 0, "max_tokens": 0 }));
    for api in APIS {
        let body = api.wire.chat("m", &zeros).unwrap().body;
        let settings = match api.name {
            "google" => &body["generationConfig"],
            "ollama" => &body["options"],
            _ => &body,
        };
        let (top_p, most) = match api.name {
            "google" => ("topP", "maxOutputTokens"),
            "ollama" => ("top_p", "num_predict"),
            "openai" => ("top_p", "max_completion_tokens"),
            _ => ("top_p", "max_tokens"),
        };
        for field in ["temperature", top_p, most] {
            assert_eq!(settings[field].to_string(), "0", "{} {field}", api.name);
        }
        let absent = api.wire.chat("m", &conversation(json!({}))).unwrap().body.to_string();
        assert!(!absent.contains("temperature") && !absent.contains("null"), "{absent}");
    }
}

/// A conversation with everything that can be in one.
fn rich(api: &Api) -> ChatInput {
    let image = json!({ "data": { "media_type": "image/png", "base64": "aGk=" } });
    let mut input = json!({
        "messages": [
            { "role": "system", "content": "be brief" },
            { "role": "user", "content": "look", "images": [image] },
            { "role": "assistant", "content": "", "tool_calls": [
                { "id": "c1", "name": "weather", "arguments": r#"{"city":"Oslo"}"# },
            ] },
            { "role": "tool", "content": "rain", "tool_call_id": "c1" },
            { "role": "user", "content": "and now?" },
        ],
        "temperature": 0.7,
        "stop": ["END"],
        "tools": [{ "name": "weather", "description": "says it", "parameters": { "type": "object" } }],
    });
    if api.name != "ollama" {
        input["tool_choice"] = json!({ "named": "weather" });
    }
    if api.name != "anthropic" {
        input["seed"] = json!(7);
        input["schema"] = json!({ "type": "object", "required": ["a"] });
    }
    ChatInput::read(input.to_string().as_bytes()).unwrap()
}

#[track_caller]
fn told(name: &str, expected: Expect) {
    let api = find(name).unwrap();
    let Request { path, body } = api.wire.chat("m", &rich(api)).unwrap();
    // In one order of keys, whatever else is built beside.
    let body = String::from_utf8(sedge_trust::canonical::jcs(&body).unwrap()).unwrap();
    expected.assert_eq(&format!("{path}\n{body}"));
}

#[test]
fn what_openai_and_its_like_are_told() {
    told(
        "openai",
        expect![[r#"
        /chat/completions
        {"messages":[{"content":"be brief","role":"system"},{"content":[{"text":"look","type":"text"},{"image_url":{"url":"data:image/png;base64,aGk="},"type":"image_url"}],"role":"user"},{"content":null,"role":"assistant","tool_calls":[{"function":{"arguments":"{\"city\":\"Oslo\"}","name":"weather"},"id":"c1","type":"function"}]},{"content":"rain","role":"tool","tool_call_id":"c1"},{"content":"and now?","role":"user"}],"model":"m","response_format":{"json_schema":{"name":"answer","schema":{"required":["a"],"type":"object"}},"type":"json_schema"},"seed":7,"stop":["END"],"stream":true,"stream_options":{"include_usage":true},"temperature":0.7,"tool_choice":{"function":{"name":"weather"},"type":"function"},"tools":[{"function":{"description":"says it","name":"weather","parameters":{"type":"object"}},"type":"function"}]}"#]],
    );
    told(
        "mistral",
        expect![[r#"
        /chat/completions
        {"messages":[{"content":"be brief","role":"system"},{"content":[{"text":"look","type":"text"},{"image_url":{"url":"data:image/png;base64,aGk="},"type":"image_url"}],"role":"user"},{"content":null,"role":"assistant","tool_calls":[{"function":{"arguments":"{\"city\":\"Oslo\"}","name":"weather"},"id":"c1","type":"function"}]},{"content":"rain","role":"tool","tool_call_id":"c1"},{"content":"and now?","role":"user"}],"model":"m","random_seed":7,"response_format":{"json_schema":{"name":"answer","schema":{"required":["a"],"type":"object"}},"type":"json_schema"},"stop":["END"],"stream":true,"temperature":0.7,"tool_choice":{"function":{"name":"weather"},"type":"function"},"tools":[{"function":{"description":"says it","name":"weather","parameters":{"type":"object"}},"type":"function"}]}"#]],
    );
    told(
        "custom",
        expect![[r#"
        /chat/completions
        {"messages":[{"content":"be brief","role":"system"},{"content":[{"text":"look","type":"text"},{"image_url":{"url":"data:image/png;base64,aGk="},"type":"image_url"}],"role":"user"},{"content":null,"role":"assistant","tool_calls":[{"function":{"arguments":"{\"city\":\"Oslo\"}","name":"weather"},"id":"c1","type":"function"}]},{"content":"rain","role":"tool","tool_call_id":"c1"},{"content":"and now?","role":"user"}],"model":"m","response_format":{"json_schema":{"name":"answer","schema":{"required":["a"],"type":"object"}},"type":"json_schema"},"seed":7,"stop":["END"],"stream":true,"stream_options":{"include_usage":true},"temperature":0.7,"tool_choice":{"function":{"name":"weather"},"type":"function"},"tools":[{"function":{"description":"says it","name":"weather","parameters":{"type":"object"}},"type":"function"}]}"#]],
    );
}

#[test]
fn what_anthropic_is_told() {
    told(
        "anthropic",
        expect![[r#"
        /messages
        {"max_tokens":4096,"messages":[{"content":[{"source":{"data":"aGk=","media_type":"image/png","type":"base64"},"type":"image"},{"text":"look","type":"text"}],"role":"user"},{"content":[{"id":"c1","input":{"city":"Oslo"},"name":"weather","type":"tool_use"}],"role":"assistant"},{"content":[{"content":"rain","tool_use_id":"c1","type":"tool_result"},{"text":"and now?","type":"text"}],"role":"user"}],"model":"m","stop_sequences":["END"],"stream":true,"system":"be brief","temperature":0.7,"tool_choice":{"name":"weather","type":"tool"},"tools":[{"description":"says it","input_schema":{"type":"object"},"name":"weather"}]}"#]],
    );
}

#[test]
fn what_google_is_told() {
    told(
        "google",
        expect![[r#"
        /models/m:streamGenerateContent?alt=sse
        {"contents":[{"parts":[{"text":"look"},{"inlineData":{"data":"aGk=","mimeType":"image/png"}}],"role":"user"},{"parts":[{"functionCall":{"args":{"city":"Oslo"},"name":"weather"}}],"role":"model"},{"parts":[{"functionResponse":{"name":"weather","response":{"result":"rain"}}},{"text":"and now?"}],"role":"user"}],"generationConfig":{"responseJsonSchema":{"required":["a"],"type":"object"},"responseMimeType":"application/json","seed":7,"stopSequences":["END"],"temperature":0.7},"systemInstruction":{"parts":[{"text":"be brief"}]},"toolConfig":{"functionCallingConfig":{"allowedFunctionNames":["weather"],"mode":"ANY"}},"tools":[{"functionDeclarations":[{"description":"says it","name":"weather","parametersJsonSchema":{"type":"object"}}]}]}"#]],
    );
}

#[test]
fn what_ollama_is_told() {
    told(
        "ollama",
        expect![[r#"
        /api/chat
        {"format":{"required":["a"],"type":"object"},"messages":[{"content":"be brief","role":"system"},{"content":"look","images":["aGk="],"role":"user"},{"content":"","role":"assistant","tool_calls":[{"function":{"arguments":{"city":"Oslo"},"name":"weather"}}]},{"content":"rain","role":"tool","tool_name":"weather"},{"content":"and now?","role":"user"}],"model":"m","options":{"seed":7,"stop":["END"],"temperature":0.7},"stream":true,"tools":[{"function":{"description":"says it","name":"weather","parameters":{"type":"object"}},"type":"function"}]}"#]],
    );
}

#[test]
fn what_an_api_cannot_say_is_refused_by_name() {
    let tool = json!([{ "name": "f" }]);
    let by_address =
        json!([{ "role": "user", "content": "", "images": [{ "url": "https://a/b" }] }]);
    let lost = json!([{ "role": "tool", "content": "", "tool_call_id": "x" }]);
    for (api, more, what) in [
        ("anthropic", json!({ "seed": 1 }), "seed"),
        ("anthropic", json!({ "schema": {} }), "schema"),
        ("ollama", json!({ "tools": tool, "tool_choice": "required" }), "tool_choice"),
        ("ollama", json!({ "messages": by_address }), "address"),
        ("google", json!({ "messages": by_address }), "address"),
        ("google", json!({ "seed": 1_u64 << 40 }), "seed"),
        ("google", json!({ "messages": lost }), "`x`"),
        ("ollama", json!({ "messages": lost }), "`x`"),
    ] {
        let failure = find(api).unwrap().wire.chat("m", &conversation(more)).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Invalid);
        assert!(failure.message.contains(what), "{api}: {failure}");
    }
}

proptest! {
    #[test]
    fn odd_answers_never_panic(
        at in 0..APIS.len(), piece in 1..40_usize,
        odd in "(data: |[\\[\\]{}:,0-9]|\"(error|message|content|type|delta|index|choices)\"|\\n\\n|\\PC){0,60}",
        cut in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(),
    ) {
        let api = &APIS[at];
        drop(decode(api, odd.as_bytes(), piece));
        // A sound answer with something odd in the middle, from where it was cut.
        let (_, recorded) = TOOLS[at];
        let place = place.index(recorded.len());
        let mixed = [&recorded[..place], &odd, &recorded[cut.index(recorded.len())..]].concat();
        drop(decode(api, mixed.as_bytes(), piece));
        let value = serde_json::from_str(&odd).unwrap_or_default();
        drop(api.wire.vectors(&value));
    }
}
