//! One member as a state machine without sockets, clock or tasks: messages and timers go in, what is
//! to be done comes out. The same machine runs over connections and in simulations.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::desk::{Desk, Judge, Output, Timer};
use super::wire::{Message, News, Peer, Post, Standing};
use crate::gossip::{PostCounts, Rate, Tree, View};
use crate::swim::{Swim, Times};

/// Posts for one member that wait to hear whether its link works, each and together.
const UNSURE: (usize, usize) = (64, 1024);
/// How long a link may take to turn out broken.
const UNSURE_FOR: Duration = Duration::from_secs(10);

/// How a member behaves.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    pub(crate) swarm: [u8; 8],
    pub(crate) times: Times,
    /// The date of the start in milliseconds.
    pub(crate) epoch: u64,
    pub(crate) seed: u64,
    pub(crate) most: usize,
    pub(crate) rate: Rate,
}

/// How a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The peer is silent, or cannot be reached.
    Silent,
    /// The peer has said that it stops.
    Left,
    /// The link was closed, or the peer does not want us.
    Closed,
}

/// What a member wants to tell.
#[derive(Debug, Clone)]
pub(crate) struct Draft<P> {
    pub(crate) to: Option<P>,
    pub(crate) topic: String,
    pub(crate) limit: u8,
    pub(crate) body: Bytes,
}

/// One member.
#[derive(Debug)]
pub(crate) struct Machine<P> {
    us: P,
    swarm: [u8; 8],
    desk: Desk<P>,
    judge: Box<dyn Judge<P>>,
    swim: Swim<P>,
    view: View<P>,
    tree: Tree<P>,
    seeds: Vec<P>,
    serial: u64,
    /// Posts that were sent to one member directly, in case its link turns out broken.
    unsure: BTreeMap<P, Vec<(Duration, Post<P>)>>,
}

impl<P: Peer> Machine<P> {
    pub(crate) fn new(us: P, seeds: Vec<P>, manner: &Manner, judge: Box<dyn Judge<P>>) -> Self {
        let Manner { swarm, times, epoch, seed, most, rate } = *manner;
        Self {
            us,
            swarm,
            desk: Desk::new(seed ^ us.mixed()),
            judge,
            swim: Swim::new(us, epoch, times, most),
            view: View::new(us, seeds.clone()),
            tree: Tree::new(us, swarm, rate, most),
            seeds,
            // Grows across starts: nobody posts a thousand times in a millisecond.
            serial: epoch.saturating_mul(1000),
            unsure: BTreeMap::new(),
        }
    }

    /// Joins; `direct` is where this member may be found.
    pub(crate) fn start(&mut self, direct: Vec<SocketAddr>) -> Vec<Output<P>> {
        self.swim.start(direct, &mut self.desk);
        self.view.start(&self.swim, &mut self.desk);
        self.desk.take()
    }

    /// Notes members of which it is known otherwise that they are up.
    pub(crate) fn know(&mut self, peers: impl Iterator<Item = P>, incarnation: u64) {
        self.swim.know(peers, incarnation);
    }

