//! What is shown at the door: an HMAC by a secret that both ends know, a signature by the node's key.
//!
//! ```text
//! proof = HMAC-SHA-256(secret, "sedge-admission/1" ‖ who ‖ owner ‖ joiner ‖ challenge ‖ nonce ‖ name)
//! ```
//!
//! `who` is 1 for the joiner and 2 for the owner, so that neither can give the other's proof back. Both
//! node ids are those that the transport has proven: a proof that is passed on is a proof of another
//! knock. The challenge is the owner's and the nonce the joiner's, 32 bytes each and never used again.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sedge_base::{NodeId, Secret};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::pair_token::{PairToken, PairTokenId};
use crate::identity::Identity;
use crate::random::{RandomError, random_bytes};
use crate::signature::{Mac, Signature, verify};

/// The length of a challenge and of a nonce, in bytes.
pub const NONCE_BYTES: usize = 32;

const DOMAIN: &[u8] = b"sedge-admission/1";

/// Whose proof it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Joiner = 1,
    Owner = 2,
}

/// All that a proof is bound to; equal on both sides unless somebody sits between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// The node that was asked.
    pub owner: NodeId,
    /// The node that asks.
    pub joiner: NodeId,
    /// What the owner made up for this knock.
    pub challenge: [u8; NONCE_BYTES],
    /// What the joiner made up for this knock.
    pub nonce: [u8; NONCE_BYTES],
    /// The name that the joiner claims.
    pub name: String,
}

/// What a person gave the joining node, if they gave something.
#[derive(Debug, Clone)]
pub enum Typed {
    /// A secret that the owner's configuration has too.
    Token(Secret<String>),
    /// A pairing token that the owner's node made.
    PairToken(PairToken),
}

/// A proof that a secret is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Of a secret from the configuration; which one, the claimed name says.
    Token {
        /// The HMAC by it.
        mac: Mac,
    },
    /// Of a pairing token.
    PairToken {
        /// Which one.
        id: PairTokenId,
        /// The HMAC by it.
        mac: Mac,
    },
}

/// What a joiner answers to a challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// By the joiner's key, over the text of the transcript.
    pub signature: Signature,
    /// By what a person typed, if they typed something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

impl Transcript {
    /// Returns fresh bytes for a challenge or a nonce.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when the operating system gives none.
    pub fn fresh() -> Result<[u8; NONCE_BYTES], RandomError> {
        random_bytes()
    }

    /// Returns the text that is proven; every part but the last has a fixed length.
    fn text(&self, who: Who) -> Vec<u8> {
        let Self { owner, joiner, challenge, nonce, name } = self;
        [
            DOMAIN,
            &[who as u8],
            owner.as_bytes(),
            joiner.as_bytes(),
            challenge,
            nonce,
            name.as_bytes(),
        ]
        .concat()
    }

    fn hmac(&self, who: Who, secret: &[u8]) -> Option<Hmac<Sha256>> {
        // A key of any length is taken.
        let mut hmac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
        hmac.update(&self.text(who));
        Some(hmac)
    }

    fn mac(&self, who: Who, secret: &[u8]) -> Option<Mac> {
        let hmac = self.hmac(who, secret)?;
        Some(Mac::from_bytes(hmac.finalize().into_bytes().into()))
    }

    /// Returns the owner's own proof that it knows a secret, for the joiner to check.
    pub fn owner_proof(&self, secret: &[u8]) -> Option<Mac> {
        self.mac(Who::Owner, secret)
    }

    /// Returns whether a joiner's proof was made with a secret; compares in constant time.
    pub fn is_proven_by(&self, secret: &[u8], mac: &Mac) -> bool {
        let hmac = self.hmac(Who::Joiner, secret);
        hmac.is_some_and(|it| it.verify_slice(mac.as_bytes()).is_ok())
    }

    /// Returns whether the joiner's key signed the transcript.
    pub fn is_signed(&self, signature: &Signature) -> bool {
        verify(&self.joiner, &self.text(Who::Joiner), signature).is_ok()
    }
}

