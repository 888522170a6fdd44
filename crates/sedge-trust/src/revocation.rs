//! What the owner of a swarm took back: a node's membership, or a token.
//!
//! A revocation is a record that the owner signs and every member keeps; it is never taken back. A
//! node comes in again by a new membership of a higher epoch.

use sedge_base::{ErrorKind, NodeId, SwarmId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError};
use crate::signature::{BadSignature, Signature, verify};
use crate::swarm::Owner;
use crate::token::TokenId;

/// What is void from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Revoked {
    /// The node's memberships up to this epoch.
    Node {
        /// The node.
        node_id: NodeId,
        /// The highest epoch that is void.
        epoch: u64,
    },
    /// A block of a token, and with it every token that was narrowed from it.
    Token {
        /// The block.
        token_id: TokenId,
    },
}

/// The version of the record's form; a field, so that it is signed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Version {
    /// The first form.
    #[default]
    #[serde(rename = "sedge-revocation/1")]
    V1,
}

/// The facts of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The form of this record.
    pub version: Version,
    /// The swarm.
    pub swarm_id: SwarmId,
    /// What is void.
    pub revoked: Revoked,
    /// When it was taken back, by the owner's clock; for people to read.
    pub at: Timestamp,
}

/// A revocation that the owner signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// The facts.
    pub facts: Facts,
    /// By the owner, over the RFC 8785 form of `facts`.
    pub owner_signature: Signature,
}

impl Owner {
    /// Takes back a membership or a token: signs a revocation.
    ///
    /// # Errors
    ///
    /// [`CanonicalError`] when a number is too large for JSON.
    pub fn revoke(&self, revoked: Revoked, at: Timestamp) -> Result<Revocation, CanonicalError> {
        let facts = Facts { version: Version::V1, swarm_id: self.swarm_id(), revoked, at };
        let owner_signature = self.sign(&canonical::jcs(&facts)?);
        Ok(Revocation { facts, owner_signature })
    }
}

/// Why a revocation does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// It is for another swarm.
    #[error("the revocation is for another swarm, {named:?}")]
    OtherSwarm {
        /// The swarm that it names.
        named: SwarmId,
    },
    /// The owner did not sign it.
    #[error("the owner of the swarm did not sign this revocation")]
    Owner(#[source] BadSignature),
    /// A number is too large for JSON.
    #[error("the revocation cannot be written down")]
    Canonical(#[from] CanonicalError),
}

impl RevocationError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::OtherSwarm { .. } => ErrorKind::Denied,
            Self::Owner(err) => err.kind(),
            Self::Canonical(_) => ErrorKind::Invalid,
        }
    }
}

/// Verifies a revocation against the owner's public key, which is known from elsewhere.
///
/// # Errors
///
/// [`RevocationError`], which says why it does not hold.
pub fn verify_revocation(revocation: &Revocation, owner: &NodeId) -> Result<(), RevocationError> {
    let Revocation { facts, owner_signature } = revocation;
    if facts.swarm_id != SwarmId::of_key(owner.as_bytes()) {
        return Err(RevocationError::OtherSwarm { named: facts.swarm_id });
    }
    verify(owner, &canonical::jcs(facts)?, owner_signature).map_err(RevocationError::Owner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn honest(owner: &Owner) -> Revocation {
        let revoked = Revoked::Node { node_id: NodeId::from_bytes([7; 32]), epoch: 3 };
        owner.revoke(revoked, Timestamp::from_millis(1_700_000_000_000)).unwrap()
    }

    #[test]
    fn only_the_owner_of_the_swarm_revokes() {
        let (owner, other) = (Owner::from_seed(&[1; 32]), Owner::from_seed(&[2; 32]));
        let revocation = honest(&owner);
        assert!(verify_revocation(&revocation, &owner.public_key()).is_ok());
        let refused = verify_revocation(&revocation, &other.public_key());
        assert!(matches!(refused, Err(RevocationError::OtherSwarm { .. })));
        let mut forged = honest(&other);
        forged.facts.swarm_id = owner.swarm_id();
        let refused = verify_revocation(&forged, &owner.public_key());
        assert!(matches!(refused, Err(RevocationError::Owner(_))));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_refused_or_says_the_same(
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let owner = Owner::from_seed(&[1; 32]);
            let honest = honest(&owner);
            let mut bytes = serde_json::to_vec(&honest).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let Ok(read) = serde_json::from_slice::<Revocation>(&bytes) else { return Ok(()) };
            let holds = verify_revocation(&read, &owner.public_key()).is_ok();
            prop_assert_eq!(holds, read == honest, "byte {}, bit {}", at, bit);
        }
    }
}
