//! Applications of several components, from a manifest of Spin's.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::machine::{Machine, until};
use crate::outbound::{SECRET, Server, keep, machine};

/// Where the guests are: `shape` tells what it was given, `keep` keeps something, `web` asks other servers.
const GUESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions");

/// Writes an application's folder; returns where its manifest is.
fn write(machine: &Machine, manifest: &str) -> String {
    let folder = machine.folder().join("shop");
    fs::create_dir_all(&folder).unwrap();
    for guest in ["shape.wasm", "keep.wasm", "tick.wasm", "web.wasm"] {
        fs::copy(Path::new(GUESTS).join(guest), folder.join(guest)).unwrap();
    }
    let path = folder.join("spin.toml");
    fs::write(&path, manifest).unwrap();
    path.to_str().unwrap().to_owned()
}

const SHOP: &str = r#"
spin_manifest_version = 2

[application]
name = "shop"
version = "0.1.0"
authors = ["nobody"]

[variables]
greeting = { default = "hello" }
token = { required = true }

[[trigger.http]]
route = "/base/:part/..."
component = "page"

[[trigger.http]]
route = "/exact"
component = "exact"

[[trigger.http]]
route = "/old"
static_response = { status_code = 410, headers = { x-why = "moved" }, body = "gone\nfor ever" }

[component.page]
source = "shape.wasm"
environment = { MODE = "test" }
[component.page.variables]
words = "{{ greeting }}, {{ token }}"

[component.exact]
source = "shape.wasm"
"#;

/// Posts to the shop; returns the status and the body.
fn post(machine: &Machine, path: &str, body: &str) -> (u16, String) {
    post_to(machine, "shop", path, body)
}

/// Posts to an application; returns the status and the body.
fn post_to(machine: &Machine, app: &str, path: &str, body: &str) -> (u16, String) {
    let api = machine.ready["api"].as_str().unwrap();
    let key = fs::read_to_string(machine.home().join("api.key")).unwrap();
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = agent.post(format!("http://{api}/fn/{app}{path}"));
    let request = request.header("authorization", format!("Bearer {}", key.trim()));
    let mut response = request.header("spin-forged", "1").send(body).unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}

#[test]
fn an_application_is_deployed_from_its_manifest_and_sees_what_it_expects() {
    let mut one = Machine::up("one");
    let path = write(&one, SHOP);
    let deployed = one.json(&["deploy", &path, "--variable", "token=7"]);
    let api = one.ready["api"].as_str().unwrap().to_owned();
    let routes: Vec<&Value> = deployed["parts"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|it| it["routes"].as_array().unwrap())
        .collect();
    let urls: Vec<&str> = routes.iter().map(|it| it["url"].as_str().unwrap()).collect();
    assert_eq!(
        urls,
        ["/old", "/exact", "/base/:part/..."].map(|it| format!("http://{api}/fn/shop{it}"))
    );

    let (status, body) = post(&one, "/base/a/b/c?d=e", "words token No");
    assert_eq!(status, 200, "{body}");
    for line in [
        "path: /base/a/b/c?d=e",
        "spin-path-info: /b/c",
        &format!("spin-full-url: http://{api}/base/a/b/c?d=e"),
        "spin-matched-route: /base/:part/...",
        "spin-base-path: /",
        "spin-raw-component-route: /base/:part/...",
        "spin-component-route: /base/:part",
        "spin-path-match-part: a",
        "env MODE=test",
        r#"spin words: Ok("hello, 7")"#,
        r#"config words: Ok(Some("hello, 7"))"#,
        r#"spin token: Err(Error::Undefined("token"))"#,
        "config token: Ok(None)",
        r#"spin No: Err(Error::InvalidName("No"))"#,
        r#"all: Ok([("words", "hello, 7")])"#,
    ] {
        assert!(body.lines().any(|it| it == line), "{line}\n{body}");
    }
    assert!(body.lines().any(|it| it.starts_with("spin-client-addr: 127.0.0.1:")), "{body}");
    assert!(!body.contains("spin-forged"), "{body}");

    let (status, body) = post(&one, "/exact", "words");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("spin-matched-route: /exact\n"), "{body}");
    assert!(!body.contains("MODE") && body.contains("Undefined"), "of its own alone: {body}");
    assert_eq!(post(&one, "/.well-known/spin/health", "").0, 200);
    assert_eq!(post(&one, "/exact/below", "").0, 404);
    assert_eq!(post(&one, "/old", ""), (410, "gone\nfor ever".to_owned()));

    // What was deployed is there after a restart, with its variables.
    one.kill();
    one.start();
    let (status, body) = post(&one, "/base/a/b", "words");
    assert!(status == 200 && body.contains("hello, 7"), "{status} {body}");

    // Another version without one of its components takes that one away.
    let cut = SHOP.find("[component.exact]").unwrap();
    let page = SHOP[..cut].replace(
        "route = \"/exact\"\ncomponent = \"exact\"",
        "route = \"/too\"\ncomponent = \"page\"",
    );
    let path = write(&one, &page);
    one.json(&["deploy", &path, "--variable", "token=8"]);
    assert_eq!(post(&one, "/exact", "").0, 404);
    let (status, body) = post(&one, "/too", "words");
    assert!(status == 200 && body.contains("hello, 8"), "{status} {body}");

    let listed = one.json(&["apps"]);
    let routes: Vec<&str> =
        listed.as_array().unwrap().iter().map(|it| it["route"].as_str().unwrap()).collect();
    assert_eq!(routes, ["/old", "/base/:part/...", "/too"], "{listed}");
    let removed = one.json(&["apps", "rm", "shop"]);
    assert_eq!(removed["removed"].as_array().unwrap().len(), 2, "{removed}");
    assert_eq!(post(&one, "/too", "").0, 404);
}

