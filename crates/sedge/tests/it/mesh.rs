//! Two machines: what one has, the other one can use, with proof.

use std::fs;

use sedge_base::ContentId;
use sedge_trust::receipt::VerifyKeys;
use sedge_trust::seed::{self, Budgets, Claim, Signed, Task, TaskEnvelope};
use sedge_trust::{Export, Identity, Status};
use serde_json::Value;

use crate::machine::{Machine, PROBE, UPPER, program};

#[test]
fn row_065_a_function_is_deployed_to_another_process_and_invoked_by_id() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    let deployed = one.json(&["deploy", UPPER, "--id", "fn-1", "--to", "two"]);
    let content = ContentId::of(&fs::read(UPPER).unwrap());
    assert_eq!(deployed[0]["node"], two.id());
    assert_eq!(deployed[0]["content"], content.to_string());

    one.until_offered("fn-1", "two");
    let called = one.json(&["call", "fn-1", "--input", "far away"]);
    assert_eq!(called["output"], "FAR AWAY");
    assert_eq!((&called["node"], &called["node_name"]), (&two.id().into(), &"two".into()));
    assert!(called["usage"]["fuel"].as_u64().is_some_and(|it| it > 0), "{called}");
    assert!(called["usage"]["peak_memory"].as_u64().is_some_and(|it| it > 0), "{called}");

    let why = one.json(&["why", "last"]);
    assert_eq!(why["task"], called["task"]);
    assert!(why["words"].as_str().is_some_and(|it| it.contains("two")), "{why}");
}

/// The older forms bind a task too: vectors 003-11, 003-12 and 003-13.
fn the_listed_forms_have_the_listed_bytes() {
    let listed = TaskEnvelope::new(Task {
        task_id: "task-001".to_owned(),
        module_cid: "local:module_cid".to_owned(),
        entrypoint: "process".to_owned(),
        input_cid: "local:input_cid".to_owned(),
        output_schema_hash: ContentId::from_bytes([0; 32]),
        budgets: Budgets { fuel_limit: 1_000_000, memory_mb: 128, timeout_ms: 30_000 },
        requester: "requester-001".to_owned(),
        deadline: sedge_base::Timestamp::from_millis(1_700_000_000_000),
        priority: 1,
    });
    assert_eq!(
        listed.envelope_hash.to_string(),
        "dc64b5158343db63eb963662c0628a6addffc280d9782cfb309399f8e808130d"
    );
    let signer = Identity::from_bytes(&[1; 64]);
    let receipt = seed::Receipt {
        task_id: "task-001".to_owned(),
        executor: "executor-001".to_owned(),
        result_cid: "local:result_cid".to_owned(),
        status: seed::Status::Success,
        fuel_used: 500_000,
        memory_peak_mb: 64,
        execution_ms: 1500,
        input_hash: ContentId::from_bytes([1; 32]),
        output_hash: ContentId::from_bytes([2; 32]),
        module_hash: ContentId::from_bytes([3; 32]),
        start_timestamp: 1000,
        end_timestamp: 2500,
        module_cid: "local:module_cid".to_owned(),
        input_cid: "local:input_cid".to_owned(),
        entrypoint: "process".to_owned(),
        output_schema_hash: ContentId::from_bytes([0; 32]),
        task_envelope_hash: listed.envelope_hash,
    };
    assert_eq!(
        Signed::sign(receipt, &signer).signature.to_string(),
        "4d58646e1c502212f24b337253452a2d0be0b0809915136c2006257e25402c37\
         87c0f84c2f2094a6979256acb7d30bceda4c05095ac642945ed15fdad0aea108"
    );
    let claim = Claim {
        task_id: "task-001".to_owned(),
        executor_id: "executor-001".to_owned(),
        timestamp: sedge_base::Timestamp::from_millis(1_700_000_000_000),
    };
    assert_eq!(
        Signed::sign(claim, &signer).signature.to_string(),
        "259a43d9991fff7f3212a9f5144e25ee08d6b355fbae5501d88381d4c9d0ad79\
         a98376fe00025faa6709fb785f00d428b082b958b08299bb62c1b8e7208d760a"
    );
}

