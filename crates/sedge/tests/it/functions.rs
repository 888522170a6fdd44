//! Functions on running nodes: their limits, and HTTP from a foreign client.

use std::thread;

use serde_json::Value;

use crate::machine::{Machine, PROBE, UPPER, until};

const WEB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions/web.wasm");

/// What a client of the HTTP door got.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    headers: ureq::http::HeaderMap,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Sends a request to the HTTP door, with the key unless it is left out.
pub(crate) fn ask(machine: &Machine, method: &str, path: &str, body: &str, with_key: bool) -> Got {
    let api = machine.ready["api"].as_str().unwrap();
    let key = std::fs::read_to_string(machine.home().join("api.key")).unwrap();
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://{api}{path}"))
        .header("x-sedge-node", "forged");
    if with_key {
        request = request.header("authorization", format!("Bearer {}", key.trim()));
    }
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let mut response =
        ureq::Agent::from(config).run(request.body(body.to_owned()).unwrap()).unwrap();
    Got {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.body_mut().read_to_string().unwrap(),
    }
}

#[test]
fn an_http_function_answers_from_another_process() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    one.json(&["deploy", WEB, "--id", "web", "--to", "two"]);
    one.until_offered("web", "two");

    let got = ask(&one, "POST", "/fn/web/", "hello", true);
    assert_eq!((got.status, got.body.as_str()), (200, "HELLO"));
    assert_eq!(got.header("content-type"), Some("text/plain"));
    assert_eq!(got.header("x-sedge-node"), Some(two.id().as_str()));
    let receipt = got.header("x-sedge-receipt").unwrap();
    assert_eq!(one.json(&["receipt", "verify", receipt])[0]["countersigned"], true);
    // What was asked over HTTP is run again as it was asked.
    assert_eq!(one.json(&["receipt", "replay", receipt])[0]["equal"], true);

    assert_eq!(ask(&one, "GET", "/fn/web", "", true).status, 200);
    let got = ask(&one, "DELETE", "/fn/web/a%20b/c?d=e", "", true);
    assert_eq!((got.status, got.body.as_str()), (404, "no such page"));

    let got = ask(&one, "POST", "/fn/web/", "hello", false);
    assert_eq!(got.status, 401);
    let got = ask(&one, "GET", "/fn/web/trap", "", true);
    assert_eq!(got.status, 502, "{got:?}");
    assert!(got.body.contains("\"kind\":\"failed\""), "{got:?}");
    let got = ask(&one, "GET", "/fn/nothing/", "", true);
    assert_eq!(got.status, 404, "{got:?}");
    assert!(got.body.contains("\"code\":\"unknown_capability\""), "{got:?}");
    assert_eq!(one.json(&["call", "web", "--input", "plain"])["output"], "PLAIN");
}

/// The time is the executing node's own record of the task. Load can only lengthen it, never
/// shorten it, so the shortest of several runs is what the engine does.
#[test]
fn row_066_an_endless_loop_ends_within_a_tenth_of_its_time_and_the_node_still_serves() {
    let one = Machine::up("one");
    one.json(&["deploy", PROBE, "--id", "probe"]);
    let mut shortest = u64::MAX;
    for _ in 0..5 {
        thread::scope(|scope| {
            let endless =
                scope.spawn(|| one.fails(&["call", "probe", "--input", "loop", "--time", "1s"]));
            until("the loop runs", || one.json(&["status"])["running"] == 1);
            assert_eq!(one.json(&["call", "probe", "--input", "echo on"])["output"], "on");
            let (exit, error) = endless.join().unwrap();
            assert_eq!((exit, &error["kind"]), (8, &"timeout".into()), "{error}");
        });
        let receipts = one.json(&["receipt", "list", "--limit", "1"]);
        let body = &receipts[0]["body"];
        assert_eq!(body["status"], "Timeout");
        let at = |name: &str| body[name].as_u64().unwrap();
        shortest = shortest.min(at("ended_ms") - at("started_ms"));
        if shortest <= 1100 {
            break;
        }
    }
    println!("an endless loop with 1 s ended after {shortest} ms");
    assert!((1000..=1100).contains(&shortest), "ended after {shortest} ms");
}

#[test]
fn of_a_thousand_deploys_at_once_each_is_kept_or_refused_by_name() {
    let mut one = Machine::new("one", Vec::new());
    one.write_config("[node]\nmax_functions = 950\n");
    one.start();
    let wasm = std::fs::read(UPPER).unwrap();
    let key = std::fs::read_to_string(one.home().join("api.key")).unwrap();
    let (api, bearer) = (one.ready["api"].as_str().unwrap(), format!("Bearer {}", key.trim()));
    let put = |number: usize| {
        let url = format!("http://{api}/api/v1/functions/fn-{number}");
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let request = ureq::Agent::from(config).put(url).header("authorization", &bearer);
        let mut response = request.send(&wasm).unwrap();
        serde_json::from_str::<Value>(&response.body_mut().read_to_string().unwrap()).unwrap()
    };
    let answers: Vec<(usize, Value)> = thread::scope(|scope| {
        let tenths: Vec<_> = (0..100)
            .map(|tenth| {
                let put = &put;
                scope.spawn(move || {
                    let mine = (0..10).map(|it| tenth * 10 + it);
                    mine.map(put).collect::<Vec<_>>()
                })
            })
            .collect();
        let answers = tenths.into_iter().flat_map(|it| it.join().unwrap());
        answers.enumerate().collect()
    });
    let (kept, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|it| it.1[0]["content"].is_string());
    assert_eq!((kept.len(), refused.len()), (950, 50));
    for (number, report) in refused {
        assert_eq!(report[0]["failure"]["code"], "node_full", "fn-{number}: {report}");
    }
    assert_eq!(one.json(&["call", &format!("fn-{}", kept[0].0), "--input", "a"])["output"], "A");

    // What was acknowledged is on disk.
    one.kill();
    one.start();
    let offered = one.json(&["capabilities"]);
    let here = offered
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["name"].as_str().unwrap().starts_with("fn-"))
        .count();
    assert_eq!(here, 950);
    let last = kept.last().unwrap().0;
    assert_eq!(one.json(&["call", &format!("fn-{last}"), "--input", "b"])["output"], "B");
}
