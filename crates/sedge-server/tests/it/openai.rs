//! Chat and models in OpenAI's shape.

use serde_json::{Value, json};

use crate::client::Doors;

async fn model(doors: &Doors) -> String {
    let models = doors.get("/v1/models").await.json();
    assert_eq!(models["object"], "list");
    models["data"][0]["id"].as_str().expect("a model").to_owned()
}

fn question(model: &str) -> Value {
    json!({
        "model": model,
        "messages": [{ "role": "user", "content": "hello" }],
        "temperature": 0,
        "max_tokens": 8,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_answers_whole_and_in_pieces_alike() {
    let doors = Doors::open().await;
    let model = model(&doors).await;
    let shown = doors.get(&format!("/v1/models/{model}")).await.json();
    assert_eq!(shown["id"], model.as_str());

    let response = doors.post("/v1/chat/completions", &question(&model)).await;
    let whole = response.json();
    assert_eq!(response.status, 200, "{whole}");
    assert_eq!(whole["object"], "chat.completion");
    assert_eq!(whole["choices"][0]["message"]["role"], "assistant");
    let usage = &whole["usage"];
    let tokens = |name: &str| usage[name].as_u64().expect("a count");
    assert!(tokens("prompt_tokens") > 0);
    assert_eq!(tokens("total_tokens"), tokens("prompt_tokens") + tokens("completion_tokens"));
    assert_eq!(response.header("x-sedge-node"), Some(doors.node.id().to_string().as_str()));
    assert_eq!(whole["sedge"]["node_name"], "alone");
    assert_eq!(whole["sedge"]["receipt"].as_str().map(str::len), Some(64));

    let mut asked = question(&model);
    asked["stream"] = true.into();
    asked["stream_options"] = json!({ "include_usage": true });
    let response = doors.post("/v1/chat/completions", &asked).await;
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    let mut events = response.events();
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    let chunks: Vec<Value> = events.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
    let (last, chunks) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], usage["completion_tokens"]);
    let (finish, chunks) = chunks.split_last().unwrap();
    assert_eq!(finish["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"]);
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    let text: String =
        chunks.iter().filter_map(|it| it["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, whole["choices"][0]["message"]["content"].as_str().unwrap());
    assert!(chunks.iter().all(|it| it["usage"].is_null() && it["id"] == chunks[0]["id"]));
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_have_the_right_status_and_name() {
    let doors = Doors::open().await;
    let model = model(&doors).await;
    let with = |name: &str, value: Value| {
        let mut asked = question(&model);
        asked[name] = value;
        asked
    };
    for (asked, status, param, code) in [
        (with("model", "gpt-4o".into()), 404, json!("model"), "model_not_found"),
        (with("model", Value::Null), 400, json!("model"), "missing_required_parameter"),
        (with("n", 2.into()), 400, json!("n"), "unsupported_parameter"),
        (with("messages", json!("hi")), 400, Value::Null, "invalid_json"),
        (
            with("messages", json!([{ "role": "user", "content": "word ".repeat(20_000) }])),
            400,
            json!("messages"),
            "context_length_exceeded",
        ),
    ] {
        for stream in [false, true] {
            let mut asked = asked.clone();
            asked["stream"] = stream.into();
            let response = doors.post("/v1/chat/completions", &asked).await;
            let error = response.json()["error"].clone();
            let got = (response.status, error["param"].clone(), error["code"].clone());
            assert_eq!(got, (status, param.clone(), code.into()), "{error}");
            assert_eq!(error["type"], "invalid_request_error");
        }
    }
    let huge = doors.send(doors.keyed("POST", "/v1/chat/completions", vec![b' '; 9 << 20])).await;
    assert_eq!((huge.status, huge.json()["error"]["code"].clone()), (413, "body_too_large".into()));
    doors.close().await;
}
