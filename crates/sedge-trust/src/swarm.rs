//! Who owns a swarm, and whom the owner admitted.

use std::fmt;
use std::path::Path;

use ed25519_dalek::{Signer as _, SigningKey};
use sedge_base::{ErrorKind, NodeId, SwarmId, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::canonical::{self, CanonicalError};
use crate::keyfile::{self, KeyFileError};
use crate::random::{RandomError, random_bytes};
use crate::signature::{BadSignature, SessionPublicKey, Signature, verify};

/// The name of the file that holds a swarm owner's key.
pub const OWNER_FILE: &str = "owner.key";

/// The longest name of a node or capability in a membership, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// The most capabilities or roles in a membership.
pub const MAX_LIST: usize = 256;

const MAGIC: &[u8; 8] = b"SEDGEOW1";

/// The key that admits nodes to a swarm; wiped on drop, never printed.
#[derive(Clone)]
pub struct Owner(SigningKey);

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owner").field(&self.swarm_id()).finish()
    }
}

impl Owner {
    /// Makes a new swarm's key from the operating system's random source.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when that source gives nothing.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self::from_seed(&Zeroizing::new(random_bytes()?)))
    }

    /// Makes the key from its Ed25519 seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads the key from [`OWNER_FILE`] in `dir`; `None` when this node owns no swarm.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`], which names the file and what is wrong with it.
    pub fn load(dir: &Path) -> Result<Option<Self>, KeyFileError> {
        let seed = keyfile::load(dir, OWNER_FILE, MAGIC)?;
        Ok(seed.map(|it| Self::from_seed(&it)))
    }

    /// Reads the key from [`OWNER_FILE`] in `dir`, or makes and stores a new one (mode 600).
    ///
    /// # Errors
    ///
    /// [`KeyFileError`], which names the file and what is wrong with it; it is never replaced.
    pub fn load_or_create(dir: &Path) -> Result<Self, KeyFileError> {
        if let Some(owner) = Self::load(dir)? {
            return Ok(owner);
        }
        let new = Self::generate()?;
        if keyfile::create(dir, OWNER_FILE, MAGIC, new.0.as_bytes())? {
            return Ok(new);
        }
        match Self::load(dir)? {
            Some(owner) => Ok(owner),
            None => Err(KeyFileError::Corrupt { path: dir.join(OWNER_FILE) }),
        }
    }

    /// Stores the key in [`OWNER_FILE`] in `dir`, for the next
    /// [`load_or_create`](Owner::load_or_create) there. Returns whether it was stored: a file that is
    /// there already is never replaced.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`], which names the file or folder and what is wrong with it.
    pub fn store(&self, dir: &Path) -> Result<bool, KeyFileError> {
        keyfile::create(dir, OWNER_FILE, MAGIC, self.0.as_bytes())
    }

    /// Returns the owner's public key, in the form of a node id; it is no node's id.
    pub fn public_key(&self) -> NodeId {
        NodeId::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Returns the Ed25519 seed, for the signatures that another library makes.
    pub(crate) fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    pub(crate) fn sign(&self, text: &[u8]) -> Signature {
        Signature::from_bytes(self.0.sign(text).to_bytes())
    }

    /// Returns the swarm's id: the first 8 bytes of the SHA-256 of the public key.
    pub fn swarm_id(&self) -> SwarmId {
        SwarmId::of_key(self.public_key().as_bytes())
    }

    /// Admits a node: signs a membership in this owner's swarm.
    ///
    /// # Errors
    ///
    /// [`AdmitError`] when the membership is for another swarm or is malformed.
    pub fn admit(&self, member: Member) -> Result<Membership, AdmitError> {
        if member.swarm_id != self.swarm_id() {
            return Err(AdmitError::OtherSwarm { named: member.swarm_id });
        }
        member.check()?;
        let text = canonical::jcs(&member)?;
        Ok(Membership { member, owner_signature: self.sign(&text) })
    }
}

/// What a node may be in a swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Holds the owner key and admits others.
    Owner,
    /// Runs tasks for others.
    Executor,
    /// Asks others to run tasks.
    Requester,
    /// May be elected to decide for the swarm (origins, part 4).
    Coordinator,
    /// Runs tasks and learns; what a node is when nothing else is said.
    Worker,
    /// Explores.
    Scout,
    /// Knows one field.
    Specialist,
}

