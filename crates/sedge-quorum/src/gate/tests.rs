//! Who is let in.

use openraft::raft::{AppendEntriesRequest, VoteRequest};

use super::*;
use crate::message::Entries;
use crate::voter::{Vote, Voter};

const DUTIES: [Role; 4] = Role::DUTIES;

fn sides(from: u64, from_roles: &[Role], own_roles: &[Role]) -> Sides {
    let coordinator = Some(Coordinator { node: Voter::from(3).0, fence: 9, term: 2 });
    Sides {
        from: Voter::from(from).0,
        from_roles: from_roles.to_vec(),
        own_roles: own_roles.to_vec(),
        coordinator,
    }
}

fn asks() -> Vec<Ask> {
    let node = Voter::from(5).0;
    let key: crate::text::Key = "a".parse().unwrap();
    vec![
        Ask::Claim { key: key.clone(), ttl_ms: 1 },
        Ask::Release { key, fence: 1 },
        Ask::Append { text: "a".parse().unwrap() },
        Ask::Show,
        Ask::Add { node },
        Ask::Remove { node },
    ]
}

#[test]
fn every_ask_is_refused_by_whoever_may_not_coordinate_and_names_who_does() {
    for own in DUTIES.into_iter().filter(|it| *it != Role::Coordinator) {
        for ask in asks() {
            let refused = sides(1, &[Role::Owner], &[Role::Executor, own]).admit_ask(&ask);
            let coordinator = Some(Voter::from(3).0);
            assert_eq!(refused, Err(Refusal::NotCoordinator { coordinator, may: false }));
        }
    }
    for ask in asks() {
        assert_eq!(sides(1, &[Role::Owner], &[Role::Coordinator]).admit_ask(&ask), Ok(()));
    }
}

#[test]
fn only_the_owner_changes_who_votes() {
    for ask in asks() {
        let admitted = sides(1, &[Role::Coordinator], &[Role::Coordinator]).admit_ask(&ask);
        let owners = matches!(ask, Ask::Add { .. } | Ask::Remove { .. });
        assert_eq!(admitted, if owners { Err(Refusal::OwnerOnly) } else { Ok(()) }, "{ask:?}");
    }
}

#[test]
fn a_message_of_the_engine_comes_from_whom_it_says_and_who_may() {
    let node = Voter::from(1);
    let vote = Message::Vote(VoteRequest { vote: Vote::new(1, node), last_log_id: None });
    let request = AppendEntriesRequest {
        vote: Vote::new_committed(1, node),
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    };
    let append = Message::Append(Entries { request, confirmed: true });
    for message in [vote, append] {
        let all = [Role::Coordinator];
        assert_eq!(sides(1, &all, &all).admit(&message), Ok(()));
        // A follower may be what it likes: it only keeps what it is told.
        assert_eq!(sides(1, &all, &[]).admit(&message), Ok(()));
        let forged = sides(2, &all, &all).admit(&message);
        assert_eq!(forged, Err(Refusal::Forged { claimed: node.0 }));
        for roles in [&[][..], &[Role::Owner, Role::Worker], &[Role::Scout], &[Role::Specialist]] {
            let refused = sides(1, roles, &all).admit(&message);
            assert_eq!(refused, Err(Refusal::NoCandidate { node: node.0 }), "{roles:?}");
        }
    }
}
