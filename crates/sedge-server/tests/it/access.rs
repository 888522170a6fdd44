//! Who may come in, and how the others are told.

use std::net::SocketAddr;
use std::sync::Arc;

use expect_test::{Expect, expect};
use sedge_base::{ErrorKind, TaskScope};
use sedge_server::{BindError, Server};

use crate::client::{Doors, Request};

async fn check(doors: &Doors, path: &str, headers: Vec<(&str, String)>, expected: Expect) {
    let response = doors.send(Request { method: "GET", path, headers, body: Vec::new() }).await;
    let body = String::from_utf8_lossy(&response.body).into_owned();
    expected.assert_eq(&format!("{} {body}", response.status));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_says_no_in_its_own_shape() {
    let doors = Doors::open().await;
    let none = Vec::new;
    let wrong = || vec![("authorization", "Bearer sedge-of-somebody-else".to_owned())];
    check(
        &doors,
        "/v1/models",
        none(),
        expect![[r#"401 {"error":{"message":"no API key: send `Authorization: Bearer` with this node's key or a token","type":"authentication_error","param":null,"code":"missing_api_key"}}"#]],
    )
    .await;
    check(
        &doors,
        "/v1/models",
        wrong(),
        expect![[r#"401 {"error":{"message":"this is not this node's API key","type":"authentication_error","param":null,"code":"invalid_api_key"}}"#]],
    )
    .await;
    check(
        &doors,
        "/api/v1/status",
        wrong(),
        expect![[
            r#"401 {"error":{"kind":"unauthenticated","code":"invalid_api_key","message":"this is not this node's API key","hint":"the key is in the file `api.key` of the node's home"}}"#
        ]],
    )
    .await;
    check(
        &doors,
        "/nowhere",
        wrong(),
        expect![[
            r#"401 {"error":{"kind":"unauthenticated","code":"invalid_api_key","message":"this is not this node's API key","hint":"the key is in the file `api.key` of the node's home"}}"#
        ]],
    )
    .await;
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_methods_are_told_apart() {
    let doors = Doors::open().await;
    for (method, path, status, code) in [
        ("GET", "/v1/nothing", 404, "unknown_path"),
        ("GET", "/api/v1/nothing", 404, "unknown_path"),
        ("GET", "/nothing", 404, "unknown_path"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("DELETE", "/api/v1/status", 405, "method_not_allowed"),
    ] {
        let response = doors.send(doors.keyed(method, path, "")).await;
        let got = (response.status, response.json()["error"]["code"].clone());
        assert_eq!(got, (status, code.into()), "{method} {path}");
    }
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_from_elsewhere_is_refused() {
    let doors = Doors::open().await;
    for (name, value, status) in [
        ("host", "evil.example:80", 421),
        ("host", "localhost:1", 200),
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("origin", "http://localhost:3000", 200),
    ] {
        let mut request = doors.keyed("GET", "/api/v1/status", "");
        request.headers.push((name, value.to_owned()));
        assert_eq!(doors.send(request).await.status, status, "{name}: {value}");
    }
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_key() {
    let doors = Doors::open().await;
    let request = Request { method: "GET", path: "/health", headers: Vec::new(), body: Vec::new() };
    let response = doors.send(request).await;
    assert_eq!((response.status, response.json()["status"].clone()), (200, "ok".into()));
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_free_port_on_loopback_is_bound() {
    let doors = Doors::open().await;
    let scope = TaskScope::new();
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let refused = Server::bind(everywhere, Arc::clone(&doors.node), &scope).await.unwrap_err();
    assert!(matches!(refused, BindError::NotLoopback { .. }), "{refused}");

    let taken = doors.server.address();
    let refused = Server::bind(taken, Arc::clone(&doors.node), &scope).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(refused.to_string(), format!("port {} of 127.0.0.1 is in use", taken.port()));
    assert!(refused.hint().contains("--api"));
    doors.close().await;
}
