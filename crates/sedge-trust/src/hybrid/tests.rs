//! Both halves count, bit by bit; and the ML-DSA half is the one of FIPS 204.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const TEXT: &[u8] = b"a text that both keys sign";

fn node() -> HybridIdentity {
    HybridIdentity::from_seed(Identity::from_bytes(&[1; 64]), &[2; 32])
}

fn flipped(signature: &HybridSignature, bit: usize) -> HybridSignature {
    let mut bytes = signature.as_bytes().to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    HybridSignature::from_bytes(&bytes).unwrap()
}

#[test]
fn row_019_a_flipped_bit_of_either_half_is_refused() {
    let (node, other) =
        (node(), HybridIdentity::from_seed(Identity::from_bytes(&[3; 64]), &[4; 32]));
    let (key, signature) = (node.public_key(), node.sign(TEXT).unwrap());
    assert_eq!(key.verify(TEXT, &signature), Ok(()));
    // Every bit of the Ed25519 half, and bits of each part of the ML-DSA half: hash, z, hint.
    for bit in 0..64 * 8 {
        assert_eq!(key.verify(TEXT, &flipped(&signature, bit)), Err(HybridError::Ed25519), "{bit}");
    }
    for byte in [64, 64 + 47, 64 + 48, 64 + 3247, 64 + 3248, SIGNATURE_BYTES - 1] {
        for bit in byte * 8..byte * 8 + 8 {
            let refused = key.verify(TEXT, &flipped(&signature, bit));
            assert_eq!(refused, Err(HybridError::MlDsa), "{bit}");
        }
    }
    // A whole half of another signature is of no use either.
    let theirs = other.sign(TEXT).unwrap();
    let mixed = |first: &HybridSignature, second: &HybridSignature| {
        let bytes = [&first.as_bytes()[..64], &second.as_bytes()[64..]].concat();
        HybridSignature::from_bytes(&bytes).unwrap()
    };
    assert_eq!(key.verify(TEXT, &mixed(&signature, &theirs)), Err(HybridError::MlDsa));
    assert_eq!(key.verify(TEXT, &mixed(&theirs, &signature)), Err(HybridError::Ed25519));
    assert_eq!(key.verify(b"another text", &signature), Err(HybridError::Ed25519));
}

#[test]
fn a_half_is_no_signature_by_itself_nor_beside_another_key() {
    let node = node();
    let signature = node.sign(TEXT).unwrap();
    let mut first = [0; 64];
    first.copy_from_slice(&signature.as_bytes()[..64]);
    let alone = verify(&node.identity.node_id(), TEXT, &Signature::from_bytes(first));
    assert!(alone.is_err(), "it is bound to the scheme");
    let moved = HybridIdentity::from_seed(node.identity.clone(), &[9; 32]);
    let refused = moved.public_key().verify(TEXT, &signature);
    assert_eq!(refused, Err(HybridError::Ed25519), "it is bound to the other half's key");
}

#[test]
fn secrets_are_not_printed() {
    assert!(!format!("{:?}", node()).contains("0202"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_flipped_bit_is_refused(bit in 0..SIGNATURE_BYTES * 8) {
        let node = node();
        let signature = node.sign(TEXT).unwrap();
        let half = if bit < 64 * 8 { HybridError::Ed25519 } else { HybridError::MlDsa };
        prop_assert_eq!(node.public_key().verify(TEXT, &flipped(&signature, bit)), Err(half));
    }

    #[test]
    fn any_flipped_bit_of_the_key_is_refused(bit in 0..PUBLIC_KEY_BYTES * 8) {
        let node = node();
        let signature = node.sign(TEXT).unwrap();
        let mut key = node.public_key().as_bytes().to_vec();
        key[bit / 8] ^= 1 << (bit % 8);
        let key = HybridPublicKey::from_bytes(&key).unwrap();
        prop_assert!(key.verify(TEXT, &signature).is_err());
    }

    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), SIGNATURE_BYTES)) {
        let signature = HybridSignature::from_bytes(&bytes).unwrap();
        prop_assert!(node().public_key().verify(TEXT, &signature).is_err());
        prop_assert!(HybridSignature::from_bytes(&bytes[1..]).is_err());
        prop_assert!(HybridPublicKey::from_bytes(&bytes).is_err());
    }
}

/// NIST's ACVP vectors for ML-DSA-65: all 25 key generations (the public key by its SHA-256), and
/// the signature verifications with the shortest messages of each outcome.
fn acvp() -> Value {
    serde_json::from_str(include_str!("acvp-ml-dsa-65.json")).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

#[test]
fn nist_key_generation() {
    for case in acvp()["keyGen"].as_array().unwrap() {
        let seed = bytes(&case["seed"]).try_into().unwrap();
        let node = HybridIdentity::from_seed(Identity::from_bytes(&[1; 64]), &seed);
        let hash = hex::encode(Sha256::digest(&node.public_key().as_bytes()[32..]));
        assert_eq!(hash, case["pkSha256"], "case {}", case["tcId"]);
    }
}

#[test]
fn nist_signature_verification() {
    let mut outcomes = (0, 0);
    for case in acvp()["sigVer"].as_array().unwrap() {
        let key = bytes(&case["pk"]);
        let key = VerifyingKey::<MlDsa65>::decode(&key.as_slice().try_into().unwrap());
        let good = LatticeSignature::<MlDsa65>::try_from(bytes(&case["signature"]).as_slice())
            .is_ok_and(|it| key.verify_internal(&bytes(&case["message"]), &it));
        assert_eq!(good, case["testPassed"], "case {}: {}", case["tcId"], case["reason"]);
        if good { outcomes.0 += 1 } else { outcomes.1 += 1 }
    }
    assert!(outcomes.0 >= 2 && outcomes.1 >= 4, "{outcomes:?}");
}
