//! What has to survive a restart, as it is kept.

use std::time::Duration;

use sedge_base::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::level::TrustLevel;
use super::pair_token::Issued;

/// How long a record is kept after its end, so that whoever comes late is told why: one day.
pub const KEPT_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A person's yes to a node that asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The node: its key.
    pub node: NodeId,
    /// The name under which it asked; the approval is good for no other.
    pub name: String,
    /// When.
    pub at: Timestamp,
}

/// A node that is kept away for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The node: its key.
    pub node: NodeId,
    /// Since when.
    pub at: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Why, in words.
    pub reason: String,
}

/// How a member came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The node: its key.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// The mode that let it in.
    pub mode: String,
    /// How far it is trusted.
    pub trust: TrustLevel,
    /// When it came.
    pub began: Timestamp,
    /// When its membership ends; `None`: when it is revoked.
    pub ends: Option<Timestamp>,
}

/// One thing to put on disk; a newer one of the same kind and subject takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A person's yes.
    Approval(Approval),
    /// A ban.
    Ban(Ban),
    /// A pairing token.
    PairToken(Issued),
    /// How a member came in.
    Session(Session),
}

impl Record {
    /// Returns the stable name of its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Approval(_) => "approval",
            Self::Ban(_) => "ban",
            Self::PairToken(_) => "pair_token",
            Self::Session(_) => "session",
        }
    }

    /// Returns whom or what it is about.
    pub fn subject(&self) -> String {
        match self {
            Self::Approval(it) => it.node.to_string(),
            Self::Ban(it) => it.node.to_string(),
            Self::PairToken(it) => it.id.to_string(),
            Self::Session(it) => it.node.to_string(),
        }
    }

    /// Returns when it was made.
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Approval(it) => it.at,
            Self::Ban(it) => it.at,
            Self::PairToken(it) => it.at,
            Self::Session(it) => it.began,
        }
    }

    /// Returns when it ends, if it does.
    pub const fn ends(&self) -> Option<Timestamp> {
        match self {
            Self::Approval(_) => None,
            Self::Ban(it) => Some(it.until),
            Self::PairToken(it) => Some(it.expires),
            Self::Session(it) => it.ends,
        }
    }
}
