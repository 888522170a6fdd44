//! The older cluster API over REST, with real machines: seed 000's Python example, line by line, and what was faked there.

use std::fs;

use serde_json::{Value, json};

use crate::machine::{Machine, PROBE, UPPER, until};

const COUNT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions/count.wasm");

/// An answer: its status and its body.
struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// Sends a request below `/edge-computing`, with options in their header when there are some.
fn send(machine: &Machine, method: &str, path: &str, options: &Value, body: &[u8]) -> Answer {
    let api = machine.ready["api"].as_str().unwrap();
    let key = fs::read_to_string(machine.home().join("api.key")).unwrap();
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://{api}/api/v1/edge-computing/{path}"))
        .header("authorization", format!("Bearer {}", key.trim()));
    if !options.is_null() {
        request = request.header("x-sedge-options", options.to_string());
    }
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let mut response =
        ureq::Agent::from(config).run(request.body(body.to_owned()).unwrap()).unwrap();
    let status = response.status().as_u16();
    Answer { status, body: response.body_mut().read_to_vec().unwrap() }
}

#[track_caller]
fn well(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

#[track_caller]
fn get(machine: &Machine, path: &str) -> Value {
    well(&send(machine, "GET", path, &Value::Null, b""))
}

#[track_caller]
fn post(machine: &Machine, path: &str, body: &Value) -> Value {
    well(&send(machine, "POST", path, &Value::Null, body.to_string().as_bytes()))
}

#[track_caller]
fn put(machine: &Machine, path: &str, options: &Value, wasm: &str) -> Value {
    well(&send(machine, "PUT", path, options, &fs::read(wasm).unwrap()))
}

fn invoke(machine: &Machine, node: &str, function: &str, input: &str) -> Answer {
    let path = format!("nodes/{node}/functions/{function}/invoke");
    send(machine, "POST", &path, &Value::Null, input.as_bytes())
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) -> String {
    let error = answer.json()["error"].clone();
    assert_eq!((answer.status, &error["code"]), (status, &json!(code)), "{error}");
    error["message"].as_str().unwrap().to_owned()
}

/// The example's metrics, after one invocation.
fn recorded(cloud: &Machine) {
    // metrics.record(InvocationRecord(function_id="fn-1", node_id="edge-1", duration_ms=15.2, success=True))
    let before = get(cloud, "metrics?function_id=fn-1&node_id=edge-1");
    assert_eq!(
        (&before["total"], &before["success_rate"]),
        (&json!(1), &json!(100.0)),
        "the cluster's own"
    );
    let record = json!({
        "function_id": "fn-1", "node_id": "edge-1", "duration_ms": 15.2, "success": true,
    });
    let after = post(cloud, "metrics", &record);
    assert_eq!(
        (&after["total"], &after["success_rate"], &after["error_count"]),
        (&json!(2), &json!(100.0), &json!(0))
    );
    let mean = (before["avg_latency"].as_f64().unwrap() + 15.2) / 2.0;
    assert!((after["avg_latency"].as_f64().unwrap() - mean).abs() < 1e-6, "{after}");
}

/// The example's synchroniser.
fn synchronised(cloud: &Machine) {
    // sync.update_local({"readings": [1, 2, 3]}), and vectors 000-1, 000-2, 000-7.
    let state = post(cloud, "sync/local", &json!({ "data": { "readings": [1, 2, 3] } }));
    assert_eq!(
        (&state["version"], &state["checksum"]),
        (&json!(1), &json!("e90deb037a3ed15ebaade8e513373d55"))
    );
    let remote = json!({ "data": { "readings": [4, 5] }, "version": 5 });
    assert_eq!(post(cloud, "sync/remote", &remote), json!({ "applied": true }));
    let state = get(cloud, "sync/state");
    assert_eq!(state["checksum"], "874ef4c95d0f1cf843c130999984b7e3");
    let pending = get(cloud, "sync/pending");
    assert_eq!((&pending[0]["type"], &pending[0]["version"]), (&json!("update"), &json!(1)));
    assert_eq!(
        post(cloud, "sync/confirm", &json!({ "up_to_version": 3 })),
        json!({ "removed": 1 })
    );
    let bad = json!({ "data": {}, "version": 9, "checksum": "0" });
    let bad = send(cloud, "POST", "sync/remote", &Value::Null, bad.to_string().as_bytes());
    refused(&bad, 400, "wrong_checksum");
    assert_eq!(
        get(cloud, "sync"),
        json!({
            "local_version": 5, "remote_version": 5, "pending_changes": 0, "is_synced": true,
            "sync_events": 3, "conflict_strategy": "remote_wins",
        })
    );
}

/// The example of seed 000: `cloud` is the process that asks, `edge-1` the one that works.
#[test]
fn the_older_example_runs_as_written_on_two_machines() {
    let (cloud, edge) = (Machine::up("cloud"), Machine::up("edge-1"));
    // cluster.register_node(EdgeNode(id="edge-1", name="factory-sensor", location="factory-a"))
    let node = json!({ "id": "edge-1", "name": "factory-sensor", "location": "factory-a" });
    let early = send(&cloud, "POST", "nodes", &Value::Null, node.to_string().as_bytes());
    let message = refused(&early, 404, "unknown_member");
    assert!(message.contains("let that machine join first"), "{message}");
    cloud.pair(&edge);
    let registered = post(&cloud, "nodes", &node);
    let keys: Vec<_> = registered.as_object().unwrap().keys().collect();
    let expected =
        ["id", "name", "location", "status", "capabilities", "healthy", "seconds_since_heartbeat"];
    assert_eq!(keys, expected);
    assert_eq!(
        [&registered["id"], &registered["name"], &registered["location"], &registered["status"]],
        ["edge-1", "factory-sensor", "factory-a", "online"]
    );
    assert_eq!(registered["healthy"], true);

    // count = cluster.deploy_to_all(EdgeFunction(id="fn-1", name="process-data", handler=my_handler))
    let named = json!({ "name": "process-data" });
    let spread = put(&cloud, "functions/fn-1", &named, UPPER);
    assert_eq!(spread["count"], 2, "{spread}");
    assert_eq!(spread["nodes"][0]["id"], "edge-1", "the one that was registered comes first");

    // result = cluster.get_runtime("edge-1").invoke("fn-1", sensor_data)
    let result = invoke(&cloud, "edge-1", "fn-1", "21 degrees");
    assert_eq!((result.status, result.body.as_slice()), (200, b"21 DEGREES".as_slice()));
    let missing = refused(&invoke(&cloud, "edge-1", "fn-9", "x"), 404, "unknown_function");
    assert_eq!(missing, "Function not found: fn-9");
    let listed = get(&cloud, "nodes/edge-1/functions");
    assert_eq!(
        listed,
        json!([{
            "id": "fn-1", "name": "process-data", "memory_mb": 128, "timeout_seconds": 30.0,
            "environment": {}, "required_capabilities": [],
        }])
    );
    let stats = get(&cloud, "nodes/edge-1/functions/fn-1/stats");
    assert_eq!(
        [&stats["calls"], &stats["successes"], &stats["errors"], &stats["cold_starts"]],
        [1, 1, 0, 1]
    );
    assert!(stats["avg_latency_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(get(&cloud, "nodes/cloud/functions/fn-1/stats"), json!({ "calls": 0 }));
    assert_eq!(
        get(&cloud, "nodes/edge-1/summary"),
        json!({
            "node_id": "edge-1", "functions_deployed": 1, "total_invocations": 1, "cold_starts": 1,
            "warm_functions": 1,
        })
    );

    recorded(&cloud);
    synchronised(&cloud);

    // cluster.health()
    until("the task is counted", || get(&cloud, "health")["total_invocations"] == 1);
    assert_eq!(
        get(&cloud, "health"),
        json!({
            "total_nodes": 2, "online": 2, "draining": 0, "total_functions": 2,
            "total_invocations": 1,
            "nodes": [
                { "id": "edge-1", "status": "online", "functions": 1, "draining": false },
                { "id": "cloud", "status": "online", "functions": 1, "draining": false },
            ],
        })
    );
}

#[test]
fn what_was_faked_is_done_time_capacity_needs_drains_and_marks() {
    let cloud = Machine::up("cloud");
    let mut edge = Machine::new("edge-1", vec!["--no-model"]);
    edge.write_config("[node]\nlabels = { gpu = \"rtx-4090\" }\n");
    edge.start();
    cloud.pair(&edge);
    let node = |capabilities: &[&str]| {
        json!({
            "id": "edge-1", "name": "sensor", "max_functions": 2, "capabilities": capabilities,
            "metadata": { "line": 7 },
        })
    };
    let lacking = node(&["tpu"]).to_string();
    refused(
        &send(&cloud, "POST", "nodes", &Value::Null, lacking.as_bytes()),
        409,
        "lacks_capability",
    );
    post(&cloud, "nodes", &node(&["gpu"]));
    assert_eq!(get(&cloud, "nodes/edge-1")["metadata"], json!({ "line": 7 }));

    // The time ends it in the middle, and the node goes on.
    let short = json!({ "timeout_seconds": 0.5, "required_capabilities": ["gpu"] });
    let spread = put(&cloud, "functions/probe", &short, PROBE);
    assert_eq!(spread["count"], 1, "the other one has no such thing: {spread}");
    let lacks = spread["nodes"].as_array().unwrap().iter().find(|it| it["id"] == "cloud").unwrap();
    assert_eq!(lacks["failure"]["message"], "node cloud lacks gpu");
    let late = refused(&invoke(&cloud, "edge-1", "probe", "loop"), 504, "timeout");
    assert!(late.starts_with("Edge function failed: "), "{late}");
    let failed =
        refused(&invoke(&cloud, "edge-1", "probe", "fail on purpose"), 502, "function_error");
    assert_eq!(failed, "Edge function failed: on purpose");
    assert_eq!(invoke(&cloud, "edge-1", "probe", "echo a").body, b"a");
    let stats = get(&cloud, "nodes/edge-1/functions/probe/stats");
    assert_eq!([&stats["calls"], &stats["errors"], &stats["cold_starts"]], [3, 2, 3], "{stats}");
    assert_eq!(get(&cloud, "metrics")["error_count"], 2);

    // Two functions are the limit that was said, and a new version of one of them needs no room.
    assert_eq!(
        put(&cloud, "nodes/edge-1/functions/fn-1", &Value::Null, UPPER),
        json!({ "deployed": true })
    );
    let third = fs::read(UPPER).unwrap();
    let full = send(&cloud, "PUT", "nodes/edge-1/functions/fn-2", &Value::Null, &third);
    let text = refused(&full, 429, "node_full");
    assert_eq!(text, "node edge-1 has 2 functions, 2 is its limit");
    put(&cloud, "nodes/edge-1/functions/fn-1", &Value::Null, UPPER);
    let least = put(&cloud, "functions/fn-2?to=least-loaded", &Value::Null, UPPER);
    assert_eq!(least, json!({ "node_id": "cloud" }));

    // A draining node keeps its functions and takes none.
    assert_eq!(post(&cloud, "nodes/edge-1/drain", &json!(null)), json!({ "drained": true }));
    let here = put(&cloud, "nodes/edge-1/functions/fn-1", &Value::Null, UPPER);
    assert_eq!(here, json!({ "deployed": false }));
    let spread = put(&cloud, "functions/fn-1", &Value::Null, UPPER);
    assert_eq!(
        (&spread["count"], &spread["nodes"][0]["failure"]["code"]),
        (&json!(1), &json!("draining"))
    );
    assert_eq!(invoke(&cloud, "edge-1", "fn-1", "still").body, b"STILL");
    let back = || post(&cloud, "nodes/edge-1/undrain", &json!(null));
    assert_eq!((back(), back()), (json!({ "undrained": true }), json!({ "undrained": false })));
    assert_eq!(post(&cloud, "nodes/nobody/drain", &json!(null)), json!({ "drained": false }));

    // A mark keeps new work away until the next heartbeat; a silent node is offline whatever is said.
    post(&cloud, "nodes/edge-1/offline", &json!(null));
    assert_eq!(get(&cloud, "nodes?status=offline")[0]["id"], "edge-1");
    let away = send(&cloud, "PUT", "nodes/edge-1/functions/fn-1", &Value::Null, &third);
    refused(&away, 503, "node_away");
    post(&cloud, "nodes/edge-1/heartbeat", &json!({}));
    assert_eq!(get(&cloud, "nodes/edge-1")["status"], "online");
    let removed = send(&cloud, "DELETE", "functions/fn-2", &Value::Null, b"");
    assert_eq!(well(&removed)["count"], 1);
    let out = || well(&send(&cloud, "DELETE", "nodes/edge-1", &Value::Null, b""));
    assert_eq!((out(), out()), (json!({ "deregistered": true }), json!({ "deregistered": false })));
    assert_eq!(get(&cloud, "health")["total_nodes"], 1);
}

#[test]
fn a_lost_machines_function_is_brought_to_another_and_what_was_said_survives() {
    let (mut anna, mut berta) = (Machine::up("anna"), Machine::up("berta"));
    anna.pair(&berta);
    post(&anna, "nodes", &json!({ "id": "berta", "name": "sensor", "location": "cellar" }));
    assert_eq!(
        put(&anna, "nodes/berta/functions/fn-1", &Value::Null, UPPER),
        json!({ "deployed": true })
    );
    assert_eq!(post(&anna, "auto-heal", &json!(null))["changes"], 0, "nothing is lost");
    well(&send(&anna, "PUT", "cache/key", &Value::Null, br#"{"value":[1,2]}"#));
    post(&anna, "sync/local", &json!({ "data": { "a": 1 } }));

    berta.kill();
    until("it is noticed", || get(&anna, "nodes/berta")["status"] == "offline");
    anna.kill();
    anna.start();
    let berta_again = get(&anna, "nodes/berta");
    assert_eq!(
        (&berta_again["location"], &berta_again["name"]),
        (&json!("cellar"), &json!("sensor"))
    );
    assert_eq!(get(&anna, "cache/key"), json!({ "value": [1, 2] }));
    assert_eq!(get(&anna, "sync")["local_version"], 1);
    until("it is away", || get(&anna, "nodes/berta")["status"] == "offline");
    assert_eq!(
        post(&anna, "auto-heal", &json!(null)),
        json!({
            "changes": 1,
            "healed": [{ "function_id": "fn-1", "from": "berta", "to": "anna" }],
        })
    );
    assert_eq!(invoke(&anna, "anna", "fn-1", "here").body, b"HERE");
    assert_eq!(post(&anna, "auto-heal", &json!(null))["changes"], 0, "once is enough");
    let health = get(&anna, "health-check");
    assert_eq!((&health["healthy_nodes"], &health["total_nodes"]), (&json!(1), &json!(2)));
}

#[test]
fn plans_jobs_and_payloads_speak_the_older_words() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    let plan = json!({ "plan": { "strategy": "blue_green" } });
    let planned = put(&one, "deployments/count", &plan, COUNT);
    assert_eq!(
        (&planned["state"], &planned["target_nodes"]),
        (&json!("pending"), &json!(["one", "two"]))
    );
    assert_eq!(
        (&planned["canary_percent"], &planned["rollback_on_error"]),
        (&json!(10), &json!(true))
    );
    let id = planned["id"].as_str().unwrap();
    assert_eq!(
        post(&one, &format!("deployments/{id}/execute"), &json!(null))["state"],
        "in_progress"
    );
    let shown = || get(&one, &format!("deployments/{id}"));
    until("it is everywhere", || shown()["state"] == "completed");
    assert_eq!(shown()["deployed_nodes"], json!(["one", "two"]));

    // Vector 000-13, on nodes in turn.
    one.until_offered("count", "two");
    let payload =
        |it: usize| if it.is_multiple_of(2) { format!("+1 {it}") } else { format!("*2 {it}") };
    let payloads: Vec<_> = (0..100).map(payload).collect();
    let sent = post(&one, "tasks", &json!({ "function_id": "count", "payloads": payloads }));
    let tasks = sent["tasks"].as_array().unwrap();
    assert_eq!(
        (tasks.len(), &tasks[0]["node_id"], &tasks[1]["node_id"]),
        (100, &json!("one"), &json!("two"))
    );
    let results = get(&one, &format!("tasks/{}?wait_s=60", sent["id"].as_str().unwrap()));
    let value = |it: usize| results[it]["result"].as_str().unwrap().parse::<usize>().unwrap();
    assert_eq!([value(0), value(1), value(98), value(99)], [1, 2, 99, 198]);
    let last = get(&one, &format!("tasks/{}", tasks[99]["task_id"].as_str().unwrap()));
    assert_eq!(last[0]["result"], "198");

    let job = json!({ "id": "nightly", "function_id": "count", "schedule_type": "cron_like", "cron": "0 3 * * *", "args": "+1 1" });
    let made = post(&one, "jobs", &job);
    assert_eq!(
        (&made["enabled"], &made["run_count"], &made["last_run"]),
        (&json!(true), &json!(0), &Value::Null)
    );
    post(
        &one,
        "jobs",
        &json!({ "id": "now", "function_id": "count", "schedule_type": "once", "args": "+1 1" }),
    );
    until("it has run", || get(&one, "jobs/now")["run_count"] == 1);
    assert_eq!(get(&one, "jobs?enabled_only=true").as_array().unwrap().len(), 1);
    assert_eq!(
        get(&one, "scheduler"),
        json!({ "total_jobs": 2, "enabled_jobs": 1, "exhausted_jobs": 0, "total_runs": 1 })
    );
    let back = post(&one, &format!("deployments/{id}/rollback"), &json!(null));
    assert_eq!(back, json!({ "count": 2 }));
    until("it is back", || shown()["state"] == "rolled_back");
}

#[test]
fn the_door_asks_for_the_key_and_the_command_speaks_through_it() {
    let one = Machine::up("one");
    let api = one.ready["api"].as_str().unwrap();
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let agent = ureq::Agent::from(config);
    let health = format!("http://{api}/api/v1/edge-computing/health");
    assert_eq!(agent.get(&health).call().unwrap().status(), 401);
    let token =
        one.json(&["token", "mint", "--capability", "fn-1"])["token"].as_str().unwrap().to_owned();
    let with_token = agent.get(&health).header("authorization", format!("Bearer {token}")).call();
    assert_eq!(with_token.unwrap().status(), 403, "a token runs tasks, it manages no machines");
    for (method, path, body, status, code) in [
        ("GET", "nothing", "", 404, "unknown_path"),
        ("DELETE", "health", "", 405, "method_not_allowed"),
        ("GET", "nodes/nobody", "", 404, "unknown_node"),
        ("GET", "nodes?status=asleep", "", 400, "invalid_query"),
        ("GET", "stale?timeout_seconds=-1", "", 400, "invalid_timeout"),
        ("GET", "health-check?heartbeat_timeout_seconds=NaN", "", 400, "invalid_timeout"),
        ("POST", "nodes", "{\"id\":\"one\",\"name\":\"\"}", 400, "invalid_node"),
        ("POST", "nodes", "{", 400, "invalid_json"),
        ("PUT", "functions/fn-1?to=moon", "x", 400, "invalid_target"),
        ("PUT", "cache/a", "{\"value\":1,\"ttl\":-1}", 400, "invalid_ttl"),
        ("GET", "cache/a", "", 404, "not_cached"),
        ("GET", "jobs/none", "", 404, "unknown_job"),
        ("GET", "tasks/none:0", "", 404, "unknown_batch"),
        (
            "POST",
            "tasks",
            "{\"function_id\":\"fn-1\",\"payloads\":[\"a\"]}",
            404,
            "unknown_function",
        ),
    ] {
        refused(&send(&one, method, path, &Value::Null, body.as_bytes()), status, code);
    }

    let said = one.json(&["cluster", "register", "one", "--location", "desk", "--name", "laptop"]);
    assert_eq!((&said["name"], &said["location"]), (&json!("laptop"), &json!("desk")));
    assert_eq!(one.json(&["cluster", "health"]), get(&one, "health"));
    let words = String::from_utf8(one.run(&["cluster", "health"]).stdout).unwrap();
    assert!(words.contains("1 machines") && words.contains("online"), "{words}");
    assert_eq!(one.json(&["cluster", "heal"]), json!({ "changes": 0, "healed": [] }));
    let (exit, error) = one.fails(&["cluster", "register", "two"]);
    assert_eq!((exit, &error["code"]), (3, &json!("unknown_member")), "{error}");
    assert_eq!(one.json(&["cluster", "deregister", "one"])["deregistered"], true);
}
