//! The side that types the code: every way to the inviter is tried at once.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use sedge_base::ErrorKind;
use sedge_capability::Failure;
use sedge_members::PairFor;
use sedge_net::{Conn, Nameplate, PathClass, PeerAddr, Protocol, locate};
use sedge_trust::pairing::Code;
use sedge_trust::verify_membership;
use tokio::time::{Instant, sleep};

use super::enroll::Welcome;
use super::{EXCHANGE_WITHIN, exchange};
use crate::admission::Admitted;
use crate::mesh::Open;
use crate::node::{Node, with_source};
use crate::relays::Through;
use crate::view::{Joined, WayFailed, Whereabouts};

/// How long each way may take to find the inviter and connect to it.
const FIND_WITHIN: Duration = Duration::from_secs(10);
/// How much later than the connection itself the way that led to it may be known.
const SAYS_SO_WITHIN: Duration = Duration::from_secs(1);
const RELAY: &str = "relay";

/// Why a node did not join, and what became of each way to the inviter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{failure}")]
pub struct JoinFailed {
    /// The reason.
    pub failure: Failure,
    /// The ways that were tried, if none led there.
    pub ways: Vec<WayFailed>,
}

impl From<Failure> for JoinFailed {
    fn from(failure: Failure) -> Self {
        Self { failure, ways: Vec::new() }
    }
}

/// A way that led to somebody who may be the inviter.
struct Found {
    way: &'static str,
    conn: Conn,
}

/// A welcome, and what led to it.
pub(super) struct Entry<'a> {
    pub(super) way: &'static str,
    pub(super) conn: &'a Conn,
    pub(super) welcome: Welcome,
    /// How this node was let in; `None`: by a spoken code.
    pub(super) admitted: Option<Admitted>,
    pub(super) through: Option<Through>,
}

/// While it lives, this node may dial strangers; afterwards it does not, and listens to nobody if it is
/// alone, however the join ended.
pub(super) struct Joining(Arc<Node>);

impl Joining {
    pub(super) fn begin(node: &Arc<Node>) -> Self {
        node.members.set_pairing(PairFor::Join, true);
        Self(Arc::clone(node))
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        self.0.members.set_pairing(PairFor::Join, false);
        if self.0.is_alone() {
            let node = Arc::clone(&self.0);
            self.0.scope.spawn("close the mesh", async move |_| {
                if node.is_alone() {
                    node.mesh.close(super::CLOSE_WITHIN).await;
                }
            });
        }
    }
}

impl Node {
    /// Joins the swarm of whoever spoke the code.
    ///
    /// The inviter is looked for on the local network and wherever else it may be, at the same time.
    ///
    /// # Errors
    ///
    /// [`JoinFailed`], with one entry for each way that did not lead there.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future breaks the pairing off; the code may be burnt then.
    pub async fn join(
        self: &Arc<Self>,
        code: &str,
        whereabouts: Whereabouts,
    ) -> Result<Joined, JoinFailed> {
        let began = Instant::now();
        let code = Code::parse(code).map_err(|it| Failure::new(it.kind(), "bad_code", it))?;
        self.may_join()?;
        let open = self.mesh.open(self).await?;
        let joining = Joining::begin(self);
        let Whereabouts { at, relay } = whereabouts;
        let through = relay.map(|it| it.parse::<Through>()).transpose()?;
        if let Some(Through { relay, .. }) = &through {
            let mut relays = BTreeSet::from([relay.clone()]);
            relays.extend(self.own_relays());
            let without = || Failure::new(ErrorKind::Unavailable, "no_relays", "no relays here");
            open.quic().ok_or_else(without)?.set_relays(&relays).await;
        }
        let Found { way, conn } = find(&open, &code, (at, through.as_ref())).await?;
        let hello = exchange::Hello {
            name: self.name.clone(),
            session_key: self.identity.session_public_key(),
            addresses: self.mesh.addresses(),
        };
        let asked = exchange::ask(&conn, self.id(), &code, &hello);
        let welcome = tokio::time::timeout(EXCHANGE_WITHIN, asked).await.map_err(|_| {
            let text = format!("the inviter did not finish within {EXCHANGE_WITHIN:?}");
            Failure::new(ErrorKind::Timeout, "pairing_timeout", text)
        })??;
        let entry = Entry { way, conn: &conn, welcome, admitted: None, through };
        let joined = self.joined(entry, began).await?;
        drop(joining);
        Ok(joined)
    }

