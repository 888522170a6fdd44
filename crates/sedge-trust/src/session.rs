//! Keys that two nodes share without sending them.

mod rotation;

use std::fmt;

use hkdf::Hkdf;
use sedge_base::{ErrorKind, SwarmId};
use sha2::{Digest as _, Sha256};
use x25519_dalek::PublicKey;
use zeroize::Zeroizing;

use crate::identity::Identity;
use crate::signature::SessionPublicKey;

pub use rotation::{
    MAX_REKEY_BYTES, MAX_SEALED, OpenError, Rekey, RekeyFacts, RekeyVersion, RotateError, Rotated,
    SealError, Session, SessionMessage,
};

/// A 32-byte AES-256-GCM key; wiped on drop, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey(Zeroizing<[u8; 32]>);

impl SessionKey {
    /// Makes the key from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the key's bytes; the caller takes over the duty not to print them.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

/// The other side's key gives no secret: it is missing or of small order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other node's session key gives no shared secret")]
pub struct WeakKey;

impl WeakKey {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Returns the key that `own` and `peer` share in a swarm (origins 4.1, `derive_session_key`).
///
/// Both sides get the same key: X25519, then HKDF-SHA256 with the SHA-256 of both public keys
/// (smaller first) as salt and `p2p-swarm-v2:{swarm}` as info.
///
/// # Errors
///
/// [`WeakKey`] when the shared secret is all zero.
pub fn derive(
    own: &Identity,
    peer: &SessionPublicKey,
    swarm: SwarmId,
) -> Result<SessionKey, WeakKey> {
    let shared = own.session_secret().diffie_hellman(&PublicKey::from(*peer.as_bytes()));
    if !shared.was_contributory() {
        return Err(WeakKey);
    }
    let salt = salt(&own.session_public_key(), peer);
    let info = format!("p2p-swarm-v2:{swarm}");
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(&salt), shared.as_bytes())
        .expand(info.as_bytes(), &mut key[..])
        .map_err(|_| WeakKey)?;
    Ok(SessionKey(key))
}

fn salt(one: &SessionPublicKey, other: &SessionPublicKey) -> [u8; 32] {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let (first, second) = if one <= other { (one, other) } else { (other, one) };
    Sha256::new().chain_update(first).chain_update(second).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(session: u8) -> Identity {
        let mut bytes = [1; 64];
        bytes[32..].fill(session);
        Identity::from_bytes(&bytes)
    }

    #[test]
    fn row_007_both_sides_derive_the_listed_session_key() {
        let (a, b) = (identity(2), identity(3));
        let (public_a, public_b) = (a.session_public_key(), b.session_public_key());
        let shared = a.session_secret().diffie_hellman(&PublicKey::from(*public_b.as_bytes()));
        assert_eq!(
            hex::encode(shared.as_bytes()),
            "7c425a51f6a7f2e60012b0a34dd6511017807708b502ee66a2a247f171fda96c"
        );
        let expected_salt = "5f01c9fe947cc0e96aa3f65575c4c78120f608a76e4c5f042cf9a3cb10e02ce2";
        assert_eq!(hex::encode(salt(&public_a, &public_b)), expected_salt);
        assert_eq!(hex::encode(salt(&public_b, &public_a)), expected_salt);
        let swarm = SwarmId::of_key(&[1; 32]);
        assert_eq!(swarm.to_string(), "72cd6e8422c407fb");
        let (at_a, at_b) =
            (derive(&a, &public_b, swarm).unwrap(), derive(&b, &public_a, swarm).unwrap());
        assert_eq!(
            hex::encode(at_a.as_bytes()),
            "e4cb8105d56837d1737088d84d1c5a396cd697bfea42e44389dc704cba766659"
        );
        assert_eq!(at_a, at_b);
    }

    #[test]
    fn keys_that_give_no_secret_are_refused() {
        let mut one = [0; 32];
        one[0] = 1;
        for weak in [[0; 32], one] {
            let peer = SessionPublicKey::from_bytes(weak);
            assert_eq!(derive(&identity(2), &peer, SwarmId::of_key(&[1; 32])), Err(WeakKey));
        }
    }
}
