//! Keys and registrations under the names that the older API gives them.

use std::sync::Arc;

use sedge_base::{Clock, ErrorKind};
use sedge_trust::{Identity, RandomError, seed};

/// A member's signed word about itself: id, both public keys, what it offers, since when.
pub type RegisteredMember = seed::Registration;

/// Why no registration was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// There was no randomness to make keys of.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The id or a capability cannot be signed.
    #[error(transparent)]
    Text(#[from] seed::RegistrationError),
}

impl RegistrationError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Random(err) => err.kind(),
            Self::Text(err) => err.kind(),
        }
    }
}

/// A registration that is offered to a swarm, or why there is none: what
/// [`super::P2PSwarmV2::register_member`] takes, so that the result of
/// [`IdentityManager::create_registration`] can be handed over as it is.
#[derive(Debug, Clone)]
pub struct Offer(pub(super) Result<RegisteredMember, RegistrationError>);

impl From<RegisteredMember> for Offer {
    fn from(it: RegisteredMember) -> Self {
        Self(Ok(it))
    }
}

impl From<Result<RegisteredMember, RegistrationError>> for Offer {
    fn from(it: Result<RegisteredMember, RegistrationError>) -> Self {
        Self(it)
    }
}

/// One member's keys.
#[derive(Debug, Clone)]
pub struct IdentityManager {
    keys: Result<Arc<Identity>, RandomError>,
    clock: Clock,
}

impl Default for IdentityManager {
    fn default() -> Self {
        Self::new()
    }
}

impl IdentityManager {
    /// Makes new keys from the operating system's random source; if that gave nothing, every use
    /// of the keys says so.
    pub fn new() -> Self {
        Self { keys: Identity::generate().map(Arc::new), clock: Clock::machine() }
    }

    /// Takes keys that are there already.
    pub const fn with_identity(identity: Arc<Identity>, clock: Clock) -> Self {
        Self { keys: Ok(identity), clock }
    }

    /// Returns the keys.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when there was no randomness to make them of.
    pub fn identity(&self) -> Result<&Arc<Identity>, RandomError> {
        self.keys.as_ref().map_err(|err| *err)
    }

    /// Signs a registration of these keys under an id, with the date of now.
    ///
    /// # Errors
    ///
    /// [`RegistrationError`] when there are no keys, or a text holds a zero byte.
    pub fn create_registration(
        &self,
        agent_id: &str,
        capabilities: Vec<String>,
    ) -> Result<RegisteredMember, RegistrationError> {
        let identity = self.identity()?;
        Ok(RegisteredMember::sign(identity, agent_id, capabilities, self.clock.now())?)
    }
}
