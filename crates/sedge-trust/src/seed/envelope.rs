//! The older protocol's envelope (`SignedEnvelope`), vectors 003-8 to 003-10.

use sedge_base::{ContentId, ErrorKind, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::canonical;
use crate::cipher::{self, Sealed};
use crate::envelope::{MAX_PAYLOAD_BYTES, MAX_TOPIC_BYTES, Mark, OpenError, Opened, ReplayWindow};
use crate::identity::Identity;
use crate::registration::{MAX_TEXT_BYTES, Registry};
use crate::session::SessionKey;
use crate::signature::{Nonce, Signature};

/// The longest message id that is read, in bytes: a swarm id, a colon and a UUID have 53.
const MAX_MESSAGE_ID_BYTES: usize = 128;

/// What the sender of an envelope says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The swarm's id, a colon and a UUID.
    pub message_id: String,
    /// What it is about.
    pub topic: String,
    /// When it was sealed, in ms since 1970.
    pub timestamp: Timestamp,
    /// The sender's registered id.
    pub sender_id: String,
    /// Makes it unlike every other.
    pub nonce: Nonce,
    /// Grows with every envelope of the sender, from 1.
    pub counter: u64,
}

/// A message as the older protocol writes it; unknown fields are ignored, as there.
///
/// The header is not bound to the encrypted text, so two texts with the same plain payload can
/// be swapped; [`crate::Envelope`] binds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The swarm's id, a colon and a UUID.
    pub message_id: String,
    /// What it is about.
    pub topic: String,
    /// When it was sealed, in ms since 1970.
    pub timestamp: Timestamp,
    /// The sender's registered id.
    pub sender_id: String,
    /// SHA-256 of the plain payload.
    #[serde(deserialize_with = "super::spelling::exact")]
    pub payload_hash: ContentId,
    /// Makes it unlike every other.
    pub nonce: Nonce,
    /// Grows with every envelope of the sender, from 1.
    pub counter: u64,
    /// By the sender, over [`Envelope::signed_text`].
    #[serde(with = "super::numbers")]
    pub signature: Signature,
    /// The payload under AES-256-GCM without associated data.
    pub encrypted: Sealed,
}

/// Why a payload was not put into an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// A text or the payload is too long.
    #[error("the envelope's topic, sender, message id or payload is longer than allowed")]
    Size,
    /// The cipher refused.
    #[error(transparent)]
    Cipher(#[from] cipher::SealError),
}

impl SealError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Size => ErrorKind::Invalid,
            Self::Cipher(err) => err.kind(),
        }
    }
}

impl Envelope {
    /// Encrypts and signs one payload.
    ///
    /// # Errors
    ///
    /// [`SealError`] when something is too long or there is no randomness.
    pub fn seal(
        header: Header,
        payload: &[u8],
        key: &SessionKey,
        sender: &Identity,
    ) -> Result<Self, SealError> {
        Self::around(header, payload, Sealed::seal(key, payload, b"")?, sender)
    }

    fn around(
        header: Header,
        payload: &[u8],
        encrypted: Sealed,
        sender: &Identity,
    ) -> Result<Self, SealError> {
        let Header { message_id, topic, timestamp, sender_id, nonce, counter } = header;
        let (payload_hash, signature) = (ContentId::of(payload), Signature::from_bytes([0; 64]));
        let mut new = Self {
            message_id,
            topic,
            timestamp,
            sender_id,
            payload_hash,
            nonce,
            counter,
            signature,
            encrypted,
        };
        if !new.fits() {
            return Err(SealError::Size);
        }
        new.signature = sender.sign(new.signed_text().as_bytes());
        Ok(new)
    }

    /// Returns the signed text: the seed form of the seven header fields.
    pub fn signed_text(&self) -> String {
        canonical::seed(&json!({
            "counter": self.counter,
            "message_id": self.message_id,
            "nonce": self.nonce,
            "payload_hash": self.payload_hash,
            "sender_id": self.sender_id,
            "timestamp": self.timestamp,
            "topic": self.topic,
        }))
    }

    /// Checks everything in the safe order and returns the payload, as
    /// [`crate::Envelope::open`] does; the sender's key comes from `registry` alone.
    ///
    /// # Errors
    ///
    /// [`OpenError`], which says what is wrong; `window` stays as it was.
    pub fn open(
        &self,
        registry: &Registry,
        window: &mut ReplayWindow,
        key: &SessionKey,
        now: Timestamp,
    ) -> Result<Opened, OpenError> {
        if !self.fits() {
            return Err(OpenError::Size);
        }
        let swarm = registry.swarm_id().to_string();
        if self.message_id.split_once(':').is_none_or(|(named, _)| named != swarm) {
            return Err(OpenError::OtherSwarm);
        }
        let text = self.signed_text();
        let sender = registry.verify_from(&self.sender_id, text.as_bytes(), &self.signature)?;
        let sender = sender.node_id;
        let Self { nonce, counter, timestamp, .. } = *self;
        let mark = Mark { sender, nonce, counter, timestamp };
        window.check(&mark, now)?;
        let payload = self.encrypted.open(key, b"")?;
        if ContentId::of(&payload) != self.payload_hash {
            return Err(OpenError::PayloadHash);
        }
        window.record(&mark, registry, now);
        Ok(Opened { sender, payload })
    }

