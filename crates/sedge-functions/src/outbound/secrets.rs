//! Secrets of a node, as those who send requests see them.

use std::fmt;

use sedge_base::Secret;

use super::{OutboundError, Place};

/// The longest secret, in bytes.
pub const MOST_SECRET: usize = 16 << 10;
/// The shortest secret, in bytes: answers are looked through for it, and a shorter one is everywhere.
pub const LEAST_SECRET: usize = 8;
/// The longest name of a secret, in bytes.
const MOST_NAME: usize = 64;

const NAME: &str = "the name of a secret: 1 to 64 capital letters, digits and underscores";

/// Gives the secrets of a node to requests that leave it.
pub trait Secrets: fmt::Debug + Send + Sync + 'static {
    /// Returns the secret of this name, if the node has it; called for each request that needs it.
    fn get(&self, name: &str) -> Option<Bound>;
}

/// A secret and the only places that it may be sent to.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The value.
    pub value: Secret<String>,
    /// Where it may go.
    pub places: Vec<Place>,
}

/// A node without secrets.
#[derive(Debug, Clone, Copy)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn get(&self, _: &str) -> Option<Bound> {
        None
    }
}

/// Checks the name of a secret.
///
/// # Errors
///
/// [`OutboundError`], which says what a name is.
pub fn check_secret_name(name: &str) -> Result<(), OutboundError> {
    let fits = |it: u8| it.is_ascii_uppercase() || it.is_ascii_digit() || it == b'_';
    let sound = (1..=MOST_NAME).contains(&name.len()) && name.bytes().all(fits);
    sound.then_some(()).ok_or_else(|| OutboundError::new(name, NAME))
}
