//! A receipt, verified by another language's crypto library.

use std::path::Path;
use std::process::{Command, Output};

use sedge_base::{ContentId, SwarmId};
use sedge_trust::receipt::{
    Anchor, Body, Budgets, Checkpoint, CheckpointVersion, Form, Point, Used, Version, attest,
};
use sedge_trust::{Export, Identity, Receipt, Rung, Status, merkle};

const ATTESTATION: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/verify_attestation.py");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/verify_receipt.py");

fn executor() -> Identity {
    Identity::from_bytes(&[1; 64])
}

fn requester() -> Identity {
    Identity::from_bytes(&[2; 64])
}

fn receipt(sequence: u64, previous: Option<ContentId>) -> Receipt {
    Receipt::sign(body(sequence, previous), &executor()).unwrap()
}

fn body(sequence: u64, previous: Option<ContentId>) -> Body {
    Body {
        version: Version::V1,
        swarm_id: SwarmId::of_key(&[1; 32]),
        task_id: "task-001".parse().unwrap(),
        task_hash: ContentId::of(b"task"),
        // Letters that another canonical form would escape or sort differently.
        capability: "größe/\u{1f9a6}\u{7f}\"\\".to_owned(),
        artifact_hash: None,
        input_hash: ContentId::of(b"input"),
        output_hash: ContentId::of(b"output"),
        budgets: Budgets { fuel: (1 << 53) - 1, memory_bytes: 1 << 27, time_ms: 30_000 },
        used: Used { fuel: 5, peak_memory_bytes: 0, time_ms: 2, tokens_in: 7, tokens_out: 9 },
        status: Status::Success,
        rung: Rung::BitReplayable,
        executor: executor().node_id(),
        requester: requester().node_id(),
        started_ms: 1_700_000_000_000,
        ended_ms: 1_700_000_000_002,
        sequence,
        previous,
        profile: Some("sedge-lm-1 größe".to_owned()),
    }
}

/// A chain of five receipts that were signed together.
fn batch() -> Vec<Receipt> {
    let (mut bodies, mut previous) = (Vec::new(), None);
    for sequence in 0..5 {
        let next = body(sequence, previous);
        previous = Some(ContentId::of(&next.canonical().unwrap()));
        bodies.push(next);
    }
    Receipt::sign_batch(bodies, &executor()).unwrap()
}

/// The place of a receipt of that chain under a checkpoint of all of it.
fn anchor(chain: &[Receipt], place: u64) -> Anchor {
    let leaves: Vec<_> = chain.iter().map(|it| merkle::leaf(it.id().unwrap().as_bytes())).collect();
    let count = chain.len() as u64;
    let point = Point {
        version: CheckpointVersion::default(),
        swarm_id: SwarmId::of_key(&[1; 32]),
        node: executor().node_id(),
        count,
        root: merkle::root(&leaves),
        taken_ms: 1_700_000_000_003,
    };
    let at = |it: u64| usize::try_from(it).unwrap();
    let ranges = merkle::inclusion(place, count).unwrap().into_iter();
    let path = ranges.map(|it| merkle::root(&leaves[at(it.start)..at(it.end)])).collect();
    Anchor { checkpoint: Checkpoint::sign(point, &executor()).unwrap(), path, since: None }
}

/// Two receipts; the requester confirmed the first only.
fn export() -> Export {
    let mut first = receipt(0, None);
    first.countersign(&requester()).unwrap();
    let second = receipt(1, Some(first.id().unwrap()));
    Export::new(vec![first, second])
}

fn run(file: &Path, keys: [&Identity; 2]) -> Output {
    let keys = keys.map(|it| it.node_id().to_string());
    run_script(SCRIPT, &[file.to_str().unwrap(), &keys[0], &keys[1]])
}