#[test]
fn what_an_application_cannot_have_is_named_in_one_message_and_nothing_is_deployed() {
    let one = Machine::up("one");
    let manifest = SHOP
        .replace("[component.exact]", "[component.exact]\nai_models = [\"llama2-chat\"]")
        .replace(
            "[variables]",
            "[[trigger.mqtt]]\ntopic = \"a\"\ncomponent = \"page\"\n[variables]",
        )
        + "allowed_outbound_hosts = [\"postgres://db:5432\"]\n";
    // A core module's bytes are no component; one that asks for a broker is, and cannot have it.
    let path = write(&one, &manifest.replace("exact]\nai", "exact]\nfiles = [\"x\"]\nai"));
    let name = "fermyon:spin/mqtt@2.0.0";
    let mut broker = b"\0asm\x0d\0\x01\0\x0a".to_vec();
    broker.extend([u8::try_from(name.len() + 5).unwrap(), 1, 0, u8::try_from(name.len()).unwrap()]);
    broker.extend(name.as_bytes());
    broker.extend([5, 0]);
    fs::write(one.folder().join("shop/shape.wasm"), broker).unwrap();
    let (code, error) = one.fails(&["deploy", &path, "--variable", "colour=red"]);
    assert_eq!(code, 11);
    for named in [
        "models",
        "files",
        "`mqtt`",
        "`postgres://db:5432`",
        "`token` needs a value",
        "no variable `colour`",
        "`page` imports `fermyon:spin/mqtt@2.0.0`",
        "`exact` imports `fermyon:spin/mqtt@2.0.0`",
    ] {
        assert!(error["message"].as_str().unwrap().contains(named), "{named}: {error}");
    }
    let offers: Value = one.json(&["capabilities"]);
    assert!(!offers.to_string().contains("shop."), "{offers}");
}

const CLUB: &str = r#"
spin_manifest_version = 2

[application]
name = "club"

[variables]
port = { required = true }

[[trigger.http]]
route = "/keep"
component = "keep"

[[trigger.http]]
route = "/beside"
component = "beside"

[[trigger.http]]
route = "/ask"
component = "asker"

[component.keep]
source = "keep.wasm"
key_value_stores = ["default"]
sqlite_databases = ["default"]

[component.beside]
source = "keep.wasm"
key_value_stores = ["default", "own"]

[component.asker]
source = "web.wasm"
allowed_outbound_hosts = ["http://127.0.0.1:{{ port }}"]
"#;

/// Posts commands to the guest that keeps something; expects its answers, line by line.
#[track_caller]
fn keeps(machine: &Machine, path: &str, told: &[(&str, &str)]) {
    let commands: Vec<&str> = told.iter().map(|it| it.0).collect();
    let (status, body) = post_to(machine, "club", path, &commands.join("\n"));
    assert_eq!(status, 200, "{body}");
    let answers: Vec<(&str, &str)> = commands.into_iter().zip(body.split('\n')).collect();
    assert_eq!(answers, told);
}