    /// Refuses when this node belongs to others already. Whose membership has an end may ask to renew
    /// it.
    pub(super) fn may_join(&self) -> Result<(), Failure> {
        if self.members.own_end().is_some() { Ok(()) } else { self.may_leave() }
    }

    /// Refuses when this node would leave a swarm with others.
    fn may_leave(&self) -> Result<(), Failure> {
        if self.members.others().is_empty() || self.members.is_cut_off() {
            return Ok(());
        }
        let text = "this node is a member of a swarm with others already; \
                    a new home (`--home DIR`) can join another";
        Err(Failure::new(ErrorKind::Conflict, "already_member", text))
    }

    /// Takes in the welcome, and says what was joined.
    pub(super) async fn joined(
        self: &Arc<Self>,
        entry: Entry<'_>,
        began: Instant,
    ) -> Result<Joined, Failure> {
        let Entry { way, conn, welcome, admitted, through } = entry;
        let name = welcome.name.clone();
        self.enter(welcome).await?;
        // What led here leads here again after a restart.
        match through {
            Some(Through { relay, .. }) => {
                self.know_relays(relay.node, BTreeSet::from([relay])).await;
            }
            None => self.use_relays().await,
        }
        self.tend_swarm();
        // Who let this node in tells it of all others.
        self.beat(conn.peer()).await;
        for other in self.partners().into_iter().filter(|it| *it != conn.peer()) {
            self.beat(other).await;
        }
        Ok(Joined {
            swarm: self.members.swarm(),
            inviter: conn.peer(),
            inviter_name: name,
            way: way.to_owned(),
            members: self.members.all().len(),
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            admitted,
        })
    }

    /// Takes in the welcome: checks it whole, stores it, then lives by it.
    async fn enter(self: &Arc<Self>, welcome: Welcome) -> Result<(), Failure> {
        let Welcome { owner, name: _, roster } = welcome;
        if owner != self.members.owner() {
            self.may_leave()?;
        }
        let (me, now) = (self.id(), self.clock.now());
        let mine = roster.members.iter().find(|it| it.membership.member.node_id == me);
        let holds = mine.is_some_and(|it| verify_membership(&it.membership, &owner, now).is_ok());
        if !holds {
            let text = "the inviter sent no membership of this node that holds";
            return Err(Failure::new(ErrorKind::Corrupt, "bad_membership", text));
        }
        self.store_revocations(&roster.revocations).await?;
        for listed in &roster.members {
            self.store_member(listed).await?;
        }
        self.store_swarm(owner).await?;
        *self.owner.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.stop_receiving();
        self.members.change_swarm(owner);
        self.members.merge(roster)?;
        let swarm = self.members.swarm();
        self.ledger.set_swarm(swarm);
        if let Ok(open) = self.mesh.open(self).await {
            self.speak(&open);
        }
        self.turn_to_quorum(swarm).await
    }
}

/// Finds the node at an address and connects to it, to knock there.
pub(super) async fn at_address(open: &Arc<Open>, at: &str) -> Result<Conn, JoinFailed> {
    let failed = |reason| {
        let way = WayFailed {
            way: "address".to_owned(),
            reason,
            next_step: format!(
                "check that `[admission]` names a mode in the configuration there, that the node \
                 owns its swarm, and that no firewall blocks {at} (TCP and UDP)"
            ),
        };
        let text = "no way led to the node that shall let this one in";
        let failure = Failure::new(ErrorKind::Unavailable, "no_way", text);
        JoinFailed { failure, ways: vec![way] }
    };
    let peer = locate(at, None, FIND_WITHIN).await.map_err(|it| failed(with_source(&it)))?;
    dial(open, &peer).await.map_err(failed)
}

