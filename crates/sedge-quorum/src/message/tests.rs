//! What is read, and what is not.

use openraft::testing::{blank_ent, log_id, membership_ent};
use proptest::prelude::*;

use super::*;

fn append(prev: Option<u64>, entries: &[u64]) -> Message {
    let node = Voter::from(1);
    let entries = entries.iter().map(|it| blank_ent::<Types>(2, node, *it)).collect();
    let request = AppendEntriesRequest {
        vote: Vote::new_committed(2, node),
        prev_log_id: prev.map(|it| log_id(1, node, it)),
        entries,
        leader_commit: None,
    };
    Message::Append(Entries { request, confirmed: true })
}

fn part(offset: u64, data: Vec<u8>) -> Message {
    let vote = Vote::new_committed(2, Voter::from(1));
    Message::Snapshot(Part { vote, meta: SnapshotMeta::default(), offset, data, done: true })
}

fn vote(term: u64, committed: bool) -> Message {
    let vote = Vote { committed, ..Vote::new(term, Voter::from(1)) };
    Message::Vote(VoteRequest { vote, last_log_id: None })
}

pub(crate) fn samples() -> Vec<Message> {
    let key: Key = "backup/nightly".parse().unwrap();
    vec![
        vote(3, false),
        append(None, &[0, 1]),
        append(Some(4), &[5, 6, 7]),
        append(Some(4), &[]),
        part(0, vec![1, 2, 3]),
        Message::Ask(Ask::Claim { key, ttl_ms: 1000 }),
        Message::Ask(Ask::Append { text: "a line".parse().unwrap() }),
        Message::Ask(Ask::Show),
        Message::Ask(Ask::Add { node: Voter::from(4).0 }),
    ]
}

#[test]
fn what_is_written_is_read() {
    for message in samples() {
        let bytes = message.encode().unwrap();
        let read = Message::decode(&bytes).unwrap();
        assert_eq!(read.encode().unwrap(), bytes);
    }
}

#[test]
fn what_no_honest_node_says_is_refused() {
    let far = 1 << 53;
    let mut many = membership_ent::<Types>(2, Voter::from(1), 5, vec![]);
    let voters = (0..=MAX_VOTERS as u64).map(Voter::from).collect();
    many.payload = EntryPayload::Membership(openraft::Membership::new(vec![voters], None));
    let mut with_many = append(Some(4), &[]);
    if let Message::Append(entries) = &mut with_many {
        entries.request.entries.push(many);
    }
    let mut undecided = append(Some(4), &[]);
    if let Message::Append(entries) = &mut undecided {
        entries.request.vote.committed = false;
    }
    let key: Key = "a".parse().unwrap();
    for message in [
        vote(3, true),
        vote(far, false),
        append(Some(4), &[6]),
        append(Some(4), &[5, 7]),
        append(None, &[1]),
        append(Some(far), &[]),
        append(Some(u64::MAX), &[0]),
        append(Some(0), &(1..=MAX_ENTRIES as u64 + 1).collect::<Vec<_>>()),
        with_many,
        undecided,
        part(4 << 20, vec![1]),
        part(u64::MAX, vec![1]),
        Message::Ask(Ask::Claim { key: key.clone(), ttl_ms: 0 }),
        Message::Ask(Ask::Claim { key, ttl_ms: MAX_TTL_MS + 1 }),
    ] {
        let bytes = message.encode().unwrap();
        let read = Message::decode(&bytes);
        assert!(matches!(read, Err(DecodeError::Senseless { .. })), "{message:?}");
    }
    let large = vec![b' '; MAX_MESSAGE + 1];
    assert!(matches!(Message::decode(&large), Err(DecodeError::TooLarge { .. })));
}

#[test]
fn answers_are_checked_too() {
    let high = Vote::new(1 << 53, Voter::from(1));
    for answer in [Answer::Snapshot(high), Answer::Append(Followed::Other(high))] {
        assert!(answer.check().is_err());
    }
    assert!(Answer::Append(Followed::All).check().is_ok());
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(Message::decode(&bytes).is_err());
        drop(serde_json::from_slice::<Answer>(&bytes));
    }

    #[test]
    fn a_changed_byte_is_read_or_refused(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let samples = samples();
        let mut bytes = samples[which.index(samples.len())].encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = Message::decode(&bytes) {
            prop_assert!(Message::decode(&read.encode().unwrap()).is_ok());
        }
    }

    #[test]
    fn numbers_of_every_size_are_read_or_refused(
        term in any::<u64>(), prev in any::<u64>(), index in any::<u64>(), offset in any::<u64>(),
    ) {
        for message in [vote(term, false), append(Some(prev), &[index]), part(offset, vec![0])] {
            drop(Message::decode(&message.encode().unwrap()));
        }
    }
}
