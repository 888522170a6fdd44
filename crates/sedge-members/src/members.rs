//! Who belongs to the swarm, and what was last heard of each.
//!
//! Invariant: a record counts only with the owner's signature, checked against the owner's key that
//! was pinned when this node was founded or joined. Addresses are hints and prove nothing. Whoever was
//! revoked is off the list, and comes in again only with a higher epoch; a node that was revoked
//! itself goes on alone.

mod notices;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use sedge_base::{Clock, ContentId, ErrorKind, NodeId, SwarmId, Timestamp};
use sedge_capability::Failure;
use sedge_net::{Admission, PeerAddr, Protocol};
use sedge_trust::swarm::{MembershipError, Role};
use sedge_trust::{
    Membership, Revocation, Revoked, SessionPublicKey, TokenId, verify_membership,
    verify_revocation,
};
use tokio::time::Instant;

pub use self::notices::{Noticed, STALE};
use crate::{
    About, AddressBook, Advert, BookLimits, Checks, Listed, Notice, Presence, Roster, Source,
};

/// The most members that a roster may have.
pub const MAX_MEMBERS: usize = 1024;

/// The most revocations that a roster may have.
const MAX_REVOCATIONS: usize = 4096;

/// The roster of this node's swarm.
#[derive(Debug)]
pub struct Members {
    me: NodeId,
    clock: Clock,
    /// Up to so many members are all connected with each other.
    full_mesh: usize,
    state: RwLock<State>,
    /// Why strangers may be talked to: the bits of [`PairFor`].
    pairing: AtomicU8,
}

/// Why this node talks to strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairFor {
    /// An invitation is open.
    Invite = 1,
    /// It asks somebody else to be let in.
    Join = 2,
    /// The configuration says how strangers are admitted.
    Admission = 4,
}

#[derive(Debug)]
struct State {
    owner: NodeId,
    /// The most members that this node takes in.
    most: usize,
    /// Members that were not revoked.
    list: BTreeMap<NodeId, Known>,
    /// Where they may be found.
    book: AddressBook,
    /// Of each node that was ever revoked, the highest epoch that is void.
    revoked_nodes: BTreeMap<NodeId, (u64, Revocation)>,
    revoked_tokens: BTreeMap<TokenId, Revocation>,
}

impl State {
    const fn new(owner: NodeId, most: usize, limits: BookLimits) -> Self {
        Self {
            owner,
            most,
            list: BTreeMap::new(),
            book: AddressBook::new(limits),
            revoked_nodes: BTreeMap::new(),
            revoked_tokens: BTreeMap::new(),
        }
    }

    /// Notes a revocation that was verified. Returns whether it was new and there was room.
    fn revoke(&mut self, revocation: &Revocation) -> bool {
        let room = self.revoked_nodes.len() + self.revoked_tokens.len() < MAX_REVOCATIONS;
        match revocation.facts.revoked {
            Revoked::Node { node_id, epoch } => {
                let known = self.revoked_nodes.get(&node_id).map(|it| it.0);
                if known.is_some_and(|it| it >= epoch) || (known.is_none() && !room) {
                    return false;
                }
                self.revoked_nodes.insert(node_id, (epoch, *revocation));
                true
            }
            Revoked::Token { token_id } => {
                let new = room && !self.revoked_tokens.contains_key(&token_id);
                if new {
                    self.revoked_tokens.insert(token_id, *revocation);
                }
                new
            }
        }
    }

    /// Returns whether a revocation was taken in before, and so verified.
    fn has(&self, revocation: &Revocation) -> bool {
        match &revocation.facts.revoked {
            Revoked::Node { node_id, .. } => {
                self.revoked_nodes.get(node_id).is_some_and(|it| it.1 == *revocation)
            }
            Revoked::Token { token_id } => {
                self.revoked_tokens.get(token_id).is_some_and(|it| it == revocation)
            }
        }
    }

    fn is_void(&self, membership: &Membership) -> bool {
        let member = &membership.member;
        self.revoked_nodes.get(&member.node_id).is_some_and(|it| it.0 >= member.epoch)
    }

    /// Returns whether this node is a member no more.
    fn is_left(&self, me: &NodeId) -> bool {
        self.list.get(me).is_some_and(|it| self.is_void(&it.membership))
    }

