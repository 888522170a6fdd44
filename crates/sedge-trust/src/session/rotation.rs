//! Sessions whose key really changes: each epoch has a key of its own, made from fresh secrets.
//!
//! Epoch 0 has the key of [`super::derive`]. A rotation is an offer and an answer, each signed with
//! the node's registered key and carrying a fresh X25519 key; the new key comes from both fresh
//! secrets and both standing ones, with the epoch's number and both fresh keys in HKDF's info. The
//! fresh secrets are wiped at once, so whoever steals the standing ones later reads no epoch but 0.
//! What was sealed under the key before is still opened for a grace time, then that key is wiped.
//!
//! When both sides offer at once, the offer of the smaller node id counts. Offers and answers may
//! be lost and sent again: an offer is repeated as it was, and answered as it was.

use std::fmt;
use std::time::Duration;

use hkdf::Hkdf;
use sedge_base::{ErrorKind, NodeId, SwarmId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{SessionKey, WeakKey, derive, salt};
use crate::canonical::{self, CanonicalError, ReadError};
use crate::cipher::{self, OpenFailed, Sealed};
use crate::identity::Identity;
use crate::random::{RandomError, random_bytes};
use crate::signature::{BadSignature, SessionPublicKey, Signature, verify};

/// The largest encoded offer or answer that is read, in bytes.
pub const MAX_REKEY_BYTES: usize = 1024;

/// The most texts that are sealed under one key: random nonces stay unlike each other up to there
/// (NIST SP 800-38D, 8.3).
pub const MAX_SEALED: u64 = 1 << 32;

/// The form of a rekey record; a field, so that it is signed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum RekeyVersion {
    /// The first form.
    #[default]
    #[serde(rename = "sedge-rekey/1")]
    V1,
}

/// One side's part of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RekeyFacts {
    /// The form of this record.
    pub version: RekeyVersion,
    /// The swarm whose session it is.
    pub swarm_id: SwarmId,
    /// Who says this.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// The epoch that begins.
    pub epoch: u64,
    /// The fresh X25519 key of this side.
    pub fresh: SessionPublicKey,
    /// In an answer, the fresh key of the offer; an offer has none.
    pub answers: Option<SessionPublicKey>,
}

/// An offer to rotate, or the answer to one, signed by its sender over the RFC 8785 form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rekey {
    /// What is said.
    pub facts: RekeyFacts,
    /// By `facts.from`.
    pub signature: Signature,
}

impl Rekey {
    fn sign(facts: RekeyFacts, own: &Identity) -> Result<Self, CanonicalError> {
        Ok(Self { facts, signature: own.sign(&canonical::jcs(&facts)?) })
    }

    /// Returns the bytes that travel: the RFC 8785 form.
    ///
    /// # Errors
    ///
    /// [`CanonicalError`] when the epoch is too large for JSON.
    pub fn encode(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::jcs(self)
    }

    /// Reads the bytes that travelled; nothing is verified yet.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when they are too many, of another form, or not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        canonical::read_jcs(bytes, MAX_REKEY_BYTES)
    }
}

/// What an offer or an answer led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotated {
    /// The next epoch has begun here; this answer goes to the peer.
    Answer(Box<Rekey>),
    /// The peer answered our offer: the next epoch has begun on both sides.
    Done,
    /// Both sides offered and ours counts: the peer will answer it. Nothing changed.
    OursCounts,
}

/// Why a session was not made or its key not changed. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// The record is for another session.
    #[error("the offer or answer belongs to another session")]
    OtherSession,
    /// Its sender did not sign it.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// The epoch is not the next one: an old record, or one that was lost between.
    #[error("the offer is for epoch {named}, the session is in epoch {current}")]
    Epoch {
        /// The epoch of the record.
        named: u64,
        /// The session's epoch.
        current: u64,
    },
    /// Nothing was offered that this answers.
    #[error("nothing was offered that this answers")]
    NotAsked,
    /// The peer's key gives no secret.
    #[error(transparent)]
    Weak(#[from] WeakKey),
    /// No random bytes for a fresh key.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The epoch is too large for JSON.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

impl RotateError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::OtherSession => ErrorKind::Denied,
            Self::Signature(err) => err.kind(),
            Self::Epoch { .. } | Self::NotAsked => ErrorKind::Conflict,
            Self::Weak(err) => err.kind(),
            Self::Random(err) => err.kind(),
            Self::Canonical(err) => err.kind(),
        }
    }
}

