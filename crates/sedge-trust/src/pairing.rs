//! Two nodes that share a short code get a strong key, and nobody else does.
//!
//! SPAKE2, then a confirmation by both sides that is bound to both node ids and both transport
//! keys. There is no input or output here: the caller carries three messages each way.
//!
//! 1. Each side calls [`Exchange::start`] and sends the message it gets.
//! 2. Each side gives the other's message to [`Exchange::answer`] and sends the tag it gets; the
//!    inviter only after [`Confirming::confirm`] accepted the joiner's tag.
//! 3. [`Channel`] then seals the registration and the membership.
//!
//! A wrong code shows at the tag. The inviter must have burnt its [`Invite`] before step 1.

mod code;
mod invite;
mod words;

use std::fmt;

use hkdf::Hkdf;
use sedge_base::{ErrorKind, NodeId};
use sha2::{Digest as _, Sha256};
use spake2::{Ed25519Group, Identity as Name, Password, Spake2};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::cipher::{SealError, Sealed};
use crate::session::SessionKey;

pub use code::{Code, CodeError, MAX_CODE_BYTES};
pub use invite::{INVITE_TTL, Invite, Refused};

/// The length of the first message of each side, in bytes.
pub const MESSAGE_BYTES: usize = 33;

/// The length of a confirmation tag, in bytes.
pub const TAG_BYTES: usize = 32;

/// The largest text that goes through a [`Channel`], in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 10;

/// Which end of the exchange this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Made the code.
    Inviter,
    /// Typed the code.
    Joiner,
}

/// One end, as the other one sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Party {
    /// Its node id.
    pub node_id: NodeId,
    /// The key that the transport authenticated; often the same bytes.
    pub transport_key: [u8; 32],
}

/// Both ends; equal on both sides unless somebody sits between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parties {
    /// Who made the code.
    pub inviter: Party,
    /// Who typed it.
    pub joiner: Party,
}

impl Party {
    fn bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(self.node_id.as_bytes());
        bytes[32..].copy_from_slice(&self.transport_key);
        bytes
    }
}

/// Why a pairing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// The other side's message is not one of this exchange.
    #[error("the other side's pairing message is malformed")]
    Malformed,
    /// The codes differ, or somebody sits between the two nodes.
    #[error("the code is wrong, or somebody is between the two machines")]
    WrongCode,
    /// A sealed text was changed, repeated, moved or is not for this exchange.
    #[error("a sealed pairing message was changed or is out of order")]
    NotSealedHere,
    /// A text is larger than a channel carries.
    #[error("a pairing payload has at most {MAX_PAYLOAD_BYTES} bytes")]
    TooLarge,
    /// A text could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl PairError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed => ErrorKind::Invalid,
            Self::WrongCode | Self::NotSealedHere => ErrorKind::Unauthenticated,
            Self::TooLarge => ErrorKind::Exhausted,
            Self::Seal(err) => err.kind(),
        }
    }
}

/// An exchange that waits for the other side's first message.
pub struct Exchange {
    side: Side,
    parties: Parties,
    secret: Spake2<Ed25519Group>,
    sent: Vec<u8>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("side", &self.side).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Starts an exchange and returns it with the message to send, [`MESSAGE_BYTES`] long.
    pub fn start(side: Side, code: &Code, parties: Parties) -> (Self, Vec<u8>) {
        let password = Password::new(code.to_string());
        let inviter = Name::new(&parties.inviter.bytes());
        let joiner = Name::new(&parties.joiner.bytes());
        let (secret, sent) = match side {
            Side::Inviter => Spake2::start_a(&password, &inviter, &joiner),
            Side::Joiner => Spake2::start_b(&password, &inviter, &joiner),
        };
        (Self { side, parties, secret, sent: sent.clone() }, sent)
    }