    /// Takes those off the list whose membership is void; when it is this node's own, all others, who
    /// do not talk to it any more. The node itself stays: it goes on alone.
    fn strike(&mut self, me: &NodeId) {
        let alone = self.is_left(me);
        let gone = |known: &Known| alone || self.is_void(&known.membership);
        let gone: Vec<NodeId> = self
            .list
            .iter()
            .filter(|(id, known)| *id != me && gone(known))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.list.remove(&id);
            self.book.forget(&id);
        }
    }
}

/// What was new in a roster.
#[derive(Debug, Default)]
pub struct News {
    /// New members, and those that have moved or were admitted again.
    pub members: Vec<Listed>,
    /// New revocations.
    pub revocations: Vec<Revocation>,
}

/// One member, and what was last heard of it.
#[derive(Debug, Clone)]
pub struct Known {
    /// What the owner signed.
    pub membership: Membership,
    /// What it last said of itself; `None` when it is away.
    pub advert: Option<Advert>,
    /// What it last signed about itself for those that it does not talk to, with its number.
    pub notice: Option<(Advert, Arc<Notice>)>,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
    /// The same moment, whatever the clock was set to since.
    seen_at: Option<Instant>,
    /// The time to it and back, when there was a connection last.
    pub rtt: Option<Duration>,
    /// Why it could not be reached the last time; `None` when it could.
    pub reason: Option<String>,
    /// Whether it said, the last time, that this node is no member.
    pub refuses: bool,
    /// Whether it said, the last time, that it has no room for one more connection.
    pub full: bool,
    /// By how much its clock was ahead of this machine's when it was last heard of, in milliseconds.
    pub clock_ahead_ms: Option<i64>,
    /// Whether it answered, of late.
    pub checks: Checks,
    /// What it last said that it is; kept when it is away.
    pub about: About,
}

impl Known {
    fn new(membership: Membership) -> Self {
        Self {
            membership,
            advert: None,
            notice: None,
            last_seen: None,
            seen_at: None,
            rtt: None,
            reason: None,
            refuses: false,
            full: false,
            clock_ahead_ms: None,
            checks: Checks::default(),
            about: About::default(),
        }
    }

    /// Returns whether it answers, judged by the last try.
    pub fn presence(&self) -> Presence {
        match (&self.reason, self.last_seen) {
            (Some(_), _) => Presence::Offline,
            (None, Some(_)) => Presence::Online,
            (None, None) => Presence::Connecting,
        }
    }

    /// Returns what people call it.
    pub fn name(&self) -> &str {
        &self.membership.member.name
    }
}

/// What a node may be called by whoever asks it.
const HERE: &str = "here";

impl Members {
    /// Makes the roster of the swarm with this owner's key, with records that were checked before.
    pub fn new(me: NodeId, owner: NodeId, clock: Clock) -> Self {
        let state = RwLock::new(State::new(owner, MAX_MEMBERS, BookLimits::default()));
        Self { me, clock, full_mesh: MAX_MEMBERS, state, pairing: AtomicU8::new(0) }
    }

    /// Says up to how many members are all connected with each other.
    pub const fn with_full_mesh(mut self, members: usize) -> Self {
        self.full_mesh = members;
        self
    }

