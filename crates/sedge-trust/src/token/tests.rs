//! What a token allows, and that nothing anybody appends allows more.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use sedge_base::Timestamp;

use super::*;

const EVENING: &str = "2026-11-21T18:00:00Z";

fn owner() -> Owner {
    Owner::from_seed(&[1; 32])
}

fn only(names: &[&str]) -> Limit {
    Limit::Capabilities(names.iter().map(|it| (*it).to_owned()).collect())
}

fn node(byte: u8) -> NodeId {
    NodeId::from_bytes([byte; 32])
}

/// A task that an unlimited token allows.
#[derive(Debug)]
struct Asked {
    capability: &'static str,
    node: NodeId,
    now: Timestamp,
    budgets: Vec<(Budget, u64)>,
    used: BTreeMap<TokenId, u64>,
}

fn asked(capability: &'static str, now: &str) -> Asked {
    Asked {
        capability,
        node: node(7),
        now: now.parse().unwrap(),
        budgets: Vec::new(),
        used: BTreeMap::new(),
    }
}

impl Asked {
    fn check(&self, token: &Token) -> Result<(), TokenRefused> {
        token.verify(&owner().public_key()).unwrap().check(&TokenRequest {
            capability: self.capability,
            node: self.node,
            now: self.now,
            budgets: &self.budgets,
            used: &self.used,
        })
    }
}

#[track_caller]
fn refused(asked: &Asked, token: &Token, words: &str) {
    let said = asked.check(token).unwrap_err().to_string();
    assert_eq!(said, words);
}

#[test]
fn a_token_for_one_tool_until_the_evening_narrowed_to_ten_calls() {
    let minted = owner().mint(&[only(&["fn-1"]), Limit::Until(EVENING.parse().unwrap())]).unwrap();
    let text = minted.narrow(&[Limit::Calls(10)]).unwrap().to_text().unwrap();
    let token = Token::parse(&text).unwrap();
    assert_eq!(token.blocks().len(), 2);

    let mut task = asked("fn-1", "2026-11-21T17:59:59Z");
    let counted = token.id().unwrap();
    for used in 0..10 {
        task.used.insert(counted, used);
        task.check(&token).unwrap();
    }
    task.used.insert(counted, 10);
    refused(&task, &token, "the token allows 10 calls, and 10 were made");
    // The token that it was narrowed from has no such limit.
    task.check(&minted).unwrap();

    refused(
        &asked("fn-2", "2026-11-21T17:59:59Z"),
        &token,
        "the token does not allow `fn-2`: only fn-1",
    );
    refused(
        &asked("fn-1", "2026-11-21T18:01:00Z"),
        &token,
        "the token ended at 2026-11-21T18:00:00.000Z; it is 2026-11-21T18:01:00.000Z",
    );
    assert!(asked("fn-1", EVENING).check(&token).is_err(), "the end itself is over");
}

#[test]
fn nodes_and_budgets_are_limited_too() {
    let nodes = Limit::Nodes([node(7)].into());
    let token = owner().mint(&[nodes, Limit::AtMost(Budget::Fuel, 100)]).unwrap();
    let mut task = asked("fn-1", EVENING);
    refused(&task, &token, "the token allows fuel up to 100, and the task sets no limit");
    task.budgets = vec![(Budget::Fuel, 101)];
    refused(&task, &token, "the token allows fuel up to 100, and the task asks for 101");
    task.budgets = vec![(Budget::Fuel, 100)];
    task.check(&token).unwrap();
    task.node = node(8);
    refused(&task, &token, "the token does not allow node 0808080808: only on 0707070707");
}

#[test]
fn only_the_owner_mints() {
    let token = Owner::from_seed(&[2; 32]).mint(&[]).unwrap();
    assert!(matches!(token.verify(&owner().public_key()), Err(TokenForged::Signature(_))));
    let token = owner().mint(&[]).unwrap();
    assert!(asked("anything", EVENING).check(&token).is_ok());
}

