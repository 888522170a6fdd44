//! Why somebody is not admitted: the texts and the stable names that the other side sees.

use sedge_base::{ErrorKind, Timestamp};

/// Why a knock is refused. The first texts are those of origins, part 5.1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The proof was not made with the token that the configuration has for this name.
    #[error("invalid authentication token")]
    WrongToken,
    /// The configuration has no token or device of this name.
    #[error("edge not in allowed list")]
    NotAllowed,
    /// Another key has the name.
    #[error("edge ID already in use: `{name}` belongs to another key")]
    IdInUse {
        /// The claimed name.
        name: String,
    },
    /// A person has to decide, and the joiner does not wait any longer.
    #[error("TOFU approval pending")]
    Pending,
    /// A person said no.
    #[error("TOFU request rejected")]
    Rejected,
    /// The answer to the challenge is wrong.
    #[error("the answer to the challenge is wrong")]
    WrongAnswer,
    /// Too many wrong proofs, or the owner said so.
    #[error("banned until {until}: {reason}")]
    Banned {
        /// When the ban ends.
        until: Timestamp,
        /// Why.
        reason: String,
    },
    /// No pairing token of this node, or not proven to be known.
    #[error("no such pairing token was made here, or it is long over")]
    UnknownPairToken,
    /// Somebody paired with it.
    #[error("this pairing token was used already; each may be used once")]
    UsedPairToken,
    /// Its time is over.
    #[error("this pairing token expired at {at}")]
    ExpiredPairToken {
        /// When.
        at: Timestamp,
    },
    /// The `dev` mode lets in this machine alone.
    #[error("the `dev` mode admits programs of its own machine only")]
    NotLoopback,
    /// The owner took the membership back.
    #[error("the owner revoked this node; a new invitation or a person's approval brings it back")]
    Revoked,
    /// As many wait as may.
    #[error("too many requests wait for approval; try again later")]
    Full,
    /// A newer connection of the same node waits in its place.
    #[error("another request of the same node took the place of this one")]
    Replaced,
    /// No mode is configured.
    #[error("no authenticators configured")]
    NoModes,
}

impl Refusal {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::WrongToken | Self::WrongAnswer | Self::UnknownPairToken => {
                ErrorKind::Unauthenticated
            }
            Self::IdInUse { .. } | Self::Replaced => ErrorKind::Conflict,
            Self::Pending => ErrorKind::Unavailable,
            Self::Full => ErrorKind::Exhausted,
            Self::NotAllowed
            | Self::Rejected
            | Self::Banned { .. }
            | Self::UsedPairToken
            | Self::ExpiredPairToken { .. }
            | Self::NotLoopback
            | Self::Revoked
            | Self::NoModes => ErrorKind::Denied,
        }
    }

    /// Returns the stable name that machines read.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::WrongToken => "invalid_token",
            Self::NotAllowed => "not_allowed",
            Self::IdInUse { .. } => "id_in_use",
            Self::Pending => "approval_pending",
            Self::Rejected => "approval_rejected",
            Self::WrongAnswer => "wrong_answer",
            Self::Banned { .. } => "banned",
            Self::UnknownPairToken => "unknown_pair_token",
            Self::UsedPairToken => "used_pair_token",
            Self::ExpiredPairToken { .. } => "expired_pair_token",
            Self::NotLoopback => "not_loopback",
            Self::Revoked => "revoked",
            Self::Full => "too_many_waiting",
            Self::Replaced => "replaced",
            Self::NoModes => "no_modes",
        }
    }

    /// Returns whether somebody guessed: such refusals are counted, and lead to a ban.
    pub(super) const fn is_wrong_proof(&self) -> bool {
        matches!(self, Self::WrongToken | Self::WrongAnswer | Self::UnknownPairToken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_those_of_the_origins() {
        let said = |it: Refusal| it.to_string();
        assert_eq!(said(Refusal::WrongToken), "invalid authentication token");
        assert_eq!(said(Refusal::NotAllowed), "edge not in allowed list");
        let taken = said(Refusal::IdInUse { name: "edge-1".to_owned() });
        assert!(taken.starts_with("edge ID already in use"), "{taken}");
        assert_eq!(said(Refusal::Pending), "TOFU approval pending");
        assert_eq!(said(Refusal::Rejected), "TOFU request rejected");
        assert_eq!(said(Refusal::NoModes), "no authenticators configured");
    }

    #[test]
    fn a_ban_names_its_end() {
        let until = Timestamp::from_millis(1_700_000_000_000);
        let ban = Refusal::Banned { until, reason: "5 wrong proofs".to_owned() };
        assert_eq!(ban.to_string(), "banned until 2023-11-14T22:13:20.000Z: 5 wrong proofs");
    }
}