    /// Returns whether there are too many members for everybody to be connected with everybody.
    pub fn are_many(&self) -> bool {
        self.read().list.len() > self.full_mesh
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the swarm's id.
    pub fn swarm(&self) -> SwarmId {
        SwarmId::of_key(self.read().owner.as_bytes())
    }

    /// Returns the owner's public key.
    pub fn owner(&self) -> NodeId {
        self.read().owner
    }

    /// Returns whether a member has an invitation open, as it last said.
    pub fn is_somebody_inviting(&self) -> bool {
        let inviting = |it: &Known| it.advert.as_ref().is_some_and(|it| it.inviting);
        self.read().list.values().any(inviting)
    }

    /// Talks to strangers for a reason, or for this one no longer.
    pub fn set_pairing(&self, reason: PairFor, open: bool) {
        match open {
            true => self.pairing.fetch_or(reason as u8, Ordering::SeqCst),
            false => self.pairing.fetch_and(!(reason as u8), Ordering::SeqCst),
        };
    }

    /// Returns whether strangers are talked to for a reason.
    pub fn is_pairing(&self, reason: PairFor) -> bool {
        self.pairing.load(Ordering::SeqCst) & reason as u8 != 0
    }

    /// Returns whether strangers may come in here, by an invitation or as the configuration says.
    pub fn is_inviting(&self) -> bool {
        [PairFor::Invite, PairFor::Admission].into_iter().any(|it| self.is_pairing(it))
    }

    /// Moves to another swarm: forgets every record, pins its owner's key.
    pub fn change_swarm(&self, owner: NodeId) {
        let mut state = self.write();
        *state = State::new(owner, state.most, state.book.limits());
    }

    /// Takes in records: keeps those that the owner signed and that are newer than what is known.
    ///
    /// Returns what changed, for those who store it.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when a record is not the owner's; none is taken in then.
    pub fn merge(&self, roster: Roster) -> Result<News, Failure> {
        let mut state = self.write();
        let current = self.verify(&state, &roster)?;
        let Roster { mut members, mut revocations } = roster;
        let mut current = current.into_iter();
        members.retain(|_| current.next().unwrap_or(false));
        // First what is void, so that nobody slips in for a moment.
        revocations.retain(|it| state.revoke(it));
        state.strike(&self.me);
        let mut changed = Vec::new();
        let now = self.clock.now();
        let mut room = state.most.saturating_sub(state.list.len());
        for listed in members {
            let id = listed.membership.member.node_id;
            if id != self.me && state.is_void(&listed.membership) {
                continue;
            }
            let State { list, book, .. } = &mut *state;
            match list.get_mut(&id) {
                Some(known) => {
                    let newer = listed.membership.member.epoch > known.membership.member.epoch;
                    let moved = book.note(id, &listed.addresses, Source::Others, now);
                    if newer {
                        known.membership = listed.membership;
                    }
                    if newer || moved {
                        let membership = known.membership.clone();
                        changed.push(Listed { membership, addresses: book.of(&id) });
                    }
                }
                None if room > 0 => {
                    room -= 1;
                    book.note(id, &listed.addresses, Source::Others, now);
                    changed.push(listed.clone());
                    list.insert(id, Known::new(listed.membership));
                }
                None => {}
            }
        }
        state.strike(&self.me);
        Ok(News { members: changed, revocations })
    }

    /// Checks every record; returns which memberships are to be looked at: those that are over and
    /// not this node's own are passed over, and spoil nothing.
    fn verify(&self, state: &State, roster: &Roster) -> Result<Vec<bool>, Failure> {
        let Roster { members, revocations } = roster;
        if members.len() > MAX_MEMBERS || revocations.len() > MAX_REVOCATIONS {
            let text = format!(
                "a roster of more than {MAX_MEMBERS} members or {MAX_REVOCATIONS} revocations is refused"
            );
            return Err(Failure::new(ErrorKind::Exhausted, "roster_too_large", text));
        }
        let now = self.clock.now();
        let mut current = Vec::with_capacity(members.len());
        for Listed { membership, .. } in members {
            let node = membership.member.node_id;
            // What is known already was verified when it was taken in.
            let known = state.list.get(&node).is_some_and(|it| it.membership == *membership);
            let holds = match known {
                true => is_current(membership, now),
                false => verify_membership(membership, &state.owner, now),
            };
            match holds {
                Ok(()) => current.push(true),
                Err(MembershipError::Expired { .. }) => current.push(node == self.me),
                Err(error) => {
                    let node = node.short();
                    let text = format!("the membership of node {node} does not hold: {error}");
                    return Err(Failure::new(ErrorKind::Denied, "bad_membership", text));
                }
            }
        }
        for revocation in revocations.iter().filter(|it| !state.has(it)) {
            verify_revocation(revocation, &state.owner).map_err(|error| {
                let text = format!("a revocation does not hold: {error}");
                Failure::new(ErrorKind::Denied, "bad_revocation", text)
            })?;
        }
        Ok(current)
    }

    /// Returns whether the owner took a node's membership back and did not admit it again.
    pub fn is_struck(&self, node: &NodeId) -> bool {
        let state = self.read();
        state.revoked_nodes.contains_key(node) && !state.list.contains_key(node)
    }

    /// Returns whether a member with another key has a name.
    pub fn is_name_of_another(&self, name: &str, node: &NodeId) -> bool {
        self.read().list.iter().any(|(id, it)| id != node && it.name() == name)
    }

    /// Returns whether there is room for a node.
    pub fn has_room_for(&self, node: &NodeId) -> bool {
        let state = self.read();
        state.list.contains_key(node) || state.list.len() < state.most
    }

    /// Returns when this node's own membership ends, if it does.
    pub fn own_end(&self) -> Option<Timestamp> {
        self.read().list.get(&self.me)?.membership.member.expires_at
    }

    /// Returns until when what a node wrote counts: the end of its membership, the moment of its
    /// revocation, or never for a stranger.
    pub fn wrote_until(&self, node: &NodeId) -> Option<Timestamp> {
        let state = self.read();
        let forever = Timestamp::from_millis(u64::MAX);
        match (state.list.get(node), state.revoked_nodes.get(node)) {
            (Some(known), _) => Some(known.membership.member.expires_at.unwrap_or(forever)),
            (None, Some((_, revocation))) => Some(revocation.facts.at),
            (None, None) => None,
        }
    }

    /// Returns the key under which sessions with a member begin.
    pub fn session_key(&self, node: &NodeId) -> Option<SessionPublicKey> {
        Some(self.read().list.get(node)?.membership.member.session_key)
    }

    /// Returns whether the owner took a token's block back.
    pub fn is_revoked(&self, token: &TokenId) -> bool {
        self.read().revoked_tokens.contains_key(token)
    }

    /// Returns whether there is room for one more revocation.
    pub fn can_revoke(&self) -> bool {
        let state = self.read();
        state.revoked_nodes.len() + state.revoked_tokens.len() < MAX_REVOCATIONS
    }

    /// Returns the epoch of a node's next membership: above every one that it had.
    pub fn next_epoch(&self, node: &NodeId) -> u64 {
        let state = self.read();
        let had = state.list.get(node).map_or(0, |it| it.membership.member.epoch);
        let void = state.revoked_nodes.get(node).map_or(0, |it| it.0);
        had.max(void) + 1
    }

    /// Returns whether the swarm goes on without this node: it is a member no more, or the owner's
    /// node says that it is none.
    pub fn is_cut_off(&self) -> bool {
        let state = self.read();
        let owner = |it: &&Known| it.membership.member.roles.contains(&Role::Owner);
        state.is_left(&self.me) || state.list.values().filter(owner).any(|it| it.refuses)
    }

    /// Notes what a member says of itself. Returns whether it is somewhere else than was known.
    pub fn heard(&self, node: NodeId, advert: Advert, rtt: Option<Duration>) -> bool {
        let now = self.clock.now();
        let State { list, book, .. } = &mut *self.write();
        let mut moved = false;
        if let Some(known) = list.get_mut(&node) {
            moved = book.note(node, &advert.addresses, Source::Itself, now);
            known.about = advert.about.clone();
            known.clock_ahead_ms =
                advert.now.map(|it| it.as_millis().cast_signed() - now.as_millis().cast_signed());
            known.advert = Some(advert);
            known.last_seen = Some(now);
            known.seen_at = Some(Instant::now());
            known.rtt = rtt.or(known.rtt);
            known.reason = None;
            (known.refuses, known.full) = (false, false);
        }
        moved
    }

    /// Notes where others say that a member is. Returns whether that is new.
    pub fn heard_of(&self, node: NodeId, addrs: &[SocketAddr]) -> bool {
        let State { list, book, .. } = &mut *self.write();
        list.contains_key(&node) && book.note(node, addrs, Source::Others, self.clock.now())
    }

    /// Sets how many members and addresses are taken in; what is there already stays.
    pub fn limit(&self, most: usize, limits: BookLimits) {
        let mut state = self.write();
        (state.most, state.book) = (most, state.book.within(limits));
    }

    /// Looks into the book of addresses, or changes it.
    pub fn with_book<T>(&self, look: impl FnOnce(&mut AddressBook) -> T) -> T {
        look(&mut self.write().book)
    }

    /// Returns members that could not be reached the last time, or not yet; so many at most.
    pub fn missing(&self, most: usize) -> Vec<NodeId> {
        let state = self.read();
        let gone = state
            .list
            .iter()
            .filter(|(id, it)| **id != self.me && it.presence() != Presence::Online);
        gone.map(|(id, _)| *id).take(most).collect()
    }

    /// Notes whether a member answered when it was due.
    pub fn checked(&self, node: &NodeId, answered: bool) {
        if let Some(known) = self.write().list.get_mut(node) {
            known.checks.note(answered);
        }
    }

    /// Notes that a member said that this node is none.
    pub fn refused_by(&self, node: &NodeId) {
        if let Some(known) = self.write().list.get_mut(node) {
            known.refuses = true;
        }
    }

    /// Notes that a member has no room for one more connection: it is there all the same.
    pub fn full(&self, node: &NodeId) {
        if let Some(known) = self.write().list.get_mut(node) {
            known.full = true;
        }
    }

    /// Notes that a member could not be reached. Returns whether it was thought to be there.
    pub fn missed(&self, node: NodeId, reason: String) -> bool {
        self.write().list.get_mut(&node).is_some_and(|known| {
            let was_there = known.reason.is_none() && known.last_seen.is_some();
            (known.reason, known.full) = (Some(reason), false);
            known.advert = None;
            was_there
        })
    }

    /// Returns every member, this node included.
    pub fn all(&self) -> Vec<(NodeId, Known)> {
        self.read().list.iter().map(|(id, known)| (*id, known.clone())).collect()
    }

    /// Returns what `pick` makes of every member that it does not pass over, this node included.
    ///
    /// Nothing is copied but what it returns; it must not ask for members itself.
    pub fn pick<T>(&self, mut pick: impl FnMut(NodeId, &Known) -> Option<T>) -> Vec<T> {
        self.read().list.iter().filter_map(|(id, known)| pick(*id, known)).collect()
    }

    /// Returns the other members' ids.
    pub fn others(&self) -> Vec<NodeId> {
        self.read().list.keys().copied().filter(|it| *it != self.me).collect()
    }

    /// Returns one member.
    pub fn get(&self, node: &NodeId) -> Option<Known> {
        self.read().list.get(node).cloned()
    }

    /// Returns what the owner allows a node to be; nothing when it is no member.
    pub fn roles(&self, node: &NodeId) -> Vec<Role> {
        let state = self.read();
        state.list.get(node).map(|it| it.membership.member.roles.clone()).unwrap_or_default()
    }

    /// Returns where a member may be found.
    pub fn address(&self, node: &NodeId) -> Option<PeerAddr> {
        let state = self.read();
        state.list.get(node)?;
        Some(PeerAddr { node: *node, direct: state.book.of(node) })
    }

    /// Returns where a member may be found, the best guess first.
    pub fn addresses(&self, node: &NodeId) -> Vec<SocketAddr> {
        self.read().book.of(node)
    }

    /// Returns a member's name, or the beginning of its id.
    pub fn name_of(&self, node: &NodeId) -> String {
        self.read().list.get(node).map_or_else(|| node.short(), |it| it.name().to_owned())
    }

    /// Finds a member by name, id or the beginning of an id (four characters at least); `here` is this
    /// node where no member has that name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when nobody fits, [`ErrorKind::Invalid`] when several do.
    pub fn find(&self, text: &str) -> Result<NodeId, Failure> {
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
            (None, _) if text == HERE => Ok(self.me),
            (None, _) => {
                let text = format!("no node of this swarm is called `{text}`");
                Err(Failure::new(ErrorKind::NotFound, "unknown_node", text))
            }
        }
    }

