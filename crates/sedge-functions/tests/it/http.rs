//! Functions that handle HTTP.

use bytes::Bytes;
use hyper::Request;
use sedge_base::ErrorKind;
use sedge_capability::http::{read_response, write_request};
use sedge_capability::{Budgets, Capability, Media};
use sedge_functions::Function;
use sedge_trust::receipt::{Rung, Status};

use crate::{Bench, call, call_within};

/// Returns the status and the body, or the failure as `code: message`.
async fn post(function: &Function, path: &str, body: &'static str) -> String {
    let request = Request::post(format!("http://function.local{path}"))
        .body(Bytes::from_static(body.as_bytes()))
        .unwrap();
    let mut task = crate::task(function, write_request(&request), Budgets::default());
    task.media = Media::Http;
    let outcome = match function.run(task).await {
        Ok(outcome) => outcome,
        Err(failure) => return format!("{}: {}", failure.code, failure.message),
    };
    let (output, end) = outcome.collect().await;
    if let Some(failure) = end.failure {
        return format!("{}: {}", failure.code, failure.message);
    }
    let response = read_response(&output.into()).unwrap();
    assert_eq!(end.detail.get("http_status"), Some(&response.status().as_u16().into()));
    let text = String::from_utf8_lossy(response.body());
    format!("{} {text}", response.status().as_u16())
}

#[tokio::test]
async fn a_request_is_answered() {
    let bench = Bench::new();
    let web = bench.deploy("web").await;
    assert_eq!(web.descriptor().rung, Rung::ReRunnable);
    assert_eq!(post(&web, "/", "abc").await, "200 ABC");
    assert_eq!(post(&web, "/none", "").await, "404 no such page");
    assert_eq!(web.stats().calls, 2);
}

#[tokio::test]
async fn a_task_is_a_post_to_the_root() {
    let bench = Bench::new();
    let web = bench.deploy("web").await;
    let (output, end) = call(&web, "abc").await;
    assert_eq!((output, end.status), (b"ABC".to_vec(), Status::Success));
    assert_eq!(end.detail.get("http_status"), Some(&200.into()));
    assert!(end.usage.fuel > Some(0) && end.usage.peak_memory.is_some());
    let big = vec![b'a'; 300_000];
    assert_eq!(call(&web, big).await.0.len(), 300_000);
}

#[tokio::test]
async fn misbehaviour_is_told_and_survived() {
    let bench = Bench::new();
    let mut hurried = crate::deployment("web");
    hurried.limits.time_ms = Some(500);
    let hurried = bench.runtime.deploy(hurried).await.unwrap();
    let web = bench.deploy("web").await;
    let late = "timeout: the function did not end within its 500 ms";
    assert_eq!(post(&hurried, "/loop", "").await, late);
    assert_eq!(post(&web, "/", "on").await, "200 ON", "after /loop");
    let cases = [
        ("/fetch", "200 Some(Ok(Err(ErrorCode::HttpRequestDenied)))"),
        ("/flood", "output_too_large: the function gave more output than its 8 MiB"),
        ("/silent", "no_response: the function ended without a response"),
        (
            "/trap",
            "trap: the function broke off: wasm trap: wasm `unreachable` instruction executed",
        ),
    ];
    for (path, expected) in cases {
        assert_eq!(post(&web, path, "").await, expected, "{path}");
        assert_eq!(post(&web, "/", "on").await, "200 ON", "after {path}");
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let bench = Bench::new();
    let web = bench.deploy("web").await;
    let mut task = crate::task(&web, "hello", Budgets::default());
    task.media = Media::Http;
    let failure = web.run(task).await.unwrap_err();
    assert_eq!((failure.code.as_ref(), failure.kind), ("bad_message", ErrorKind::Invalid));
}

#[tokio::test]
async fn limits_hold_for_http_too() {
    let bench = Bench::new();
    let web = bench.deploy("web").await;
    let little = Budgets { fuel: Some(1000), ..Budgets::default() };
    let (_, end) = call_within(&web, vec![b'a'; 100_000], little).await;
    assert_eq!(end.status, Status::OutOfFuel);
    assert_eq!(end.usage.fuel, Some(1000));
}

#[tokio::test]
async fn other_functions_handle_no_http() {
    let bench = Bench::new();
    let upper = bench.deploy("upper").await;
    assert_eq!(
        post(&upper, "/", "abc").await,
        "not_http: the function does not handle HTTP requests"
    );
}
