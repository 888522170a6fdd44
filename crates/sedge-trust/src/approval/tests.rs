//! What an approval is good for, and everything that it is not good for.

use proptest::prelude::*;

use super::*;
use crate::token::Limit;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn owner() -> Owner {
    Owner::from_seed(&[1; 32])
}

fn arguments() -> ContentId {
    canonical_arguments(br#"{"lens":"wide"}"#).unwrap().1
}

fn question() -> Question {
    Question {
        swarm_id: owner().swarm_id(),
        runs_on: "edge:kitchen".to_owned(),
        capability: "edge:kitchen.camera".to_owned(),
        arguments: arguments(),
        asked_by: NodeId::from_bytes([7; 32]),
        nonce: Nonce::from_bytes([9; 16]),
    }
}

fn run() -> Run<'static> {
    Run { runs_on: "edge:kitchen", capability: "edge:kitchen.camera", arguments: arguments() }
}

fn granted() -> Approval {
    Approver::Owner(&owner()).decide(question(), Decision::Granted, NOW).unwrap()
}

fn named(key: &ApproverKey, limits: &[Limit]) -> Token {
    let mut all = vec![Limit::Capabilities([key.right()].into())];
    all.extend_from_slice(limits);
    owner().mint(&all).unwrap()
}

#[track_caller]
fn check(approval: &Approval, run: Run<'_>, now: Timestamp, expected: &str) {
    let got = approval.permits(run, &owner().public_key(), now);
    assert_eq!(got.map_err(|it| it.to_string()), Err(expected.to_owned()));
}

#[test]
fn a_vector_that_other_programs_can_check() {
    let approval = granted();
    let expected = concat!(
        r#"{"facts":{"approver":"8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c","#,
        r#""decision":"granted","expires_at":1700000300000,"issued_at":1700000000000,"#,
        r#""question":{"arguments":"2cb0c55ce7e42c69da14509d188a36255edb736b607187c269a44d51f4421bf1","#,
        r#""asked_by":"0707070707070707070707070707070707070707070707070707070707070707","#,
        r#""capability":"edge:kitchen.camera","nonce":"09090909090909090909090909090909","#,
        r#""runs_on":"edge:kitchen","swarm_id":"34750f98bd59fcfc"},"right":null,"#,
        r#""version":"sedge-approval/1"},"signature":"c80476de83e6f0dac52d342e226ff2017d5ad1d33acca553848fd131e68c14fcac0d8a0e6f10a23139af94a97d414641f1c8c6d12e6df731afb36a904aa6bf0d"}"#,
    );
    let text = String::from_utf8(approval.to_bytes().unwrap()).unwrap();
    assert_eq!(text, expected);
    assert_eq!(Approval::read(text.as_bytes()).unwrap(), approval);
}

#[test]
fn it_is_for_one_run_in_one_place_for_five_minutes() {
    let approval = granted();
    let late = NOW.plus(APPROVAL_LIFE);
    assert!(approval.permits(run(), &owner().public_key(), NOW).is_ok());
    let last = Timestamp::from_millis(late.as_millis() - 1);
    assert!(approval.permits(run(), &owner().public_key(), last).is_ok());
    check(&approval, run(), late, "the approval ended at 2023-11-14T22:18:20.000Z");
    let early = Timestamp::from_millis(NOW.as_millis() - 60_001);
    let dated = "the approval is dated 2023-11-14T22:13:20.000Z, which is not yet";
    check(&approval, run(), early, dated);
    let other = Run { runs_on: "edge:garden", ..run() };
    check(&approval, other, NOW, "the approval is for `edge:kitchen` to run");
    let other = Run { capability: "edge:kitchen.shell", ..run() };
    check(&approval, other, NOW, "the approval is for `edge:kitchen.camera`");
    let other = Run { arguments: ContentId::of(b"{}"), ..run() };
    check(&approval, other, NOW, "the approval is for other arguments");
    let refused = Approver::Owner(&owner()).decide(question(), Decision::Refused, NOW).unwrap();
    check(&refused, run(), NOW, "the approver said no");
    assert!(refused.verify(&owner().public_key(), NOW).is_ok(), "a no is signed as well");
}

