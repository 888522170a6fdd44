//! Who may become a member: one [`Mode`] for each way to show it, one [`Desk`] that asks them in order.
//!
//! There is no input or output here, and no clock: the caller carries the messages, gives the date,
//! and puts every [`Record`] of an answer on disk before it tells anybody what was decided.
//!
//! Invariants: who knocks is what the transport has proven, and nothing is remembered under a claimed
//! name alone; a secret never travels, only an HMAC over both ends and a fresh challenge
//! ([`Transcript`]), compared in constant time; one name belongs to one key; whoever gives
//! [`MAX_ATTEMPTS`] wrong proofs within [`ATTEMPTS_WITHIN`] is banned for [`BAN_TIME`]; everything that
//! a stranger makes grow has a limit.

mod attempts;
mod book;
#[cfg(test)]
mod conformance;
mod desk;
mod level;
mod modes;
mod pair_token;
mod proof;
mod record;
mod refusal;

use std::fmt;

use sedge_base::{NodeId, Timestamp};

pub use attempts::{ATTEMPTS_WITHIN, BAN_TIME, MAX_ATTEMPTS, MAX_COUNTED};
pub use book::{Book, MAX_APPROVALS, MAX_WAITING, PickError, WAITING_TIME, Waiting};
pub use desk::{Approved, Desk, Judged};
pub use level::{TrustLevel, UnknownLevel};
pub use modes::{
    DEV, Device, MAX_SECRET_BYTES, MIN_SECRET_BYTES, MODES, ModeSettings, PAIR_TOKEN, Showing,
    TOFU, TOKEN,
};
pub use pair_token::{
    Issued, MAX_PAIR_TOKENS, PAIR_TOKEN_PREFIX, PAIR_TOKEN_TTL, PairToken, PairTokenError,
    PairTokenId,
};
pub use proof::{Answer, NONCE_BYTES, Proof, Transcript, Typed};
pub use record::{Approval, Ban, KEPT_AFTER, Record, Session};
pub use refusal::Refusal;

/// How long a login by challenge holds: 24 hours (origins, part 5.1).
pub const SESSION_TIME: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// Where a knock comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From this very machine.
    Loopback,
    /// From anywhere else.
    Elsewhere,
}

/// Somebody who wants to become a member, and what they showed.
#[derive(Debug, Clone)]
pub struct Knock<'a> {
    /// Both ends, as the transport has proven them, the claimed name, and what each side made up for
    /// this one knock.
    pub transcript: &'a Transcript,
    /// What was answered to the challenge.
    pub answer: &'a Answer,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether a member with another key has the claimed name.
    pub name_taken: bool,
    /// Whether the owner took this node's membership back.
    pub revoked: bool,
    /// When.
    pub now: Timestamp,
}

impl Knock<'_> {
    /// Returns the node that knocks: the key that its connection has proven.
    pub const fn peer(&self) -> NodeId {
        self.transcript.joiner
    }

    /// Returns the name that it claims.
    pub fn name(&self) -> &str {
        &self.transcript.name
    }
}

/// What a mode gives to somebody whom it lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The mode that let them in.
    pub mode: &'static str,
    /// How far they are trusted.
    pub trust: TrustLevel,
    /// When the membership ends; `None`: when it is revoked.
    pub ends: Option<Timestamp>,
    /// This node's own proof that it knows the secret, if there is one.
    pub proof: Option<crate::signature::Mac>,
}

/// What becomes of a knock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Come in.
    Admitted(Grant),
    /// A person decides; see [`Desk::approve`] and [`Desk::reject`].
    Waits,
    /// No.
    Refused(Refusal),
}

/// One way to be admitted.
///
/// It runs after the ban and the name were checked, in the order of the configuration, as long as no
/// mode before it let the knock in or made it wait. It may look at nothing but the knock and the book,
/// may write into the book only what is about this peer, and must not admit anybody for a claimed name
/// or key alone. Every implementation passes the conformance check.
pub trait Mode: fmt::Debug + Send + Sync {
    /// Returns the stable name that the configuration uses, such as `token`.
    fn name(&self) -> &'static str;

    /// Judges a knock. What has to be on disk goes to `records`.
    fn judge(&self, knock: &Knock<'_>, book: &mut Book, records: &mut Vec<Record>) -> Verdict;

    /// Returns whether a person decides here; only such a mode brings back who was revoked.
    fn asks_a_person(&self) -> bool {
        false
    }
}
