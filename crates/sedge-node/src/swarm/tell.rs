//! What everybody is told: notices when something lasting has changed, pulses between them, and records
//! that the owner signed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use sedge_base::NodeId;
use sedge_members::{
    Advert, Held, Listed, Notice, NoticeError, Noticed, Pulse, Roster, cut, lasting,
};
use sedge_net::{
    Delivery, Heed, PostError, SubscribeError, Subscription, Swarm, SwarmEvents, Topic, USUAL_HOPS,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::SERIAL_SETTING;
use crate::beat::ask;
use crate::node::{Node, with_source};
use crate::wire::Request;

/// Notices, in pieces.
const NOTICES: &str = "sedge/notices";
/// Pulses.
const PULSES: &str = "sedge/pulses";
/// Records that the owner signed.
const ROSTER: &str = "sedge/roster";
/// All members together send so many pulses in a second, one every [`SPACING`].
const SPACING: Duration = Duration::from_millis(100);
/// More revocations at once than these are found by those who compare rosters.
const MOST_RECORDS: usize = 16;
/// How long a member may take to give the notices that are asked for.
const GIVES_WITHIN: Duration = Duration::from_secs(30);
/// How often more is asked for at once.
const ROUNDS: usize = 64;

/// Why a notice was not made.
#[derive(Debug, thiserror::Error)]
enum NotTold {
    #[error(transparent)]
    Notice(#[from] NoticeError),
    #[error("it could not be written")]
    Unwritten(#[from] serde_json::Error),
    #[error("its number could not be stored")]
    Number(#[from] sedge_store::Fault),
}

/// What this node has told last.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// What lasts of the newest notice, and the notice itself.
    told: Option<(Advert, Advert)>,
    pulsed: Option<Instant>,
}

/// Who listens to what the layer hears.
pub(super) struct Ears {
    events: SwarmEvents,
    notices: Subscription,
    pulses: Subscription,
    roster: Subscription,
}

fn topic(name: &str) -> Result<Topic, SubscribeError> {
    // The names above are names of topics.
    name.parse().map_err(|_| SubscribeError::Topics)
}

impl Ears {
    pub(super) fn open(swarm: &Swarm) -> Result<Self, SubscribeError> {
        let listen = |name| swarm.subscribe(&topic(name)?);
        Ok(Self {
            events: swarm.events(),
            notices: listen(NOTICES)?,
            pulses: listen(PULSES)?,
            roster: listen(ROSTER)?,
        })
    }

    /// Listens until the layer is left.
    pub(super) async fn listen(mut self, node: &Arc<Node>) {
        loop {
            tokio::select! {
                biased;
                event = self.events.next() => match event {
                    Some(event) => node.stands(event),
                    None => return,
                },
                heed = self.roster.next() => match heed {
                    Some(Heed::Message(it)) => node.hear_records(&it).await,
                    // Who compares rosters finds what was missed.
                    Some(Heed::Missed(_)) => {}
                    None => return,
                },
                heed = self.notices.next() => match heed {
                    Some(Heed::Message(it)) => node.hear_piece(&it).await,
                    Some(Heed::Missed(_)) => {}
                    None => return,
                },
                heed = self.pulses.next() => match heed {
                    Some(Heed::Message(it)) => {
                        if let Some(pulse) = read::<Pulse>(&it) {
                            node.members.pulsed(&it.author, &pulse);
                        }
                    }
                    Some(Heed::Missed(_)) => {}
                    None => return,
                },
            }
        }
    }
}

fn read<T: DeserializeOwned>(delivery: &Delivery) -> Option<T> {
    let read = serde_json::from_slice(&delivery.body);
    read.inspect_err(|error| {
        let author = &delivery.author;
        debug!(target: "sedge::events::post_unread", %author, topic = %delivery.topic, %error);
    })
    .ok()
}

impl Node {
    /// Tells what is new here: everybody in a small swarm; in a large one the partners, and the others by
    /// gossip.
    pub(crate) async fn tell_others(self: &Arc<Self>) {
        self.publish().await;
        join_all(self.partners().into_iter().map(|it| self.beat(it))).await;
    }

    /// Posts what a large swarm is to know of this node, if anything is due.
    async fn publish(&self) {
        let Some(layer) = self.fabric.layer().filter(|_| self.members.are_many()) else { return };
        // One notice at a time, so that their numbers grow in the order of what they say.
        let mut own = self.fabric.own.lock().await;
        let advert = self.advert();
        let lasts = lasting(&advert);
        if let Some((_, notice)) = own.told.as_ref().filter(|it| it.0 == lasts) {
            let period =
                SPACING.saturating_mul(u32::try_from(self.members.count()).unwrap_or(u32::MAX));
            let period = period.max(self.config.node.advert_period);
            if own.pulsed.is_none_or(|it| it.elapsed() >= period) {
                let pulse = Pulse::of(&advert, notice);
                own.pulsed = Some(Instant::now());
                post(&layer, PULSES, &pulse);
            }
            return;
        }
        match self.renew(advert).await {
            Ok((advert, posts)) => {
                own.told = Some((lasts, advert));
                own.pulsed = Some(Instant::now());
                for body in posts {
                    note(publish(&layer, NOTICES, body));
                }
            }
            // The partners are told directly, and it is tried again with the next heartbeat.
            Err(error) => {
                let error = with_source(&error);
                warn!(target: "sedge::events::notice_not_made", error);
            }
        }
    }

    /// Signs a new notice, whose number is on disk before anybody sees it.
    async fn renew(&self, advert: Advert) -> Result<(Advert, Vec<Bytes>), NotTold> {
        let serial = self.clock.now().as_millis().max(self.fabric.serial() + 1);
        let advert = Advert { serial, ..advert };
        let notice = Notice::sign(&advert, self.members.swarm(), &self.identity)?;
        self.store.settings().set(SERIAL_SETTING, &serial.to_string()).await?;
        self.fabric.serial.store(serial, Ordering::SeqCst);
        let posts = cut(serial, &serde_json::to_vec(&notice)?).unwrap_or_default();
        self.members.noticed(Arc::new(notice), advert.clone());
        Ok((advert, posts))
    }

    /// Posts a member's record, so that everybody lets it in.
    pub(crate) fn publish_member(&self, node: &NodeId) {
        let Some(layer) = self.fabric.layer().filter(|_| self.members.are_many()) else { return };
        if let Some(known) = self.members.get(node) {
            let addresses = self.members.addresses(node);
            let listed = Listed { membership: known.membership, addresses };
            post(&layer, ROSTER, &Roster { members: vec![listed], ..Roster::default() });
        }
    }

    /// Posts what the owner took back, one post for each.
    pub(crate) fn publish_revocations(&self, revocations: &[sedge_trust::Revocation]) {
        let Some(layer) = self.fabric.layer().filter(|_| self.members.are_many()) else { return };
        for revocation in revocations.iter().take(MOST_RECORDS) {
            post(&layer, ROSTER, &Roster { revocations: vec![*revocation], ..Roster::default() });
        }
    }

    /// Takes in what the owner signed; who passed it on does not matter.
    async fn hear_records(self: &Arc<Self>, delivery: &Delivery) {
        let Some(roster) = read::<Roster>(delivery).filter(|_| delivery.hops > 0) else { return };
        if let Err(failure) = self.take_post(roster).await {
            let author = &delivery.author;
            debug!(target: "sedge::events::roster_refused", peer = %author, %failure);
        }
    }

    async fn hear_piece(&self, delivery: &Delivery) {
        if delivery.hops == 0 {
            return;
        }
        let whole = self.fabric.pieces().add(delivery.author, &delivery.body);
        let notice = whole.and_then(|it| serde_json::from_slice::<Notice>(&it).ok());
        let Some(notice) = notice.filter(|it| it.node == delivery.author) else { return };
        if self.take_notice(notice).await.moved {
            self.keep_addresses().await;
        }
    }

    /// Takes in a notice if its node has signed it.
    async fn take_notice(&self, notice: Notice) -> Noticed {
        let node = notice.node;
        if node == self.id() || self.members.get(&node).is_none() {
            return Noticed::default();
        }
        match notice.open(self.members.swarm()) {
            Ok(advert) => {
                self.hear_relays(node, &advert.relays).await;
                self.members.noticed(Arc::new(notice), advert)
            }
            Err(error) => {
                let (kind, error) = (error.kind(), with_source(&error));
                debug!(target: "sedge::events::notice_refused", %node, ?kind, error);
                Noticed::default()
            }
        }
    }

    /// Asks a member for the notices that this node lacks, unless that is under way.
    pub(crate) fn pull_notices(self: &Arc<Self>, peer: NodeId) {
        let Some(turn) = self.fabric.asking.turn(peer) else { return };
        let node = Arc::clone(self);
        self.scope.spawn("notices", async move |cancel| {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                pulled = timeout(GIVES_WITHIN, node.take_notices_of(peer)) => {
                    if let Ok(Err(error)) = pulled {
                        debug!(target: "sedge::events::notices_not_given", %peer, %error);
                    }
                }
            }
            drop(turn);
        });
    }

    async fn take_notices_of(&self, peer: NodeId) -> Result<(), crate::wire::WireError> {
        for _ in 0..ROUNDS {
            let Some(conn) = self.mesh.live(&peer) else { return Ok(()) };
            let held: Vec<Held> = self.members.held();
            let given: Vec<Notice> = ask(&conn, &Request::Notices { held }).await?;
            let mut all = Noticed::default();
            for notice in given {
                let Noticed { news, moved } = self.take_notice(notice).await;
                all = Noticed { news: all.news | news, moved: all.moved | moved };
            }
            if all.moved {
                self.keep_addresses().await;
            }
            if !all.news {
                break;
            }
        }
        Ok(())
    }
}

fn post(layer: &Swarm, name: &str, said: &impl Serialize) {
    match serde_json::to_vec(said) {
        Ok(body) => note(publish(layer, name, body.into())),
        Err(error) => debug!(target: "sedge::events::post_unwritten", %error),
    }
}

fn publish(layer: &Swarm, name: &str, body: Bytes) -> Result<(), PostError> {
    match topic(name) {
        Ok(topic) => layer.publish(&topic, body, USUAL_HOPS),
        // The names above are names of topics.
        Err(_) => Ok(()),
    }
}

/// What is not posted is found by those who compare what they have.
fn note(posted: Result<(), PostError>) {
    if let Err(error) = posted {
        debug!(target: "sedge::events::not_posted", %error);
    }
}
