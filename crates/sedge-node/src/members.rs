//! Who belongs to the swarm, and what was last heard of each.
//!
//! Invariant: a record counts only with the owner's signature, checked against the owner's key that
//! was pinned when this node was founded or joined. Addresses are hints and prove nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use sedge_base::{Clock, ContentId, ErrorKind, NodeId, SwarmId, Timestamp};
use sedge_capability::Failure;
use sedge_net::{Admission, PeerAddr, Protocol};
use sedge_trust::{Membership, verify_membership};

use crate::view::Presence;
use crate::wire::{Advert, Listed, Roster};

/// The most members that a roster may have.
const MAX_MEMBERS: usize = 1024;

/// The most addresses that are kept for one member.
const MAX_ADDRESSES: usize = 16;

/// The roster of this node's swarm.
#[derive(Debug)]
pub(crate) struct Members {
    me: NodeId,
    clock: Clock,
    state: RwLock<State>,
    /// Whether strangers may connect to pair.
    pairing: AtomicBool,
}

#[derive(Debug)]
struct State {
    owner: NodeId,
    list: BTreeMap<NodeId, Known>,
}

/// One member, and what was last heard of it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) membership: Membership,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) advert: Option<Advert>,
    pub(crate) last_seen: Option<Timestamp>,
    pub(crate) rtt: Option<Duration>,
    /// Why it could not be reached the last time; `None` when it could.
    pub(crate) reason: Option<String>,
}

impl Known {
    fn new(listed: Listed) -> Self {
        let Listed { membership, mut addresses } = listed;
        addresses.truncate(MAX_ADDRESSES);
        Self { membership, addresses, advert: None, last_seen: None, rtt: None, reason: None }
    }

