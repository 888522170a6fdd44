//! What two members tell each other before a direct connection stands (`SignalingMessage`): the
//! offer, the answer and the candidates of WebRTC (RFC 8829, RFC 8838).

use std::time::Duration;

use sedge_base::{ContentId, ErrorKind, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Record, Signed};
use crate::canonical;
use crate::identity::Identity;
use crate::registration::{MAX_TEXT_BYTES, Registry, VerifyFromError};

/// The longest payload, in bytes; session descriptions have a few thousand.
pub const MAX_SIGNAL_BYTES: usize = 64 << 10;

/// The longest time that a signal may hold.
pub const MAX_SIGNAL_TTL: Duration = Duration::from_secs(300);

/// How far a signal's date may lie ahead of ours (as for envelopes).
const MAX_AHEAD: Duration = Duration::from_secs(60);

/// What a signal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SignalType {
    /// The description of one side, which begins a negotiation.
    Offer,
    /// The other side's description.
    Answer,
    /// A candidate for the way between them.
    Ice,
}

/// One message of a negotiation, for one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signaling {
    /// What it is.
    pub signal_type: SignalType,
    /// The sender's registered id.
    pub from: String,
    /// Whom it is for, by the registered id.
    pub to: String,
    /// The session description or candidate, as text.
    pub payload: String,
    /// SHA-256 of the payload; the signature covers the payload by this.
    #[serde(deserialize_with = "super::spelling::exact")]
    pub payload_hash: ContentId,
    /// When it was written, in ms since 1970.
    pub timestamp: Timestamp,
    /// When it stops to hold, in ms since 1970.
    pub expires_at: Timestamp,
}

/// Why a signal does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalingError {
    /// It is for somebody else.
    #[error("the signal is for another member")]
    OtherRecipient,
    /// An id or the payload is too long.
    #[error("the signal's ids or payload are longer than allowed")]
    Size,
    /// Its time is over, or it holds longer than a signal may.
    #[error("the signal has expired, or claims to hold longer than {MAX_SIGNAL_TTL:?}")]
    Expired,
    /// It was written in the future.
    #[error("the signal is from the future")]
    FromFuture,
    /// The payload is not the one that was signed.
    #[error("payload hash mismatch")]
    PayloadHash,
    /// The sender is unknown, or did not sign it.
    #[error(transparent)]
    Sender(#[from] VerifyFromError),
}

impl SignalingError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::OtherRecipient => ErrorKind::Denied,
            Self::Size => ErrorKind::Invalid,
            Self::Expired | Self::FromFuture => ErrorKind::Timeout,
            Self::PayloadHash => ErrorKind::Corrupt,
            Self::Sender(err) => err.kind(),
        }
    }
}

impl Record for Signaling {
    fn signer(&self) -> &str {
        &self.from
    }

    fn signed_text(&self) -> String {
        // The payload stands for itself by its hash, which `verify` compares.
        let Self { signal_type, from, to, payload: _, payload_hash, timestamp, expires_at } = self;
        canonical::seed(&json!({
            "expires_at": expires_at,
            "from": from,
            "payload_hash": payload_hash,
            "signal_type": signal_type,
            "timestamp": timestamp,
            "to": to,
        }))
    }
}

impl Signaling {
    /// Writes a signal that holds from `now` for `ttl`, [`MAX_SIGNAL_TTL`] at most.
    pub fn new(
        signal_type: SignalType,
        (from, to): (&str, &str),
        payload: String,
        (now, ttl): (Timestamp, Duration),
    ) -> Self {
        Self {
            signal_type,
            from: from.to_owned(),
            to: to.to_owned(),
            payload_hash: ContentId::of(payload.as_bytes()),
            payload,
            timestamp: now,
            expires_at: now.plus(ttl.min(MAX_SIGNAL_TTL)),
        }
    }

    /// Signs it.
    pub fn sign(self, sender: &Identity) -> Signed<Self> {
        Signed::sign(self, sender)
    }
}

impl Signed<Signaling> {
    /// Checks a signal for the member `own`: recipient, age, payload, and the signature by the
    /// key that is registered for the sender.
    ///
    /// A signal may come twice while it holds; a negotiation takes the second for what it is.
    ///
    /// # Errors
    ///
    /// [`SignalingError`], which says why it does not hold.
    pub fn check(
        &self,
        own: &str,
        registry: &Registry,
        now: Timestamp,
    ) -> Result<(), SignalingError> {
        let signal = &self.record;
        if signal.to != own {
            return Err(SignalingError::OtherRecipient);
        }
        if signal.payload.len() > MAX_SIGNAL_BYTES || signal.from.len() > MAX_TEXT_BYTES {
            return Err(SignalingError::Size);
        }
        let ttl = signal.expires_at.since(signal.timestamp);
        if now >= signal.expires_at || ttl > MAX_SIGNAL_TTL {
            return Err(SignalingError::Expired);
        }
        if signal.timestamp.since(now) > MAX_AHEAD {
            return Err(SignalingError::FromFuture);
        }
        if ContentId::of(signal.payload.as_bytes()) != signal.payload_hash {
            return Err(SignalingError::PayloadHash);
        }
        Ok(self.verify(registry)?)
    }