    /// Returns the records as they travel.
    pub fn roster(&self) -> Roster {
        let state = self.read();
        let members = state
            .list
            .iter()
            .map(|(id, it)| Listed {
                membership: it.membership.clone(),
                addresses: state.book.of(id),
            })
            .collect();
        let nodes = state.revoked_nodes.values().map(|it| it.1);
        let revocations = nodes.chain(state.revoked_tokens.values().copied()).collect();
        Roster { members, revocations }
    }

    /// Returns the hash of who belongs, under which epoch, and of what was revoked: equal rosters have equal hashes.
    pub fn roster_hash(&self) -> ContentId {
        let state = self.read();
        let mut text = String::new();
        for (id, known) in &state.list {
            text.push_str(&format!("{id}:{}\n", known.membership.member.epoch));
        }
        for (id, (epoch, _)) in &state.revoked_nodes {
            text.push_str(&format!("revoked {id}:{epoch}\n"));
        }
        for id in state.revoked_tokens.keys() {
            text.push_str(&format!("revoked token {id}\n"));
        }
        ContentId::of(text.as_bytes())
    }
}

/// Returns whether a membership that was verified has not ended.
fn is_current(membership: &Membership, now: Timestamp) -> Result<(), MembershipError> {
    match membership.member.expires_at {
        Some(at) if at <= now => Err(MembershipError::Expired { at }),
        _ => Ok(()),
    }
}