#[test]
fn malformed_limits_are_refused() {
    for limit in [
        only(&[]),
        only(&[""]),
        only(&["a\", \"b"]),
        Limit::Nodes(BTreeSet::new()),
        Limit::Until(Timestamp::from_millis(1)),
        Limit::Until(Timestamp::from_millis(253_402_300_800_000)),
        Limit::Calls(u64::MAX),
    ] {
        assert!(owner().mint(std::slice::from_ref(&limit)).is_err(), "{limit:?}");
        assert!(
            owner().mint(&[]).unwrap().narrow(std::slice::from_ref(&limit)).is_err(),
            "{limit:?}"
        );
    }
}

#[test]
fn a_token_has_an_end() {
    let mut token = owner().mint(&[]).unwrap();
    for _ in 1..MAX_BLOCKS {
        token = token.narrow(&[]).unwrap();
    }
    assert_eq!(token.narrow(&[]).unwrap_err(), TokenError::TooLong);
    let long = format!("{TOKEN_PREFIX}{}", "A".repeat(100_000));
    assert_eq!(Token::parse(&long).unwrap_err(), TokenError::TooLong);
}

/// Appends a block of somebody else's making, as another program could.
fn append(token: &Token, code: &str) -> Result<Token, TokenError> {
    let builder = BlockBuilder::new().code(code).unwrap();
    let appended = token.biscuit.append(builder).unwrap();
    Token::from_bytes(&appended.to_vec().unwrap())
}

#[test]
fn a_block_that_says_anything_else_is_refused() {
    let token = owner().mint(&[only(&["fn-1"])]).unwrap();
    for code in [
        "capability(\"fn-1\")",
        "used(0, 0)",
        "capability($it) <- node($it)",
        "check if true",
        "check all time($it), $it < 2026-11-21T18:00:00Z",
        "check if time($it), $it > 2026-11-21T18:00:00Z",
        "check if time($it), $it < 2026-11-21T18:00:00Z or true",
        "check if capability($it), $it.matches(\".*\")",
        "check if used(0, $it), $it < 10",
        "check if used(1, $it), $it < -1",
    ] {
        assert_eq!(append(&token, code).unwrap_err(), TokenError::Unknown { block: 1 }, "{code}");
    }
    let ours = append(&token, "check if used(1, $it), $it < 10").unwrap();
    assert_eq!(ours.blocks()[1].limits, [Limit::Calls(10)]);
}

#[test]
fn a_block_that_is_cut_off_or_exchanged_is_noticed() {
    let token = owner().mint(&[]).unwrap();
    let narrow = token.narrow(&[Limit::Calls(1)]).unwrap();
    let other = owner().mint(&[]).unwrap().narrow(&[Limit::Calls(5)]).unwrap();
    let mut forged = narrow
        .biscuit
        .clone()
        .verify(PublicKey::from_bytes(owner().public_key().as_bytes(), Algorithm::Ed25519).unwrap())
        .unwrap()
        .container()
        .clone();
    let donor = other
        .biscuit
        .clone()
        .verify(PublicKey::from_bytes(owner().public_key().as_bytes(), Algorithm::Ed25519).unwrap())
        .unwrap()
        .container()
        .clone();
    let cut = {
        let mut cut = forged.clone();
        cut.blocks.clear();
        cut.to_vec().unwrap()
    };
    let cut = Token::from_bytes(&cut).unwrap();
    assert!(cut.verify(&owner().public_key()).is_err(), "the key at the end is another block's");
    forged.blocks = donor.blocks;
    forged.proof = donor.proof;
    let forged = Token::from_bytes(&forged.to_vec().unwrap()).unwrap();
    assert!(forged.verify(&owner().public_key()).is_err(), "a block of another token");
}

