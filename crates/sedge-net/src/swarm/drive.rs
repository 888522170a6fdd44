//! The state machine of a member, driven by connections and by time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sedge_base::{NodeId, TaskScope};
use sedge_trust::{Identity, Signature};
use tokio::sync::{Notify, Semaphore, broadcast, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::desk::{Judge, Output};
use super::lane::{self, Lane, Waiting};
use super::machine::{Draft, Loss, Machine, Manner};
use super::topics::Topics;
use super::wire::{Key, Message, Post, Proof, SWARM};
use super::{Delivery, Member, SwarmEvent, SwarmOptions};
use crate::events::{MemberStands, SwarmMetrics};
use crate::frame::Frame;
use crate::gossip::Rate;
use crate::pool::Pool;
use crate::transport::{Admission, PeerAddr, Protocol};

/// Events that may wait for one listener.
const EVENTS: usize = 1024;
/// Dials of one member that are under way at one time.
const DIALS: usize = 8;
/// Addresses of members that whoever owns this node has told us.
const HINTS: usize = 16_384;

/// Everything of one member.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) us: NodeId,
    pub(super) pool: Pool,
    dial_within: Duration,
    /// Turns to dial.
    pub(super) dials: Semaphore,
    pub(super) topics: Topics,
    pub(super) metrics: Arc<SwarmMetrics>,
    pub(super) scope: TaskScope,
    began: Instant,
    state: Mutex<State>,
    /// Streams of each peer that are read now.
    streams: Mutex<BTreeMap<NodeId, usize>>,
    /// A timer is due earlier than was thought.
    wake: Notify,
}

#[derive(Debug)]
struct State {
    machine: Machine<Key>,
    lanes: BTreeMap<Key, Lane>,
    lanes_opened: u64,
    hints: BTreeMap<Key, Vec<SocketAddr>>,
    /// For when the timer is set.
    due: Option<Duration>,
    /// `None` when the swarm was left.
    events: Option<broadcast::Sender<SwarmEvent>>,
}

impl State {
    fn tell(&self, event: SwarmEvent) {
        if let Some(events) = &self.events {
            // It fails when nobody listens.
            drop(events.send(event));
        }
    }
}

/// Who is a member is said by the node; who wrote what, by signatures.
#[derive(Debug)]
struct SignatureJudge {
    identity: Arc<Identity>,
    admission: Arc<dyn Admission>,
}

impl Judge<Key> for SignatureJudge {
    fn admits(&self, peer: &Key) -> bool {
        self.admission.admits(peer.node(), Protocol::Mesh)
    }

    fn sign(&self, text: &[u8]) -> Proof {
        let mut proof = [[0; 32]; 2];
        let signature = self.identity.sign(text);
        let (first, second) = signature.as_bytes().split_at(32);
        proof[0].copy_from_slice(first);
        proof[1].copy_from_slice(second);
        proof
    }

    fn proves(&self, author: &Key, text: &[u8], proof: &Proof) -> bool {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(proof.as_flattened());
        sedge_trust::verify(&author.node(), text, &Signature::from_bytes(bytes)).is_ok()
    }
}