#[test]
fn keys_and_values_are_kept_for_the_application_on_disk_and_for_nobody_else() {
    let mut one = Machine::up("one");
    let path = write(&one, CLUB);
    one.json(&["deploy", &path, "--variable", "port=80"]);
    keeps(
        &one,
        "/keep",
        &[
            ("spin default get a", "none"),
            ("spin default set a 1", "set"),
            ("spin default set b 2", "set"),
            ("spin default get a", "1"),
            ("spin default exists b", "true"),
            ("spin default delete b", "deleted"),
            ("spin default exists b", "false"),
            ("spin default keys", "a"),
            (
                "spin default fill big 1048577",
                "error Error::Other(\"the value has 1048577 bytes, 1048576 are the most\")",
            ),
            ("wasi default get a", "1"),
            ("wasi default increment n 5", "5"),
            ("wasi default increment n -7", "-2"),
            ("wasi default late a theirs ours", "late, saw theirs, swapped"),
            ("wasi default get a", "ours"),
            ("wasi default many x y z", "x=none,y=y,z=z"),
            ("wasi default keys", "a,n,y,z None"),
            // Labels that the manifest does not give.
            ("spin own get a", "error Error::AccessDenied"),
            ("wasi own get a", "error Error::AccessDenied"),
        ],
    );
    // Killed, not stopped: what was acknowledged is on disk.
    one.kill();
    one.start();
    keeps(&one, "/keep", &[("spin default get a", "ours"), ("wasi default exists y", "true")]);
    // Components of one application share a store; each label is its own.
    keeps(&one, "/beside", &[("spin default get a", "ours"), ("spin own get a", "none")]);
    // Another application with the same labels has its own.
    let other = write(&one, &CLUB.replace("name = \"club\"", "name = \"other\""));
    one.json(&["deploy", &other, "--variable", "port=80"]);
    assert_eq!(post_to(&one, "other", "/keep", "spin default get a"), (200, "none".to_owned()));
}

#[test]
fn databases_are_kept_for_the_application_on_disk_and_for_nobody_else() {
    let mut one = Machine::up("one");
    let path = write(&one, CLUB);
    one.json(&["deploy", &path, "--variable", "port=80"]);
    keeps(
        &one,
        "/keep",
        &[
            ("sql default CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)", "[]"),
            ("sql default INSERT INTO t VALUES (?, 'x')", "[]"),
            (
                "sql default SELECT a, b, 0.5, NULL, x'00' FROM t WHERE a = ?",
                "[\"a\", \"b\", \"0.5\", \"NULL\", \"x'00'\"] [Value::Integer(7), Value::Text(\"x\"), Value::Real(0.5), Value::Null, Value::Blob([0])]",
            ),
            ("sqls default BEGIN; INSERT INTO t VALUES (8, 'y'); COMMIT", "[]"),
            // Not committed, and gone with its connection.
            ("sqls default BEGIN; DELETE FROM t", "[]"),
            ("sql default SELECT count(*) FROM t", "[\"count(*)\"] [Value::Integer(2)]"),
            ("sql default ATTACH '/etc/passwd' AS x", "error Error::Io(\"not authorized\")"),
            ("sql default SELECT * FROM nowhere", "error Error::Io(\"no such table: nowhere\")"),
            ("sql other SELECT 1", "error Error::AccessDenied"),
        ],
    );
    keeps(&one, "/beside", &[("sql default SELECT 1", "error Error::AccessDenied")]);
    one.kill();
    one.start();
    keeps(
        &one,
        "/keep",
        &[("sql default SELECT b FROM t WHERE a = 8", "[\"b\"] [Value::Text(\"y\")]")],
    );
    assert!(one.home().join("databases/club/default.db").is_file());
    let other = write(&one, &CLUB.replace("name = \"club\"", "name = \"other\""));
    one.json(&["deploy", &other, "--variable", "port=80"]);
    let (_, told) = post_to(&one, "other", "/keep", "sql default SELECT * FROM t");
    assert_eq!(told, "error Error::Io(\"no such table: t\")");
}

