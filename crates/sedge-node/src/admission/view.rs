//! What doors see of admission: plain records.

use std::fmt;
use std::net::SocketAddr;

use sedge_base::{NodeId, Timestamp};
use sedge_trust::admission::{Approval, PairTokenId, Session, TrustLevel};
use serde::{Deserialize, Serialize};

/// Who knocks, who was let in, who is kept out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmissionView {
    /// Whether strangers are answered now.
    pub open: bool,
    /// The modes, in the order in which they are asked.
    pub modes: Vec<String>,
    /// Addresses for `sedge join --at ADDRESS`.
    pub addresses: Vec<SocketAddr>,
    /// Who waits for a person, those who came first at the beginning.
    pub pending: Vec<WaitingView>,
    /// Whom a person approved.
    pub approved: Vec<Approval>,
    /// How the members came in that were admitted here without a spoken code.
    pub sessions: Vec<Session>,
    /// Who is kept away, by the end of the ban.
    pub banned: Vec<BannedView>,
    /// Pairing tokens that were made here.
    pub pair_tokens: Vec<PairTokenView>,
}

/// A node that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingView {
    /// The node: its key.
    pub node: NodeId,
    /// The name that it claims.
    pub name: String,
    /// Always `tofu_pending`.
    pub trust: TrustLevel,
    /// When it asked first.
    pub requested_at: Timestamp,
    /// When it asked last.
    pub seen: Timestamp,
    /// Whether it is connected now, and hears the decision at once.
    pub connected: bool,
    /// What to type to let it in.
    pub approve: String,
}

/// A node that is kept away for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BannedView {
    /// The node: its key.
    pub node: NodeId,
    /// Since when.
    pub at: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

/// A pairing token without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairTokenView {
    /// Which one.
    pub id: PairTokenId,
    /// When it was made.
    pub at: Timestamp,
    /// Until when it holds.
    pub expires: Timestamp,
    /// Who paired with it, if somebody did.
    pub used_by: Option<NodeId>,
}

/// A new pairing token; the one time that its text is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairTokenMade {
    /// Which one.
    pub id: PairTokenId,
    /// The token: whoever has it can pair one machine.
    pub token: String,
    /// Until when it holds.
    pub expires: Timestamp,
    /// Addresses for `sedge join --at ADDRESS`.
    pub addresses: Vec<SocketAddr>,
    /// What to type on the other machine, or to draw as a QR code.
    pub join: String,
}

impl fmt::Debug for PairTokenMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairTokenMade").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What was decided about a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// `approved`, `rejected`, `banned` or `unbanned`.
    pub status: String,
    /// The node: its key.
    pub node: NodeId,
    /// The name that it claimed, where one is known.
    pub name: Option<String>,
    /// Whether it was connected, and heard the decision at once.
    pub told: bool,
    /// When a ban ends.
    pub until: Option<Timestamp>,
}

/// How this node was let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// The mode that let it in.
    pub mode: String,
    /// How far it is trusted.
    pub trust: TrustLevel,
    /// When the membership ends; `None`: when it is revoked.
    pub ends: Option<Timestamp>,
}
