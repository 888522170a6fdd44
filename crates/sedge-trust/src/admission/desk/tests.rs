//! The rows of admission as pure decisions, with a clock that the test sets.

use std::collections::BTreeMap;
use std::time::Duration;

use sedge_base::Secret;

use super::super::*;
use super::*;
use crate::identity::Identity;

const SECRET: &str = "a secret of the two of us";
const HOUR: Duration = Duration::from_secs(3600);

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn edge(byte: u8) -> Identity {
    Identity::from_bytes(&[byte; 64])
}

fn settings() -> ModeSettings {
    let device = |shows, trust| Device { shows, trust };
    ModeSettings {
        tokens: BTreeMap::from([("edge-1".to_owned(), secret(SECRET))]),
        devices: BTreeMap::from([
            ("edge-1".to_owned(), device(Showing::Secret(secret(SECRET)), TrustLevel::Privileged)),
            ("edge-2".to_owned(), device(Showing::Key(edge(2).node_id()), TrustLevel::Trusted)),
        ]),
    }
}

fn mode(name: &str) -> Box<dyn Mode> {
    let found = MODES.into_iter().find(|it| it.0 == name).unwrap();
    found.1(&settings())
}

/// A desk, and a clock.
struct Door {
    desk: Desk,
    now: Timestamp,
    knocks: u8,
    origin: Origin,
    revoked: bool,
}

impl Door {
    fn new(modes: &[&str]) -> Self {
        let modes = modes.iter().map(|it| mode(it)).collect();
        Self {
            desk: Desk::new(modes, Book::default()),
            now: Timestamp::from_millis(1_700_000_000_000),
            knocks: 0,
            origin: Origin::Elsewhere,
            revoked: false,
        }
    }

    fn knock(&mut self, who: &Identity, name: &str, typed: Option<&Typed>) -> Judged {
        self.knocks += 1;
        let transcript = Transcript {
            owner: NodeId::from_bytes([1; 32]),
            joiner: who.node_id(),
            challenge: [self.knocks; 32],
            nonce: [9; 32],
            name: name.to_owned(),
        };
        let answer = Answer::new(who, &transcript, typed);
        self.desk.knock(&Knock {
            transcript: &transcript,
            answer: &answer,
            origin: self.origin,
            name_taken: false,
            revoked: self.revoked,
            now: self.now,
        })
    }

