//! Functions, decisions and receipts over the REST door.

use std::time::Duration;

use sedge_base::ContentId;
use sedge_trust::Export;
use sedge_trust::receipt::VerifyKeys;
use serde_json::{Value, json};

use crate::client::Doors;

const UPPER: &[u8] = include_bytes!("../../../../functions/upper.wasm");
const PROBE: &[u8] = include_bytes!("../../../../functions/probe.wasm");

async fn deploy(doors: &Doors, name: &str, wasm: &[u8]) -> Value {
    let path = format!("/api/v1/functions/{name}");
    let response = doors.send(doors.keyed("PUT", &path, wasm)).await;
    assert_eq!(response.status, 200, "{}", response.json());
    response.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_deployed_called_explained_and_proven() {
    let doors = Doors::open().await;
    let deployed = deploy(&doors, "fn-1", UPPER).await;
    assert_eq!(deployed[0]["content"], ContentId::of(UPPER).to_string());

    let response = doors.send(doors.keyed("POST", "/api/v1/functions/fn-1/call", "loud")).await;
    assert_eq!((response.status, response.body.as_slice()), (200, b"LOUD".as_slice()));
    let usage: Value = serde_json::from_str(response.header("x-sedge-usage").unwrap()).unwrap();
    assert_eq!(usage["output_bytes"], 4);
    assert!(usage["fuel"].as_u64().is_some_and(|it| it > 0), "{usage}");
    let task = response.header("x-sedge-task").unwrap();
    let receipt = response.header("x-sedge-receipt").unwrap();

    let last = doors.get("/api/v1/decisions/last").await.json();
    assert_eq!(last["task"], task);
    assert!(last["words"].as_str().is_some_and(|it| it.contains("alone")), "{last}");

    let shown = doors.get(&format!("/api/v1/receipts/{receipt}")).await.json();
    assert_eq!(shown["body"]["output_hash"], ContentId::of(b"LOUD").to_string());
    let file = doors.get(&format!("/api/v1/receipts/{task}/export")).await;
    let export = Export::decode(&file.body).unwrap();
    let keys = VerifyKeys { executor: doors.node.id(), requester: doors.node.id() };
    let proof = export.receipts()[0].verify(&keys).unwrap();
    assert_eq!((proof.id.to_string().as_str(), proof.countersigned), (receipt, true));

    let removed = doors.send(doors.keyed("DELETE", "/api/v1/functions/fn-1", "")).await;
    assert_eq!(removed.json(), json!({ "removed": "fn-1" }));
    let gone = doors.send(doors.keyed("POST", "/api/v1/functions/fn-1/call", "loud")).await;
    assert_eq!((gone.status, gone.json()["error"]["kind"].clone()), (404, "not_found".into()));
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_does_wrong_is_told_with_its_receipt() {
    let doors = Doors::open().await;
    deploy(&doors, "probe", PROBE).await;
    for (input, query, status, kind) in [
        ("fail on purpose", "", 502, "failed"),
        ("trap", "", 502, "failed"),
        ("loop", "?time_ms=50", 504, "timeout"),
        ("spin 100000", "?fuel=1000", 429, "exhausted"),
    ] {
        let path = format!("/api/v1/functions/probe/call{query}");
        let response = doors.send(doors.keyed("POST", &path, input)).await;
        let error = response.json()["error"].clone();
        assert_eq!((response.status, error["kind"].clone()), (status, kind.into()), "{error}");
        assert_eq!(response.header("x-sedge-receipt").map(str::len), Some(64), "{input}");
    }
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_cancels_its_task() {
    let doors = Doors::open().await;
    deploy(&doors, "probe", PROBE).await;
    let asked = doors.keyed("POST", "/api/v1/functions/probe/call?time_ms=60000", "loop");
    let stream = doors.begin(asked).await;
    let until = async |what: &str, running: u32| {
        let seen = async {
            while doors.node.status().await.running != running {
                tokio::task::yield_now().await;
            }
        };
        // Half the task's own time: it cannot end by itself before.
        let half = Duration::from_secs(30);
        tokio::time::timeout(half, seen).await.unwrap_or_else(|_| panic!("{what}"));
    };
    until("the task runs", 1).await;
    drop(stream);
    until("the task is cancelled", 0).await;
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_told_what_is_wrong() {
    let doors = Doors::open().await;
    for (method, path, body, status, code) in [
        ("PUT", "/api/v1/functions/bad%20name", "x", 400, "invalid_name"),
        ("PUT", "/api/v1/functions/f?too=all", "x", 400, "invalid_query"),
        ("DELETE", "/api/v1/functions/f", "", 404, "unknown_function"),
        ("POST", "/api/v1/join", "{}", 400, "invalid_json"),
        ("POST", "/api/v1/invites", r#"{"ttl_s":601}"#, 400, "invalid_ttl"),
        ("GET", "/api/v1/receipts?limit=0", "", 400, "invalid_limit"),
        ("GET", "/api/v1/receipts/NO", "", 400, "invalid_receipt_id"),
        ("GET", "/api/v1/receipts/last", "", 404, "unknown_receipt"),
        ("GET", "/api/v1/decisions/last", "", 404, "no_decision"),
    ] {
        let response = doors.send(doors.keyed(method, path, body)).await;
        let got = (response.status, response.json()["error"]["code"].clone());
        assert_eq!(got, (status, code.into()), "{method} {path}: {}", response.json());
    }
    let corrupt = doors.send(doors.keyed("PUT", "/api/v1/functions/f", "not Wasm")).await.json();
    assert_eq!(corrupt[0]["failure"]["kind"], "invalid", "{corrupt}");
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_is_answered_and_heard() {
    let doors = Doors::open().await;
    assert_eq!(doors.send(doors.keyed("POST", "/api/v1/stop", "")).await.status, 202);
    doors.server.stop_asked().await;
    doors.close().await;
}
