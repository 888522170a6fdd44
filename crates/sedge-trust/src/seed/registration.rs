//! The older protocol's registration (`RegisteredMember`), vector 003-7.

use sedge_base::{ErrorKind, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::signature::{BadSignature, SessionPublicKey, Signature, verify};

/// A member as the older protocol writes it; unknown fields are ignored, as there.
///
/// Neither the swarm nor `last_heartbeat` is signed, so it holds in every swarm and for ever:
/// read it, but let [`crate::Registration`] decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The member's id, without a zero byte.
    pub agent_id: String,
    /// The member's Ed25519 public key.
    #[serde(deserialize_with = "super::spelling::exact")]
    pub ed25519_public_key: NodeId,
    /// The member's X25519 public key.
    pub x25519_public_key: SessionPublicKey,
    /// What it offers, without zero bytes.
    pub capabilities: Vec<String>,
    /// When it joined, in ms since 1970.
    pub joined_at: Timestamp,
    /// When it was last heard of, in ms since 1970; not signed.
    pub last_heartbeat: Timestamp,
    /// By the Ed25519 key, over [`Registration::signed_bytes`].
    #[serde(with = "super::numbers")]
    pub signature: Signature,
}

/// Why a registration of the older protocol is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// A text holds a zero byte, so that two registrations could have the same signed bytes.
    #[error("an id or a capability holds a zero byte")]
    ZeroByte,
    /// The signature is not by the key in the registration.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

impl RegistrationError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::ZeroByte => ErrorKind::Invalid,
            Self::Signature(err) => err.kind(),
        }
    }
}

impl Registration {
    /// Signs a registration of `identity` under `agent_id`.
    ///
    /// # Errors
    ///
    /// [`RegistrationError::ZeroByte`] when a text holds a zero byte.
    pub fn sign(
        identity: &Identity,
        agent_id: &str,
        capabilities: Vec<String>,
        joined_at: Timestamp,
    ) -> Result<Self, RegistrationError> {
        let mut new = Self {
            agent_id: agent_id.to_owned(),
            ed25519_public_key: identity.node_id(),
            x25519_public_key: identity.session_public_key(),
            capabilities,
            joined_at,
            last_heartbeat: joined_at,
            signature: Signature::from_bytes([0; 64]),
        };
        new.signature = identity.sign(&new.signed_bytes()?);
        Ok(new)
    }

    /// Returns the signed bytes: the id, a zero, both keys, each capability with a zero behind
    /// it, and `joined_at` as 8 bytes, least significant first.
    ///
    /// # Errors
    ///
    /// [`RegistrationError::ZeroByte`] when a text holds a zero byte.
    pub fn signed_bytes(&self) -> Result<Vec<u8>, RegistrationError> {
        let mut texts = self.capabilities.iter().chain([&self.agent_id]);
        if texts.any(|it| it.contains('\0')) {
            return Err(RegistrationError::ZeroByte);
        }
        let mut bytes = self.agent_id.as_bytes().to_vec();
        bytes.push(0);
        bytes.extend_from_slice(self.ed25519_public_key.as_bytes());
        bytes.extend_from_slice(self.x25519_public_key.as_bytes());
        for capability in &self.capabilities {
            bytes.extend_from_slice(capability.as_bytes());
            bytes.push(0);
        }
        bytes.extend_from_slice(&self.joined_at.as_millis().to_le_bytes());
        Ok(bytes)
    }

    /// Checks that the holder of the key in the registration signed it. This says nothing about
    /// whether that key may use the id.
    ///
    /// # Errors
    ///
    /// [`RegistrationError`] when it did not, or a text holds a zero byte.
    pub fn verify(&self) -> Result<(), RegistrationError> {
        Ok(verify(&self.ed25519_public_key, &self.signed_bytes()?, &self.signature)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn registration() -> Registration {
        let mut keys = [1; 64];
        keys[32..].fill(2);
        let joined_at = Timestamp::from_millis(1_700_000_000_000);
        let identity = Identity::from_bytes(&keys);
        Registration::sign(&identity, "peer-001", vec!["worker".to_owned()], joined_at).unwrap()
    }

    #[test]
    fn row_002_the_listed_signature_covers_the_capabilities() {
        let mut registration = registration();
        let bytes = registration.signed_bytes().unwrap();
        assert_eq!(bytes.len(), 88);
        assert_eq!(
            hex::encode(Sha256::digest(&bytes)),
            "70fc660e4625005dc72d689aa8489ce632727c0fedd468a147e31bfa634f92a5"
        );
        assert_eq!(
            registration.signature.to_string(),
            "39c773242cefcb724010e9cc7ba4749cb78832e13fde509ed1a181694a56f8f3\
             634e45248ec13b6340465cf430256e259df55e4b483b34cc9d9f8d21c3084603"
        );
        assert_eq!(registration.verify(), Ok(()));
        "admin".clone_into(&mut registration.capabilities[0]);
        assert!(matches!(registration.verify(), Err(RegistrationError::Signature(_))));
    }

    #[test]
    fn texts_that_would_move_a_border_are_refused() {
        let mut moved = registration();
        moved.capabilities = vec!["work\0er".to_owned()];
        assert_eq!(moved.verify(), Err(RegistrationError::ZeroByte));
    }

    #[test]
    fn the_json_form_has_a_signature_of_64_numbers() {
        let json = serde_json::to_value(registration()).unwrap();
        assert_eq!(json["signature"].as_array().map(Vec::len), Some(64));
        assert_eq!(serde_json::from_value::<Registration>(json.clone()).unwrap(), registration());
        let mut short = json;
        short["signature"].as_array_mut().unwrap().pop();
        assert!(serde_json::from_value::<Registration>(short).is_err());
    }
    proptest! {
        #[test]
        fn a_flipped_bit_of_what_is_signed_is_refused(
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let mut bytes = serde_json::to_vec(&registration()).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let Ok(read) = serde_json::from_slice::<Registration>(&bytes) else { return Ok(()) };
            let unsigned = Registration { last_heartbeat: read.last_heartbeat, ..registration() };
            prop_assert_eq!(read.verify().is_ok(), read == unsigned, "byte {}, bit {}", at, bit);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(serde_json::from_slice::<Registration>(&bytes).is_err());
        }
    }
}