#[test]
fn what_an_application_has_kept_is_deleted_when_that_is_asked_for_and_not_before() {
    let one = Machine::up("one");
    let deploy = |manifest: &str| {
        let path = write(&one, manifest);
        one.json(&["deploy", &path, "--variable", "port=80"]);
    };
    let other = CLUB.replace("name = \"club\"", "name = \"other\"");
    deploy(&other);
    post_to(&one, "other", "/keep", "spin default set a 1");
    deploy(CLUB);
    let table = ("sql default CREATE TABLE t (a)", "[]");
    keeps(
        &one,
        "/keep",
        &[("spin default set a 1", "set"), ("wasi default set b 2", "set"), table],
    );
    let forget = |app: &str| {
        let api = one.ready["api"].as_str().unwrap();
        let key = fs::read_to_string(one.home().join("api.key")).unwrap();
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = agent.delete(format!("http://{api}/api/v1/apps/{app}/data"));
        let request = request.header("authorization", format!("Bearer {}", key.trim()));
        let mut response = request.call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    };
    let (status, refused) = forget("club");
    assert!(status == 409 && refused.contains("remove it first"), "{status} {refused}");
    assert_eq!(forget("..%2Fclub").0, 400);

    assert_eq!(one.json(&["apps", "rm", "club"])["deleted"], Value::Null);
    deploy(CLUB);
    keeps(
        &one,
        "/keep",
        &[("spin default get a", "1"), ("sql default SELECT * FROM t", "[\"a\"]")],
    );

    let removed = one.json(&["apps", "rm", "club", "--data"]);
    assert_eq!(removed["deleted"], serde_json::json!({ "keys": 2, "databases": 1 }));
    assert!(!one.home().join("databases/club").exists());
    assert_eq!(forget("club"), (200, r#"{"keys":0,"databases":0}"#.to_owned()));
    deploy(CLUB);
    let gone = ("sql default SELECT * FROM t", "error Error::Io(\"no such table: t\")");
    keeps(&one, "/keep", &[("spin default get a", "none"), ("wasi default keys", " None"), gone]);
    assert_eq!(post_to(&one, "other", "/keep", "spin default get a"), (200, "1".to_owned()));
}

#[test]
fn requests_go_where_the_manifest_says_with_what_the_host_adds() {
    let server = Server::start();
    let place = server.place();
    let one = machine(&[&place]);
    assert!(keep(&one, &place));
    let path = write(&one, CLUB);
    let authority = place.strip_prefix("http://").unwrap();
    let port = format!("port={}", authority.rsplit(':').next().unwrap());
    let header = format!("{place} authorization=Bearer {{API_TOKEN}}");
    one.json(&["deploy", &path, "--variable", &port, "--add-header", &header]);
    let asked = post_to(&one, "club", "/ask", &format!("{authority} /x"));
    assert_eq!(asked, (200, "200 hello".to_owned()));
    assert!(server.request().contains(&format!("authorization: Bearer {SECRET}\r\n")));
    let refused = post_to(&one, "club", "/ask", "127.0.0.1:1 /x");
    assert_eq!(refused, (200, "Some(Ok(Err(ErrorCode::HttpRequestDenied)))".to_owned()));

    let elsewhere = "https://example.com authorization=Bearer {API_TOKEN}";
    let (_, error) = one.fails(&["deploy", &path, "--variable", &port, "--add-header", elsewhere]);
    assert_eq!(error["message"], "no component may send requests to https://example.com");
}

#[test]
fn an_application_of_spins_own_sdk_runs_unchanged() {
    let one = Machine::up("one");
    let manifest = Path::new(GUESTS).join("spin/spin.toml");
    let done = one.json(&["deploy", manifest.to_str().unwrap(), "--variable", "greeting=good day"]);
    assert_eq!(done["parts"][0]["function"], "visits.visits", "{done}");
    for (who, told) in [
        ("bob", "good day, bob: visit 1, known are bob"),
        ("ann", "good day, ann: visit 2, known are ann, bob"),
        ("bob", "good day, bob: visit 3, known are ann, bob"),
    ] {
        assert_eq!(post_to(&one, "visits", &format!("/visits/{who}"), ""), (200, told.to_owned()));
    }
}

#[test]
fn components_are_called_when_their_cron_expressions_say() {
    let one = Machine::up("one");
    let triggers = "[[trigger.cron]]\ncomponent = \"tick\"\ncron_expression = \"* * * * * *\"\n\
        [component.tick]\nsource = \"tick.wasm\"\nkey_value_stores = [\"default\"]\n";
    let path = write(&one, &format!("{CLUB}{triggers}"));
    one.json(&["deploy", &path, "--variable", "port=80"]);
    let kept = |key: &str| post_to(&one, "club", "/keep", &format!("spin default get {key}")).1;
    // The third call fails, and there is a fourth all the same.
    until("the component is called", || kept("ticks").parse::<u64>().is_ok_and(|it| it >= 4));
    assert!(kept("time").parse::<u64>().is_ok_and(|it| it > 1_700_000_000), "{}", kept("time"));
    let schedules = one.json(&["schedule", "ls"]);
    assert_eq!(schedules[0]["id"], "club.cron.0", "{schedules}");
    assert!(schedules.to_string().contains("the third"), "{schedules}");

    // Another version without the trigger is not called any more, and a wrong expression is named.
    let path = write(&one, CLUB);
    one.json(&["deploy", &path, "--variable", "port=80"]);
    assert_eq!(one.json(&["schedule", "ls"]), serde_json::json!([]));
    let path = write(&one, &format!("{CLUB}{}", triggers.replace("* * * * * *", "61 * * * * *")));
    let (_, error) = one.fails(&["deploy", &path, "--variable", "port=80"]);
    assert!(error["message"].as_str().unwrap().contains("cron trigger `61 * * * * *`"), "{error}");
}