impl Inner {
    pub(super) fn start(
        pool: Pool,
        seeds: Vec<PeerAddr>,
        options: SwarmOptions,
        scope: &TaskScope,
    ) -> Arc<Self> {
        let us = options.identity.node_id();
        let per_second = f64::from(options.posts_per_second.max(1));
        let manner = Manner {
            swarm: *options.swarm.as_bytes(),
            times: options.times,
            epoch: options.clock.now().as_millis(),
            seed: options.seed,
            most: options.most_members,
            rate: Rate { per_second, burst: per_second * 4.0 },
        };
        let judge = SignatureJudge { identity: options.identity, admission: options.admission };
        let asked = seeds.iter().map(|it| Key::from(it.node)).collect();
        let machine = Machine::new(Key::from(us), asked, &manner, Box::new(judge));
        let hints = seeds.into_iter().map(|it| (Key::from(it.node), it.direct)).collect();
        let (lanes, events) = (BTreeMap::new(), Some(broadcast::Sender::new(EVENTS)));
        let inner = Arc::new(Self {
            us,
            pool,
            dial_within: options.dial_within,
            dials: Semaphore::new(DIALS),
            topics: Topics::default(),
            metrics: Arc::default(),
            scope: scope.clone(),
            began: Instant::now(),
            state: Mutex::new(State { machine, lanes, lanes_opened: 0, hints, due: None, events }),
            streams: Mutex::default(),
            wake: Notify::new(),
        });
        inner.step(|machine, _| machine.start(options.direct));
        let timed = Arc::clone(&inner);
        scope.spawn("swarm", |cancel| async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = timed.tick() => {}
            }
            timed.leave();
        });
        inner
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn streams(&self) -> MutexGuard<'_, BTreeMap<NodeId, usize>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how long a dial may take: longer while this node itself is late.
    pub(super) fn patience(&self) -> Duration {
        self.with(|machine| machine.swim().health.stretch(self.dial_within))
    }

    /// Looks at the state machine.
    pub(super) fn with<T>(&self, look: impl FnOnce(&Machine<Key>) -> T) -> T {
        look(&self.lock().machine)
    }

    pub(super) fn subscribe_events(&self) -> broadcast::Receiver<SwarmEvent> {
        let state = self.lock();
        // A swarm that was left gives an end at once.
        state.events.as_ref().map_or_else(|| broadcast::channel(1).1, broadcast::Sender::subscribe)
    }

    /// Moves the state machine, and does what comes out.
    fn step(self: &Arc<Self>, act: impl FnOnce(&mut Machine<Key>, Duration) -> Vec<Output<Key>>) {
        let mut state = self.lock();
        let outputs = act(&mut state.machine, self.began.elapsed());
        self.carry_out(&mut state, outputs);
    }

    fn carry_out(self: &Arc<Self>, state: &mut State, outputs: Vec<Output<Key>>) {
        for output in outputs {
            match output {
                Output::Send { to, message } => self.send(state, to, &message),
                Output::Keep { peer, keep } => {
                    let event = if keep { SwarmEvent::Linked } else { SwarmEvent::Unlinked };
                    state.tell(event(peer.node()));
                    if keep {
                        self.lane(state, peer).keep.send_replace(true);
                    } else if let Some(lane) = state.lanes.get(&peer) {
                        lane.keep.send_replace(false);
                    }
                }
                Output::Stands { peer, standing } => {
                    let node = peer.node();
                    MemberStands { node, standing }.emit(&self.metrics);
                    state.tell(SwarmEvent::Stands(Member { node, standing }));
                }
                Output::Deliver(post) => self.deliver(post),
            }
        }
        let due = state.machine.due();
        let earlier = due.is_some_and(|it| state.due.is_none_or(|set| it < set));
        if earlier {
            state.due = due;
            self.wake.notify_one();
        }
    }

    fn deliver(&self, post: Post<Key>) {
        // A name that no topic has is nobody's: it is relayed all the same.
        let Ok(topic) = post.topic.parse() else { return };
        self.metrics.delivered.fetch_add(1, Relaxed);
        let (author, directed) = (post.author.node(), post.to.is_some());
        self.topics.deliver(Delivery { author, topic, body: post.body, hops: post.hops, directed });
    }

    /// Returns the lane to a peer, and opens one if there is none.
    fn lane<'a>(self: &Arc<Self>, state: &'a mut State, peer: Key) -> &'a Lane {
        let State { lanes, lanes_opened, machine, hints, .. } = state;
        match lanes.entry(peer) {
            Entry::Occupied(lane) => lane.into_mut(),
            Entry::Vacant(place) => {
                *lanes_opened += 1;
                let number = *lanes_opened;
                let mut to = PeerAddr::new(peer.node());
                let told = machine.swim().table.place(&peer).iter();
                for addr in hints.get(&peer).into_iter().flatten().chain(told) {
                    if !to.direct.contains(addr) {
                        to.direct.push(*addr);
                    }
                }
                let (sender, frames) = mpsc::channel(lane::WAITING);
                let kept = machine.neighbours().contains(&peer);
                let (keep, kept) = watch::channel(kept);
                let waiting = Waiting { frames, keep: kept, number };
                let inner = Arc::clone(self);
                self.scope.spawn("swarm lane", |cancel| async move {
                    lane::run(&inner, to, waiting, cancel).await;
                });
                place.insert(Lane { sender, keep, number })
            }
        }
    }

    fn send(self: &Arc<Self>, state: &mut State, to: Key, message: &Message<Key>) {
        let Some(bytes) = message.encode() else { return };
        self.metrics.sent_messages.fetch_add(1, Relaxed);
        self.metrics.sent_bytes.fetch_add(bytes.len() as u64, Relaxed);
        // A lane that is full or has just ended loses it: tables are compared, posts asked for.
        if self.lane(state, to).sender.try_send(Frame::new(SWARM, bytes)).is_err() {
            self.metrics.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Takes in a message; `false` when its sender is no member any more.
    pub(super) fn receive(self: &Arc<Self>, from: Key, message: Message<Key>) -> bool {
        let mut state = self.lock();
        if !state.machine.admits(&from) {
            return false;
        }
        let outputs = state.machine.receive(self.began.elapsed(), from, message);
        self.carry_out(&mut state, outputs);
        true
    }

    /// Posts something; `Err` says how long to wait.
    pub(super) fn post(self: &Arc<Self>, draft: Draft<Key>) -> Result<(), Duration> {
        let mut state = self.lock();
        let outputs = state.machine.post(self.began.elapsed(), draft)?;
        self.carry_out(&mut state, outputs);
        Ok(())
    }

    pub(super) fn hint(&self, addr: PeerAddr) {
        let mut state = self.lock();
        let key = Key::from(addr.node);
        if state.hints.len() < HINTS || state.hints.contains_key(&key) {
            state.hints.insert(key, addr.direct);
            state.machine.add_seed(key);
        }
    }

    /// Whoever owns this node had no answer from a member.
    pub(super) fn doubt(self: &Arc<Self>, peer: Key) {
        self.step(|machine, now| machine.doubt(now, peer));
    }

    /// Asks a member outside of its turn.
    pub(super) fn knock(self: &Arc<Self>, peer: Key) {
        self.step(|machine, now| machine.knock(now, peer));
    }

    /// A lane has ended because the link did.
    pub(super) fn lost(self: &Arc<Self>, peer: Key, number: u64, loss: Loss) {
        let mut state = self.lock();
        if state.lanes.get(&peer).is_some_and(|it| it.number == number) {
            state.lanes.remove(&peer);
            let outputs = state.machine.lost(self.began.elapsed(), peer, loss);
            self.carry_out(&mut state, outputs);
        }
    }

    /// Removes a lane that is not needed, unless something waits in it.
    pub(super) fn retire(&self, peer: Key, waiting: &Waiting) -> bool {
        let mut state = self.lock();
        let idle = waiting.frames.is_empty() && !*waiting.keep.borrow();
        if idle && state.lanes.get(&peer).is_some_and(|it| it.number == waiting.number) {
            state.lanes.remove(&peer);
        }
        idle
    }

    /// Does what is due, again and again.
    async fn tick(self: &Arc<Self>) {
        loop {
            let due = {
                let mut state = self.lock();
                state.due = state.machine.due();
                state.due
            };
            let timer = async {
                match due {
                    Some(due) => sleep_until(self.began + due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                () = timer => self.step(Machine::tick),
            }
        }
    }

    /// Says good-bye, and lets every lane send what waits in it.
    fn leave(self: &Arc<Self>) {
        let mut state = self.lock();
        let outputs = state.machine.leave(self.began.elapsed());
        for output in outputs {
            if let Output::Send { to, message } = output
                && let Some(lane) = state.lanes.get(&to)
                && let Some(bytes) = message.encode()
            {
                // A full lane goes without a good-bye.
                drop(lane.sender.try_send(Frame::new(SWARM, bytes)));
            }
        }
        state.lanes.clear();
        state.events = None;
        drop(state);
        self.topics.close();
    }
}
