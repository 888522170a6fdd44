//! The side that knocks without a code: at an address, with a token, or for a person to decide.

use std::sync::Arc;
use std::time::Duration;

use sedge_base::NodeId;
use sedge_trust::TreeHash;
use sedge_trust::admission::{Transcript, Typed};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use super::join::{self, Entry, JoinFailed, Joining};
use super::knock::{self, Bid, Head};
use crate::admission::approve_command;
use crate::node::{Node, internal};
use crate::view::Joined;

/// How to knock.
#[derive(Debug, Clone)]
pub struct Asking {
    /// Where the other machine is, `host:port`.
    pub at: String,
    /// What a person typed, if they typed something.
    pub typed: Option<Typed>,
    /// How long to wait for a person on the other side.
    pub wait: Duration,
}

/// A person on the other machine has to decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskWaits {
    /// The other node.
    pub node: NodeId,
    /// Its name, as it says.
    pub name: String,
    /// What the person there types to let this node in.
    pub approve: String,
}

impl Node {
    /// Asks the node at an address to be let in, and waits for a person there if it has to; `told` says
    /// when that begins.
    ///
    /// # Errors
    ///
    /// [`JoinFailed`], with the way when it did not lead there; with the code `approval_pending` when
    /// nobody decided in time: the request stays on the list there.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the wait; the request stays on the list there.
    pub async fn ask_to_join(
        self: &Arc<Self>,
        asking: Asking,
        told: &watch::Sender<Option<AskWaits>>,
    ) -> Result<Joined, JoinFailed> {
        let began = Instant::now();
        self.may_join()?;
        let Asking { at, typed, wait } = asking;
        let open = self.mesh.open(self).await?;
        let joining = Joining::begin(self);
        let conn = join::at_address(&open, &at).await?;
        let head = Head {
            name: self.name.clone(),
            session_key: self.identity.session_public_key(),
            addresses: self.mesh.addresses(),
            nonce: TreeHash::from_bytes(Transcript::fresh().map_err(internal)?),
        };
        let waits = |node: NodeId, name: &str| {
            let approve = approve_command(&self.id());
            told.send_replace(Some(AskWaits { node, name: name.to_owned(), approve }));
        };
        let bid = Bid { head: &head, typed: typed.as_ref(), waits: &waits, wait };
        let (welcome, admitted) = knock::ask(&conn, self, bid).await?;
        let admitted = Some(admitted);
        let entry = Entry { way: "address", conn: &conn, welcome, admitted, through: None };
        let joined = self.joined(entry, began).await?;
        drop(joining);
        Ok(joined)
    }
}
