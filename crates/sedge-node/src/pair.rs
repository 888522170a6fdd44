//! Becoming members of one swarm: an open invitation on one side and a code on the other, or a knock at
//! the door that `[admission]` opens.
//!
//! Invariants: a code is tried once, rightly or wrongly, within its time; nothing that comes before
//! the password exchange is believed, and nothing that comes before it changes state beyond burning
//! the code. A knock that is refused changes nothing beyond what the desk counts.

mod ask;
mod enroll;
mod exchange;
mod frames;
mod join;
mod knock;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sedge_base::ErrorKind;
use sedge_capability::Failure;
use sedge_members::PairFor;
use sedge_net::{Beacon, CloseReason, Conn, Nameplate, Quic, Transport};
use sedge_trust::pairing::{Code, Invite};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use self::frames::Line;
use crate::node::{Node, internal};
use crate::view::{Invitation, InviteState};

pub use ask::{AskWaits, Asking};
pub use join::JoinFailed;

/// How long one whole exchange may take.
const EXCHANGE_WITHIN: Duration = Duration::from_secs(20);

/// How long the mesh may take to close after an invitation that nobody used.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// How many strangers may be talked to at once; those that wait for a person are among them.
const MAX_STRANGERS: usize = 128;

/// The invitation of this node, if there is one, and the strangers that it talks to.
#[derive(Debug)]
pub(crate) struct Pairing {
    inner: Mutex<Inner>,
    places: Semaphore,
}

impl Default for Pairing {
    fn default() -> Self {
        Self { inner: Mutex::default(), places: Semaphore::new(MAX_STRANGERS) }
    }
}

#[derive(Debug)]
struct Inner {
    open: Option<OpenInvite>,
    state: InviteState,
    /// Counts invitations, so that an old timer does not end a new one.
    number: u64,
}

impl Default for Inner {
    fn default() -> Self {
        Self { open: None, state: InviteState::None, number: 0 }
    }
}

#[derive(Debug)]
struct OpenInvite {
    invite: Invite,
    /// Answers those who were given an address, until it is dropped.
    _beacon: Option<Beacon>,
}

impl Pairing {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a stranger: the first frame says whether it has a code or knocks.
    pub(crate) async fn serve(&self, node: &Arc<Node>, conn: Conn) {
        let Ok(_place) = self.places.try_acquire() else {
            conn.close(CloseReason::Full);
            return;
        };
        let first = tokio::time::timeout(EXCHANGE_WITHIN, Line::accept(&conn)).await;
        // A stranger who says nothing, or nonsense, is told nothing.
        let Ok(Ok((mut line, first))) = first else {
            conn.close(CloseReason::Protocol);
            return;
        };
        let peer = conn.peer();
        let admitted = match first.kind {
            frames::MESSAGE => self.serve_code(node, &conn, line, &first.payload).await,
            frames::KNOCK => match knock::admit(node, &conn, &mut line, &first).await {
                Ok(name) => {
                    info!(target: "sedge::events::member_admitted", %peer, name);
                    line.finish().await;
                    part(&conn).await;
                    true
                }
                Err(failure) => {
                    debug!(target: "sedge::events::knock_refused", %peer, %failure);
                    line.refuse(&failure).await;
                    part(&conn).await;
                    false
                }
            },
            _ => {
                conn.close(CloseReason::Protocol);
                false
            }
        };
        if admitted {
            node.tend_swarm();
            node.publish_member(&peer);
            for other in node.partners().into_iter().filter(|it| *it != peer) {
                node.beat(other).await;
            }
        }
    }

    /// Answers a stranger who began to try a code; returns whether it was the right one.
    async fn serve_code(&self, node: &Arc<Node>, conn: &Conn, line: Line, first: &[u8]) -> bool {
        let begun = {
            let mut inner = self.lock();
            let now = node.clock.now();
            match &mut inner.open {
                Some(open) => open.invite.attempt(now).cloned().map_err(|it| it.to_string()),
                None => Err("no invitation is open".to_owned()),
            }
        };
        let peer = conn.peer();
        let code = match begun {
            Ok(code) => code,
            Err(reason) => {
                let failure = Failure::new(ErrorKind::Denied, "no_invite", reason);
                line.refuse(&failure).await;
                part(conn).await;
                return false;
            }
        };
        let work = exchange::admit(node, conn, line, (&code, first));
        let done = tokio::time::timeout(EXCHANGE_WITHIN, work).await.unwrap_or_else(|_| {
            let text = format!("the other side did not finish within {EXCHANGE_WITHIN:?}");
            Err(Failure::new(ErrorKind::Timeout, "pairing_timeout", text))
        });
        let state = match done {
            Ok(name) => {
                info!(target: "sedge::events::member_admitted", %peer, name);
                InviteState::Joined { node: peer, name }
            }
            Err(failure) => {
                warn!(target: "sedge::events::invite_burnt", %peer, %failure);
                part(conn).await;
                InviteState::Burnt { reason: failure.message }
            }
        };
        let joined = matches!(state, InviteState::Joined { .. });
        node.end_invite(None, state).await;
        joined
    }
}