    /// Returns whether [`Signed::check`] finds nothing wrong.
    pub fn holds(&self, own: &str, registry: &Registry, now: Timestamp) -> bool {
        self.check(own, registry, now).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registration::tests::{NOW, identity, registry};

    const TTL: Duration = Duration::from_secs(30);

    fn signal(signal_type: SignalType) -> Signed<Signaling> {
        let payload = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n".to_owned();
        Signaling::new(signal_type, ("peer-001", "peer-002"), payload, (NOW, TTL))
            .sign(&identity(1))
    }

    fn check(signal: &Signed<Signaling>, now: Timestamp) -> Result<(), SignalingError> {
        let (result, holds) = (
            signal.check("peer-002", &registry(), now),
            signal.holds("peer-002", &registry(), now),
        );
        assert_eq!(result.is_ok(), holds);
        result
    }

    #[test]
    fn row_030_an_expired_signal_is_false_a_fresh_one_true() {
        for signal_type in [SignalType::Offer, SignalType::Answer, SignalType::Ice] {
            let fresh = signal(signal_type);
            assert!(fresh.holds("peer-002", &registry(), NOW));
            let last = NOW.plus(TTL - Duration::from_millis(1));
            assert!(fresh.holds("peer-002", &registry(), last));
            assert!(!fresh.holds("peer-002", &registry(), NOW.plus(TTL)));
            assert_eq!(check(&fresh, NOW.plus(TTL)), Err(SignalingError::Expired));
        }
    }

    #[test]
    fn forged_swapped_and_misdirected_signals_are_false() {
        let honest = signal(SignalType::Offer);
        let forged = honest.record.clone().sign(&identity(3));
        assert!(matches!(check(&forged, NOW), Err(SignalingError::Sender(_))));
        let refused = honest.check("peer-003", &registry(), NOW);
        assert_eq!(refused, Err(SignalingError::OtherRecipient));

        let mut swapped = honest.clone();
        "v=0\r\no=- 1 1 IN IP4 10.6.6.6\r\n".clone_into(&mut swapped.record.payload);
        assert_eq!(check(&swapped, NOW), Err(SignalingError::PayloadHash));
        swapped.record.payload_hash = ContentId::of(swapped.record.payload.as_bytes());
        assert!(matches!(check(&swapped, NOW), Err(SignalingError::Sender(_))));

        let mut renamed = honest.clone();
        renamed.record.signal_type = SignalType::Answer;
        assert!(matches!(check(&renamed, NOW), Err(SignalingError::Sender(_))));
        let mut longer = honest.clone();
        longer.record.expires_at = longer.record.expires_at.plus(TTL);
        assert!(matches!(check(&longer, NOW), Err(SignalingError::Sender(_))));
        "nobody".clone_into(&mut longer.record.from);
        assert!(matches!(check(&longer, NOW), Err(SignalingError::Sender(_))));
    }

    #[test]
    fn nobody_signs_for_hours_or_from_the_future() {
        let mut long = signal(SignalType::Ice).record;
        long.expires_at = NOW.plus(MAX_SIGNAL_TTL + Duration::from_millis(1));
        assert_eq!(check(&long.sign(&identity(1)), NOW), Err(SignalingError::Expired));
        let mut ahead = signal(SignalType::Ice).record;
        ahead.timestamp = NOW.plus(MAX_AHEAD + Duration::from_millis(1));
        ahead.expires_at = ahead.timestamp.plus(TTL);
        assert_eq!(check(&ahead.sign(&identity(1)), NOW), Err(SignalingError::FromFuture));
    }

    #[test]
    fn the_signed_text_has_the_listed_keys() {
        let text = signal(SignalType::Offer).record.signed_text();
        let expected = format!(
            "{{\"expires_at\":1700000030000,\"from\":\"peer-001\",\"payload_hash\":\"{}\",\
             \"signal_type\":\"Offer\",\"timestamp\":1700000000000,\"to\":\"peer-002\"}}",
            ContentId::of(b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n")
        );
        assert_eq!(text, expected);
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_refused_or_says_the_same(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let honest = signal(SignalType::Offer);
            let mut bytes = serde_json::to_vec(&honest).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let Ok(read) = serde_json::from_slice::<Signed<Signaling>>(&bytes) else { return Ok(()) };
            prop_assert_eq!(check(&read, NOW).is_ok(), read == honest, "byte {}, bit {}", at, bit);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(serde_json::from_slice::<Signed<Signaling>>(&bytes).is_err());
        }
    }
}