impl Role {
    /// What a node may be in the work of the swarm; every one of them may be given.
    pub const DUTIES: [Self; 4] = [Self::Coordinator, Self::Worker, Self::Scout, Self::Specialist];

    /// Returns whether this is one of [`Role::DUTIES`]; the others are rights.
    pub const fn is_duty(self) -> bool {
        matches!(self, Self::Coordinator | Self::Worker | Self::Scout | Self::Specialist)
    }

    /// Returns the role's name, as it is written in a membership.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Executor => "executor",
            Self::Requester => "requester",
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::Scout => "scout",
            Self::Specialist => "specialist",
        }
    }
}

/// Returns whether a node with these roles may be elected coordinator.
pub fn may_coordinate(roles: &[Role]) -> bool {
    roles.contains(&Role::Coordinator)
}

/// Returns the duties among these roles; a worker's when there are none.
pub fn duties(roles: &[Role]) -> Vec<Role> {
    let duties: Vec<Role> = roles.iter().copied().filter(|it| it.is_duty()).collect();
    if duties.is_empty() { vec![Role::Worker] } else { duties }
}

/// The version of the membership's form; a field, so that it is signed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Version {
    /// The first form.
    #[default]
    #[serde(rename = "sedge-membership/1")]
    V1,
}

/// The facts of a membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The form of this record.
    pub version: Version,
    /// The swarm.
    pub swarm_id: SwarmId,
    /// The node that is admitted.
    pub node_id: NodeId,
    /// What people call it; see [`MAX_NAME_BYTES`].
    pub name: String,
    /// Its X25519 public key.
    pub session_key: SessionPublicKey,
    /// What it may offer, by name or pattern; see [`MAX_LIST`].
    pub capabilities: Vec<String>,
    /// When it was admitted.
    pub joined_at: Timestamp,
    /// What it may be.
    pub roles: Vec<Role>,
    /// Grows with every new membership of the same node; the greater one counts.
    pub epoch: u64,
    /// From when on the membership is void; `None`: until revoked.
    pub expires_at: Option<Timestamp>,
}

/// A membership that the owner signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// The facts.
    pub member: Member,
    /// By the owner, over the RFC 8785 form of `member`.
    pub owner_signature: Signature,
}

/// Why a node is not admitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// The membership names another swarm than the owner's.
    #[error("the membership is for another swarm, {named:?}")]
    OtherSwarm {
        /// The swarm that it names.
        named: SwarmId,
    },
    /// A field is empty or too long.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// A number is too large for JSON.
    #[error("the membership cannot be written down")]
    Canonical(#[from] CanonicalError),
}

impl AdmitError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// A field of a membership is empty or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a membership has a name of 1 to {MAX_NAME_BYTES} bytes, a session key, and lists of at most {MAX_LIST} short entries"
)]
pub struct MemberError;

impl Member {
    fn check(&self) -> Result<(), MemberError> {
        let short = |it: &String| !it.is_empty() && it.len() <= MAX_NAME_BYTES;
        let sound = short(&self.name)
            && !self.session_key.is_missing()
            && self.capabilities.len() <= MAX_LIST
            && self.capabilities.iter().all(short)
            && self.roles.len() <= MAX_LIST;
        sound.then_some(()).ok_or(MemberError)
    }
}

/// Why a membership is not valid here and now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// It is for another swarm.
    #[error("the membership is for another swarm, {named:?}")]
    OtherSwarm {
        /// The swarm that it names.
        named: SwarmId,
    },
    /// The owner did not sign it.
    #[error("the owner of the swarm did not sign this membership")]
    Owner(#[source] BadSignature),
    /// It is over.
    #[error("the membership ended at {at}")]
    Expired {
        /// When it ended.
        at: Timestamp,
    },
    /// A field is empty or too long.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// A number is too large for JSON.
    #[error("the membership cannot be written down")]
    Canonical(#[from] CanonicalError),
}

impl MembershipError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::OtherSwarm { .. } | Self::Expired { .. } => ErrorKind::Denied,
            Self::Owner(err) => err.kind(),
            Self::Member(_) | Self::Canonical(_) => ErrorKind::Invalid,
        }
    }
}

