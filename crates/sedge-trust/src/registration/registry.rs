//! Who goes by which id and key in one swarm.

use std::collections::HashMap;

use sedge_base::{ErrorKind, NodeId, SwarmId, Timestamp};

use super::{Facts, Registration, VerifyError};
use crate::seed;
use crate::signature::{BadSignature, Signature, verify};

/// The most members of a registry.
pub const MAX_MEMBERS: usize = 10_000;

/// The most audit entries that wait for [`Registry::take_audit`].
pub const MAX_AUDIT: usize = 1024;

/// How far a registration's date may lie ahead of ours, in ms (as for envelopes).
const MAX_AHEAD_MS: u64 = 60_000;

/// What became of a registration that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The id is new here.
    Added,
    /// It replaces an earlier one of the same key.
    Renewed,
    /// The same registration was here already.
    Unchanged,
}

/// Why a registration is refused. Nothing but the audit changes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// It does not hold by itself: other swarm, a missing field, a wrong signature.
    #[error(transparent)]
    Registration(#[from] VerifyError),
    /// A registration of the older protocol does not hold by itself.
    #[error(transparent)]
    Older(#[from] seed::RegistrationError),
    /// The id belongs to another key.
    #[error("`{agent_id}` is registered with another key, {known:?}, not {claimed:?}")]
    OtherKey {
        /// The id.
        agent_id: String,
        /// The key that it is registered with.
        known: NodeId,
        /// The key that signed this registration.
        claimed: NodeId,
    },
    /// The key has another id already.
    #[error("{node_id:?} is registered as `{known}` already")]
    OtherId {
        /// The key.
        node_id: NodeId,
        /// The id that it has.
        known: String,
    },
    /// A later registration of the same key is known, so this one was recorded and sent again.
    #[error("a registration made at {known} is known already")]
    Outdated {
        /// When the known one was made.
        known: Timestamp,
    },
    /// It was made more than a minute in the future.
    #[error("the registration was made in the future, at {joined_at}")]
    FromFuture {
        /// When it says it was made.
        joined_at: Timestamp,
    },
    /// The registry is full.
    #[error("the registry is full: it has {MAX_MEMBERS} members")]
    Full,
}

impl RegisterError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Registration(err) => err.kind(),
            Self::Older(err) => err.kind(),
            Self::OtherKey { .. } => ErrorKind::Denied,
            Self::OtherId { .. } | Self::Outdated { .. } => ErrorKind::Conflict,
            Self::FromFuture { .. } => ErrorKind::Invalid,
            Self::Full => ErrorKind::Exhausted,
        }
    }
}

/// Nobody is registered under this id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sender `{agent_id}` is not in the registry")]
pub struct UnknownSender {
    /// The id.
    pub agent_id: String,
}

/// Why a text is not by a registered member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyFromError {
    /// Nobody is registered under the id.
    #[error(transparent)]
    Unknown(#[from] UnknownSender),
    /// The registered key did not sign the text.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

impl VerifyFromError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Unauthenticated
    }
}

/// What an operator should be able to look up later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// When it happened here.
    pub at: Timestamp,
    /// The id that it is about.
    pub agent_id: String,
    /// The key that signed the registration.
    pub node_id: NodeId,
    /// What happened.
    pub event: AuditEvent,
}

/// What happened to an id of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditEvent {
    /// The id was added.
    Added,
    /// Its registration was replaced by a later one of the same key.
    Renewed,
    /// Another key wanted the id and was refused.
    OtherKeyRefused {
        /// The key that the id is registered with.
        known: NodeId,
    },
    /// The id was taken out.
    Removed,
}

/// The members of one swarm by their ids; the one place where keys come from.
///
/// The first key that registers an id keeps it until [`Registry::remove`]; a key has one id.
#[derive(Debug)]
pub struct Registry {
    swarm: SwarmId,
    members: HashMap<String, Facts>,
    ids: HashMap<NodeId, String>,
    audit: Vec<Audit>,
    unheard: u64,
}

impl Registry {
    /// Makes the empty registry of a swarm.
    pub fn new(swarm: SwarmId) -> Self {
        let (members, ids) = (HashMap::new(), HashMap::new());
        Self { swarm, members, ids, audit: Vec::new(), unheard: 0 }
    }

    /// Returns the swarm.
    pub const fn swarm_id(&self) -> SwarmId {
        self.swarm
    }

    /// Takes a registration in, or refuses it.
    ///
    /// Every change, and every refusal of another key for a known id, leaves an audit entry.
    ///
    /// # Errors
    ///
    /// [`RegisterError`], which says why; the members stay as they were.
    pub fn register(
        &mut self,
        registration: &Registration,
        now: Timestamp,
    ) -> Result<Outcome, RegisterError> {
        registration.verify(self.swarm)?;
        self.take_in(&registration.facts, now)
    }

