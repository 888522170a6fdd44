//! The network of a simulation.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Simulation;
use crate::dice::Dice;
#[cfg(test)]
use crate::gossip::PostCounts;
use crate::gossip::Rate;
use crate::swarm::desk::{Judge, Output};
use crate::swarm::machine::{Draft, Loss, Machine, Manner};
use crate::swarm::wire::{Message, Peer, Proof, Standing};

/// What a frame adds to a message.
const FRAME: u64 = 5;
/// How long a link to a dead member is silent before that is noticed, at least and at most; as with
/// the transports' own keep-alive.
const SILENCE: (Duration, Duration) = (Duration::from_millis(700), Duration::from_millis(850));
/// How long a dial of somebody who does not answer takes.
const DIAL: Duration = Duration::from_secs(2);
/// A date in milliseconds.
const EPOCH: u64 = 1_700_000_000_000;

/// A simulated member: a number in memory, as long as a key on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number(pub(crate) u32);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.bytes())
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        let bytes32 = bytes.try_into().ok().map(Self::named);
        bytes32.ok_or_else(|| D::Error::invalid_length(bytes.len(), &"32 bytes"))
    }
}

impl Peer for Number {
    fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&self.0.to_le_bytes());
        bytes
    }

    fn named([a, b, c, d, ..]: [u8; 32]) -> Self {
        Self(u32::from_le_bytes([a, b, c, d]))
    }

    fn mixed(&self) -> u64 {
        crate::dice::mix(u64::from(self.0) + 1)
    }
}

/// The double of a judge: everybody below a number is a member, and a proof names its author.
#[derive(Debug)]
struct SimulatedJudge {
    us: Number,
    members: u32,
}

impl Judge<Number> for SimulatedJudge {
    fn admits(&self, peer: &Number) -> bool {
        peer.0 < self.members
    }

    fn sign(&self, _: &[u8]) -> Proof {
        [self.us.bytes(); 2]
    }

    fn proves(&self, author: &Number, _: &[u8], proof: &Proof) -> bool {
        *proof == [author.bytes(); 2]
    }
}

/// A member changed what it thinks of another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) at: Duration,
    pub(crate) by: Number,
    pub(crate) about: Number,
    pub(crate) standing: Standing,
}

/// A member got a post.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivered {
    pub(crate) at: Duration,
    pub(crate) to: Number,
    pub(crate) hops: u8,
}

#[derive(Debug)]
enum Event {
    Start,
    Wake,
    Message { from: Number, message: Message<Number> },
    Lost { peer: Number, loss: Loss },
}

/// A member, when it started, and when it is woken next.
#[derive(Debug)]
struct Place {
    machine: Machine<Number>,
    began: Duration,
    wake: Option<Duration>,
    links: BTreeSet<Number>,
}

/// The members and what is on its way between them.
#[derive(Debug)]
pub(crate) struct Network {
    simulation: Simulation,
    dice: Dice,
    now: Duration,
    places: Vec<Option<Place>>,
    queue: BinaryHeap<Reverse<(Duration, u64, u32)>>,
    events: BTreeMap<u64, Event>,
    filed: u64,
    /// To which part of a cut network members belong; all are in part 0 otherwise.
    parts: BTreeMap<Number, u8>,
    sent: (u64, u64),
    changes: Vec<Change>,
    delivered: Vec<Delivered>,
}

impl Network {
    pub(crate) fn new(simulation: Simulation) -> Self {
        let mut places = Vec::new();
        places.resize_with(simulation.members as usize, || None);
        Self {
            simulation,
            dice: Dice::new(simulation.seed),
            now: Duration::ZERO,
            places,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            filed: 0,
            parts: BTreeMap::new(),
            sent: (0, 0),
            changes: Vec::new(),
            delivered: Vec::new(),
        }
    }

    pub(crate) const fn now(&self) -> Duration {
        self.now
    }

    /// Returns bytes and messages that all members have sent.
    pub(crate) const fn sent(&self) -> (u64, u64) {
        self.sent
    }

    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub(crate) fn delivered(&self) -> &[Delivered] {
        &self.delivered
    }

    pub(crate) fn forget_observations(&mut self) {
        self.changes.clear();
        self.delivered.clear();
    }

