//! Providers behind a node's own door: a node in a process of its own, and a double of every vendor.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::{Value, json};

use crate::machine::Machine;
use crate::stub::{Ending, Heard, Reply, StubProvider};

/// The keys of the tests.
const KEYS: &[(&str, &str)] = &[
    ("OPENAI_API_KEY", "sk-openai-of-the-test-4711"),
    ("ANTHROPIC_API_KEY", "sk-ant-of-the-test-4712"),
    ("GOOGLE_API_KEY", "goog-of-the-test-4713"),
];

/// The wire formats of row 124, and the model of each.
const APIS: &[(&str, &str)] = &[
    ("ollama", "ollama/llama3.2:3b"),
    ("openai", "openai/gpt-4o-mini"),
    ("anthropic", "anthropic/claude-sonnet-4-5"),
    ("google", "google/gemini-2.5-flash"),
    ("attic", "attic/qwen-coder"),
];

/// The recorded answers: a short one, and one that asks for tools.
macro_rules! recorded {
    ($file:literal) => {
        include_str!(concat!("../../../sedge-gateway/recordings/", $file))
    };
}

fn chat(heard: &Heard) -> Reply {
    Reply::recorded(match heard.path.split('/').nth(1).unwrap() {
        "openai" => recorded!("openai/chat.sse"),
        "anthropic" => recorded!("anthropic/chat.sse"),
        "google" => recorded!("google/chat.sse"),
        "ollama" => recorded!("ollama/chat.ndjson"),
        _ => recorded!("custom/chat.sse"),
    })
}

fn tools(heard: &Heard) -> Reply {
    Reply::recorded(match heard.path.split('/').nth(1).unwrap() {
        "openai" => recorded!("openai/tools.sse"),
        "anthropic" => recorded!("anthropic/tools.sse"),
        "google" => recorded!("google/tools.sse"),
        "ollama" => recorded!("ollama/tools.ndjson"),
        _ => recorded!("custom/tools.sse"),
    })
}

/// What the owner writes: every vendor, each at the double.
fn file(stub: &StubProvider) -> String {
    let url = stub.url();
    format!(
        "providers:
  ollama:
    base_url: {url}/ollama
    models: [{{name: 'llama3.2:3b', preset: creative}}]
  openai:
    base_url: {url}/openai/v1
    api_key: ${{OPENAI_API_KEY}}
    models:
      - name: gpt-4o-mini
        preset: creative
  anthropic:
    base_url: {url}/anthropic/v1
    api_key: ${{ANTHROPIC_API_KEY}}
    models: [{{name: claude-sonnet-4-5, preset: creative}}]
  google:
    base_url: {url}/google/v1beta
    api_key: ${{GOOGLE_API_KEY}}
    models: [{{name: gemini-2.5-flash, preset: creative}}]
  attic:
    api: custom
    base_url: {url}/custom/v1
    models: [{{name: qwen-coder, preset: creative}}]
"
    )
}

/// A machine without models of its own whose owner wrote this.
fn machine(providers: &str) -> Machine {
    let mut machine = Machine::new("one", vec!["--log", "trace"]);
    machine.write_config("[gateway]\nchat = \"none\"\nembedding = \"none\"\n");
    fs::write(machine.home().join("providers.yaml"), providers).unwrap();
    for (name, value) in KEYS {
        machine.knows(name, value);
    }
    machine
}

fn up(stub: &StubProvider) -> Machine {
    let mut machine = machine(&file(stub));
    machine.start();
    machine
}

/// Asks the OpenAI door; returns the status and what comes, as it comes.
fn asked(machine: &Machine, body: &Value) -> (u16, impl BufRead + use<>) {
    let api = machine.ready["api"].as_str().unwrap();
    let key = fs::read_to_string(machine.home().join("api.key")).unwrap();
    let response = ureq::post(format!("http://{api}/v1/chat/completions"))
        .config()
        .http_status_as_error(false)
        .build()
        .header("authorization", format!("Bearer {}", key.trim()))
        .send(body.to_string())
        .unwrap();
    let status = response.status().as_u16();
    (status, BufReader::new(response.into_body().into_reader()))
}

fn whole(machine: &Machine, body: &Value) -> (u16, Value) {
    let (status, mut reader) = asked(machine, body);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    (status, serde_json::from_str(&text).unwrap())
}

fn hello(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "hi" }] })
}

/// Returns the next object of a stream, or `None` at its end.
fn next(stream: &mut impl BufRead) -> Option<Value> {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        match line.trim_end().strip_prefix("data: ") {
            Some("[DONE]") => return None,
            Some(data) => return Some(serde_json::from_str(data).unwrap()),
            None => {}
        }
    }
}