    /// Takes the other side's message and returns the own tag, [`TAG_BYTES`] long.
    ///
    /// # Errors
    ///
    /// [`PairError::Malformed`] when it is not a message of the other side.
    pub fn answer(self, received: &[u8]) -> Result<(Confirming, [u8; TAG_BYTES]), PairError> {
        let shared = self.secret.finish(received).map_err(|_| PairError::Malformed)?;
        let shared = Zeroizing::new(shared);
        let (from_inviter, from_joiner) = match self.side {
            Side::Inviter => (&self.sent[..], received),
            Side::Joiner => (received, &self.sent[..]),
        };
        // Every part has a fixed length, so that joining them is unambiguous.
        let transcript: [u8; 32] = Sha256::new()
            .chain_update(b"sedge-pairing/1")
            .chain_update(self.parties.inviter.bytes())
            .chain_update(self.parties.joiner.bytes())
            .chain_update(from_inviter)
            .chain_update(from_joiner)
            .finalize()
            .into();
        let keys = Hkdf::<Sha256>::new(Some(&transcript), &shared);
        let key = |label: &[u8]| {
            let mut key = [0; 32];
            keys.expand(label, &mut key).map(|()| key).map_err(|_| PairError::Malformed)
        };
        let inviter = (key(b"inviter confirms")?, key(b"inviter seals")?);
        let joiner = (key(b"joiner confirms")?, key(b"joiner seals")?);
        let (own, other) = match self.side {
            Side::Inviter => (inviter, joiner),
            Side::Joiner => (joiner, inviter),
        };
        let channel = Channel {
            transcript,
            sealing: SessionKey::from_bytes(own.1),
            opening: SessionKey::from_bytes(other.1),
            sealed: 0,
            opened: 0,
        };
        Ok((Confirming { expected: Zeroizing::new(other.0), channel }, own.0))
    }
}

/// An exchange that waits for the other side's tag.
#[derive(Debug)]
pub struct Confirming {
    expected: Zeroizing<[u8; TAG_BYTES]>,
    channel: Channel,
}

impl Confirming {
    /// Checks the other side's tag, in constant time.
    ///
    /// # Errors
    ///
    /// [`PairError::WrongCode`] when the codes differ or somebody sits between the two nodes.
    pub fn confirm(self, tag: &[u8]) -> Result<Channel, PairError> {
        if !bool::from(self.expected[..].ct_eq(tag)) {
            return Err(PairError::WrongCode);
        }
        Ok(self.channel)
    }
}

/// Seals and opens texts between two nodes that proved to know the same code.
///
/// Texts are opened in the order in which they were sealed; none is opened twice.
pub struct Channel {
    transcript: [u8; 32],
    sealing: SessionKey,
    opening: SessionKey,
    sealed: u64,
    opened: u64,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Channel(…)")
    }
}

impl Channel {
    /// Seals a text for the other side.
    ///
    /// # Errors
    ///
    /// [`PairError`] when the text is too large or there is no randomness.
    pub fn seal(&mut self, text: &[u8]) -> Result<Sealed, PairError> {
        if text.len() > MAX_PAYLOAD_BYTES {
            return Err(PairError::TooLarge);
        }
        let sealed = Sealed::seal(&self.sealing, text, &self.context(self.sealed))?;
        self.sealed += 1;
        Ok(sealed)
    }

    /// Opens the next text from the other side.
    ///
    /// # Errors
    ///
    /// [`PairError::NotSealedHere`] when it is not that text, unchanged.
    pub fn open(&mut self, sealed: &Sealed) -> Result<Vec<u8>, PairError> {
        if sealed.ciphertext.len() > MAX_PAYLOAD_BYTES {
            return Err(PairError::TooLarge);
        }
        let context = self.context(self.opened);
        let text = sealed.open(&self.opening, &context).map_err(|_| PairError::NotSealedHere)?;
        self.opened += 1;
        Ok(text)
    }