/// Verifies a membership against the owner's public key, which is known from elsewhere.
///
/// # Errors
///
/// [`MembershipError`], which says why it does not hold at `now`.
pub fn verify_membership(
    membership: &Membership,
    owner: &NodeId,
    now: Timestamp,
) -> Result<(), MembershipError> {
    let Membership { member, owner_signature } = membership;
    member.check()?;
    if member.swarm_id != SwarmId::of_key(owner.as_bytes()) {
        return Err(MembershipError::OtherSwarm { named: member.swarm_id });
    }
    verify(owner, &canonical::jcs(member)?, owner_signature).map_err(MembershipError::Owner)?;
    match member.expires_at {
        Some(at) if at <= now => Err(MembershipError::Expired { at }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn member(owner: &Owner) -> Member {
        Member {
            version: Version::V1,
            swarm_id: owner.swarm_id(),
            node_id: NodeId::from_bytes([7; 32]),
            name: "otter".to_owned(),
            session_key: SessionPublicKey::from_bytes([8; 32]),
            capabilities: vec!["fn-1".to_owned()],
            joined_at: NOW,
            roles: vec![Role::Executor, Role::Requester],
            epoch: 1,
            expires_at: Some(Timestamp::from_millis(NOW.as_millis() + 1000)),
        }
    }

    #[test]
    fn a_membership_holds_until_it_ends_in_its_swarm_only() {
        let (owner, other) = (Owner::from_seed(&[1; 32]), Owner::from_seed(&[2; 32]));
        let membership = owner.admit(member(&owner)).unwrap();
        let verify = |owner: &Owner, at: u64| {
            verify_membership(&membership, &owner.public_key(), Timestamp::from_millis(at))
        };
        let now = NOW.as_millis();
        assert!(verify(&owner, now).is_ok());
        assert!(verify(&owner, now + 999).is_ok());
        assert!(matches!(verify(&owner, now + 1000), Err(MembershipError::Expired { .. })));
        assert!(matches!(verify(&other, now), Err(MembershipError::OtherSwarm { .. })));
        assert!(matches!(other.admit(member(&owner)), Err(AdmitError::OtherSwarm { .. })));
    }

    #[test]
    fn a_node_is_a_worker_until_the_owner_says_otherwise() {
        assert_eq!(duties(&[Role::Executor, Role::Requester]), [Role::Worker]);
        assert_eq!(duties(&[Role::Executor, Role::Scout]), [Role::Scout]);
        assert!(!may_coordinate(&[Role::Owner, Role::Executor]));
        assert!(may_coordinate(&[Role::Executor, Role::Coordinator]));
        for role in Role::DUTIES {
            assert!(role.is_duty());
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        }
    }

    #[test]
    fn no_field_can_be_changed() {
        let owner = Owner::from_seed(&[1; 32]);
        let mut membership = owner.admit(member(&owner)).unwrap();
        membership.member.roles.push(Role::Owner);
        let refused = verify_membership(&membership, &owner.public_key(), NOW);
        assert!(matches!(refused, Err(MembershipError::Owner(_))));
    }

    #[test]
    fn the_owner_key_survives_a_restart() {
        let home = tempfile::tempdir().unwrap();
        assert!(Owner::load(home.path()).unwrap().is_none());
        let first = Owner::load_or_create(home.path()).unwrap();
        assert_eq!(Owner::load(home.path()).unwrap().unwrap().public_key(), first.public_key());
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_refused_or_says_the_same(
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let owner = Owner::from_seed(&[1; 32]);
            let honest = owner.admit(member(&owner)).unwrap();
            let mut bytes = serde_json::to_vec(&honest).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let Ok(read) = serde_json::from_slice::<Membership>(&bytes) else { return Ok(()) };
            // An id in capital letters is the same id.
            let holds = verify_membership(&read, &owner.public_key(), NOW).is_ok();
            prop_assert_eq!(holds, read == honest, "byte {}, bit {}", at, bit);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(serde_json::from_slice::<Membership>(&bytes).is_err());
        }
    }
}