/// Returns the next piece of text in a stream.
fn next_text(stream: &mut impl BufRead) -> String {
    loop {
        let event = next(stream).unwrap();
        let text = event["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
        if !text.is_empty() {
            return text.to_owned();
        }
    }
}

/// Returns the files of a folder and the folders in it that have one of the texts in them.
fn files_with(folder: &Path, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, texts));
        } else if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            let has = |it: &&str| bytes.windows(it.len()).any(|window| window == it.as_bytes());
            if texts.iter().any(has) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn row_124_every_wire_format_comes_to_the_same_answer() {
    let stub = StubProvider::start(chat);
    let machine = up(&stub);
    for (provider, model) in APIS {
        let (status, answer) = whole(&machine, &hello(model));
        assert_eq!(status, 200, "{answer}");
        let normal = json!([answer["choices"], answer["usage"]]);
        let expected = json!([
            [{
                "index": 0,
                "message": { "role": "assistant", "content": "Hello, mesh!", "refusal": null },
                "finish_reason": "stop",
                "logprobs": null,
            }],
            {
                "prompt_tokens": 12,
                "completion_tokens": 4,
                "total_tokens": 16,
                "prompt_tokens_details": { "cached_tokens": 0 },
            },
        ]);
        assert_eq!(normal, expected, "{model}");
        assert_eq!(answer["sedge"]["provider"], *provider, "the answer says who has seen it");
        assert_eq!(answer["model"], *model);

        let mut streaming = hello(model);
        streaming["stream"] = true.into();
        let (_, mut stream) = asked(&machine, &streaming);
        let pieces = [next_text(&mut stream), next_text(&mut stream), next_text(&mut stream)];
        assert_eq!(pieces, ["Hello", ", ", "mesh!"], "{model}");
        let last = next(&mut stream).unwrap();
        assert_eq!(last["choices"][0]["finish_reason"], "stop", "{model}");
        assert_eq!(last["sedge"]["provider"], *provider);
    }
    let paths: Vec<_> = stub.heard().into_iter().map(|it| it.path).step_by(2).collect();
    assert_eq!(
        paths,
        [
            "/ollama/api/chat",
            "/openai/v1/chat/completions",
            "/anthropic/v1/messages",
            "/google/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            "/custom/v1/chat/completions",
        ]
    );
}

#[test]
fn row_125_a_provider_that_is_switched_off_is_unused_and_no_key_is_anywhere() {
    let stub = StubProvider::start(|heard| match heard.path.as_str() {
        // A vendor that repeats the key in a no.
        "/openai/v1/embeddings" => {
            let key = &heard.headers["authorization"];
            Reply::no(400, &json!({ "error": { "message": format!("bad: {key}") } }).to_string())
        }
        _ => chat(heard),
    });
    let url = stub.url();
    let text = format!(
        "providers:
  openai:
    base_url: {url}/openai/v1
    api_key: ${{OPENAI_API_KEY}}
    models:
      - gpt-4o-mini
      - name: e
        kind: embedding
  anthropic:
    enabled: false
    base_url: {url}/anthropic/v1
    api_key: ${{ANTHROPIC_API_KEY}}
    models: [claude-sonnet-4-5]
  google:
    enabled: false
    api_key: ${{NOBODY_HAS_SET_THIS}}
    models: [gemini-2.5-flash]
"
    );
    let mut machine = machine(&text);
    machine.start();
    let models = machine.json(&["models"]);
    let names: Vec<_> = models.as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["openai/e", "openai/gpt-4o-mini"], "{models}");
    let mut told = vec![models.to_string()];
    let (status, answer) = whole(&machine, &hello("openai/gpt-4o-mini"));
    assert_eq!(status, 200, "{answer}");
    told.push(answer.to_string());
    let receipt = answer["sedge"]["receipt"].as_str().unwrap();
    told.push(machine.json(&["receipt", "show", receipt]).to_string());
    let (status, answer) = whole(&machine, &hello("anthropic/claude-sonnet-4-5"));
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("model_not_found")), "{answer}");
    told.push(answer.to_string());
    let api = machine.ready["api"].as_str().unwrap();
    let key = fs::read_to_string(machine.home().join("api.key")).unwrap();
    let mut embeddings = ureq::post(format!("http://{api}/v1/embeddings"))
        .config()
        .http_status_as_error(false)
        .build()
        .header("authorization", format!("Bearer {}", key.trim()))
        .send(json!({ "model": "openai/e", "input": "x" }).to_string())
        .unwrap();
    assert_eq!(embeddings.status().as_u16(), 400);
    told.push(embeddings.body_mut().read_to_string().unwrap());
    // Unasked, nobody's words leave the swarm.
    let (_, error) = machine.fails(&["chat", "hello"]);
    told.push(error.to_string());

    let heard = stub.heard();
    let paths: Vec<_> = heard.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["/openai/v1/chat/completions", "/openai/v1/embeddings"]);
    let bearer = format!("Bearer {}", KEYS[0].1);
    assert!(heard.iter().all(|it| it.headers["authorization"] == bearer), "the key was used");
    let keys: Vec<&str> = KEYS.iter().map(|(_, key)| *key).collect();
    for told in &told {
        assert!(keys.iter().all(|it| !told.contains(it)), "{told}");
    }
    machine.json(&["down"]);
    machine.ended();
    let log = fs::read_to_string(machine.folder().join("log")).unwrap();
    assert!(log.contains("TRACE"), "the log has everything that a log can have");
    assert_eq!(files_with(machine.folder(), &keys), Vec::<String>::new());
}

