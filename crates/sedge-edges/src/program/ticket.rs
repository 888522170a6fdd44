//! What an edge is told when it is enrolled: where its node is, by what both know each other, and
//! whose word counts.

use std::fmt;

use sedge_base::{ErrorKind, NodeId};
use serde::{Deserialize, Serialize};

use crate::registration::{EdgeId, RegistrationError};

/// The longest ticket, in bytes of its JSON.
const MAX_BYTES: usize = 64 << 10;

/// The version of the ticket's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
enum Version {
    #[default]
    #[serde(rename = "sedge-edge-ticket/1")]
    V1,
}

/// What an edge is told when it is enrolled; a secret, because of its token.
///
/// It comes from the owner of the swarm by a way of their own, not over the node: the owner's key in
/// it is what approvals are checked against.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    version: Version,
    edge: String,
    /// Where the node's doors are for other machines: `HOST:PORT`.
    pub core: String,
    /// The certificate in PEM of the authority that vouches for the node.
    pub authority: String,
    /// The token that makes its holder this edge.
    pub token: String,
    /// The public key of the swarm's owner.
    pub owner: NodeId,
}

/// Why a text is no ticket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// It is too long.
    #[error("a ticket has at most 64 KiB")]
    TooLong,
    /// It is of another form.
    #[error("this is no ticket of an edge")]
    Form(#[source] serde_json::Error),
    /// It names no edge.
    #[error("the ticket names no edge")]
    Edge(#[from] RegistrationError),
}

impl TicketError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Ticket {
    /// Makes a ticket.
    pub fn new(edge: &EdgeId, core: &str, authority: String, token: String, owner: NodeId) -> Self {
        let (edge, core) = (edge.to_string(), core.to_owned());
        Self { version: Version::V1, edge, core, authority, token, owner }
    }

    /// Reads a ticket's JSON.
    ///
    /// # Errors
    ///
    /// [`TicketError`], which says what is wrong.
    pub fn parse(text: &str) -> Result<Self, TicketError> {
        if text.len() > MAX_BYTES {
            return Err(TicketError::TooLong);
        }
        let ticket: Self = serde_json::from_str(text).map_err(TicketError::Form)?;
        ticket.edge()?;
        Ok(ticket)
    }

    /// Returns which edge it is for.
    ///
    /// # Errors
    ///
    /// [`TicketError::Edge`] when the name is none.
    pub fn edge(&self) -> Result<EdgeId, TicketError> {
        Ok(self.edge.parse()?)
    }
}

impl fmt::Debug for Ticket {
    /// Prints everything but the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("edge", &self.edge)
            .field("core", &self.core)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_as_it_was_written_and_prints_no_token() {
        let edge: EdgeId = "kitchen".parse().unwrap();
        let owner = NodeId::from_bytes([1; 32]);
        let ticket = Ticket::new(&edge, "box:1", "PEM".to_owned(), "a-secret".to_owned(), owner);
        let text = serde_json::to_string(&ticket).unwrap();
        assert_eq!(Ticket::parse(&text).unwrap(), ticket);
        assert_eq!(ticket.edge().unwrap(), edge);
        assert!(!format!("{ticket:?}").contains("a-secret"));
        let bad = text.replace("kitchen", "kit chen");
        assert!(matches!(Ticket::parse(&bad), Err(TicketError::Edge(_))));
        assert!(matches!(Ticket::parse("{}"), Err(TicketError::Form(_))));
        assert!(matches!(Ticket::parse(&" ".repeat(MAX_BYTES + 1)), Err(TicketError::TooLong)));
    }
}