    const fn fits(&self) -> bool {
        self.message_id.len() <= MAX_MESSAGE_ID_BYTES
            && self.topic.len() <= MAX_TOPIC_BYTES
            && self.sender_id.len() <= MAX_TEXT_BYTES
            && self.encrypted.ciphertext.len() <= MAX_PAYLOAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::registration::tests::{NOW, identity, registry, swarm};

    fn header() -> Header {
        Header {
            message_id: "72cd6e8422c407fb:00000000-0000-4000-8000-000000000001".to_owned(),
            topic: "chat".to_owned(),
            timestamp: Timestamp::from_millis(1_700_000_000_000),
            sender_id: "peer-001".to_owned(),
            nonce: "000102030405060708090a0b0c0d0e0f".parse().unwrap(),
            counter: 1,
        }
    }

    fn key() -> SessionKey {
        SessionKey::from_bytes([1; 32])
    }

    fn envelope() -> Envelope {
        Envelope::seal(header(), b"Hello, swarm!", &key(), &identity(1)).unwrap()
    }

    fn deliver(envelope: &Envelope) -> Result<Vec<u8>, OpenError> {
        let (registry, mut window) = (registry(), ReplayWindow::new());
        Ok(envelope.open(&registry, &mut window, &key(), NOW)?.payload)
    }

    #[test]
    fn row_025_the_envelope_has_the_listed_bytes() {
        let built = envelope();
        assert_eq!(
            built.payload_hash.to_string(),
            "a3552b3b382ca62d7606f242c50331521a5769248a65bfd4481e5cd606c75a78"
        );
        assert_eq!(
            hex::encode(Sha256::digest(built.signed_text())),
            "235990b070bd2c83478761c2d412389f340bdc17fd7264c1774cb57c8d29fefc"
        );
        assert_eq!(
            built.signature.to_string(),
            "577b6d4ad2f95de59a38b6fc3ef4e9328ffd16297dbebf97aa6ad184192a97d2\
             eff37f54b871484306fd811c91ce723859079dfe1ea206b99fb9e3feb6263603"
        );
        assert_eq!(deliver(&built).unwrap(), b"Hello, swarm!");

        let text = b"Hello, World!";
        let sealed = Sealed::seal_with_iv(&key(), text, b"", [0; 12]).unwrap();
        let built = Envelope::around(header(), text, sealed, &identity(1)).unwrap();
        assert_eq!(hex::encode(&built.encrypted.ciphertext), "f750f4b01a1723e8fc0bfe2150");
        assert_eq!(hex::encode(built.encrypted.tag), "481c46737011b3f8bb561b310e1a4bf1");
        assert_eq!(deliver(&built).unwrap(), text);
    }

    #[test]
    fn row_004_the_registry_decides_whatever_key_an_envelope_carries() {
        let carrying = |envelope: &Envelope, key: &Identity| -> Envelope {
            let mut json = serde_json::to_value(envelope).unwrap();
            json["public_key"] = Value::String(key.node_id().to_string());
            serde_json::from_str(&json.to_string()).unwrap()
        };
        let (owner, thief) = (identity(1), identity(3));

        let forged = Envelope::seal(header(), b"Hello, swarm!", &key(), &thief).unwrap();
        let text = forged.signed_text();
        let thiefs = crate::verify(&thief.node_id(), text.as_bytes(), &forged.signature);
        assert_eq!(thiefs, Ok(()), "it fits the key that it carries");
        let refused = deliver(&carrying(&forged, &thief)).unwrap_err();
        assert!(
            matches!(refused, OpenError::Signature(it) if it.signer == owner.node_id()),
            "{refused}"
        );

        let honest = carrying(&envelope(), &thief);
        assert_eq!(deliver(&honest).unwrap(), b"Hello, swarm!");
    }

    #[test]
    fn a_forged_counter_does_not_shut_out_the_honest_sender() {
        let (registry, mut window) = (registry(), ReplayWindow::new());
        let (forged, honest) = (Envelope { counter: u64::MAX, ..envelope() }, envelope());
        let refused = forged.open(&registry, &mut window, &key(), NOW).unwrap_err();
        assert!(matches!(refused, OpenError::Signature(_)));
        assert!(honest.open(&registry, &mut window, &key(), NOW).is_ok());
        assert!(honest.open(&registry, &mut window, &key(), NOW).is_err());
    }

    #[test]
    fn another_swarms_envelope_is_refused() {
        let message_id = "0000000000000000:00000000-0000-4000-8000-000000000001".to_owned();
        let other = Header { message_id, ..header() };
        let other = Envelope::seal(other, b"", &key(), &identity(1)).unwrap();
        assert!(matches!(deliver(&other), Err(OpenError::OtherSwarm)));
        assert!(header().message_id.starts_with(&swarm().to_string()));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let mut bytes = serde_json::to_vec(&envelope()).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let accepted =
                serde_json::from_slice(&bytes).is_ok_and(|it: Envelope| deliver(&it).is_ok());
            prop_assert!(!accepted, "byte {at}, bit {bit}");
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(serde_json::from_slice::<Envelope>(&bytes).is_err());
        }
    }
}