/// A text sealed for the peer of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionMessage {
    /// Under which epoch's key.
    pub epoch: u64,
    /// Grows with every message of a side in an epoch, from 1.
    pub counter: u64,
    /// The text; epoch, counter, swarm, sender and recipient are bound to it.
    pub sealed: Sealed,
}

/// Why a text was not sealed for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// [`MAX_SEALED`] texts were sealed under this key: rotate.
    #[error("{MAX_SEALED} messages were sealed under this key: rotate it first")]
    Worn,
    /// The cipher refused.
    #[error(transparent)]
    Cipher(#[from] cipher::SealError),
}

impl SealError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Worn => ErrorKind::Exhausted,
            Self::Cipher(err) => err.kind(),
        }
    }
}

/// Why a message of a session was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The key of that epoch is gone, or was never here.
    #[error("the message is of epoch {named}; the session is in epoch {current}")]
    Epoch {
        /// The epoch of the message.
        named: u64,
        /// The session's epoch.
        current: u64,
    },
    /// A message with this counter or a later one was opened before.
    #[error("replay detected: the message has counter {got}, the last one had {last}")]
    Repeated {
        /// The counter of the last opened message.
        last: u64,
        /// The counter of this one.
        got: u64,
    },
    /// Another key, another sender or recipient, or a changed text.
    #[error(transparent)]
    Cipher(#[from] OpenFailed),
}

impl OpenError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Epoch { .. } | Self::Repeated { .. } => ErrorKind::Denied,
            Self::Cipher(_) => ErrorKind::Unauthenticated,
        }
    }
}

/// One key and how much it was used.
#[derive(Debug)]
struct Epoch {
    number: u64,
    key: SessionKey,
    sealed: u64,
    opened: u64,
}

impl Epoch {
    const fn new(number: u64, key: SessionKey) -> Self {
        Self { number, key, sealed: 0, opened: 0 }
    }
}

/// An offer that waits for its answer.
struct Pending {
    secret: StaticSecret,
    offer: Rekey,
}

/// What two members share, and how it changes.
pub struct Session {
    swarm: SwarmId,
    own: NodeId,
    peer: NodeId,
    peer_key: SessionPublicKey,
    grace: Duration,
    current: Epoch,
    previous: Option<(Epoch, Timestamp)>,
    pending: Option<Pending>,
    answered: Option<(SessionPublicKey, Rekey)>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("peer", &self.peer)
            .field("epoch", &self.current.number)
            .field("offered", &self.pending.is_some())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Begins a session in epoch 0, under the key that both sides derive without a message.
    ///
    /// `peer` and `peer_key` are what the registry says; `grace` is how long the key before stays
    /// good for reading after a rotation.
    ///
    /// # Errors
    ///
    /// [`WeakKey`] when the peer's key gives no secret.
    pub fn new(
        own: &Identity,
        (peer, peer_key): (NodeId, SessionPublicKey),
        swarm: SwarmId,
        grace: Duration,
    ) -> Result<Self, WeakKey> {
        let current = Epoch::new(0, derive(own, &peer_key, swarm)?);
        let (own, previous, pending, answered) = (own.node_id(), None, None, None);
        Ok(Self { swarm, own, peer, peer_key, grace, current, previous, pending, answered })
    }

    /// Returns the number of the present epoch; rotations count it up.
    pub const fn epoch(&self) -> u64 {
        self.current.number
    }

    /// Returns the present key.
    pub const fn key(&self) -> &SessionKey {
        &self.current.key
    }

