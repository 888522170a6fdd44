//! The node's side of the swarm layer of [`sedge_net`]: whom it keeps links to, who is there, and what
//! everybody is told.
//!
//! Three layers. The roster that the owner signs says who belongs; SWIM says who is there; gossip tells
//! first, and members that compare what they have find what it missed. Up to `node.full_mesh` members
//! everybody talks to everybody and judges for itself who answers; in a larger swarm a node talks to its
//! partners, and what it holds open and sends in a second does not grow with the swarm.
//!
//! Invariants: nothing that others pass on changes state unless its signature holds, the owner's for
//! the roster and a member's own for what it offers; what others say of a member's presence makes it a
//! suspect at most.

mod tell;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sedge_base::{Dice, NodeId, SwarmId, TaskScope};
use sedge_capability::Failure;
use sedge_members::Pieces;
use sedge_net::{
    Admission, CloseReason, ConnError, Frame, Member, PeerAddr, SWARM, Standing, Swarm, SwarmEvent,
    SwarmOptions, Times,
};
use serde_json::json;
use tracing::{debug, info};

use self::tell::{Ears, Own};
use crate::graph::Busy;
use crate::node::{Node, internal};
use crate::wire::Reader;

/// How many bytes of notices are given at once.
pub(crate) const NOTICES_AT_ONCE: usize = 512 << 10;
/// With so many others a node talks that has no links yet.
const FEW: usize = 4;
/// Where the setting lies that keeps the number of the newest notice.
const SERIAL_SETTING: &str = "swarm.serial";

/// The swarm layer while it runs.
#[derive(Debug)]
struct Layer {
    of: SwarmId,
    swarm: Swarm,
    scope: TaskScope,
}

/// What a node keeps for the swarm layer.
#[derive(Debug)]
pub(crate) struct Fabric {
    layer: Mutex<Option<Layer>>,
    own: tokio::sync::Mutex<Own>,
    /// The number of this node's newest notice.
    serial: AtomicU64,
    pieces: Mutex<Pieces>,
    /// Members whose notices are asked for now.
    asking: Arc<Busy>,
    dice: Mutex<Dice>,
}

