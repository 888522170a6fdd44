//! How two ends of a connection show each other that they belong to the same swarm.
//!
//! The connection has proven both keys. Each end then sends its registration under the swarm's
//! key, bound to the swarm and to both ends, so it is of no use on any other connection; the
//! registration must be of the very key that the connection proved.

use sedge_base::{ErrorKind, NodeId, SwarmId};
use sedge_trust::session::SessionKey;
use sedge_trust::{OpenFailed, SealError, Sealed};

use super::identity::RegisteredMember;

/// The largest hello that is read, in bytes.
pub(super) const MAX_HELLO_BYTES: u64 = 512 << 10;

/// Who says hello to whom, in which swarm.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) swarm: SwarmId,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
}

impl Ends {
    fn context(&self) -> Vec<u8> {
        let mut context = b"sedge-swarm-hello/1\0".to_vec();
        context.extend_from_slice(self.swarm.as_bytes());
        context.extend_from_slice(self.from.as_bytes());
        context.extend_from_slice(self.to.as_bytes());
        context
    }
}

/// Why somebody's hello was not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// It is no hello.
    #[error("the peer's hello cannot be read")]
    Form(#[source] serde_json::Error),
    /// It was not made with this swarm's key, or for another connection.
    #[error("the peer does not have this swarm's key")]
    OtherSwarm(#[from] OpenFailed),
    /// Our own could not be made.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It registers another key than the one that the connection proved.
    #[error("the peer registers {named:?}, the connection proved {proven:?}")]
    OtherKey {
        /// The key in the registration.
        named: NodeId,
        /// The key of the connection.
        proven: NodeId,
    },
}

impl HelloError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Form(_) => ErrorKind::Invalid,
            Self::OtherSwarm(_) | Self::OtherKey { .. } => ErrorKind::Denied,
            Self::Seal(err) => err.kind(),
        }
    }
}

/// Writes our hello.
pub(super) fn write(
    key: &SessionKey,
    ends: Ends,
    registration: &RegisteredMember,
) -> Result<Vec<u8>, HelloError> {
    let plain = serde_json::to_vec(registration).map_err(HelloError::Form)?;
    let sealed = Sealed::seal(key, &plain, &ends.context())?;
    serde_json::to_vec(&sealed).map_err(HelloError::Form)
}

/// Reads the peer's hello; the registration is still to be verified.
pub(super) fn read(
    key: &SessionKey,
    ends: Ends,
    bytes: &[u8],
) -> Result<RegisteredMember, HelloError> {
    let sealed: Sealed = serde_json::from_slice(bytes).map_err(HelloError::Form)?;
    let plain = sealed.open(key, &ends.context())?;
    let registration: RegisteredMember =
        serde_json::from_slice(&plain).map_err(HelloError::Form)?;
    let (named, proven) = (registration.ed25519_public_key, ends.from);
    if named == proven { Ok(registration) } else { Err(HelloError::OtherKey { named, proven }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sedge_base::Timestamp;
    use sedge_trust::Identity;

    use super::*;

    fn ends(from: u8, to: u8) -> Ends {
        let [from, to] = [from, to].map(|it| Identity::from_bytes(&[it; 64]).node_id());
        Ends { swarm: SwarmId::of_key(&[1; 32]), from, to }
    }

    fn hello(number: u8) -> Vec<u8> {
        let identity = Identity::from_bytes(&[number; 64]);
        let now = Timestamp::from_millis(1_700_000_000_000);
        let registration = RegisteredMember::sign(&identity, "a", vec!["b".to_owned()], now);
        write(&SessionKey::from_bytes([1; 32]), ends(1, 2), &registration.unwrap()).unwrap()
    }

    #[test]
    fn a_hello_holds_on_its_own_connection_alone() {
        let key = SessionKey::from_bytes([1; 32]);
        assert_eq!(read(&key, ends(1, 2), &hello(1)).unwrap().agent_id, "a");
        for (from, to) in [(2, 1), (1, 3), (3, 2)] {
            let refused = read(&key, ends(from, to), &hello(1)).unwrap_err();
            assert!(matches!(refused, HelloError::OtherSwarm(_)), "{refused}");
        }
        let other = SessionKey::from_bytes([2; 32]);
        assert!(matches!(read(&other, ends(1, 2), &hello(1)), Err(HelloError::OtherSwarm(_))));
        assert!(matches!(read(&key, ends(1, 2), &hello(3)), Err(HelloError::OtherKey { .. })));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(read(&SessionKey::from_bytes([1; 32]), ends(1, 2), &bytes).is_err());
        }
    }
}