#[expect(clippy::disallowed_methods, reason = "test.sh says here which Python has the modules")]
fn run_script(script: &str, arguments: &[&str]) -> Output {
    let python = std::env::var("SEDGE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(&python)
        .arg(script)
        .args(arguments)
        .output()
        .unwrap_or_else(|err| panic!("cannot run `{python}`: {err}; run ./test.sh"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_ne!(output.status.code(), Some(2), "`{python}` cannot verify receipts: {said}");
    output
}

#[track_caller]
fn check(content: &[u8], keys: [&Identity; 2], expected: Result<&str, &str>) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("receipts.json");
    std::fs::write(&file, content).unwrap();
    let output = run(&file, keys);
    let said = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
    let got = match output.status.code() {
        Some(0) => Ok(said(&output.stdout)),
        _ => Err(said(&output.stderr)),
    };
    assert_eq!(got.as_deref().map_err(|it| it.trim_end()), expected);
}

#[test]
fn python_verifies_what_rust_signed() {
    let export = export();
    let ids: Vec<_> = export.receipts().iter().map(|it| it.id().unwrap()).collect();
    let expected = format!("{} confirmed\n{} attested\n", ids[0], ids[1]);
    let mut content = export.encode().unwrap();
    check(&content, [&executor(), &requester()], Ok(&expected));
    content.push(b'\n');
    check(&content, [&executor(), &requester()], Ok(&expected));
}

#[test]
fn python_refuses_what_rust_refuses() {
    let keys = [&executor(), &requester()];
    let check_changed = |change: &dyn Fn(&mut Receipt), expected| {
        let mut receipts = export().receipts().to_vec();
        change(&mut receipts[1]);
        check(&Export::new(receipts).encode().unwrap(), keys, Err(expected));
    };
    check_changed(
        &|it| it.body.output_hash = ContentId::of(b"another output"),
        "receipt 1: the executor did not sign this",
    );
    check_changed(
        &|it| it.requester_signature = Some(it.executor_signature),
        "receipt 1: the requester did not sign this",
    );
    check_changed(&|it| it.body.used.fuel += 1, "receipt 1: the executor did not sign this");
    let content = String::from_utf8(export().encode().unwrap()).unwrap();
    let spaced = content.replacen("\"status\":", "\"status\": ", 1);
    let rewritten = "file: the file was rewritten: it is not in canonical form";
    check(spaced.as_bytes(), keys, Err(rewritten));
    let twice = content.replacen("\"status\":", "\"status\":\"Error\",\"status\":", 1);
    check(twice.as_bytes(), keys, Err("file: a field stands there twice"));
}

#[test]
fn python_verifies_batches_and_places_in_a_chain() {
    let chain = batch();
    let keys = [&executor(), &requester()];
    let ids: String = chain.iter().map(|it| format!("{} attested\n", it.id().unwrap())).collect();
    check(&Export::new(chain.clone()).encode().unwrap(), keys, Ok(&ids));
    for (place, receipt) in (0..).zip(&chain) {
        let said = format!("{} attested\n", receipt.id().unwrap());
        let export = Export::anchored(receipt.clone(), anchor(&chain, place));
        check(&export.encode().unwrap(), keys, Ok(&said));
        let elsewhere = Export::anchored(receipt.clone(), anchor(&chain, (place + 1) % 5));
        let said = match place {
            // The last one's way is shorter.
            3 | 4 => "receipt 0: the proof is of another tree",
            _ => "receipt 0: the receipt is not in the chain of the checkpoint",
        };
        check(&elsewhere.encode().unwrap(), keys, Err(said));
    }
    let mut other = chain;
    other[1].batch.as_mut().unwrap().index = 2;
    let content = Export::new(other).encode().unwrap();
    check(&content, keys, Err("receipt 1: the executor did not sign this"));
}

#[test]
fn the_libraries_of_cose_and_in_toto_verify_what_rust_wrapped() {
    let receipt = export().receipts()[0].clone();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("receipt");
    for form in Form::ALL {
        let run = |by: &Identity, content: &[u8]| {
            std::fs::write(&file, content).unwrap();
            let key = by.node_id().to_string();
            run_script(ATTESTATION, &[form.name(), file.to_str().unwrap(), &key])
        };
        for by in [executor(), requester()] {
            let content = attest(&receipt, form, &by).unwrap();
            let output = run(&by, &content);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let expected = format!("{} {}\n", receipt.id().unwrap(), ContentId::of(b"output"));
            assert_eq!(said, expected, "{}", String::from_utf8_lossy(&output.stderr));
        }
        let content = attest(&receipt, form, &executor()).unwrap();
        assert_eq!(run(&requester(), &content).status.code(), Some(1), "another key passes");
    }
}

#[test]
fn python_takes_keys_only_from_outside() {
    let content = export().encode().unwrap();
    let stranger = Identity::from_bytes(&[3; 64]);
    let other_executor = Err("receipt 0: it names another executor");
    check(&content, [&stranger, &requester()], other_executor);
    check(&content, [&requester(), &executor()], other_executor);
    let other_requester = Err("receipt 0: it names another requester");
    check(&content, [&executor(), &stranger], other_requester);
}