impl Admission for Members {
    fn admits(&self, peer: NodeId, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Mesh => {
                // Asked for every message: the signature was verified when the record was taken in.
                let now = self.clock.now();
                let state = self.read();
                state.list.get(&peer).is_some_and(|it| is_current(&it.membership, now).is_ok())
            }
            Protocol::Pair => self.pairing.load(Ordering::SeqCst) != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use sedge_trust::swarm::{Member, Version};
    use sedge_trust::{Owner, SessionPublicKey};

    use super::*;

    const ME: NodeId = NodeId::from_bytes([1; 32]);
    pub(super) const OTHER: NodeId = NodeId::from_bytes([2; 32]);
    const THIRD: NodeId = NodeId::from_bytes([3; 32]);

    fn listed(owner: &Owner, node_id: NodeId, epoch: u64) -> Listed {
        let membership = owner
            .admit(Member {
                version: Version::default(),
                swarm_id: owner.swarm_id(),
                node_id,
                name: node_id.short(),
                session_key: SessionPublicKey::from_bytes([8; 32]),
                capabilities: Vec::new(),
                joined_at: Timestamp::from_millis(1),
                roles: vec![Role::Executor],
                epoch,
                expires_at: None,
            })
            .unwrap();
        Listed { membership, addresses: Vec::new() }
    }

    fn revoked(owner: &Owner, node_id: NodeId, epoch: u64) -> Roster {
        let revoked = Revoked::Node { node_id, epoch };
        let revocation = owner.revoke(revoked, Timestamp::from_millis(2)).unwrap();
        Roster { revocations: vec![revocation], ..Roster::default() }
    }

    fn joined(owner: &Owner, node_id: NodeId, epoch: u64) -> Roster {
        Roster { members: vec![listed(owner, node_id, epoch)], ..Roster::default() }
    }

    pub(super) fn three(owner: &Owner) -> Members {
        let members =
            Members::new(ME, owner.public_key(), Clock::manual(Timestamp::from_millis(5)));
        for node in [ME, OTHER, THIRD] {
            members.merge(joined(owner, node, 1)).unwrap();
        }
        members
    }

    fn admitted(members: &Members, node: NodeId) -> bool {
        members.admits(node, Protocol::Mesh)
    }

    #[test]
    fn here_is_this_node_unless_a_member_has_the_name() {
        let members = three(&Owner::from_seed(&[1; 32]));
        assert_eq!(members.find("here").unwrap(), ME);
        assert_eq!(members.find("nobody").unwrap_err().code, "unknown_node");
    }

    #[test]
    fn the_revoked_stay_away_until_a_higher_epoch_in_whatever_order_it_is_heard() {
        let owner = Owner::from_seed(&[1; 32]);
        let members = three(&owner);
        let before = members.roster_hash();
        let news = members.merge(revoked(&owner, OTHER, 1)).unwrap();
        assert_eq!((news.members.len(), news.revocations.len()), (0, 1));
        assert!(!admitted(&members, OTHER) && admitted(&members, THIRD));
        assert_ne!(members.roster_hash(), before, "the others are told");
        assert!(members.merge(revoked(&owner, OTHER, 1)).unwrap().revocations.is_empty());

        members.merge(joined(&owner, OTHER, 1)).unwrap();
        assert!(!admitted(&members, OTHER), "an old record brings nobody back");
        assert_eq!(members.next_epoch(&OTHER), 2);
        members.merge(joined(&owner, OTHER, 2)).unwrap();
        assert!(admitted(&members, OTHER));

        let other = three(&owner);
        other.merge(joined(&owner, OTHER, 2)).unwrap();
        other.merge(revoked(&owner, OTHER, 1)).unwrap();
        assert!(admitted(&other, OTHER));
        assert_eq!(other.roster_hash(), members.roster_hash());
    }

    #[test]
    fn nobody_but_the_owner_revokes() {
        let (owner, stranger) = (Owner::from_seed(&[1; 32]), Owner::from_seed(&[2; 32]));
        let members = three(&owner);
        let mut forged = revoked(&stranger, OTHER, 1);
        assert!(members.merge(forged.clone()).is_err());
        forged.revocations[0].facts.swarm_id = owner.swarm_id();
        assert!(members.merge(forged).is_err());
        assert!(admitted(&members, OTHER));
    }

    #[test]
    fn a_node_that_is_revoked_goes_on_alone() {
        let owner = Owner::from_seed(&[1; 32]);
        let members = three(&owner);
        assert!(!members.is_cut_off());
        members.merge(revoked(&owner, ME, 1)).unwrap();
        assert!(members.is_cut_off());
        assert!(members.others().is_empty() && members.get(&ME).is_some());
        members.merge(joined(&owner, THIRD, 1)).unwrap();
        assert!(members.others().is_empty());
    }

    #[test]
    fn a_membership_that_is_over_keeps_its_node_out_and_spoils_no_roster() {
        let owner = Owner::from_seed(&[1; 32]);
        let clock = Clock::manual(Timestamp::from_millis(5));
        let members = Members::new(ME, owner.public_key(), clock.clone());
        let mut day = listed(&owner, OTHER, 1).membership.member;
        day.expires_at = Some(Timestamp::from_millis(100));
        let day = Listed { membership: owner.admit(day).unwrap(), addresses: Vec::new() };
        let mut roster = three(&owner).roster();
        roster.members.retain(|it| it.membership.member.node_id != OTHER);
        roster.members.push(day);
        members.merge(roster.clone()).unwrap();
        assert!(admitted(&members, OTHER));
        clock.set(Timestamp::from_millis(100));
        assert!(!admitted(&members, OTHER) && admitted(&members, THIRD));

        let later = Members::new(ME, owner.public_key(), clock);
        later.merge(roster).unwrap();
        assert!(later.get(&OTHER).is_none() && later.get(&THIRD).is_some());
        assert_eq!(members.next_epoch(&OTHER), 2, "a new login brings it back");
    }

    #[test]
    fn no_more_members_are_taken_in_than_the_limit() {
        let owner = Owner::from_seed(&[1; 32]);
        let members = three(&owner);
        members.limit(4, BookLimits::default());
        let more = (4..10).map(|it| listed(&owner, NodeId::from_bytes([it; 32]), 1)).collect();
        members.merge(Roster { members: more, ..Roster::default() }).unwrap();
        assert_eq!(members.all().len(), 4);
        assert!(!members.has_room_for(&NodeId::from_bytes([9; 32])));
        // Those that are there stay, and are renewed.
        members.merge(joined(&owner, OTHER, 2)).unwrap();
        assert!(admitted(&members, OTHER) && admitted(&members, THIRD));
    }

    #[test]
    fn a_node_that_has_no_room_is_not_missed() {
        let members = three(&Owner::from_seed(&[1; 32]));
        members.full(&OTHER);
        let known = members.get(&OTHER).unwrap();
        assert!(known.full && known.presence() != Presence::Offline);
        members.missed(OTHER, "gone".to_owned());
        assert!(!members.get(&OTHER).unwrap().full);
    }

    #[test]
    fn tokens_are_revoked_by_block() {
        let owner = Owner::from_seed(&[1; 32]);
        let members = three(&owner);
        let token_id = owner.mint(&[]).unwrap().id().unwrap();
        let revocation =
            owner.revoke(Revoked::Token { token_id }, Timestamp::from_millis(2)).unwrap();
        members.merge(Roster { revocations: vec![revocation], ..Roster::default() }).unwrap();
        assert!(members.is_revoked(&token_id));
        assert!(!members.is_revoked(&owner.mint(&[]).unwrap().id().unwrap()));
    }
}
