//! Where an entry lies: in the open, or in a space that only some members can read.

use std::fmt;
use std::str::FromStr;

use sedge_base::{ErrorKind, NodeId};
use serde::{Deserialize, Serialize};

/// The name of the space that every member reads.
const OPEN: &str = "open";

/// The longest name of a space, in characters.
const MAX_SPACE_NAME: usize = 64;

/// A space of the graph.
///
/// A closed space carries its founder's key in its id: nobody else can say who may read it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Space {
    /// Every member reads and writes it.
    Open,
    /// Only members that hold its key read and write it; the others keep and carry what they
    /// cannot read. Written `name@founder`.
    Closed {
        /// What its founder calls it.
        name: String,
        /// Who says who may read it.
        founder: NodeId,
    },
}

/// Why a text names no space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a space is `open` or `name@founder`; its name has 1 to 64 of a-z, 0-9 and -")]
pub struct SpaceError;

impl SpaceError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Space {
    /// Returns the space that a node founds under a name.
    ///
    /// # Errors
    ///
    /// [`SpaceError`] when the name is none.
    pub fn founded(name: &str, founder: NodeId) -> Result<Self, SpaceError> {
        let good = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
        let fits = (1..=MAX_SPACE_NAME).contains(&name.len()) && name.chars().all(good);
        if !fits || name == OPEN {
            return Err(SpaceError);
        }
        Ok(Self::Closed { name: name.to_owned(), founder })
    }

    /// Returns what people call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Open => OPEN,
            Self::Closed { name, .. } => name,
        }
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str(OPEN),
            Self::Closed { name, founder } => write!(f, "{name}@{founder}"),
        }
    }
}

impl FromStr for Space {
    type Err = SpaceError;

    fn from_str(text: &str) -> Result<Self, SpaceError> {
        if text == OPEN {
            return Ok(Self::Open);
        }
        let (name, founder) = text.split_once('@').ok_or(SpaceError)?;
        Self::founded(name, founder.parse().map_err(|_| SpaceError)?)
    }
}

impl TryFrom<String> for Space {
    type Error = SpaceError;

    fn try_from(text: String) -> Result<Self, SpaceError> {
        text.parse()
    }
}

impl From<Space> for String {
    fn from(space: Space) -> Self {
        space.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_is_read_as_it_is_written() {
        let space = Space::founded("team-1", NodeId::from_bytes([7; 32])).unwrap();
        assert_eq!(space.to_string().parse(), Ok(space));
        assert_eq!("open".parse(), Ok(Space::Open));
        let founder = "07".repeat(32);
        for text in ["", "team", "@", "Team@", &format!("open@{founder}"), &format!("é@{founder}")]
        {
            assert_eq!(text.parse::<Space>(), Err(SpaceError), "{text}");
        }
    }
}