    /// Returns an offer to begin the next epoch. The present key stays until the answer comes; as
    /// long as none has come, the same offer is returned again.
    ///
    /// # Errors
    ///
    /// [`RotateError`] when there is no randomness.
    pub fn offer(&mut self, own: &Identity) -> Result<Rekey, RotateError> {
        if let Some(pending) = &self.pending {
            return Ok(pending.offer);
        }
        let secret = fresh()?;
        let offer = Rekey::sign(self.facts(self.current.number + 1, &secret, None), own)?;
        self.pending = Some(Pending { secret, offer });
        Ok(offer)
    }

    /// Takes an offer or an answer of the peer.
    ///
    /// # Errors
    ///
    /// [`RotateError`] when it is not of this session and peer, old, or was not asked for.
    pub fn receive(
        &mut self,
        own: &Identity,
        rekey: &Rekey,
        now: Timestamp,
    ) -> Result<Rotated, RotateError> {
        let facts = &rekey.facts;
        if (facts.swarm_id, facts.from, facts.to) != (self.swarm, self.peer, self.own) {
            return Err(RotateError::OtherSession);
        }
        verify(&self.peer, &canonical::jcs(facts)?, &rekey.signature)?;
        match facts.answers {
            None => self.answer(own, facts, now),
            Some(answered) => self.complete(own, facts, answered, now),
        }
    }

    fn answer(
        &mut self,
        own: &Identity,
        offer: &RekeyFacts,
        now: Timestamp,
    ) -> Result<Rotated, RotateError> {
        let (named, current) = (offer.epoch, self.current.number);
        if let Some((_, again)) = self.answered.filter(|(it, _)| *it == offer.fresh) {
            return Ok(Rotated::Answer(Box::new(again)));
        }
        if named != current + 1 {
            return Err(RotateError::Epoch { named, current });
        }
        if self.pending.is_some() && self.own < self.peer {
            return Ok(Rotated::OursCounts);
        }
        let secret = fresh()?;
        let facts = self.facts(named, &secret, Some(offer.fresh));
        let key = self.next_key(own, &secret, (&facts.fresh, &offer.fresh), named)?;
        let answer = Rekey::sign(facts, own)?;
        self.begin(Epoch::new(named, key), now);
        self.answered = Some((offer.fresh, answer));
        Ok(Rotated::Answer(Box::new(answer)))
    }

    fn complete(
        &mut self,
        own: &Identity,
        answer: &RekeyFacts,
        answered: SessionPublicKey,
        now: Timestamp,
    ) -> Result<Rotated, RotateError> {
        let asked = self.pending.as_ref().map(|it| (it.offer.facts.fresh, it.offer.facts.epoch));
        let Some(pending) =
            self.pending.as_ref().filter(|_| asked == Some((answered, answer.epoch)))
        else {
            return Err(RotateError::NotAsked);
        };
        let both = (&answered, &answer.fresh);
        let key = self.next_key(own, &pending.secret, both, answer.epoch)?;
        self.begin(Epoch::new(answer.epoch, key), now);
        self.answered = None;
        Ok(Rotated::Done)
    }

    /// Seals a text for the peer under the present key.
    ///
    /// # Errors
    ///
    /// [`SealError`] when the key is worn out, the text too long, or there is no randomness.
    pub fn seal(&mut self, text: &[u8]) -> Result<SessionMessage, SealError> {
        if self.current.sealed >= MAX_SEALED {
            return Err(SealError::Worn);
        }
        let (epoch, counter) = (self.current.number, self.current.sealed + 1);
        let context = self.context((self.own, self.peer), epoch, counter);
        let sealed = Sealed::seal(&self.current.key, text, &context)?;
        self.current.sealed = counter;
        Ok(SessionMessage { epoch, counter, sealed })
    }