    /// Returns whether it answers, judged by the last try.
    pub(crate) fn presence(&self) -> Presence {
        match (&self.reason, self.last_seen) {
            (Some(_), _) => Presence::Offline,
            (None, Some(_)) => Presence::Online,
            (None, None) => Presence::Connecting,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.membership.member.name
    }
}

impl Members {
    /// Makes the roster of the swarm with this owner's key, with records that were checked before.
    pub(crate) fn new(me: NodeId, owner: NodeId, clock: Clock) -> Self {
        let state = State { owner, list: BTreeMap::new() };
        Self { me, clock, state: RwLock::new(state), pairing: AtomicBool::new(false) }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the swarm's id.
    pub(crate) fn swarm(&self) -> SwarmId {
        SwarmId::of_key(self.read().owner.as_bytes())
    }

    /// Returns the owner's public key.
    pub(crate) fn owner(&self) -> NodeId {
        self.read().owner
    }

    /// Lets strangers connect to pair, or no longer.
    pub(crate) fn set_pairing(&self, open: bool) {
        self.pairing.store(open, Ordering::SeqCst);
    }

    /// Moves to another swarm: forgets every record, pins its owner's key.
    pub(crate) fn change_swarm(&self, owner: NodeId) {
        *self.write() = State { owner, list: BTreeMap::new() };
    }

    /// Takes in records: keeps those that the owner signed and that are newer than what is known.
    ///
    /// Returns what changed, for those who store it.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when a record is not the owner's; none is taken in then.
    pub(crate) fn merge(&self, roster: Roster) -> Result<Vec<Listed>, Failure> {
        let now = self.clock.now();
        let mut state = self.write();
        if roster.members.len() > MAX_MEMBERS {
            let text = format!("a roster of more than {MAX_MEMBERS} members is refused");
            return Err(Failure::new(ErrorKind::Exhausted, "roster_too_large", text));
        }
        for listed in &roster.members {
            verify_membership(&listed.membership, &state.owner, now).map_err(|error| {
                let node = listed.membership.member.node_id.short();
                let text = format!("the membership of node {node} does not hold: {error}");
                Failure::new(ErrorKind::Denied, "bad_membership", text)
            })?;
        }
        let mut changed = Vec::new();
        let mut room = MAX_MEMBERS.saturating_sub(state.list.len());
        for listed in roster.members {
            let id = listed.membership.member.node_id;
            match state.list.get_mut(&id) {
                Some(known) => {
                    let newer = listed.membership.member.epoch > known.membership.member.epoch;
                    let moved = add_addresses(&mut known.addresses, &listed.addresses);
                    if newer {
                        known.membership = listed.membership;
                    }
                    if newer || moved {
                        let membership = known.membership.clone();
                        changed.push(Listed { membership, addresses: known.addresses.clone() });
                    }
                }
                None if room > 0 => {
                    room -= 1;
                    changed.push(listed.clone());
                    state.list.insert(id, Known::new(listed));
                }
                None => {}
            }
        }
        Ok(changed)
    }

    /// Notes what a member says of itself.
    pub(crate) fn heard(&self, node: NodeId, advert: Advert, rtt: Option<Duration>) {
        let now = self.clock.now();
        if let Some(known) = self.write().list.get_mut(&node) {
            add_addresses(&mut known.addresses, &advert.addresses);
            known.advert = Some(advert);
            known.last_seen = Some(now);
            known.rtt = rtt.or(known.rtt);
            known.reason = None;
        }
    }

    /// Notes that a member could not be reached. Returns whether it was thought to be there.
    pub(crate) fn missed(&self, node: NodeId, reason: String) -> bool {
        self.write().list.get_mut(&node).is_some_and(|known| {
            let was_there = known.reason.is_none() && known.last_seen.is_some();
            known.reason = Some(reason);
            known.advert = None;
            was_there
        })
    }

    /// Returns every member, this node included.
    pub(crate) fn all(&self) -> Vec<(NodeId, Known)> {
        self.read().list.iter().map(|(id, known)| (*id, known.clone())).collect()
    }

    /// Returns the other members' ids.
    pub(crate) fn others(&self) -> Vec<NodeId> {
        self.read().list.keys().copied().filter(|it| *it != self.me).collect()
    }

    /// Returns one member.
    pub(crate) fn get(&self, node: &NodeId) -> Option<Known> {
        self.read().list.get(node).cloned()
    }

    /// Returns where a member may be found.
    pub(crate) fn address(&self, node: &NodeId) -> Option<PeerAddr> {
        let state = self.read();
        let known = state.list.get(node)?;
        Some(PeerAddr { node: *node, direct: known.addresses.clone() })
    }

    /// Returns a member's name, or the beginning of its id.
    pub(crate) fn name_of(&self, node: &NodeId) -> String {
        self.read().list.get(node).map_or_else(|| node.short(), |it| it.name().to_owned())
    }

    /// Finds a member by name, id or the beginning of an id (four characters at least).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when nobody fits, [`ErrorKind::Invalid`] when several do.
    pub(crate) fn find(&self, text: &str) -> Result<NodeId, Failure> {
        let state = self.read();
        let prefix = text.len() >= 4;
        let fits = |(id, known): &(&NodeId, &Known)| {
            known.name() == text || (prefix && id.to_string().starts_with(text))
        };
        let mut found = state.list.iter().filter(fits).map(|(id, _)| *id);
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => {
                let text = format!("several nodes fit `{text}`; give more of the id");
                Err(Failure::new(ErrorKind::Invalid, "ambiguous_node", text))
            }
            (None, _) => {
                let text = format!("no node of this swarm is called `{text}`");
                Err(Failure::new(ErrorKind::NotFound, "unknown_node", text))
            }
        }
    }

    /// Returns the records as they travel.
    pub(crate) fn roster(&self) -> Roster {
        let state = self.read();
        let members = state
            .list
            .values()
            .map(|it| Listed { membership: it.membership.clone(), addresses: it.addresses.clone() })
            .collect();
        Roster { members }
    }

    /// Returns the hash of who belongs and under which epoch: equal rosters have equal hashes.
    pub(crate) fn roster_hash(&self) -> ContentId {
        let state = self.read();
        let mut text = String::new();
        for (id, known) in &state.list {
            text.push_str(&format!("{id}:{}\n", known.membership.member.epoch));
        }
        ContentId::of(text.as_bytes())
    }
}

/// Adds what is new, newest first; returns whether anything was.
fn add_addresses(known: &mut Vec<SocketAddr>, new: &[SocketAddr]) -> bool {
    let mut changed = false;
    for address in new.iter().take(MAX_ADDRESSES) {
        if address.port() != 0 && !address.ip().is_unspecified() && !known.contains(address) {
            known.insert(0, *address);
            changed = true;
        }
    }
    known.truncate(MAX_ADDRESSES);
    changed
}

impl Admission for Members {
    fn admits(&self, peer: NodeId, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Mesh => {
                let now = self.clock.now();
                let state = self.read();
                state
                    .list
                    .get(&peer)
                    .is_some_and(|it| verify_membership(&it.membership, &state.owner, now).is_ok())
            }
            Protocol::Pair => self.pairing.load(Ordering::SeqCst),
        }
    }
}
