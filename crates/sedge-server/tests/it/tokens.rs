//! One token at every door: what it opens, and what it does not.

use std::path::Path;

use sedge_base::Timestamp;
use sedge_trust::token::{Budget, Limit};
use sedge_trust::{Owner, TokenId};
use serde_json::{Value, json};

use crate::client::{Doors, Request, Response};

async fn mint(doors: &Doors, limits: &[Limit]) -> (String, TokenId) {
    let home = doors.node.status().await.home;
    let owner = Owner::load(Path::new(&home)).unwrap().unwrap();
    let token = owner.mint(limits).unwrap();
    (token.to_text().unwrap(), token.id().unwrap())
}

fn only(name: &str) -> Limit {
    Limit::Capabilities([name.to_owned()].into())
}

async fn send(doors: &Doors, token: &str, (method, path): (&str, &str), body: &Value) -> Response {
    let headers = vec![("authorization", format!("Bearer {token}"))];
    let body = body.to_string().into_bytes();
    doors.send(Request { method, path, headers, body }).await
}

fn question(model: &str) -> Value {
    json!({
        "model": model,
        "messages": [{ "role": "user", "content": "hello" }],
        "temperature": 0,
        "max_tokens": 8,
    })
}

const CHAT: (&str, &str) = ("POST", "/v1/chat/completions");
const MODELS: (&str, &str) = ("GET", "/v1/models");

#[tokio::test(flavor = "multi_thread")]
async fn the_same_token_works_at_every_door_and_only_for_what_it_allows() {
    let doors = Doors::open().await;
    let models = doors.get("/v1/models").await.json();
    let model = models["data"][0]["id"].as_str().unwrap().to_owned();
    let (chats, id) = mint(&doors, &[only(&model), Limit::AtMost(Budget::Tokens, 3)]).await;
    let (calls, _) = mint(&doors, &[only("fn-1")]).await;

    let answer = send(&doors, &chats, CHAT, &question(&model)).await;
    let said = answer.json();
    assert_eq!(answer.status, 200, "{said}");
    let produced = said["usage"]["completion_tokens"].as_u64().unwrap();
    assert!((1..=3).contains(&produced), "the token's budget holds: {said}");
    let refused = send(&doors, &calls, CHAT, &question(&model)).await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.json()["error"]["code"], "token_capability");

    // Lists show what may be run.
    let ids = |response: Response| response.json()["data"].as_array().unwrap().len();
    assert_eq!(ids(send(&doors, &chats, MODELS, &Value::Null).await), 1);
    assert_eq!(ids(send(&doors, &calls, MODELS, &Value::Null).await), 0);
    for path in ["/api/v1/models", "/api/v1/capabilities"] {
        let seen = send(&doors, &calls, ("GET", path), &Value::Null).await.json();
        assert_eq!(seen, json!([]), "{path}");
    }
    let path = format!("/v1/models/{model}");
    assert_eq!(send(&doors, &calls, ("GET", &path), &Value::Null).await.status, 404);

    // The other doors check by the same limits.
    for route in [("POST", "/api/v1/functions/fn-1/call"), ("GET", "/fn/fn-1/page")] {
        let refused = send(&doors, &chats, route, &json!("")).await;
        assert_eq!(refused.status, 403, "{route:?}");
        assert_eq!(refused.json()["error"]["code"], "token_capability", "{route:?}");
        let allowed = send(&doors, &calls, route, &json!("")).await;
        assert_eq!(allowed.json()["error"]["code"], "unknown_capability", "{route:?}");
    }

    doors.node.revoke_token(id).await.unwrap();
    let refused = send(&doors, &chats, CHAT, &question(&model)).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (401, &"token_revoked".into()));
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_never_stands_for_the_key() {
    let doors = Doors::open().await;
    let (everything, _) = mint(&doors, &[]).await;
    for route in [
        ("GET", "/api/v1/status"),
        ("GET", "/api/v1/metrics"),
        ("POST", "/api/v1/stop"),
        ("GET", "/api/v1/nodes"),
        ("POST", "/api/v1/nodes/alone/revoke"),
        ("POST", "/api/v1/invites"),
        ("GET", "/api/v1/invites"),
        ("POST", "/api/v1/join"),
        ("PUT", "/api/v1/functions/fn-1"),
        ("DELETE", "/api/v1/functions/fn-1"),
        ("GET", "/api/v1/decisions/last"),
        ("GET", "/api/v1/receipts"),
        ("GET", "/api/v1/receipts/export"),
        ("GET", "/api/v1/receipts/last"),
        ("GET", "/api/v1/receipts/last/export"),
    ] {
        let refused = send(&doors, &everything, route, &Value::Null).await;
        assert_eq!(refused.status, 403, "{route:?}");
        assert_eq!(refused.json()["error"]["code"], "needs_key", "{route:?}");
    }
    let nowhere = send(&doors, &everything, ("GET", "/nowhere"), &Value::Null).await;
    assert_eq!(nowhere.status, 404);
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_the_owners_opens_nothing() {
    let doors = Doors::open().await;
    let stranger = Owner::generate().unwrap().mint(&[]).unwrap().to_text().unwrap();
    let past = Limit::Until(Timestamp::from_millis(1_000_000));
    let (ended, _) = mint(&doors, &[past]).await;
    for (token, code) in [
        (stranger.as_str(), "forged_token"),
        (ended.as_str(), "token_ended"),
        ("sedge-token.AAAA", "bad_token"),
        ("sedge-token.", "bad_token"),
    ] {
        for route in [MODELS, ("GET", "/api/v1/status"), ("GET", "/nowhere")] {
            let refused = send(&doors, token, route, &Value::Null).await;
            assert_eq!(refused.status, 401, "{token} {route:?}");
            assert_eq!(refused.json()["error"]["code"], code, "{route:?}");
        }
    }
    doors.close().await;
}
