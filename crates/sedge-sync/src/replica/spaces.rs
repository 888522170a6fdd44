//! Closed spaces: founding one, saying who reads it, and the keys that this node was given.

use std::collections::BTreeSet;

use sedge_base::NodeId;
use sedge_store::Fault;
use sedge_trust::session::{SessionKey, derive};
use sedge_trust::{SealError, random_bytes};
use serde::{Deserialize, Serialize};

use super::{Replica, WriteError, place};
use crate::entry::Fact;
use crate::sealed::{GRANTS, grant_key};
use crate::space::Space;
use crate::value::Value;

/// A space as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceView {
    /// Its id.
    pub space: Space,
    /// What its founder calls it.
    pub name: String,
    /// Whether this node can read it.
    pub readable: bool,
    /// The number of its newest key; `None` in the open.
    pub key: Option<u32>,
    /// Who was given the newest key; empty in the open, where everybody reads.
    pub readers: Vec<NodeId>,
    /// How many keys of the graph have a value in it.
    pub entries: usize,
}

impl Replica {
    /// Returns the key that this node and another share; this node and itself, too.
    fn shared_key(&self, other: &NodeId) -> Option<SessionKey> {
        let public = match *other == self.me() {
            true => self.identity.session_public_key(),
            false => self.roll.session_key(other)?,
        };
        derive(&self.identity, &public, self.roll.swarm()).ok()
    }

    /// Returns a key of a closed space, if its founder gave it to this node.
    pub(super) fn key_of(&self, space: &Space, number: u32) -> Option<SessionKey> {
        let Space::Closed { founder, .. } = space else { return None };
        let grant = self.read().grant(space, &self.me(), number).cloned()?;
        let fact = &grant.entry.fact;
        let Value::Sealed(sealed) = &fact.value else { return None };
        let bytes = place(fact).open_bytes(&self.shared_key(founder)?, sealed).ok()?;
        Some(SessionKey::from_bytes(bytes.try_into().ok()?))
    }

    /// Returns the newest key that this node was given.
    pub(super) fn newest_key(&self, space: &Space) -> Option<(u32, SessionKey)> {
        let number = self.read().newest_grant(space, &self.me())?;
        Some((number, self.key_of(space, number)?))
    }

    /// Founds a closed space that this node and the named ones read.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing was changed then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave the space founded.
    pub async fn found(&self, name: &str, readers: &[NodeId]) -> Result<SpaceView, WriteError> {
        let space = Space::founded(name, self.me())?;
        let gate = self.enter().await?;
        if !self.read().grants(&space).is_empty() {
            return Err(WriteError::Exists(space));
        }
        let key = new_key()?;
        let all: BTreeSet<_> = readers.iter().copied().chain([self.me()]).collect();
        let grants = all.iter().map(|it| self.new_grant(&space, it, 1, &key));
        let grants = grants.collect::<Result<Vec<_>, _>>()?;
        self.write_own(grants).await?;
        drop(gate);
        Ok(self.space_view(&space))
    }

    /// Gives a member every key of a space that this node founded: it reads what was and what comes.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing was changed then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave the member with the keys.
    pub async fn share(&self, space: &Space, reader: &NodeId) -> Result<SpaceView, WriteError> {
        let gate = self.enter().await?;
        let newest = self.founder_of(space)?;
        let mut grants = Vec::new();
        for number in 1..=newest {
            if self.read().grant(space, reader, number).is_none()
                && let Some(key) = self.key_of(space, number)
            {
                grants.push(self.new_grant(space, reader, number, &key)?);
            }
        }
        self.write_own(grants).await?;
        drop(gate);
        Ok(self.space_view(space))
    }

    /// Takes a member out of the readers of a space that this node founded: the others get a new key,
    /// under which everything is written from now on. What the member could read it may have kept.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing was changed then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave the key changed.
    pub async fn withhold(&self, space: &Space, reader: &NodeId) -> Result<SpaceView, WriteError> {
        let gate = self.enter().await?;
        let newest = self.founder_of(space)?;
        let key = new_key()?;
        let readers = readers(&self.read().grants(space), newest);
        // Who is no member any more gets no new key, whoever else is taken out.
        let stays = |it: &&NodeId| *it != reader && (**it == self.me() || self.is_member(it));
        let grants = readers.iter().filter(stays);
        let grants = grants.map(|it| self.new_grant(space, it, newest + 1, &key));
        let grants = grants.collect::<Result<Vec<_>, _>>()?;
        self.write_own(grants).await?;
        drop(gate);
        Ok(self.space_view(space))
    }

    fn is_member(&self, node: &NodeId) -> bool {
        self.roll.session_key(node).is_some()
    }

    /// Returns the number of a space's newest key, if this node founded it.
    fn founder_of(&self, space: &Space) -> Result<u32, WriteError> {
        let mine = matches!(space, Space::Closed { founder, .. } if *founder == self.me());
        let newest = self.read().newest_grant(space, &self.me());
        newest.filter(|_| mine).ok_or_else(|| WriteError::NotFounder(space.clone()))
    }

    fn new_grant(
        &self,
        space: &Space,
        reader: &NodeId,
        number: u32,
        key: &SessionKey,
    ) -> Result<Fact, WriteError> {
        let shared = self.shared_key(reader).ok_or(WriteError::NoMember(*reader))?;
        let mut fact = self.fact(space, GRANTS, &grant_key(reader, number));
        fact.value = Value::Sealed(place(&fact).seal_bytes(&shared, number, key.as_bytes())?);
        Ok(fact)
    }

    /// Returns every space that something is known of, the open one first.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the store fails.
    pub async fn spaces(&self) -> Result<Vec<SpaceView>, Fault> {
        drop(self.enter().await?);
        let mut known = BTreeSet::from([Space::Open]);
        known.extend(self.read().all().map(|it| it.entry.fact.space.clone()));
        Ok(known.iter().map(|it| self.space_view(it)).collect())
    }

    fn space_view(&self, space: &Space) -> SpaceView {
        let graph = self.read();
        let grants = graph.grants(space);
        let newest = grants.iter().map(|it| it.1).max();
        let entries = graph
            .all()
            .map(|it| &it.entry.fact)
            .filter(|it| it.space == *space && it.soul != GRANTS && it.value != Value::Null);
        let entries = entries.count();
        drop(graph);
        SpaceView {
            space: space.clone(),
            name: space.name().to_owned(),
            readable: *space == Space::Open || self.newest_key(space).is_some(),
            key: newest,
            readers: newest.map_or_else(Vec::new, |it| readers(&grants, it)),
            entries,
        }
    }
}

fn new_key() -> Result<SessionKey, WriteError> {
    Ok(SessionKey::from_bytes(random_bytes().map_err(SealError::from)?))
}

/// Returns who was given a key.
fn readers(grants: &[(NodeId, u32)], number: u32) -> Vec<NodeId> {
    let all: BTreeSet<_> = grants.iter().filter(|it| it.1 == number).map(|it| it.0).collect();
    all.into_iter().collect()
}
