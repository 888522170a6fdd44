//! What the guard lets through, and all that it does not.

use proptest::prelude::*;
use sedge_trust::Owner;
use sedge_trust::approval::{Approver, Decision, Question};
use tempfile::TempDir;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const INPUT: &str = r#"{ "lens": "wide" }"#;

struct Door {
    folder: TempDir,
    clock: Clock,
    guard: Guard,
}

fn door() -> Door {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(NOW);
    let guard = open(&folder, &clock).unwrap();
    Door { folder, clock, guard }
}

fn open(folder: &TempDir, clock: &Clock) -> Result<Guard, GuardError> {
    let path = folder.path().join("used");
    let owner = Owner::from_seed(&[1; 32]).public_key();
    Guard::open(&path, owner, "kitchen".parse().unwrap(), clock.clone())
}

fn signed(seed: u8, number: u8, change: impl FnOnce(&mut Question)) -> String {
    let owner = Owner::from_seed(&[seed; 32]);
    let mut question = Question {
        swarm_id: Owner::from_seed(&[1; 32]).swarm_id(),
        runs_on: "edge:kitchen".to_owned(),
        capability: "edge:kitchen.camera".to_owned(),
        arguments: canonical_arguments(INPUT.as_bytes()).unwrap().1,
        asked_by: NodeId::from_bytes([7; 32]),
        nonce: Nonce::from_bytes([number; 16]),
    };
    change(&mut question);
    let approval = Approver::Owner(&owner).decide(question, Decision::Granted, NOW).unwrap();
    String::from_utf8(approval.to_bytes().unwrap()).unwrap()
}

#[track_caller]
fn refused(door: &Door, approval: Option<&str>, expected: &str) {
    let said = door.guard.admit("camera", INPUT, approval).unwrap_err();
    assert_eq!(said.to_string(), expected);
}

#[test]
fn only_a_signed_approval_of_this_very_run_is_let_through_and_once() {
    let door = door();
    refused(&door, None, "no signed approval came with the request");
    refused(&door, Some(""), "no signed approval came with the request");
    refused(&door, Some("true"), "what came with the request is no approval");
    let strange = signed(2, 1, |_| {});
    refused(&door, Some(&strange), "the approver was not given the right to approve");
    let other = signed(1, 1, |it| it.capability = "edge:kitchen.echo".to_owned());
    refused(&door, Some(&other), "the approval is for `edge:kitchen.echo`");
    let other = signed(1, 1, |it| it.runs_on = "edge:garden".to_owned());
    refused(&door, Some(&other), "the approval is for `edge:garden` to run");
    let other = signed(1, 1, |it| it.arguments = sedge_base::ContentId::of(b"{}"));
    refused(&door, Some(&other), "the approval is for other arguments");

    let good = signed(1, 1, |_| {});
    assert_eq!(door.guard.admit("camera", INPUT, Some(&good)).unwrap(), r#"{"lens":"wide"}"#);
    refused(&door, Some(&good), "the approval was used before, and it is for one run");
    let next = signed(1, 2, |_| {});
    door.clock.advance(Duration::from_secs(300));
    refused(&door, Some(&next), "the approval ended at 2023-11-14T22:18:20.000Z");
}

#[test]
fn what_was_used_stays_used_after_a_restart_and_when_the_clock_is_set_back() {
    let Door { folder, clock, guard } = door();
    let good = signed(1, 1, |_| {});
    guard.admit("camera", INPUT, Some(&good)).unwrap();
    assert!(matches!(open(&folder, &clock), Err(GuardError::Locked { .. })), "two edges, one file");
    drop(guard);
    let file = folder.path().join("used");
    let mut text = std::fs::read_to_string(&file).unwrap();
    // A crash in the middle of a line.
    text.push_str("0202");
    std::fs::write(&file, &text).unwrap();
    clock.advance(Duration::from_secs(3600));
    let guard = open(&folder, &clock).unwrap();
    clock.set(NOW);
    let said = guard.admit("camera", INPUT, Some(&good)).unwrap_err();
    assert!(matches!(said, GuardRefused::Used));
    guard.admit("camera", INPUT, Some(&signed(1, 2, |_| {}))).unwrap();
    drop(guard);
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 2);

    clock.set(NOW.plus(APPROVED + REMEMBERED));
    drop(open(&folder, &clock).unwrap());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "", "what is over makes room");
    std::fs::write(&file, "x\n").unwrap();
    assert!(matches!(open(&folder, &clock), Err(GuardError::Damaged { line: 1, .. })));
}

const APPROVED: Duration = sedge_trust::approval::APPROVAL_LIFE;

proptest! {
    #[test]
    fn garbage_is_refused(approval in ".{0,200}", input in ".{0,50}") {
        let door = door();
        prop_assert!(door.guard.admit("camera", &input, Some(&approval)).is_err());
    }
}
