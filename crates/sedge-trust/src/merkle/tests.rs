//! The published vectors of the reference implementation of RFC 6962, and every small tree.

use proptest::prelude::*;

use super::*;

const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];

const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn listed() -> Vec<TreeHash> {
    LEAVES.iter().map(|it| leaf(&hex::decode(it).unwrap())).collect()
}

fn leaves(count: u64) -> Vec<TreeHash> {
    (0..count).map(|it| leaf(&it.to_be_bytes())).collect()
}

fn prove(leaves: &[TreeHash], ranges: Option<Vec<Range<u64>>>) -> Vec<TreeHash> {
    let part = |it: Range<u64>| {
        &leaves[usize::try_from(it.start).unwrap()..][..usize::try_from(it.end - it.start).unwrap()]
    };
    ranges.unwrap().into_iter().map(|it| root(part(it))).collect()
}

#[track_caller]
fn check_proof(ranges: Option<Vec<Range<u64>>>, expected: &[&str]) {
    let proof: Vec<_> = prove(&listed(), ranges).iter().map(ToString::to_string).collect();
    assert_eq!(proof, expected);
}

#[test]
fn the_listed_roots() {
    let listed = listed();
    for (count, expected) in (1..).zip(ROOTS) {
        assert_eq!(root(&listed[..count]).to_string(), expected);
    }
    assert_eq!(
        root(&[]).to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

#[test]
fn the_listed_inclusion_proofs() {
    check_proof(inclusion(0, 1), &[]);
    check_proof(
        inclusion(0, 8),
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    );
    check_proof(
        inclusion(5, 8),
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    );
    check_proof(
        inclusion(1, 5),
        &[
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    );
}

#[test]
fn the_listed_consistency_proofs() {
    check_proof(consistency(1, 1), &[]);
    check_proof(
        consistency(6, 8),
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    );
    check_proof(
        consistency(2, 5),
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    );
}

#[test]
fn every_leaf_and_every_beginning_of_small_trees_is_proven() {
    for size in 1..=33 {
        let all = leaves(size);
        let whole = root(&all);
        for index in 0..size {
            let proof = prove(&all, inclusion(index, size));
            let at = usize::try_from(index).unwrap();
            assert_eq!(verify_inclusion((&all[at], index), (&whole, size), &proof), Ok(()));
            for wrong in (0..=size).filter(|it| *it != index) {
                let there = verify_inclusion((&all[at], wrong), (&whole, size), &proof);
                assert_eq!(there, Err(BadProof), "{index} as {wrong} of {size}");
            }
        }
        for old in 0..=size {
            let part = root(&all[..usize::try_from(old).unwrap()]);
            let proof = prove(&all, consistency(old, size));
            assert_eq!(verify_consistency((&part, old), (&whole, size), &proof), Ok(()));
            let other = leaf(b"another history");
            assert!(verify_consistency((&other, old), (&whole, size), &proof).is_err());
            assert!(
                old == 0 || verify_consistency((&part, old), (&other, size), &proof).is_err(),
                "{old} of {size}"
            );
        }
    }
    assert_eq!(inclusion(3, 3), None);
    assert_eq!(consistency(4, 3), None);
}

#[test]
fn a_frontier_goes_on_where_it_stopped() {
    let all = leaves(21);
    let mut frontier = Frontier::default();
    for hash in &all {
        let again = Frontier::from_parts(frontier.count(), frontier.peaks().to_vec());
        assert_eq!(again.as_ref(), Some(&frontier));
        frontier.push(*hash);
    }
    assert_eq!(frontier.root(), root(&all));
    assert_eq!(Frontier::from_parts(3, vec![all[0]]), None);
}

#[test]
fn whole_blocks_stand_for_their_leaves() {
    let all = leaves(70);
    let blocks: Vec<_> = all.chunks(16).map(root).collect();
    assert_eq!(root(&blocks), root(&all));
}

proptest! {
    #[test]
    fn wrong_proofs_never_panic(
        numbers in any::<[u64; 4]>(),
        path in prop::collection::vec(any::<[u8; 32]>().prop_map(TreeHash::from_bytes), 0..70),
    ) {
        let [index, size, old, new] = numbers;
        let (one, two) = (leaf(b"one"), leaf(b"two"));
        prop_assert!(verify_inclusion((&one, index), (&two, size), &path).is_err());
        prop_assert!(verify_consistency((&one, old), (&two, new), &path).is_err());
        prop_assert!(inclusion(index, size).is_none_or(|it| it.len() < MAX_PROOF));
        prop_assert!(consistency(old, new).is_none_or(|it| it.len() <= MAX_PROOF));
    }
}