#[test]
fn only_the_owner_approves_or_whom_the_owner_named() {
    let other = Owner::from_seed(&[2; 32]);
    let by = |approver: Approver<'_>| approver.decide(question(), Decision::Granted, NOW).unwrap();
    let unknown = "the approver was not given the right to approve";
    check(&by(Approver::Owner(&other)), run(), NOW, unknown);

    let anna = ApproverKey::from_seed(&[3; 32]);
    let until = Limit::Until(Timestamp::from_millis(NOW.as_millis() + 1000));
    let approval = by(Approver::Named(&anna, &named(&anna, &[until])));
    assert!(approval.permits(run(), &owner().public_key(), NOW).is_ok());
    check(&approval, run(), NOW.plus(Duration::from_secs(1)), unknown);

    let bert = ApproverKey::from_seed(&[4; 32]);
    check(&by(Approver::Named(&bert, &named(&anna, &[]))), run(), NOW, unknown);
    check(&by(Approver::Named(&anna, &named(&anna, &[Limit::Calls(3)]))), run(), NOW, unknown);
    let everything = owner().mint(&[]).unwrap();
    check(&by(Approver::Named(&anna, &everything)), run(), NOW, unknown);
    let foreign = other.mint(&[Limit::Capabilities([anna.right()].into())]).unwrap();
    check(&by(Approver::Named(&anna, &foreign)), run(), NOW, unknown);
    let narrowed = named(&anna, &[]).narrow(&[Limit::Capabilities(["fn-1".to_owned()].into())]);
    check(&by(Approver::Named(&anna, &narrowed.unwrap())), run(), NOW, unknown);

    let elsewhere = Question { swarm_id: other.swarm_id(), ..question() };
    let elsewhere = Approver::Owner(&owner()).decide(elsewhere, Decision::Granted, NOW).unwrap();
    let got = elsewhere.permits(run(), &owner().public_key(), NOW);
    assert!(matches!(got, Err(ApprovalError::OtherSwarm { .. })));
}

#[test]
fn every_field_is_signed() {
    let honest = granted();
    let mut forged = vec![honest.clone(); 9];
    forged[0].facts.question.runs_on.push('2');
    forged[1].facts.question.capability.push('2');
    forged[2].facts.question.arguments = ContentId::of(b"2");
    forged[3].facts.question.asked_by = NodeId::from_bytes([8; 32]);
    forged[4].facts.question.nonce = Nonce::from_bytes([8; 16]);
    forged[5].facts.issued_at = NOW.plus(Duration::from_secs(1));
    forged[6].facts.expires_at = NOW.plus(Duration::from_secs(1));
    forged[7].facts.decision = Decision::Refused;
    forged[8].signature = Signature::from_bytes([0; 64]);
    for it in forged {
        let got = it.verify(&owner().public_key(), NOW);
        assert!(matches!(got, Err(ApprovalError::Signature(_))), "{it:?}: {got:?}");
    }
    let mut long = honest;
    long.facts.expires_at = NOW.plus(APPROVAL_LIFE + Duration::from_millis(1));
    long.signature = owner().sign(&canonical::jcs(&long.facts).unwrap());
    assert!(matches!(long.verify(&owner().public_key(), NOW), Err(ApprovalError::Form)));
}

#[test]
fn arguments_are_called_by_their_canonical_form() {
    let (text, id) = canonical_arguments(b" {\"b\": 1.0, \"a\": [1, \"\\u00e9\"]} ").unwrap();
    assert_eq!(String::from_utf8(text.clone()).unwrap(), "{\"a\":[1,\"é\"],\"b\":1}");
    assert_eq!(canonical_arguments(&text).unwrap(), (text, id));
    let long = format!("\"{}\"", "x".repeat(MAX_ARGUMENTS));
    assert!(matches!(canonical_arguments(long.as_bytes()), Err(ArgumentsError::TooLong)));
    assert!(matches!(canonical_arguments(b"{"), Err(ArgumentsError::NotJson(_))));
}

#[test]
fn the_key_of_a_person_is_kept_and_never_printed() {
    let dir = tempfile::tempdir().unwrap();
    assert!(ApproverKey::load(dir.path()).unwrap().is_none());
    let made = ApproverKey::load_or_create(dir.path()).unwrap();
    let read = ApproverKey::load(dir.path()).unwrap().unwrap();
    assert_eq!(read.public_key(), made.public_key());
    assert_eq!(format!("{made:?}"), format!("ApproverKey({:?})", made.public_key()));
}

proptest! {
    #[test]
    fn a_flipped_bit_is_refused_or_says_the_same(
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let honest = granted();
        let mut bytes = honest.to_bytes().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let Ok(read) = Approval::read(&bytes) else { return Ok(()) };
        prop_assert_ne!(&read, &honest);
        prop_assert!(read.permits(run(), &owner().public_key(), NOW).is_err(), "byte {}", at);
    }

    #[test]
    fn garbage_is_no_approval(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(Approval::read(&bytes).is_err());
        if let Ok((text, id)) = canonical_arguments(&bytes) {
            prop_assert_eq!(ContentId::of(&text), id);
        }
    }
}