    /// Opens a message of the peer, each once: of the present epoch, or of the one before as long
    /// as its grace time lasts.
    ///
    /// # Errors
    ///
    /// [`OpenError`], which says why not; nothing changes.
    pub fn open(&mut self, message: &SessionMessage, now: Timestamp) -> Result<Vec<u8>, OpenError> {
        self.forget(now);
        let &SessionMessage { epoch: named, counter: got, ref sealed } = message;
        let context = self.context((self.peer, self.own), named, got);
        let current = self.current.number;
        let previous = self.previous.as_mut().map(|(it, _)| it);
        let epoch = [Some(&mut self.current), previous].into_iter().flatten();
        let Some(epoch) = epoch.into_iter().find(|it| it.number == named) else {
            return Err(OpenError::Epoch { named, current });
        };
        if got <= epoch.opened {
            return Err(OpenError::Repeated { last: epoch.opened, got });
        }
        let text = sealed.open(&epoch.key, &context)?;
        epoch.opened = got;
        Ok(text)
    }

    /// Wipes the key before the present one when its grace time is over. [`Session::open`] does so
    /// too; call it now and then where no messages come.
    pub fn forget(&mut self, now: Timestamp) {
        self.previous.take_if(|(_, until)| now >= *until);
    }

    fn begin(&mut self, next: Epoch, now: Timestamp) {
        let before = std::mem::replace(&mut self.current, next);
        self.previous = Some((before, now.plus(self.grace)));
        self.pending = None;
    }

    fn facts(
        &self,
        epoch: u64,
        secret: &StaticSecret,
        answers: Option<SessionPublicKey>,
    ) -> RekeyFacts {
        RekeyFacts {
            version: RekeyVersion::V1,
            swarm_id: self.swarm,
            from: self.own,
            to: self.peer,
            epoch,
            fresh: SessionPublicKey::from_bytes(PublicKey::from(secret).to_bytes()),
            answers,
        }
    }

    /// Returns the key of an epoch, from one's own fresh secret and both fresh public keys.
    fn next_key(
        &self,
        own: &Identity,
        secret: &StaticSecret,
        (ours, theirs): (&SessionPublicKey, &SessionPublicKey),
        epoch: u64,
    ) -> Result<SessionKey, WeakKey> {
        // Whichever of the two is ours, the other one is the peer's.
        let public = SessionPublicKey::from_bytes(PublicKey::from(secret).to_bytes());
        let peer = if *ours == public { theirs } else { ours };
        let fresh = secret.diffie_hellman(&PublicKey::from(*peer.as_bytes()));
        let standing =
            own.session_secret().diffie_hellman(&PublicKey::from(*self.peer_key.as_bytes()));
        if !fresh.was_contributory() || !standing.was_contributory() {
            return Err(WeakKey);
        }
        let mut secrets = Zeroizing::new([0; 64]);
        secrets[..32].copy_from_slice(fresh.as_bytes());
        secrets[32..].copy_from_slice(standing.as_bytes());
        let mut info = format!("p2p-swarm-v2:{}:epoch:{epoch}:", self.swarm).into_bytes();
        info.extend_from_slice(ours.as_bytes().min(theirs.as_bytes()));
        info.extend_from_slice(ours.as_bytes().max(theirs.as_bytes()));
        let salt = salt(&own.session_public_key(), &self.peer_key);
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(&salt), &secrets[..])
            .expand(&info, &mut key[..])
            .map_err(|_| WeakKey)?;
        Ok(SessionKey(key))
    }

    fn context(&self, (from, to): (NodeId, NodeId), epoch: u64, counter: u64) -> Vec<u8> {
        let mut context = b"sedge-session/1\0".to_vec();
        context.extend_from_slice(self.swarm.as_bytes());
        context.extend_from_slice(from.as_bytes());
        context.extend_from_slice(to.as_bytes());
        context.extend_from_slice(&epoch.to_be_bytes());
        context.extend_from_slice(&counter.to_be_bytes());
        context
    }
}

fn fresh() -> Result<StaticSecret, RandomError> {
    let bytes = Zeroizing::new(random_bytes()?);
    Ok(StaticSecret::from(*bytes))
}

#[cfg(test)]
mod tests;
