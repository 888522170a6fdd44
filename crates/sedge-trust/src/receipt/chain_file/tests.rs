//! A chain's file: what passes, and which record is named when it does not.

use proptest::prelude::*;

use super::super::tests::{body, executor, keys, requester};
use super::super::{CheckpointVersion, Point};
use super::*;
use crate::Identity;
use sedge_base::SwarmId;

/// A chain of confirmed receipts; the middle ones were signed together.
fn chain(count: u64, output: &[u8]) -> Vec<Receipt> {
    let (mut bodies, mut previous) = (Vec::new(), None);
    for sequence in 0..count {
        let mut next = body(sequence, previous);
        next.output_hash = ContentId::of(output);
        previous = Some(ContentId::of(&next.canonical().unwrap()));
        bodies.push(next);
    }
    let rest = bodies.split_off(1);
    let mut receipts = vec![Receipt::sign(bodies.remove(0), &executor()).unwrap()];
    receipts.extend(Receipt::sign_batch(rest, &executor()).unwrap());
    for receipt in &mut receipts {
        receipt.countersign(&requester()).unwrap();
    }
    receipts
}

fn tree(receipts: &[Receipt]) -> Frontier {
    let mut tree = Frontier::default();
    for receipt in receipts {
        tree.push(merkle::leaf(receipt.id().unwrap().as_bytes()));
    }
    tree
}

fn checkpoint(receipts: &[Receipt]) -> Checkpoint {
    let tree = tree(receipts);
    let point = Point {
        version: CheckpointVersion::V1,
        swarm_id: SwarmId::of_key(&[1; 32]),
        node: executor().node_id(),
        count: tree.count(),
        root: tree.root(),
        taken_ms: 1_700_000_000_000,
    };
    Checkpoint::sign(point, &executor()).unwrap()
}

fn file(receipts: &[Receipt]) -> Vec<u8> {
    encode_chain(&Frontier::default(), receipts, &checkpoint(receipts)).unwrap()
}

fn verify(file: &[u8], held: &[Checkpoint]) -> Result<ProvenChain, ChainFileError> {
    verify_chain_file(file, keys().executor, |it| *it == keys().requester, held)
}

/// Returns the number of the record that fails.
#[track_caller]
fn failing(file: &[u8], held: &[Checkpoint]) -> usize {
    match verify(file, held) {
        Err(ChainFileError::Record(broken)) => broken.index,
        other => panic!("no record is named: {other:?}"),
    }
}

#[test]
fn a_whole_chain_is_proven() {
    let receipts = chain(5, b"output");
    let held = [checkpoint(&receipts[..2]), checkpoint(&receipts)];
    let proven = verify(&file(&receipts), &held).unwrap();
    assert_eq!((proven.from, proven.records, proven.countersigned), (0, 5, 5));
    assert_eq!(proven.last, Some(receipts[4].id().unwrap()));
    assert!(is_chain(&file(&receipts)));
    assert_eq!(verify(&file(&[]), &[]).unwrap().records, 0);
}

#[test]
fn a_flip_of_every_byte_names_its_record() {
    let receipts = chain(4, b"output");
    let file = file(&receipts);
    let mut record = None;
    for at in 0..file.len() {
        if file[at] == b'\n' {
            record = Some(record.map_or(0, |it: usize| it + 1));
        } else if let Some(record) = record {
            let mut flipped = file.clone();
            flipped[at] ^= 1 << (at % 8);
            assert_eq!(failing(&flipped, &[]), record, "byte {at}");
        }
    }
    assert_eq!(record, Some(4), "a line for each record and one before");
}

#[test]
fn every_byte_of_the_first_line_counts() {
    let file = file(&chain(2, b"output"));
    for at in 0..file.iter().position(|it| *it == b'\n').unwrap() {
        let mut flipped = file.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(verify(&flipped, &[]).is_err(), "byte {at}");
    }
}

#[test]
fn reordered_dropped_and_added_records_are_named() {
    let receipts = chain(5, b"output");
    let lines: Vec<_> =
        file(&receipts).split_inclusive(|it| *it == b'\n').map(<[u8]>::to_vec).collect();
    let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        lines.concat()
    };
    for first in 0..5 {
        for second in first + 1..5 {
            assert_eq!(failing(&changed(&|it| it.swap(first + 1, second + 1)), &[]), first);
        }
        let dropped = changed(&|it| drop(it.remove(first + 1)));
        assert_eq!(failing(&dropped, &[]), first);
        let short = changed(&|it| it.truncate(first + 1));
        assert_eq!(failing(&short, &[]), first, "the tail from {first} on is dropped");
        let doubled = changed(&|it| it.insert(first + 1, lines[first + 1].clone()));
        assert_eq!(failing(&doubled, &[]), first + 1);
    }
}

#[test]
fn a_checkpoint_from_elsewhere_shows_what_the_executor_took_back() {
    let (receipts, others) = (chain(5, b"output"), chain(5, b"another output"));
    let held = [checkpoint(&receipts)];
    // The executor signs a shorter history, and another one of the same length.
    assert_eq!(failing(&file(&receipts[..3]), &held), 3);
    assert_eq!(failing(&file(&others), &held), 4);
    assert_eq!(failing(&file(&others), &[checkpoint(&receipts[..2])]), 1);
}

#[test]
fn a_chains_end_is_proven_without_its_beginning() {
    let receipts = chain(7, b"output");
    let end = |from: usize| {
        encode_chain(&tree(&receipts[..from]), &receipts[from..], &checkpoint(&receipts)).unwrap()
    };
    for from in 0..7 {
        let proven = verify(&end(from), &[checkpoint(&receipts)]).unwrap();
        assert_eq!((proven.from, proven.records), (from as u64, 7 - from as u64));
    }
    let early = verify(&end(3), &[checkpoint(&receipts[..2])]);
    assert!(matches!(early, Err(ChainFileError::Uncovered { count: 2, from: 3 })), "{early:?}");
    let wrong = encode_chain(&tree(&receipts[..2]), &receipts[3..], &checkpoint(&receipts));
    assert_eq!(failing(&wrong.unwrap(), &[]), 0);
    let other = tree(&chain(3, b"another output"));
    let other = encode_chain(&other, &receipts[3..], &checkpoint(&receipts)).unwrap();
    assert_eq!(failing(&other, &[]), 3);
}

#[test]
fn keys_come_from_outside() {
    let file = file(&chain(3, b"output"));
    let stranger = Identity::from_bytes(&[3; 64]).node_id();
    let other = verify_chain_file(&file, stranger, |_| true, &[]);
    assert!(matches!(other, Err(ChainFileError::Checkpoint(_))), "{other:?}");
    let other = verify_chain_file(&file, keys().executor, |_| false, &[]);
    assert!(matches!(&other, Err(ChainFileError::Record(it)) if it.index == 0), "{other:?}");
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(verify(&bytes, &[]).is_err());
    }
}