    /// Returns the last member.
    pub(crate) const fn last(&self) -> Number {
        Number(self.simulation.members.saturating_sub(1))
    }

    /// Returns how many members run.
    pub(crate) fn running(&self) -> usize {
        self.places.iter().flatten().count()
    }

    /// Returns how many neighbours all members have together.
    pub(crate) fn neighbours(&self) -> usize {
        self.places.iter().flatten().map(|it| it.machine.neighbours().len()).sum()
    }

    /// Returns whether every running member counts exactly the running ones as up.
    pub(crate) fn converged(&self) -> bool {
        let running = self.running();
        let mut tables = self.places.iter().flatten().map(|it| &it.machine.swim().table);
        let digests: BTreeSet<u64> = tables.clone().map(|it| it.digest()).collect();
        digests.len() <= 1
            && tables.all(|it| it.alive() == running)
            && running == self.simulation.members as usize - self.dead()
    }

    fn dead(&self) -> usize {
        self.places.iter().filter(|it| it.is_none()).count()
    }

    /// Starts all members, within two seconds unless they know each other.
    pub(crate) fn start_all(&mut self) {
        for member in 0..self.simulation.members {
            self.add(Number(member), 0);
            let spread = Duration::from_secs(2).mul_f64(self.dice.unit());
            let first = self.simulation.joined || member == 0;
            let wait = if first { Duration::ZERO } else { spread };
            self.file(wait, Number(member), Event::Start);
        }
    }

    /// Makes a member; `later` is the number of its start.
    fn add(&mut self, member: Number, later: u64) {
        let manner = Manner {
            swarm: [7; 8],
            times: self.simulation.times,
            epoch: EPOCH + later,
            seed: self.simulation.seed,
            most: usize::MAX,
            rate: Rate { per_second: 50.0, burst: 200.0 },
        };
        let judge = SimulatedJudge { us: member, members: self.simulation.members };
        let mut machine = Machine::new(member, vec![Number(0)], &manner, Box::new(judge));
        if self.simulation.joined && later == 0 {
            machine.know((0..self.simulation.members).map(Number), EPOCH);
        }
        let place = Place { machine, began: self.now, wake: None, links: BTreeSet::new() };
        self.places[member.0 as usize] = Some(place);
    }

    /// Kills a member without a word.
    pub(crate) fn kill(&mut self, member: Number) {
        self.places[member.0 as usize] = None;
        self.silence(|_, peer| peer == member);
    }

    /// Starts a killed member again; it has forgotten everything.
    pub(crate) fn restart(&mut self, member: Number) {
        self.add(member, 1);
        self.file(Duration::ZERO, member, Event::Start);
    }

    /// Lets links fall silent.
    fn silence(&mut self, which: impl Fn(Number, Number) -> bool) {
        let mut lost = Vec::new();
        for (us, place) in self.places.iter().enumerate() {
            let us = Number(u32::try_from(us).unwrap_or(u32::MAX));
            for peer in place.iter().flat_map(|it| &it.links) {
                if which(us, *peer) {
                    lost.push((us, *peer));
                }
            }
        }
        for (us, peer) in lost {
            let wait = SILENCE.0 + (SILENCE.1 - SILENCE.0).mul_f64(self.dice.unit());
            self.file(wait, us, Event::Lost { peer, loss: Loss::Silent });
        }
    }

    /// Lets a member post a body of so many bytes to everybody.
    pub(crate) fn post(&mut self, author: Number, size: usize) -> bool {
        let draft =
            Draft { to: None, topic: "test".to_owned(), limit: 10, body: vec![7; size].into() };
        self.draft(author, draft)
    }

    /// Lets a member post something; `false` when it may not.
    pub(crate) fn draft(&mut self, author: Number, draft: Draft<Number>) -> bool {
        let now = self.now;
        let Some(place) = &mut self.places[author.0 as usize] else { return false };
        match place.machine.post(now - place.began, draft) {
            Ok(outputs) => {
                self.carry_out(author, outputs);
                true
            }
            Err(_) => false,
        }
    }

    /// Returns by how much a member comes late.
    fn lateness(&mut self, member: Number) -> Duration {
        let Simulation { slow, lateness, seed, .. } = self.simulation;
        let fate = Dice::new(seed ^ member.mixed()).unit();
        if fate < slow { lateness.mul_f64(self.dice.unit()) } else { Duration::ZERO }
    }