impl Typed {
    fn secret(&self) -> &[u8] {
        match self {
            Self::Token(secret) => secret.reveal().as_bytes(),
            Self::PairToken(token) => token.key(),
        }
    }

    /// Returns whether the owner proved that it knows the same secret; compares in constant time.
    pub fn is_known_to_owner(&self, transcript: &Transcript, mac: &Mac) -> bool {
        let hmac = transcript.hmac(Who::Owner, self.secret());
        hmac.is_some_and(|it| it.verify_slice(mac.as_bytes()).is_ok())
    }
}

impl Answer {
    /// Answers a challenge, with the node's key and with what a person typed.
    pub fn new(identity: &Identity, transcript: &Transcript, typed: Option<&Typed>) -> Self {
        let proof = typed.and_then(|typed| {
            let mac = transcript.mac(Who::Joiner, typed.secret())?;
            Some(match typed {
                Typed::Token(_) => Proof::Token { mac },
                Typed::PairToken(token) => Proof::PairToken { id: token.id(), mac },
            })
        });
        Self { signature: identity.sign(&transcript.text(Who::Joiner)), proof }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn transcript() -> Transcript {
        Transcript {
            owner: NodeId::from_bytes([1; 32]),
            joiner: Identity::from_bytes(&[2; 64]).node_id(),
            challenge: [3; 32],
            nonce: [4; 32],
            name: "edge-1".to_owned(),
        }
    }

    #[test]
    fn rfc_4231_case_2() {
        let mut hmac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        hmac.update(b"what do ya want for nothing?");
        assert_eq!(
            hex::encode(hmac.finalize().into_bytes()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_proof_holds_for_its_own_knock_only() {
        let (here, secret) = (transcript(), b"0123456789abcdef".as_slice());
        let mac = here.mac(Who::Joiner, secret).unwrap();
        assert!(here.is_proven_by(secret, &mac));
        assert!(!here.is_proven_by(b"0123456789abcdeg", &mac));
        let changes: [fn(&mut Transcript); 5] = [
            |it| it.owner = NodeId::from_bytes([9; 32]),
            |it| it.joiner = NodeId::from_bytes([9; 32]),
            |it| it.challenge[31] ^= 1,
            |it| it.nonce[0] ^= 1,
            |it| it.name.push('0'),
        ];
        for change in changes {
            let mut there = here.clone();
            change(&mut there);
            assert!(!there.is_proven_by(secret, &mac), "{there:?}");
        }
    }

    #[test]
    fn neither_side_gives_the_other_its_own_proof_back() {
        let (here, secret) = (transcript(), "0123456789abcdef");
        let typed = Typed::Token(Secret::new(secret.to_owned()));
        let owner = here.owner_proof(secret.as_bytes()).unwrap();
        assert!(typed.is_known_to_owner(&here, &owner));
        assert!(!here.is_proven_by(secret.as_bytes(), &owner));
        let joiner = here.mac(Who::Joiner, secret.as_bytes()).unwrap();
        assert!(!typed.is_known_to_owner(&here, &joiner));
    }

    #[test]
    fn the_signature_is_by_the_key_that_knocks() {
        let here = transcript();
        let right = Answer::new(&Identity::from_bytes(&[2; 64]), &here, None);
        assert!(here.is_signed(&right.signature));
        let wrong = Answer::new(&Identity::from_bytes(&[5; 64]), &here, None);
        assert!(!here.is_signed(&wrong.signature));
    }

    proptest! {
        #[test]
        fn garbage_is_no_answer(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(serde_json::from_slice::<Answer>(&bytes).is_err());
        }

        #[test]
        fn a_flipped_bit_proves_nothing(at in 0_usize..32, bit in 0_u8..8) {
            let (here, secret) = (transcript(), b"0123456789abcdef".as_slice());
            let mut bytes = *here.mac(Who::Joiner, secret).unwrap().as_bytes();
            bytes[at] ^= 1 << bit;
            prop_assert!(!here.is_proven_by(secret, &Mac::from_bytes(bytes)));
        }
    }
}