impl Fabric {
    /// Makes what a node keeps before the layer runs.
    pub(crate) fn new(me: &NodeId) -> Self {
        Self {
            layer: Mutex::default(),
            own: tokio::sync::Mutex::default(),
            serial: AtomicU64::new(0),
            pieces: Mutex::default(),
            asking: Arc::default(),
            dice: Mutex::new(Dice::new(seed(me))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Layer>> {
        self.layer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dice(&self) -> MutexGuard<'_, Dice> {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pieces(&self) -> MutexGuard<'_, Pieces> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the layer, if it runs.
    fn layer(&self) -> Option<Swarm> {
        self.lock().as_ref().map(|it| it.swarm.clone())
    }

    /// Returns the number of this node's newest notice; 0 before the first.
    pub(crate) fn serial(&self) -> u64 {
        self.serial.load(Ordering::SeqCst)
    }
}

/// Nodes do not move in step.
fn seed(me: &NodeId) -> u64 {
    me.as_bytes().first_chunk().map_or(0, |it| u64::from_le_bytes(*it))
}

impl Node {
    /// Takes up the number of the newest notice before the last stop.
    pub(crate) async fn remember_serial(&self) -> Result<(), Failure> {
        let stored = self.store.settings().get(SERIAL_SETTING).await.map_err(internal)?;
        let serial = stored.and_then(|it| it.parse().ok()).unwrap_or(0);
        self.fabric.serial.store(serial, Ordering::SeqCst);
        Ok(())
    }

    /// Lets the layer of this node's swarm run while the mesh is open and there are others.
    pub(crate) fn tend_swarm(self: &Arc<Self>) {
        let (of, others) = (self.members.swarm(), self.members.others());
        let open = self.mesh.current().filter(|_| !others.is_empty());
        let mut held = self.fabric.lock();
        let runs = |it: &Layer| it.of == of && !it.scope.cancel().is_cancelled();
        if open.is_some() && held.as_ref().is_some_and(runs) {
            return;
        }
        if let Some(old) = held.take() {
            old.scope.stop();
        }
        let Some(open) = open else { return };
        let scope = open.scope().child();
        let admission = Arc::clone(&self.members) as Arc<dyn Admission>;
        // A probe of a stranger costs a connection, and the dead are noticed by their links first.
        let options = SwarmOptions {
            direct: self.mesh.addresses(),
            clock: self.clock.clone(),
            seed: seed(&self.id()),
            times: Times { probe_few: Times::lan().probe_many, ..Times::lan() },
            ..SwarmOptions::new(of, Arc::new(self.identity.clone()), admission)
        };
        let seeds: Vec<PeerAddr> =
            others.iter().filter_map(|it| self.members.address(it)).collect();
        let swarm = Swarm::start(open.pool.clone(), seeds, options, &scope);
        match Ears::open(&swarm) {
            Ok(ears) => {
                let node = Arc::clone(self);
                scope.spawn("swarm ears", async move |cancel| {
                    tokio::select! {
                        biased;
                        () = cancel.cancelled() => {}
                        () = ears.listen(&node) => {}
                    }
                });
            }
            // A new layer has no listeners that it could have too many of.
            Err(error) => debug!(target: "sedge::events::swarm_unheard", %error),
        }
        *held = Some(Layer { of, swarm, scope });
    }

    /// Reads a stream of another member's swarm layer until it ends.
    pub(crate) async fn serve_swarm(&self, peer: NodeId, first: Bytes, reader: &mut Reader) {
        // Without a layer the stream ends, and the peer tries again later.
        let Some(layer) = self.fabric.layer() else { return };
        if let Err(error) = layer.serve(peer, Frame::new(SWARM, first), reader).await {
            debug!(target: "sedge::events::swarm_stream_ended", %peer, %error);
        }
    }

    /// Returns the members with which this node exchanges what it has to tell: all others, or in a large
    /// swarm those that it keeps links to, the voters if it votes itself, and one that is not there, in
    /// case it has come back.
    pub(crate) fn partners(&self) -> Vec<NodeId> {
        let others = self.members.others();
        if !self.members.are_many() {
            return others;
        }
        let layer = self.fabric.layer();
        let near = layer.as_ref().map_or_else(Vec::new, Swarm::neighbours);
        let voters = self.quorum.standing().voters;
        let voters = voters.into_iter().filter(|it| *it != self.id());
        let votes = self.quorum.standing().voters.contains(&self.id());
        let mut partners: BTreeSet<NodeId> = near.into_iter().collect();
        partners.extend(voters.filter(|_| votes));
        partners.retain(|it| others.binary_search(it).is_ok());
        let mut dice = self.fabric.dice();
        let here = |it: &NodeId| {
            layer.as_ref().and_then(|layer| layer.standing(*it)) == Some(Standing::Up)
        };
        let (there, away): (Vec<_>, Vec<_>) =
            others.into_iter().filter(|it| !partners.contains(it)).partition(|it| here(it));
        // Before anybody was heard of, anybody may be there.
        let more = if there.is_empty() { &away } else { &there };
        for _ in partners.len()..FEW {
            partners.extend(dice.pick(more).copied());
        }
        partners.extend(dice.pick(&away).copied());
        partners.into_iter().collect()
    }

    /// Takes in that a member did not answer this node.
    pub(crate) fn lost(&self, peer: NodeId, reason: String) {
        if self.members.are_many()
            && let Some(layer) = self.fabric.layer()
        {
            match layer.standing(peer) {
                // The others hear it, and the member objects if it is there.
                Some(Standing::Up) => return layer.doubt(peer),
                Some(Standing::Suspect) => return,
                Some(Standing::Down) | None => {}
            }
        }
        if self.members.missed(peer, reason.clone()) {
            let name = self.members.name_of(&peer);
            info!(target: "sedge::events::member_lost", %peer, name, reason);
            self.tell_lost(peer, &reason);
        }
    }

    /// Tells plugins that a member was there and is not any more.
    fn tell_lost(&self, peer: NodeId, reason: &str) {
        let name = || self.members.name_of(&peer);
        self.hooks()
            .tell("member.lost", || json!({ "node": peer, "name": name(), "reason": reason }));
    }

    /// Takes in that the last connection with a member has ended.
    pub(crate) fn disconnected(&self, peer: NodeId, why: &ConnError) {
        let wanted = matches!(
            why,
            ConnError::ClosedHere
                | ConnError::Closed { reason: CloseReason::Done | CloseReason::Duplicate }
        );
        match self.members.are_many() {
            true if wanted => {}
            true => self.lost(peer, why.to_string()),
            false if self.members.missed(peer, why.to_string()) => {
                self.tell_lost(peer, &why.to_string());
            }
            false => {}
        }
    }

    /// Takes in that a member answered this node, whatever the others say of it.
    pub(crate) fn met(&self, peer: NodeId) {
        if !self.members.are_many() {
            return;
        }
        if let Some(layer) = self.fabric.layer()
            && layer.standing(peer) != Some(Standing::Up)
        {
            if let Some(addr) = self.members.address(&peer) {
                layer.hint(addr);
            }
            layer.knock(peer);
        }
    }

    /// Takes in what has happened to a member.
    fn stands(&self, event: SwarmEvent) {
        if !self.members.are_many() {
            return;
        }
        match event {
            SwarmEvent::Stands(Member { node, standing }) => self.stand(node, standing),
            SwarmEvent::Missed(_) => self.look_around(),
            _ => {}
        }
    }

    fn stand(&self, node: NodeId, standing: Standing) {
        match standing {
            Standing::Up => self.members.alive(&node),
            Standing::Suspect => {
                self.members.doubted(&node, "it does not answer, and has not objected yet");
            }
            Standing::Down => {
                let Some(known) = self.members.get(&node) else { return };
                let reason = "nobody has an answer of it";
                if self.members.missed(node, reason.to_owned()) {
                    self.tell_lost(node, reason);
                }
                info!(target: "sedge::events::member_lost", peer = %node, name = known.name(), reason);
            }
        }
    }

    /// Looks how the members of a large swarm stand.
    pub(crate) fn look_around(&self) {
        let Some(layer) = self.fabric.layer().filter(|_| self.members.are_many()) else { return };
        for node in self.members.others() {
            match layer.standing(node) {
                Some(Standing::Up) => self.members.alive(&node),
                Some(Standing::Suspect) => self.stand(node, Standing::Suspect),
                // Whoever the layer does not hear of may have been met otherwise.
                Some(Standing::Down) | None if self.members.is_stale(&node) => {
                    self.stand(node, Standing::Down);
                }
                Some(Standing::Down) | None => {}
            }
        }
        self.members.check_all();
    }
}