    #[track_caller]
    fn refused(&mut self, who: &Identity, name: &str, typed: Option<&Typed>) -> Refusal {
        match self.knock(who, name, typed).verdict {
            Verdict::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn admitted(&mut self, who: &Identity, name: &str, typed: Option<&Typed>) -> Grant {
        match self.knock(who, name, typed).verdict {
            Verdict::Admitted(grant) => grant,
            other => panic!("{other:?}"),
        }
    }

    /// What is there after a restart: what the records say, and nothing else.
    fn restart(&mut self, modes: &[&str], records: Vec<Record>) {
        let json: Vec<String> =
            records.iter().map(|it| serde_json::to_string(it).unwrap()).collect();
        let records = json.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
        let modes = modes.iter().map(|it| mode(it)).collect();
        self.desk = Desk::new(modes, Book::load(records, self.now));
    }
}

fn token(text: &str) -> Typed {
    Typed::Token(secret(text))
}

#[test]
fn every_mode_conforms() {
    for (name, make) in MODES {
        let mode = make(&settings());
        assert_eq!(mode.name(), name);
        conformance::check(&*mode);
    }
}

#[test]
fn the_right_token_lets_in_and_the_owner_proves_that_it_knows_it() {
    let mut door = Door::new(&["token"]);
    let (one, other) = (edge(3), edge(4));
    let wrong = token("a secret of somebody else");
    assert_eq!(door.refused(&one, "edge-1", Some(&wrong)), Refusal::WrongToken);
    assert_eq!(door.refused(&one, "edge-1", None), Refusal::WrongToken);
    assert_eq!(door.refused(&other, "edge-9", Some(&token(SECRET))), Refusal::NotAllowed);
    let grant = door.admitted(&one, "edge-1", Some(&token(SECRET)));
    assert_eq!((grant.trust, grant.ends), (TrustLevel::Trusted, None));
    assert!(grant.proof.is_some());
}

#[test]
fn a_person_decides_about_the_key_that_waits() {
    let mut door = Door::new(&["tofu"]);
    let (one, two) = (edge(3), edge(4));
    for who in [&one, &two] {
        assert_eq!(door.knock(who, "edge-1", None).verdict, Verdict::Waits);
    }
    let several = door.desk.approve("edge-1", door.now).unwrap_err();
    assert!(matches!(several, PickError::Several { .. }), "{several}");
    let key = one.node_id().to_string();
    assert!(door.desk.approve(&key[..15], door.now).is_err(), "too short to be sure");
    let Approved { approval, ousted } = door.desk.approve(&key[..16], door.now).unwrap();
    assert_eq!((approval.node, ousted), (one.node_id(), vec![two.node_id()]));
    assert!(matches!(door.refused(&two, "edge-1", None), Refusal::IdInUse { .. }));
    assert_eq!(door.admitted(&one, "edge-1", None).trust, TrustLevel::Tofu);

    door.restart(&["tofu"], vec![Record::Approval(approval)]);
    assert_eq!(door.admitted(&one, "edge-1", None).trust, TrustLevel::Tofu);
    assert!(matches!(door.refused(&two, "edge-1", None), Refusal::IdInUse { .. }));
    assert_eq!(door.knock(&one, "edge-5", None).verdict, Verdict::Waits, "another name");

    assert_eq!(door.desk.forget(&one.node_id()).len(), 2, "the approval and the session");
    assert_eq!(door.knock(&one, "edge-1", None).verdict, Verdict::Waits);
    assert_eq!(door.desk.reject("edge-1").unwrap(), one.node_id());
    assert!(door.desk.book().waiting().is_empty());
    assert!(matches!(door.desk.reject("edge-1"), Err(PickError::Nobody { .. })));
}

#[test]
fn the_waiting_room_is_bounded_and_empties_itself() {
    let mut door = Door::new(&["tofu"]);
    for number in 0..MAX_WAITING {
        let who = edge(u8::try_from(number).unwrap());
        assert_eq!(door.knock(&who, "edge", None).verdict, Verdict::Waits);
    }
    assert_eq!(door.refused(&edge(200), "edge", None), Refusal::Full);
    assert_eq!(door.knock(&edge(0), "edge", None).verdict, Verdict::Waits, "it waits already");
    door.now = door.now.plus(WAITING_TIME);
    assert_eq!(door.knock(&edge(200), "edge", None).verdict, Verdict::Waits);
    assert_eq!(door.desk.book().waiting().len(), 1);
}

#[test]
fn five_wrong_answers_ban_and_the_ban_names_its_end() {
    let mut door = Door::new(&["challenge"]);
    let (one, wrong) = (edge(3), token("a secret of somebody else"));
    for minute in 0..4 {
        assert_eq!(door.refused(&one, "edge-1", Some(&wrong)), Refusal::WrongAnswer, "{minute}");
        door.now = door.now.plus(Duration::from_secs(60));
    }
    let fifth = door.knock(&one, "edge-1", Some(&wrong));
    assert_eq!(fifth.verdict, Verdict::Refused(Refusal::WrongAnswer));
    let until = door.now.plus(BAN_TIME);
    let [Record::Ban(ban)] = &fifth.records[..] else { panic!("{:?}", fifth.records) };
    assert_eq!((ban.node, ban.until), (one.node_id(), until));
    for typed in [&wrong, &token(SECRET)] {
        let refused = door.refused(&one, "edge-1", Some(typed));
        assert!(matches!(refused, Refusal::Banned { until: it, .. } if it == until), "{refused}");
    }
    assert_eq!(door.admitted(&edge(4), "edge-1", Some(&token(SECRET))).mode, "challenge");

    door.restart(&["challenge"], fifth.records);
    assert!(matches!(door.refused(&one, "edge-1", None), Refusal::Banned { .. }));
    door.now = until;
    assert_eq!(door.admitted(&one, "edge-1", Some(&token(SECRET))).mode, "challenge");
}

#[test]
fn a_right_answer_is_good_for_a_day() {
    let mut door = Door::new(&["challenge"]);
    let by_secret = door.admitted(&edge(3), "edge-1", Some(&token(SECRET)));
    assert_eq!(by_secret.trust, TrustLevel::Privileged);
    assert_eq!(by_secret.ends, Some(door.now.plus(HOUR * 24)));
    let by_key = door.admitted(&edge(2), "edge-2", None);
    assert_eq!((by_key.trust, by_key.ends), (TrustLevel::Trusted, by_secret.ends));
    assert!(matches!(door.refused(&edge(5), "edge-2", None), Refusal::IdInUse { .. }));
    assert_eq!(door.refused(&edge(5), "edge-9", None), Refusal::NotAllowed);
    assert_eq!(door.desk.book().sessions().len(), 2);
}

#[test]
fn a_pairing_token_is_good_once_within_a_day() {
    let mut door = Door::new(&["pair-token"]);
    let made = PairToken::from_bytes([5; 32]);
    let typed = Typed::PairToken(made.clone());
    assert_eq!(door.refused(&edge(3), "edge-1", Some(&typed)), Refusal::UnknownPairToken);
    let issued = door.desk.issue(&made, door.now, PAIR_TOKEN_TTL).unwrap();
    assert_eq!(door.refused(&edge(3), "edge-1", None), Refusal::NotAllowed);

    door.now = door.now.plus(PAIR_TOKEN_TTL - Duration::from_millis(1));
    let first = door.knock(&edge(3), "edge-1", Some(&typed));
    assert!(matches!(&first.verdict, Verdict::Admitted(it) if it.proof.is_some()));
    let used = first.records.iter().any(|it| matches!(it, Record::PairToken(_)));
    assert!(used, "on disk before anybody is told");
    assert_eq!(door.refused(&edge(4), "edge-2", Some(&typed)), Refusal::UsedPairToken);
    door.restart(&["pair-token"], first.records);
    assert_eq!(door.refused(&edge(4), "edge-2", Some(&typed)), Refusal::UsedPairToken);

    door.restart(&["pair-token"], vec![Record::PairToken(issued.clone())]);
    door.now = issued.expires;
    let late = Refusal::ExpiredPairToken { at: issued.expires };
    assert_eq!(door.refused(&edge(4), "edge-2", Some(&typed)), late);
}

#[test]
fn dev_lets_in_this_machine_alone() {
    let mut door = Door::new(&["dev"]);
    assert_eq!(door.refused(&edge(3), "edge-1", None), Refusal::NotLoopback);
    door.origin = Origin::Loopback;
    assert_eq!(door.admitted(&edge(3), "edge-1", None).trust, TrustLevel::Untrusted);
}

#[test]
fn modes_are_asked_in_order_and_the_last_one_says_why_not() {
    let mut door = Door::new(&["token", "tofu"]);
    let (one, wrong) = (edge(3), token("a secret of somebody else"));
    for typed in [None, Some(&wrong)] {
        assert_eq!(door.knock(&edge(4), "unknown", typed).verdict, Verdict::Waits);
    }
    let through = door.knock(&one, "edge-1", Some(&wrong));
    assert_eq!(through.verdict, Verdict::Waits, "a wrong token falls through as well");
    assert_eq!(through.refusals, [("token", Refusal::WrongToken)]);
    assert_eq!(door.admitted(&one, "edge-1", Some(&token(SECRET))).mode, "token");
    assert_eq!(door.desk.book().waiting().len(), 1, "who came in waits no longer");

    let mut door = Door::new(&["token", "pair-token"]);
    assert_eq!(door.refused(&one, "edge-9", None), Refusal::NotAllowed);
    let mut door = Door::new(&[]);
    assert_eq!(door.refused(&one, "edge-1", None), Refusal::NoModes);
}

#[test]
fn who_was_rejected_is_judged_by_the_modes_behind() {
    let mut door = Door::new(&["tofu", "token"]);
    let who = edge(3);
    assert_eq!(door.knock(&who, "edge-1", Some(&token(SECRET))).verdict, Verdict::Waits);
    door.desk.reject("edge-1").unwrap();
    let transcript = Transcript {
        owner: NodeId::from_bytes([1; 32]),
        joiner: who.node_id(),
        challenge: [8; 32],
        nonce: [9; 32],
        name: "edge-1".to_owned(),
    };
    for (typed, admitted) in [(Some(token(SECRET)), true), (None, false)] {
        let answer = Answer::new(&who, &transcript, typed.as_ref());
        let knock = Knock {
            transcript: &transcript,
            answer: &answer,
            origin: Origin::Elsewhere,
            name_taken: false,
            revoked: false,
            now: door.now,
        };
        let judged = door.desk.go_on(&knock);
        assert_eq!(matches!(judged.verdict, Verdict::Admitted(_)), admitted);
        assert_eq!(judged.refusals[0], ("tofu", Refusal::Rejected));
    }
}

#[test]
fn a_secret_does_not_bring_back_who_was_revoked_but_a_person_does() {
    let mut door = Door::new(&["token"]);
    door.revoked = true;
    assert_eq!(door.refused(&edge(3), "edge-1", Some(&token(SECRET))), Refusal::Revoked);
    let mut door = Door::new(&["token", "tofu"]);
    door.revoked = true;
    assert_eq!(door.knock(&edge(3), "edge-1", Some(&token(SECRET))).verdict, Verdict::Waits);
    door.desk.approve("edge-1", door.now).unwrap();
    assert_eq!(door.admitted(&edge(3), "edge-1", None).mode, "tofu");
}

#[test]
fn a_person_bans_and_unbans() {
    let mut door = Door::new(&["tofu"]);
    let who = edge(3);
    assert_eq!(door.knock(&who, "edge-1", None).verdict, Verdict::Waits);
    let node = door.desk.book().pick("edge-1").unwrap();
    let until = door.now.plus(HOUR);
    let ban = Ban { node, at: door.now, until, reason: "lost".to_owned() };
    door.desk.ban(ban.clone());
    assert!(door.desk.book().waiting().is_empty());
    assert!(matches!(door.refused(&who, "edge-1", None), Refusal::Banned { .. }));
    let shorter = Ban { until: door.now.plus(HOUR / 2), ..ban.clone() };
    assert_eq!(door.desk.ban(shorter), ban, "the longer one stays");
    assert!(door.desk.unban(&node) && !door.desk.unban(&node));
    assert_eq!(door.knock(&who, "edge-1", None).verdict, Verdict::Waits);
}