impl Node {
    /// Opens an invitation: the mesh listens, and one stranger may try the code once.
    ///
    /// An invitation that is open already ends.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] on a node that does not hold the owner's key, and what
    /// opening the mesh may fail with.
    pub async fn invite(self: &Arc<Self>, ttl: Duration) -> Result<Invitation, Failure> {
        if !self.is_owner() {
            let owner = self
                .members
                .all()
                .into_iter()
                .find(|(_, it)| {
                    it.membership.member.roles.contains(&sedge_trust::swarm::Role::Owner)
                })
                .map_or_else(|| "the owner's node".to_owned(), |(_, it)| it.name().to_owned());
            let text = format!("only the node that owns the swarm can invite: ask on {owner}");
            return Err(Failure::new(ErrorKind::Denied, "not_owner", text));
        }
        self.end_invite(None, InviteState::None).await;
        let code = Code::generate().map_err(internal)?;
        let nameplate = Nameplate::from(code.nameplate());
        let spoken = code.to_string();
        let open = self.mesh.open(self).await?;
        let (beacon, addresses) = match open.quic() {
            Some(quic) => beacon(quic, nameplate).await,
            None => (None, Vec::new()),
        };
        let invite = Invite::new(code, self.clock.now(), ttl);
        let expires = invite.expires_at();
        let number = {
            let mut inner = self.pairing.lock();
            inner.number += 1;
            inner.state = InviteState::Open { expires };
            inner.open = Some(OpenInvite { invite, _beacon: beacon });
            inner.number
        };
        self.members.set_pairing(PairFor::Invite, true);
        self.speak(&open);
        if let Some(lan) = open.quic().and_then(|it| it.lan()) {
            lan.announce_invite(Some(nameplate));
        }
        let node = Arc::clone(self);
        self.scope.spawn("invite timer", async move |cancel| {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(ttl) => {
                    node.end_invite(Some(number), InviteState::Expired).await;
                }
            }
        });
        // A relay of another member lets strangers in once it hears of the invitation.
        self.tell_others().await;
        Ok(Invitation { code: spoken, expires, addresses, relays: self.ways_through() })
    }

    /// Returns how the last invitation stands.
    pub fn invite_state(&self) -> InviteState {
        self.pairing.lock().state.clone()
    }

    /// Returns whether nobody is there to listen to: no member, and no stranger who may knock.
    pub(crate) fn is_alone(&self) -> bool {
        self.members.others().is_empty() && !self.members.is_pairing(PairFor::Admission)
    }

    /// Ends the invitation (of that number, if one is given), and closes the mesh if the node is
    /// still alone.
    async fn end_invite(self: &Arc<Self>, number: Option<u64>, state: InviteState) {
        {
            let mut inner = self.pairing.lock();
            if inner.open.is_none() || number.is_some_and(|it| it != inner.number) {
                return;
            }
            inner.open = None;
            inner.state = state;
        }
        self.members.set_pairing(PairFor::Invite, false);
        if self.is_alone() {
            self.mesh.close(CLOSE_WITHIN).await;
        } else if let Ok(open) = self.mesh.open(self).await
            && let Some(quic) = open.quic()
        {
            self.speak(&open);
            if let Some(lan) = quic.lan() {
                lan.announce_invite(None);
            }
        }
    }
}

/// Answers those who were given an address; returns the addresses to give.
async fn beacon(quic: &Quic, nameplate: Nameplate) -> (Option<Beacon>, Vec<SocketAddr>) {
    let place = quic.place();
    let Some(addr) = quic.listening().first().copied() else { return (None, Vec::new()) };
    match Beacon::open(addr, &place.peer_addr(), Some(nameplate)).await {
        Ok(beacon) => {
            let addresses = reachable(&beacon, &place.direct);
            (Some(beacon), addresses)
        }
        Err(error) => {
            warn!(target: "sedge::events::beacon_closed", %error);
            (None, Vec::new())
        }
    }
}

/// Returns where the beacon answers, seen from outside: its port on the addresses that the mesh has.
pub(crate) fn reachable(beacon: &Beacon, direct: &[SocketAddr]) -> Vec<SocketAddr> {
    let own = beacon.addr();
    if !own.ip().is_unspecified() {
        return vec![own];
    }
    let mut seen = Vec::new();
    for addr in direct.iter().filter(|it| it.is_ipv4() == own.is_ipv4()) {
        let addr = SocketAddr::new(addr.ip(), own.port());
        if !addr.ip().is_loopback() && !seen.contains(&addr) {
            seen.push(addr);
        }
    }
    if seen.is_empty() {
        seen.push(SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), own.port()));
    }
    seen
}

/// Closes a pairing connection once the other side has read what was said.
async fn part(conn: &Conn) {
    drop(tokio::time::timeout(CLOSE_WITHIN, conn.closed()).await);
    conn.close(CloseReason::Done);
}

/// Feeds the payload of a frame that a stranger sends, or that a joiner is answered with, to its readers; returns
/// whether one took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(bytes: &[u8]) -> bool {
    let frame = sedge_net::Frame::new(0, bytes.to_vec());
    knock::feed(&frame) || exchange::feed(&frame)
}