#[test]
fn other_kinds_of_signature_are_refused() {
    let token = owner().mint(&[]).unwrap();
    let key = KeyPair::new_with_algorithm(Algorithm::Secp256r1);
    let block = BlockBuilder::new().code("check if used(1, $it), $it < 10").unwrap();
    let appended = token.biscuit.append_with_keypair(&key, block).unwrap();
    let token = Token::from_bytes(&appended.to_vec().unwrap()).unwrap();
    assert_eq!(token.verify(&owner().public_key()).unwrap_err(), TokenForged::Key);
}

const NAMES: [&str; 4] = ["fn-1", "fn-2", "read", "a/b:c"];

fn limits() -> impl Strategy<Value = Limit> {
    prop_oneof![
        prop::sample::subsequence(NAMES.to_vec(), 1..=4).prop_map(|it| only(&it)),
        prop::collection::btree_set((0_u8..4).prop_map(node), 1..4).prop_map(Limit::Nodes),
        (0_u64..10).prop_map(|it| Limit::Until(Timestamp::from_millis(it * 1000))),
        (0_u64..5).prop_map(Limit::Calls),
        (prop::sample::select(Budget::ALL.to_vec()), 0_u64..5)
            .prop_map(|(budget, most)| Limit::AtMost(budget, most)),
    ]
}

fn tasks() -> impl Strategy<Value = Asked> {
    let budgets =
        prop::collection::btree_map(prop::sample::select(Budget::ALL.to_vec()), 0_u64..5, 0..5);
    (prop::sample::select(NAMES.to_vec()), 0_u8..4, 0_u64..12_000, budgets).prop_map(
        |(capability, on, now, budgets)| Asked {
            capability,
            node: node(on),
            now: Timestamp::from_millis(now),
            budgets: budgets.into_iter().collect(),
            used: BTreeMap::new(),
        },
    )
}

/// What the limits mean, said without Datalog.
fn allows(limit: &Limit, task: &Asked, used: u64) -> bool {
    match limit {
        Limit::Capabilities(names) => names.contains(task.capability),
        Limit::Nodes(nodes) => nodes.contains(&task.node),
        Limit::Until(at) => task.now < *at,
        Limit::Calls(most) => used < *most,
        Limit::AtMost(budget, most) => {
            task.budgets.iter().any(|(which, asked)| which == budget && asked <= most)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_narrowings_gains_a_right(
        steps in prop::collection::vec(prop::collection::vec(limits(), 0..4), 1..6),
        mut task in tasks(),
        used in 0_u64..5,
    ) {
        let mut token = owner().mint(&steps[0]).unwrap();
        let mut allowed = true;
        for (number, step) in steps.iter().enumerate() {
            if number > 0 {
                token = token.narrow(step).unwrap();
            }
            task.used.insert(token.id().unwrap(), used);
            let before = allowed;
            allowed = task.check(&token).is_ok();
            prop_assert!(before || !allowed, "step {number} gained a right: {:?}", token.blocks());
            let meant = steps[..=number].iter().flatten().all(|it| allows(it, &task, used));
            prop_assert_eq!(allowed, meant, "{:?}", token.blocks());
        }
        let read = Token::parse(&token.to_text().unwrap()).unwrap();
        let limits: Vec<_> = read.blocks().iter().map(|it| it.limits.clone()).collect();
        prop_assert_eq!(limits, steps);
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(Token::from_bytes(&bytes).is_err());
        prop_assert!(Token::parse(&String::from_utf8_lossy(&bytes)).is_err());
    }

    #[test]
    fn a_flipped_bit_is_refused_or_changes_nothing(
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let honest = owner().mint(&[only(&["fn-1"])]).unwrap().narrow(&[Limit::Calls(2)]).unwrap();
        let mut bytes = honest.biscuit.to_vec().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let Ok(read) = Token::from_bytes(&bytes) else { return Ok(()) };
        if let Ok(verified) = read.verify(&owner().public_key()) {
            prop_assert_eq!(verified.blocks(), honest.blocks(), "byte {}, bit {}", at, bit);
        }
    }
}