    fn context(&self, place: u64) -> [u8; 40] {
        let mut context = [0; 40];
        context[..32].copy_from_slice(&self.transcript);
        context[32..].copy_from_slice(&place.to_be_bytes());
        context
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn party(byte: u8) -> Party {
        Party { node_id: NodeId::from_bytes([byte; 32]), transport_key: [byte; 32] }
    }

    const fn code(word: u8) -> Code {
        Code::from_random([6, 10, word, 20])
    }

    type Ends = (Result<Channel, PairError>, Result<Channel, PairError>);

    fn pair(codes: [&Code; 2], seen_by_inviter: Parties, seen_by_joiner: Parties) -> Ends {
        let (inviter, from_inviter) = Exchange::start(Side::Inviter, codes[0], seen_by_inviter);
        let (joiner, from_joiner) = Exchange::start(Side::Joiner, codes[1], seen_by_joiner);
        assert_eq!(from_inviter.len(), MESSAGE_BYTES);
        let (inviter, inviter_tag) = inviter.answer(&from_joiner).unwrap();
        let (joiner, joiner_tag) = joiner.answer(&from_inviter).unwrap();
        (inviter.confirm(&joiner_tag), joiner.confirm(&inviter_tag))
    }

    fn parties() -> Parties {
        Parties { inviter: party(1), joiner: party(2) }
    }

    #[test]
    fn the_right_code_opens_a_channel_both_ways() {
        let (inviter, joiner) = pair([&code(1), &code(1)], parties(), parties());
        let (mut inviter, mut joiner) = (inviter.unwrap(), joiner.unwrap());
        let registration = joiner.seal(b"registration").unwrap();
        assert_eq!(inviter.open(&registration).unwrap(), b"registration");
        assert_eq!(inviter.open(&registration), Err(PairError::NotSealedHere));
        let membership = inviter.seal(b"membership").unwrap();
        assert_eq!(inviter.open(&membership), Err(PairError::NotSealedHere));
        assert_eq!(joiner.open(&membership).unwrap(), b"membership");
    }

    #[test]
    fn a_wrong_code_shows_on_both_sides() {
        let (inviter, joiner) = pair([&code(1), &code(2)], parties(), parties());
        assert_eq!(inviter.unwrap_err(), PairError::WrongCode);
        assert_eq!(joiner.unwrap_err(), PairError::WrongCode);
    }

    #[test]
    fn somebody_in_between_shows_even_with_the_right_code() {
        let mut other = parties();
        other.joiner.transport_key = [3; 32];
        let (inviter, joiner) = pair([&code(1), &code(1)], other, parties());
        assert_eq!(inviter.unwrap_err(), PairError::WrongCode);
        assert_eq!(joiner.unwrap_err(), PairError::WrongCode);
    }

    #[test]
    fn an_echo_is_refused() {
        let (inviter, sent) = Exchange::start(Side::Inviter, &code(1), parties());
        assert_eq!(inviter.answer(&sent).unwrap_err(), PairError::Malformed);
        let (inviter, _) = Exchange::start(Side::Inviter, &code(1), parties());
        let (_, from_joiner) = Exchange::start(Side::Joiner, &code(1), parties());
        let (confirming, own_tag) = inviter.answer(&from_joiner).unwrap();
        assert_eq!(confirming.confirm(&own_tag).unwrap_err(), PairError::WrongCode);
    }

    proptest! {
        #[test]
        fn a_flipped_bit_of_a_message_or_tag_never_pairs(
            place in 0..MESSAGE_BYTES + TAG_BYTES,
            bit in 0_u8..8,
        ) {
            let (inviter, from_inviter) = Exchange::start(Side::Inviter, &code(1), parties());
            let (joiner, mut from_joiner) = Exchange::start(Side::Joiner, &code(1), parties());
            if place < MESSAGE_BYTES {
                from_joiner[place] ^= 1 << bit;
            }
            let Ok((inviter, inviter_tag)) = inviter.answer(&from_joiner) else { return Ok(()) };
            let (joiner, mut joiner_tag) = joiner.answer(&from_inviter).unwrap();
            if let Some(at) = place.checked_sub(MESSAGE_BYTES) {
                joiner_tag[at] ^= 1 << bit;
            } else {
                prop_assert_eq!(joiner.confirm(&inviter_tag).unwrap_err(), PairError::WrongCode);
            }
            prop_assert_eq!(inviter.confirm(&joiner_tag).unwrap_err(), PairError::WrongCode);
        }

        #[test]
        fn a_flipped_bit_of_a_sealed_text_is_refused(
            place in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let (inviter, joiner) = pair([&code(1), &code(1)], parties(), parties());
            let (mut inviter, mut joiner) = (inviter.unwrap(), joiner.unwrap());
            let honest = joiner.seal(b"registration").unwrap();
            let mut altered = honest.clone();
            let Sealed { ciphertext, iv, tag } = &mut altered;
            let mut bytes: Vec<_> = ciphertext.iter_mut().chain(iv).chain(tag).collect();
            let at = place.index(bytes.len());
            *bytes[at] ^= 1 << bit;
            prop_assert_eq!(inviter.open(&altered), Err(PairError::NotSealedHere));
            prop_assert_eq!(inviter.open(&honest).unwrap(), b"registration");
        }

        #[test]
        fn garbage_never_pairs(message in prop::collection::vec(any::<u8>(), 0..40)) {
            let (inviter, _) = Exchange::start(Side::Inviter, &code(1), parties());
            if let Ok((confirming, _)) = inviter.answer(&message) {
                prop_assert_eq!(confirming.confirm(&message).unwrap_err(), PairError::WrongCode);
            }
        }
    }
}