    /// Takes a registration of the older protocol in, or refuses it.
    ///
    /// It does not name its swarm: the caller has proof that its sender belongs to this one, such
    /// as that it came under the swarm's key from the node that it names.
    ///
    /// # Errors
    ///
    /// As [`Registry::register`].
    pub fn register_older(
        &mut self,
        registration: &seed::Registration,
        now: Timestamp,
    ) -> Result<Outcome, RegisterError> {
        registration.verify()?;
        let facts = Facts {
            version: super::Version::V1,
            swarm_id: self.swarm,
            agent_id: registration.agent_id.clone(),
            node_id: registration.ed25519_public_key,
            session_key: registration.x25519_public_key,
            capabilities: registration.capabilities.clone(),
            joined_at: registration.joined_at,
        };
        facts.check().map_err(VerifyError::Facts)?;
        self.take_in(&facts, now)
    }

    fn take_in(&mut self, facts: &Facts, now: Timestamp) -> Result<Outcome, RegisterError> {
        let joined_at = facts.joined_at;
        if joined_at.as_millis() > now.as_millis().saturating_add(MAX_AHEAD_MS) {
            return Err(RegisterError::FromFuture { joined_at });
        }
        let outcome = match self.members.get(&facts.agent_id) {
            Some(known) if known.node_id != facts.node_id => {
                let known = known.node_id;
                self.note(now, facts, AuditEvent::OtherKeyRefused { known });
                let (agent_id, claimed) = (facts.agent_id.clone(), facts.node_id);
                return Err(RegisterError::OtherKey { agent_id, known, claimed });
            }
            Some(known) if known == facts => return Ok(Outcome::Unchanged),
            Some(known) if known.joined_at >= joined_at => {
                return Err(RegisterError::Outdated { known: known.joined_at });
            }
            Some(_) => Outcome::Renewed,
            None => {
                if let Some(known) = self.ids.get(&facts.node_id) {
                    let (node_id, known) = (facts.node_id, known.clone());
                    return Err(RegisterError::OtherId { node_id, known });
                }
                if self.members.len() >= MAX_MEMBERS {
                    return Err(RegisterError::Full);
                }
                Outcome::Added
            }
        };
        let event = if outcome == Outcome::Added { AuditEvent::Added } else { AuditEvent::Renewed };
        self.note(now, facts, event);
        self.ids.insert(facts.node_id, facts.agent_id.clone());
        self.members.insert(facts.agent_id.clone(), facts.clone());
        Ok(outcome)
    }

    /// Takes a member out, which frees its id and its key; `None` when there is none.
    ///
    /// Its last registration would be accepted again: what keeps a node out is that its
    /// membership is not renewed, or that the caller refuses its key.
    pub fn remove(&mut self, agent_id: &str, now: Timestamp) -> Option<Facts> {
        let facts = self.members.remove(agent_id)?;
        self.ids.remove(&facts.node_id);
        self.note(now, &facts, AuditEvent::Removed);
        Some(facts)
    }

    /// Returns the member with this id.
    pub fn member(&self, agent_id: &str) -> Option<&Facts> {
        self.members.get(agent_id)
    }

    /// Returns whether a node is registered, under whatever id.
    pub fn contains_node(&self, node: &NodeId) -> bool {
        self.ids.contains_key(node)
    }

    /// Returns every member, in no order.
    pub fn members(&self) -> impl Iterator<Item = &Facts> {
        self.members.values()
    }

    /// Checks a text against the key that is registered for `agent_id`, whatever key the text or
    /// its sender may name.
    ///
    /// # Errors
    ///
    /// [`VerifyFromError`] when the id is unknown or its key did not sign the text.
    pub fn verify_from(
        &self,
        agent_id: &str,
        text: &[u8],
        signature: &Signature,
    ) -> Result<&Facts, VerifyFromError> {
        let facts = self
            .members
            .get(agent_id)
            .ok_or_else(|| UnknownSender { agent_id: agent_id.to_owned() })?;
        verify(&facts.node_id, text, signature)?;
        Ok(facts)
    }

    /// Takes the waiting audit entries, oldest first, and the number of those that found no room.
    ///
    /// When [`MAX_AUDIT`] wait, later ones are only counted, so that nobody can push an entry out.
    pub fn take_audit(&mut self) -> (Vec<Audit>, u64) {
        (std::mem::take(&mut self.audit), std::mem::take(&mut self.unheard))
    }

    fn note(&mut self, at: Timestamp, facts: &Facts, event: AuditEvent) {
        if self.audit.len() >= MAX_AUDIT {
            self.unheard = self.unheard.saturating_add(1);
            return;
        }
        let (agent_id, node_id) = (facts.agent_id.clone(), facts.node_id);
        self.audit.push(Audit { at, agent_id, node_id, event });
    }
}