    fn file(&mut self, wait: Duration, to: Number, event: Event) {
        let wait = wait + self.lateness(to);
        self.filed += 1;
        self.events.insert(self.filed, event);
        self.queue.push(Reverse((self.now + wait, self.filed, to.0)));
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(Reverse((at, number, to))) = self.queue.peek().copied() {
            if at > end {
                break;
            }
            self.queue.pop();
            self.now = at;
            if let Some(event) = self.events.remove(&number) {
                self.handle(Number(to), event);
            }
        }
        self.now = end;
    }

    fn handle(&mut self, to: Number, event: Event) {
        let now = self.now;
        let Some(place) = &mut self.places[to.0 as usize] else { return };
        let machine = &mut place.machine;
        let local = now - place.began;
        let outputs = match event {
            Event::Start => {
                place.began = now;
                machine.start(Vec::new())
            }
            Event::Wake => {
                place.wake = None;
                machine.tick(local)
            }
            Event::Message { from, message } => machine.receive(local, from, message),
            Event::Lost { peer, loss } => machine.lost(local, peer, loss),
        };
        self.carry_out(to, outputs);
    }

    fn carry_out(&mut self, us: Number, outputs: Vec<Output<Number>>) {
        for output in outputs {
            match output {
                Output::Send { to, message } => self.carry(us, to, message),
                Output::Keep { peer, keep } => {
                    if let Some(place) = &mut self.places[us.0 as usize] {
                        if keep {
                            place.links.insert(peer)
                        } else {
                            place.links.remove(&peer)
                        };
                    }
                }
                Output::Stands { peer, standing } => {
                    self.changes.push(Change { at: self.now, by: us, about: peer, standing });
                }
                Output::Deliver(post) => {
                    self.delivered.push(Delivered { at: self.now, to: us, hops: post.hops });
                }
            }
        }
        let now = self.now;
        let Some(place) = &mut self.places[us.0 as usize] else { return };
        let Some(due) = place.machine.due().map(|it| (place.began + it).max(now)) else { return };
        if place.wake.is_none_or(|it| due < it) {
            place.wake = Some(due);
            self.file(due - now, us, Event::Wake);
        }
    }

    fn carry(&mut self, from: Number, to: Number, message: Message<Number>) {
        self.sent.0 += message.encode().map_or(0, |it| it.len() as u64) + FRAME;
        self.sent.1 += 1;
        let reached = self.places.get(to.0 as usize).is_some_and(Option::is_some)
            && self.parts.get(&from) == self.parts.get(&to);
        if !reached {
            self.file(DIAL, from, Event::Lost { peer: to, loss: Loss::Silent });
            return;
        }
        let copies = if self.dice.unit() < self.simulation.loss {
            0
        } else if self.dice.unit() < self.simulation.repeats {
            2
        } else {
            1
        };
        let (least, most) = self.simulation.delay;
        for _ in 0..copies {
            let wait = least + most.saturating_sub(least).mul_f64(self.dice.unit());
            self.file(wait, to, Event::Message { from, message: message.clone() });
        }
    }
}

/// What only tests do.
#[cfg(test)]
impl Network {
    pub(crate) fn counts(&self, member: Number) -> Option<PostCounts> {
        self.machine(member).map(Machine::counts)
    }

    pub(crate) fn machine(&self, member: Number) -> Option<&Machine<Number>> {
        self.places.get(member.0 as usize)?.as_ref().map(|it| &it.machine)
    }

    /// Cuts the network: members of different parts do not reach each other. `None` heals it.
    pub(crate) fn cut(&mut self, part: Option<fn(Number) -> u8>) {
        self.parts.clear();
        if let Some(part) = part {
            self.parts =
                (0..self.simulation.members).map(|it| (Number(it), part(Number(it)))).collect();
            let parts = self.parts.clone();
            self.silence(|us, peer| parts.get(&us) != parts.get(&peer));
        }
    }

    /// Hands a member a message as if a peer had sent it.
    pub(crate) fn inject(&mut self, to: Number, from: Number, message: Message<Number>) {
        self.handle(to, Event::Message { from, message });
    }
}