    /// Returns when [`Machine::tick`] is due, in time since the start.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.desk.due()
    }

    pub(crate) const fn swim(&self) -> &Swim<P> {
        &self.swim
    }

    pub(crate) fn neighbours(&self) -> &[P] {
        self.view.neighbours()
    }

    pub(crate) const fn counts(&self) -> PostCounts {
        self.tree.counts
    }

    pub(crate) fn admits(&self, peer: &P) -> bool {
        self.judge.admits(peer)
    }

    /// Adds a member to those who are asked while nobody is known.
    pub(crate) fn add_seed(&mut self, seed: P) {
        if seed != self.us && !self.seeds.contains(&seed) {
            self.seeds.push(seed);
            self.view.add_seed(seed);
        }
    }

    /// Does what is due at this time.
    pub(crate) fn tick(&mut self, now: Duration) -> Vec<Output<P>> {
        self.desk.now = self.desk.now.max(now);
        if let Some(due) = self.desk.due()
            && due <= now
        {
            self.swim.health.woken(now - due);
        }
        while let Some(timer) = self.desk.take_due() {
            self.on_timer(timer);
        }
        self.settle()
    }

    fn on_timer(&mut self, timer: Timer<P>) {
        let Self { desk, swim, view, tree, judge, .. } = self;
        match timer {
            Timer::Tend => view.on_tend(swim, desk),
            Timer::Exchange => view.on_exchange(swim, desk),
            Timer::Probe => swim.probe(desk, &**judge),
            Timer::Unanswered(nonce) => swim.unanswered(nonce, view.neighbours(), desk),
            Timer::Silent(nonce) => swim.silent(nonce, desk),
            Timer::Verdict(peer, incarnation) => swim.verdict(peer, incarnation, desk),
            Timer::Tell => swim.tell(view.neighbours(), desk),
            Timer::Check => swim.check(view.neighbours(), desk),
            Timer::Haves => tree.tell_names(desk),
            Timer::Fetch(id) => tree.fetch(id, desk),
            Timer::Seek => self.seek(),
        }
    }

    /// Knocks at a member that is down, or a seed that is unknown.
    fn seek(&mut self) {
        let Self { desk, swim, seeds, .. } = self;
        let gone = swim.seek(desk);
        let unknown: Vec<P> =
            seeds.iter().copied().filter(|it| swim.table.get(it).is_none()).collect();
        let unknown = desk.dice.pick(&unknown).copied();
        for peer in gone.into_iter().chain(unknown) {
            swim.knock(peer, desk);
        }
        let now = desk.now;
        self.unsure.retain(|_, posts| {
            posts.retain(|(at, _)| now < *at + UNSURE_FOR);
            !posts.is_empty()
        });
    }

    /// Takes in a message of a peer whose key was proven.
    pub(crate) fn receive(
        &mut self,
        now: Duration,
        from: P,
        message: Message<P>,
    ) -> Vec<Output<P>> {
        self.desk.now = self.desk.now.max(now);
        if from == self.us || !self.judge.admits(&from) {
            return self.desk.take();
        }
        let was_down = self.swim.table.get(&from).is_some_and(|it| it.standing == Standing::Down);
        self.on_message(from, message);
        self.swim.heard(from, &mut self.desk);
        if was_down && self.swim.table.is_up(&from) {
            self.view.bridge(from, &self.swim, &mut self.desk);
        }
        self.settle()
    }

    fn on_message(&mut self, from: P, message: Message<P>) {
        let Self { desk, swim, view, tree, judge, .. } = self;
        let judge = &**judge;
        match message {
            Message::Neighbour { urgent, us } => {
                if Self::introduced(swim, from, us, desk, judge) {
                    let goes = view.wanted(from, urgent, swim, desk);
                    goes.inspect(|it| tree.parted(it));
                }
            }
            Message::Accepted { us } => {
                if Self::introduced(swim, from, us, desk, judge) {
                    let first = view.neighbours().is_empty();
                    let goes = view.accepted(from, swim, desk);
                    goes.inspect(|it| tree.parted(it));
                    if first {
                        swim.compare(from, false, desk);
                    }
                    view.tend(swim, desk);
                }
            }
            Message::Refused { us, others } => {
                if Self::introduced(swim, from, us, desk, judge) {
                    swim.hear(from, others, desk, judge);
                    view.refused(from);
                    view.tend(swim, desk);
                }
            }
            Message::Apart => {
                if view.remove(&from, desk) {
                    tree.parted(&from);
                    view.tend(swim, desk);
                }
            }
            Message::Ping { nonce } => swim.pinged(from, nonce, desk),
            Message::Ack { nonce, digest } => swim.acked(from, nonce, digest, desk),
            Message::PingFor { nonce, target } => swim.ping_for(from, (nonce, target), desk),
            Message::AckFor { nonce } => swim.acked_for(nonce),
            Message::News(news) => swim.hear(from, news, desk, judge),
            Message::Compare { buckets, answer } => swim.compared(from, &buckets, answer, desk),
            Message::Post(post) => tree.arrived((from, post), view.neighbours(), desk, judge),
            Message::Have(ids) => {
                tree.has(from, &ids, desk);
                if !view.has(&from) {
                    // It counts a link that is none here: an answer or a farewell was lost.
                    desk.send(from, Message::Apart);
                }
            }
            Message::Want(id) => tree.wants(from, id, desk),
            Message::Prune => tree.pruned(from, view.neighbours()),
        }
    }

    /// Takes in what a peer says about itself; `false` when it speaks of somebody else.
    fn introduced(
        swim: &mut Swim<P>,
        from: P,
        us: News<P>,
        desk: &mut Desk<P>,
        judge: &dyn Judge<P>,
    ) -> bool {
        let itself = us.node == from && us.standing == Standing::Up;
        if itself {
            swim.hear(from, vec![us], desk, judge);
        }
        itself
    }

    /// Takes in that the link to a peer has ended, or did not come about.
    pub(crate) fn lost(&mut self, now: Duration, peer: P, loss: Loss) -> Vec<Output<P>> {
        self.desk.now = self.desk.now.max(now);
        let Self { desk, swim, view, tree, .. } = self;
        let neighbour = view.lost(peer, desk);
        tree.parted(&peer);
        match loss {
            Loss::Left => swim.leaves(peer, desk),
            Loss::Silent if neighbour => swim.fell_silent(peer, desk),
            Loss::Silent => swim.unreachable(peer, view.neighbours(), desk),
            Loss::Closed => {}
        }
        view.tend(swim, desk);
        // What was meant for it goes the long way.
        for (_, post) in self.unsure.remove(&peer).unwrap_or_default() {
            self.tree.publish(post, self.view.neighbours(), &mut self.desk);
        }
        self.settle()
    }

    /// Posts something; `Err` says how long to wait when this member has posted too much.
    pub(crate) fn post(
        &mut self,
        now: Duration,
        draft: Draft<P>,
    ) -> Result<Vec<Output<P>>, Duration> {
        self.desk.now = self.desk.now.max(now);
        if let Some(wait) = self.tree.may_post(self.desk.now) {
            return Err(wait);
        }
        let Draft { to, topic, limit, body } = draft;
        self.serial += 1;
        let (author, serial) = (self.us, self.serial);
        let mut post =
            Post { author, serial, to, topic, limit, body, proof: [[0; 32]; 2], hops: 0 };
        post.proof = self.judge.sign(&post.text(self.swarm));
        match to {
            Some(to) if self.swim.table.is_up(&to) || self.view.has(&to) => self.hand(to, post),
            _ => self.tree.publish(post, self.view.neighbours(), &mut self.desk),
        }
        Ok(self.settle())
    }

    /// Sends a post to its receiver directly, and keeps it in case that fails.
    fn hand(&mut self, to: P, post: Post<P>) {
        self.desk.send(to, Message::Post(Post { hops: 1, ..post.clone() }));
        let all: usize = self.unsure.values().map(Vec::len).sum();
        let now = self.desk.now;
        let waiting = self.unsure.entry(to).or_default();
        waiting.retain(|(at, _)| now < *at + UNSURE_FOR);
        if waiting.len() < UNSURE.0 && all < UNSURE.1 {
            waiting.push((now, post));
        }
    }

    /// Takes in that a member did not answer somebody else on this node.
    pub(crate) fn doubt(&mut self, now: Duration, peer: P) -> Vec<Output<P>> {
        self.desk.now = self.desk.now.max(now);
        self.swim.suspect(peer, &mut self.desk);
        self.settle()
    }

    /// Asks a member outside of its turn.
    pub(crate) fn knock(&mut self, now: Duration, peer: P) -> Vec<Output<P>> {
        self.desk.now = self.desk.now.max(now);
        if peer != self.us && self.judge.admits(&peer) {
            self.swim.knock(peer, &mut self.desk);
        }
        self.settle()
    }

    /// Says good-bye.
    pub(crate) fn leave(&mut self, now: Duration) -> Vec<Output<P>> {
        self.desk.now = self.desk.now.max(now);
        self.swim.leave(self.view.neighbours(), &mut self.desk);
        self.desk.take()
    }

    fn settle(&mut self) -> Vec<Output<P>> {
        self.swim.settle(self.view.neighbours(), &mut self.desk);
        self.desk.take()
    }
}