/// Tries every way at once; the first that connects wins.
async fn find(
    open: &Arc<Open>,
    code: &Code,
    (at, through): (Option<String>, Option<&Through>),
) -> Result<Found, JoinFailed> {
    let nameplate = Nameplate::from(code.nameplate());
    let mut ways: FuturesUnordered<BoxFuture<'_, Result<Found, WayFailed>>> =
        FuturesUnordered::new();
    ways.push(Box::pin(async move {
        by_lan(open, nameplate).await.map_err(|reason| WayFailed {
            way: "lan".to_owned(),
            reason,
            next_step: "check that both machines are on one network that allows multicast, \
                        or use `--at ADDRESS` as `sedge invite` prints it"
                .to_owned(),
        })
    }));
    if let Some(at) = &at {
        ways.push(Box::pin(async move {
            by_address(open, nameplate, at).await.map_err(|reason| WayFailed {
                way: "address".to_owned(),
                reason,
                next_step: format!(
                    "check that `sedge invite` is still open there and that no firewall \
                     blocks {at} (TCP and UDP)"
                ),
            })
        }));
    }
    if let Some(through) = through {
        ways.push(Box::pin(async move {
            by_relay(open, through).await.map_err(|reason| WayFailed {
                way: RELAY.to_owned(),
                reason,
                next_step: format!(
                    "check that `sedge relay` still runs on {}:{} and that this machine reaches it \
                     (TCP)",
                    through.relay.host, through.relay.port
                ),
            })
        }));
    }
    let mut failed = Vec::new();
    let mut direct = None;
    let mut soon = pin!(sleep(Duration::ZERO));
    loop {
        let ended = tokio::select! {
            biased;
            ended = ways.next() => ended,
            () = &mut soon, if direct.is_some() => None,
        };
        match ended {
            // Ways of one transport share what they learn of a peer: when no relay carried this one, it
            // was another way that led there, and that one says so in a moment.
            Some(Ok(found)) if found.way == RELAY && found.conn.path() != PathClass::Relayed => {
                soon.as_mut().reset(Instant::now() + SAYS_SO_WITHIN);
                direct = Some(found);
            }
            Some(Ok(found)) => return Ok(found),
            Some(Err(way)) => failed.push(way),
            None => break,
        }
    }
    if let Some(found) = direct {
        return Ok(found);
    }
    let text = "no way led to the node that invited";
    Err(JoinFailed { failure: Failure::new(ErrorKind::Unavailable, "no_way", text), ways: failed })
}

async fn by_lan(open: &Arc<Open>, nameplate: Nameplate) -> Result<Found, String> {
    let Some(lan) = open.quic().and_then(|it| it.lan()) else {
        return Err(open.lan_fault.clone().unwrap_or_else(|| "discovery is off".to_owned()));
    };
    let heard = lan.discover(nameplate, FIND_WITHIN).await.map_err(|it| it.to_string())?;
    let mut last = "nobody was heard".to_owned();
    for peer in heard {
        match dial(open, &peer).await {
            Ok(conn) => return Ok(Found { way: "lan", conn }),
            Err(reason) => last = reason,
        }
    }
    Err(last)
}

async fn by_address(open: &Arc<Open>, nameplate: Nameplate, at: &str) -> Result<Found, String> {
    let peer = match open.quic() {
        Some(_) => locate(at, Some(nameplate), FIND_WITHIN).await.map_err(|it| with_source(&it))?,
        // A network that was given knows nodes by their ids alone.
        None => PeerAddr::new(at.parse().map_err(|it| with_source(&it))?),
    };
    Ok(Found { way: "address", conn: dial(open, &peer).await? })
}

async fn by_relay(open: &Arc<Open>, through: &Through) -> Result<Found, String> {
    let conn = dial(open, &PeerAddr::new(through.inviter)).await?;
    Ok(Found { way: RELAY, conn })
}

async fn dial(open: &Arc<Open>, peer: &PeerAddr) -> Result<Conn, String> {
    let dialled = open.to_strangers().dial(peer, Protocol::Pair, FIND_WITHIN).await;
    dialled.map_err(|it| it.to_string())
}