#[test]
fn row_079_a_task_on_another_process_leaves_a_receipt_that_verifies_and_binds_its_hash() {
    the_listed_forms_have_the_listed_bytes();

    let (one, two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    one.json(&["deploy", UPPER, "--id", "fn-1", "--to", "two"]);
    one.until_offered("fn-1", "two");
    let called = one.json(&["call", "fn-1", "--input", "prove it"]);
    let task = called["task"].as_str().unwrap();
    let file = one.folder().join("receipt.json");
    let path = file.to_str().unwrap();
    one.json(&["receipt", "export", task, "--output", path]);

    let bytes = fs::read(&file).unwrap();
    let export = Export::decode(&bytes).unwrap();
    let receipt = &export.receipts()[0];
    let keys =
        VerifyKeys { executor: two.id().parse().unwrap(), requester: one.id().parse().unwrap() };
    let proof = receipt.verify(&keys).unwrap();
    assert!(proof.countersigned);
    assert_eq!(proof.id.to_string(), called["receipt"].as_str().unwrap());
    let body = &receipt.body;
    assert_eq!(body.task_id.as_str(), task);
    assert_eq!(body.status, Status::Success);
    assert_eq!(body.artifact_hash, Some(ContentId::of(&fs::read(UPPER).unwrap())));
    assert_eq!(body.input_hash, ContentId::of(b"prove it"));
    assert_eq!(body.output_hash, ContentId::of(b"PROVE IT"));
    for (what, change) in
        [("task", body.task_hash), ("input", body.input_hash), ("output", body.output_hash)]
    {
        let other = ContentId::of(change.as_bytes());
        let changed = String::from_utf8(bytes.clone()).unwrap();
        let changed = changed.replace(&change.to_string(), &other.to_string());
        let changed = Export::decode(changed.as_bytes()).unwrap();
        assert!(changed.receipts()[0].verify(&keys).is_err(), "another {what} passes");
    }

    // A stranger with nothing but the file and two keys.
    let verify = |executor: &str, requester: &str| {
        let keys = ["--executor", executor, "--requester", requester];
        program(&["receipt", "verify", path, "--json"]).args(keys).output().unwrap()
    };
    let said = verify(&two.id(), &one.id());
    assert!(said.status.success());
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((&said[0]["valid"], &said[0]["countersigned"]), (&true.into(), &true.into()));
    assert!(!verify(&one.id(), &two.id()).status.success(), "exchanged keys pass");
    assert_eq!(one.json(&["receipt", "verify", task])[0]["valid"], true);
}

#[test]
fn row_081_an_altered_output_hash_fails_and_running_again_gives_the_same_hash() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    one.json(&["deploy", UPPER, "--id", "fn-1", "--to", "all"]);
    let receipt_on = |node: &Machine, name: &str| {
        one.until_offered("fn-1", name);
        let called = one.json(&["call", "fn-1", "--on", name, "--input", "again"]);
        let file = one.folder().join(format!("{name}.json"));
        let task = called["task"].as_str().unwrap();
        one.json(&["receipt", "export", task, "--output", file.to_str().unwrap()]);
        let export = Export::decode(&fs::read(&file).unwrap()).unwrap();
        let keys = VerifyKeys {
            executor: node.id().parse().unwrap(),
            requester: one.id().parse().unwrap(),
        };
        let receipt = export.receipts()[0].clone();
        receipt.verify(&keys).unwrap();
        let mut altered = receipt.clone();
        altered.body.output_hash = ContentId::of(b"another output");
        assert!(altered.verify(&keys).is_err(), "an altered output hash passes");
        receipt.body
    };
    let there = receipt_on(&two, "two");
    let here = receipt_on(&one, "one");
    assert_eq!(there.rung, sedge_trust::Rung::ReRunnable);
    assert_eq!(there.input_hash, here.input_hash);
    assert_eq!(there.artifact_hash, here.artifact_hash);
    assert_eq!(there.output_hash, here.output_hash);
}

#[test]
fn budgets_travel_and_failures_come_back() {
    let (one, two) = (Machine::up("one"), Machine::up("two"));
    one.pair(&two);
    one.json(&["deploy", PROBE, "--id", "probe", "--to", "two", "--memory", "16MiB"]);
    one.until_offered("probe", "two");
    for (input, budget, exit, kind) in [
        ("spin 1000000", ["--fuel", "1000"], 7, "exhausted"),
        ("loop", ["--time", "100ms"], 8, "timeout"),
        ("allocate 4294967295", ["--time", "20s"], 7, "exhausted"),
        ("fail by itself", ["--time", "20s"], 12, "failed"),
        ("trap", ["--time", "20s"], 12, "failed"),
    ] {
        let mut call = vec!["call", "probe", "--input", input];
        call.extend(budget);
        let (got, error) = one.fails(&call);
        assert_eq!((got, &error["kind"]), (exit, &kind.into()), "{input}: {error}");
        let last = one.json(&["receipt", "show", "last"]);
        assert_ne!(last["body"]["status"], "Success", "{input}: {last}");
        assert_eq!(last["body"]["executor"], two.id());
    }
    assert_eq!(one.json(&["call", "probe", "--input", "echo still here"])["output"], "still here");
}

#[test]
fn what_is_not_there_is_named() {
    let one = Machine::up("one");
    let (exit, error) = one.fails(&["call", "nothing", "--input", "x"]);
    assert_eq!((exit, &error["kind"]), (3, &"not_found".into()));
    assert!(error["message"].as_str().unwrap().contains("nothing"), "{error}");
    let (exit, _) = one.fails(&["call", "nothing", "--on", "nobody", "--input", "x"]);
    assert_eq!(exit, 3);
    let (exit, error) = one.fails(&["chat", "hello"]);
    assert_eq!((exit, &error["kind"]), (3, &"not_found".into()), "{error}");
    let broken = one.folder().join("broken.wasm");
    fs::write(&broken, "\0asm but not really").unwrap();
    let (exit, error) = one.fails(&["deploy", broken.to_str().unwrap(), "--id", "broken"]);
    assert_eq!((exit, &error["kind"]), (2, &"invalid".into()), "{error}");
}