#[test]
fn a_file_that_cannot_be_is_told_before_the_node_is_up() {
    let wrong = [
        ("providers:\n  openai:\n    api_key: ${NOBODY}\n    models: [m]\n", "`NOBODY`"),
        ("providers:\n  openai:\n    apikey: sk-4714\n", "unknown field `apikey`"),
        ("provider: {}\n", "unknown field `provider`"),
    ];
    for (text, says) in wrong {
        let machine = machine(text);
        let (code, error) =
            machine.fails(&["up", "--api", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
        let told = error.to_string();
        assert_eq!(code, 2, "{told}");
        assert!(told.contains(says) && !told.contains("4714"), "{told}");
    }
    let machine = machine("");
    machine.write_config(
        "[gateway]\nchat = \"none\"\nembedding = \"none\"\nproviders = \"mine.yaml\"\n",
    );
    let (_, error) = machine.fails(&["up", "--api", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    assert!(error.to_string().contains("`gateway.providers`"), "{error}");
}

#[test]
fn row_130_each_piece_is_seen_before_the_next_is_sent() {
    // Five pieces. The double sends the next one when the test says so, which it does when it has seen
    // the one before: so the first token is seen before 200 ms when pieces are 100 ms apart, and at
    // any other distance, too.
    let lines: String = (1..=5).fold(String::new(), |all, it| {
        let message = json!({ "role": "assistant", "content": format!("t{it}") });
        format!("{all}{}\n", json!({ "message": message, "done": false }))
    });
    let end = json!({ "message": { "content": "" }, "done": true, "done_reason": "stop" });
    let lines = format!("{lines}{end}\n");
    let events: String = (1..=5).fold(String::new(), |all, it| {
        let choice = json!({ "index": 0, "delta": { "content": format!("t{it}") } });
        format!("{all}data: {}\n\n", json!({ "choices": [choice] }))
    });
    let last = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
    let events = format!("{events}data: {last}\n\ndata: [DONE]\n\n");
    for (model, recorded) in [("openai/gpt-4o-mini", events), ("ollama/llama3.2:3b", lines)] {
        let stub =
            StubProvider::start(move |_| Reply { waits: true, ..Reply::recorded(&recorded) });
        let machine = up(&stub);
        let mut body = hello(model);
        body["stream"] = true.into();
        let (status, mut stream) = asked(&machine, &body);
        assert_eq!(status, 200);
        for piece in 1..=5 {
            assert_eq!(next_text(&mut stream), format!("t{piece}"), "{model}");
            assert_eq!(stub.sent(), piece, "{model}: seen before more was sent");
            stub.go_on();
        }
        stub.go_on();
        let last = next(&mut stream).unwrap();
        assert_eq!(last["choices"][0]["finish_reason"], "stop");
        assert_eq!(next(&mut stream), None);
    }
}

#[test]
fn a_stream_that_breaks_or_stalls_ends_in_an_error_and_is_not_done() {
    for (ending, code) in
        [(Ending::BreaksOff, "provider_broke_off"), (Ending::Stalls, "provider_silent")]
    {
        let stub = StubProvider::start(move |heard| {
            let mut reply = chat(heard).ending(ending);
            reply.pieces.truncate(2);
            reply
        });
        let mut machine = machine(&file(&stub).replace("models:", "timeout: 500ms\n    models:"));
        machine.start();
        let mut body = hello("openai/gpt-4o-mini");
        let (status, answer) = whole(&machine, &body);
        assert!(status >= 500 && answer["error"]["code"] == code, "{status} {answer}");
        body["stream"] = true.into();
        let (_, mut stream) = asked(&machine, &body);
        assert_eq!(next_text(&mut stream), "Hello");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert!(rest.contains(code) && !rest.contains("[DONE]"), "{rest}");
    }
}

#[test]
fn row_136_a_zero_is_on_the_wire_and_a_preset_fills_what_is_absent() {
    let stub = StubProvider::start(chat);
    let machine = up(&stub);
    for (provider, model) in APIS {
        let mut zero = hello(model);
        zero["temperature"] = 0.into();
        for body in [zero, hello(model)] {
            let (status, answer) = whole(&machine, &body);
            assert_eq!(status, 200, "{answer}");
        }
        let heard = stub.heard();
        let sent: Vec<String> = heard[heard.len() - 2..]
            .iter()
            .map(|it| match *provider {
                "google" => it.body["generationConfig"]["temperature"].to_string(),
                "ollama" => it.body["options"]["temperature"].to_string(),
                _ => it.body["temperature"].to_string(),
            })
            .collect();
        assert_eq!(sent, ["0", "0.9"], "{model}: what was said, then what the owner presets");
    }
}

#[test]
fn tools_go_to_every_provider_and_their_calls_come_back() {
    let stub = StubProvider::start(tools);
    let machine = up(&stub);
    let tool = |name: &str| json!({ "type": "function", "function": { "name": name } });
    for (provider, model) in APIS {
        let mut body = hello(model);
        body["tools"] = json!([tool("weather"), tool("clock")]);
        let (status, answer) = whole(&machine, &body);
        assert_eq!(status, 200, "{answer}");
        let choice = &answer["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls", "{model}");
        assert_eq!(choice["message"]["content"], Value::Null);
        let ids = if *provider == "ollama" { ["call_0", "call_1"] } else { ["call_a", "call_b"] };
        let call = |at: usize, name: &str, arguments: &str| {
            let function = json!({ "name": name, "arguments": arguments });
            json!({ "id": ids[at], "type": "function", "function": function })
        };
        let calls = json!([call(0, "weather", r#"{"city":"Oslo"}"#), call(1, "clock", "{}")]);
        assert_eq!(choice["message"]["tool_calls"], calls, "{model}");

        body["stream"] = true.into();
        let (_, mut stream) = asked(&machine, &body);
        let mut streamed = Vec::new();
        while let Some(event) = next(&mut stream) {
            let delta = event["choices"][0]["delta"]["tool_calls"].as_array().cloned();
            streamed.extend(delta.unwrap_or_default());
        }
        for (at, call) in streamed.iter_mut().enumerate() {
            assert_eq!(call.as_object_mut().unwrap().remove("index"), Some(json!(at)), "{model}");
        }
        assert_eq!(Value::from(streamed), calls, "{model}");
        assert!(stub.heard().last().unwrap().body["tools"].is_array(), "{model}");
    }
}

#[test]
fn every_vendors_client_asks_for_tools_and_shows_images_in_its_own_dialect() {
    const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/dialect_tools.py");
    // Who has the results of the tools has all it needs to answer.
    let stub = StubProvider::start(|heard| {
        let turns = heard.body["messages"].as_array().unwrap();
        if turns.iter().any(|it| it["role"] == "tool") { chat(heard) } else { tools(heard) }
    });
    let machine = up(&stub);
    let got = crate::dialects::clients(&machine, SCRIPT, "openai/gpt-4o-mini");
    let calls = json!([["call_a", "weather", { "city": "Oslo" }], ["call_b", "clock", {}]]);
    let nameless = json!([["weather", { "city": "Oslo" }], ["clock", {}]]);
    for (client, calls, why) in [
        ("openai", &calls, "tool_calls"),
        ("anthropic", &calls, "tool_use"),
        ("ollama", &nameless, "stop"),
    ] {
        let expected =
            json!({ "calls": calls, "streamed": calls, "why": why, "last": "Hello, mesh!" });
        assert_eq!(got[client], expected, "{client}");
    }
    // Three times three requests, and each client's say the same to the vendor.
    let bodies: Vec<Value> = stub.heard().into_iter().map(|it| it.body).collect();
    assert_eq!(bodies.len(), 9);
    for first in &bodies[..3] {
        assert!(first["messages"].to_string().contains("data:image/png;base64,iVBOR"), "{first}");
    }
    for place in 0..3 {
        let said = |client: usize| {
            let body = &bodies[client * 3 + place];
            (body["messages"].clone(), body["tools"].clone())
        };
        assert_eq!(said(0), said(1), "{place}");
        assert_eq!(said(0).1, said(2).1, "{place}");
        let (all, theirs) = (said(0).0, said(2).0);
        let plain =
            |it: &Value| it.to_string().replace("call_a", "call_1").replace("call_b", "call_2");
        assert_eq!(plain(&all), plain(&theirs), "{place}");
    }
}
