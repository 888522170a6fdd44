//! Where a function may send requests and open connections, and what the host adds to requests on their way.
//!
//! Invariants: what is not named is refused; a secret is put into a request after the guest has let go
//! of it, the guest never sees that request again, and an answer that repeats the secret is broken off; a
//! secret goes to the places that it is bound to on its node, encrypted or within this machine, whatever
//! a deployment says; this machine and its networks are reached where the node's configuration names the
//! place, whatever a host's name resolves to.

mod added;
mod place;
mod screen;
mod secrets;
mod send;
mod walls;

use sedge_base::ErrorKind;
use serde::{Deserialize, Serialize};

pub use added::Added;
pub use place::Place;
pub use secrets::{Bound, LEAST_SECRET, MOST_SECRET, NoSecrets, Secrets, check_secret_name};
pub use walls::Reach;

pub(crate) use added::{FillError, Filled};
pub(crate) use place::{Aim, Scheme};
pub(crate) use send::{Answered, Client, Sending, Stream, Transfer, connect};
pub(crate) use walls::Walls;

/// The longest place, header or value with its gaps, in bytes.
const MOST_TEXT: usize = 1024;

/// Why a text is no place, no added header or no name of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct OutboundError {
    /// The text, cut.
    text: String,
    /// What it should be.
    wanted: &'static str,
}

impl OutboundError {
    fn new(text: &str, wanted: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), wanted }
    }

    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// What a function may reach outside, and what the host adds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outbound {
    /// Where it may send requests and open connections; nowhere when empty.
    pub places: Vec<Place>,
    /// Headers that the host adds.
    pub headers: Vec<Added>,
}

impl Outbound {
    /// Returns whether it reaches nothing.
    pub const fn is_empty(&self) -> bool {
        self.places.is_empty() && self.headers.is_empty()
    }

    pub(crate) fn covers(&self, aim: &Aim) -> bool {
        self.places.iter().any(|it| it.covers(aim))
    }

    /// Returns whether it may open connections of its own anywhere.
    pub(crate) fn has_sockets(&self) -> bool {
        self.places.iter().any(|it| it.takes(Scheme::Tcp))
    }

    /// Returns whether it may look up the addresses of a host for connections of its own.
    pub(crate) fn looks_up(&self, host: &str) -> bool {
        self.places.iter().any(|it| it.takes(Scheme::Tcp) && it.names(host))
    }

    /// Returns the headers for a request; `Err` says what its node lacks.
    pub(crate) fn fill(&self, aim: &Aim, known: &dyn Secrets) -> Result<Vec<Filled>, FillError> {
        let fit = self.headers.iter().filter(|it| it.place().covers(aim));
        fit.map(|it| it.fill(aim, known)).collect()
    }
}

/// Feeds a place or an added header to its reader; returns whether it was one.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    if let Ok(added) = text.parse::<Added>() {
        assert_eq!(added.to_string().parse(), Ok(added), "it is written as it is read");
        return true;
    }
    let Ok(place) = text.parse::<Place>() else { return false };
    assert_eq!(place.to_string().parse(), Ok(place), "it is written as it is read");
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "((https?|tcp|rediss?|[*])://)?[a-zA-Z.*:\\[\\]@/?0-9 -]{0,40}( x=[{}A-Z]{0,9})?") {
            prop_assert_eq!(feed(text.as_bytes()), text.parse::<Added>().is_ok() || text.parse::<Place>().is_ok());
        }
    }
}