/// Feeds messages, each behind its sender and its length, to a member that takes every proof; returns whether all could
/// be read.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(mut bytes: &[u8]) -> bool {
    use super::wire::Key;

    /// Takes everybody at their word.
    #[derive(Debug)]
    struct CredulousOfTest;

    impl Judge<Key> for CredulousOfTest {
        fn admits(&self, _: &Key) -> bool {
            true
        }

        fn sign(&self, _: &[u8]) -> super::wire::Proof {
            [[0; 32]; 2]
        }

        fn proves(&self, _: &Key, _: &[u8], proof: &super::wire::Proof) -> bool {
            proof[0][0] == 0
        }
    }

    let key = |it: u8| Key::from(sedge_base::NodeId::from_bytes([it; 32]));
    let manner = Manner {
        swarm: [1; 8],
        times: Times::lan(),
        epoch: 1_700_000_000_000,
        seed: 1,
        most: 64,
        rate: Rate { per_second: 100.0, burst: 100.0 },
    };
    let mut machine = Machine::new(key(0), vec![key(1)], &manner, Box::new(CredulousOfTest));
    let mut now = Duration::ZERO;
    while let Some((&[from, high, low], rest)) = bytes.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (message, rest) = rest.split_at(length);
        bytes = rest;
        let Ok(message) = Message::decode(message) else { return false };
        now += Duration::from_millis(u64::from(from));
        for output in machine.receive(now, key(from), message) {
            if let Output::Send { message, .. } = output {
                let told = message.encode().map(|it| Message::<Key>::decode(&it));
                assert!(told.is_some_and(|it| it.is_ok()), "what it says can be read");
            }
        }
        drop(machine.tick(now));
    }
    bytes.is_empty()
}
