//! Asking one member after the other whether it is alive, and others when it does not answer.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Swim, Times};
use crate::swarm::desk::{Desk, Judge, Timer};
use crate::swarm::wire::{Message, Peer, Standing};

/// How many others are asked to ask.
const HELPERS: usize = 3;
/// For how many others we ask at one time.
const RELAYED: usize = 256;

/// One question.
#[derive(Debug, Clone, Copy)]
struct Probe<P> {
    target: P,
    /// Others are asking too.
    helped: bool,
}

/// What was asked and not answered yet.
#[derive(Debug)]
pub(super) struct Probes<P> {
    /// The member that was probed last; all are probed in the order of their keys.
    cursor: P,
    nonce: u32,
    open: BTreeMap<u32, Probe<P>>,
    /// For whom we ask: our number, whom we ask, and the asker with its own number.
    relayed: BTreeMap<u32, (P, P, u32)>,
}

impl<P: Peer> Probes<P> {
    pub(super) const fn new(us: P) -> Self {
        Self { cursor: us, nonce: 0, open: BTreeMap::new(), relayed: BTreeMap::new() }
    }

    fn number(&mut self) -> u32 {
        self.nonce = self.nonce.wrapping_add(1);
        self.nonce
    }
}

impl<P: Peer> Swim<P> {
    fn ping(&mut self, target: P, desk: &mut Desk<P>) -> u32 {
        let nonce = self.probes.number();
        desk.send(target, Message::Ping { nonce });
        nonce
    }

    /// Returns the time between two probes. While members come and go there may soon be many, and
    /// they need the processor to find their neighbours, whose links watch them anyway.
    pub(super) fn probe_every(&self, now: Duration) -> Duration {
        let Times { probe_few, probe_many, .. } = self.times;
        let few = self.table.alive() <= Times::FEW && self.rumours.are_calm(now, probe_many);
        self.health.stretch(if few { probe_few } else { probe_many })
    }

    /// Probes the next member.
    pub(crate) fn probe(&mut self, desk: &mut Desk<P>, judge: &dyn Judge<P>) {
        desk.about(self.probe_every(desk.now), Timer::Probe);
        let us = self.us;
        let next = self.table.next(&self.probes.cursor, |peer, record| {
            *peer != us && record.standing != Standing::Down
        });
        let Some(target) = next else { return };
        self.probes.cursor = target;
        if !judge.admits(&target) {
            // Its membership was taken back.
            self.leaves(target, desk);
            return;
        }
        self.ask(target, desk);
    }

    /// Asks a member and waits for its answer.
    fn ask(&mut self, target: P, desk: &mut Desk<P>) {
        let nonce = self.ping(target, desk);
        self.probes.open.insert(nonce, Probe { target, helped: false });
        desk.after(self.health.stretch(self.times.answer), Timer::Unanswered(nonce));
    }

    /// Asks a member outside of the turn, for instance one that was down.
    pub(crate) fn knock(&mut self, target: P, desk: &mut Desk<P>) {
        self.ping(target, desk);
    }

    /// The probed member has not answered in time: others ask it, neighbours if there are some, because
    /// the way to them is open.
    pub(crate) fn unanswered(&mut self, nonce: u32, neighbours: &[P], desk: &mut Desk<P>) {
        let Some(probe) = self.probes.open.get_mut(&nonce) else { return };
        if std::mem::replace(&mut probe.helped, true) {
            return;
        }
        let target = probe.target;
        let mut near: Vec<P> = neighbours.iter().copied().filter(|it| *it != target).collect();
        let mut helpers = Vec::new();
        for _ in 0..HELPERS {
            let us = self.us;
            let helper = if near.is_empty() {
                self.table.pick(&mut desk.dice, |peer, record| {
                    record.standing == Standing::Up
                        && *peer != us
                        && *peer != target
                        && !helpers.contains(peer)
                })
            } else {
                Some(near.swap_remove(desk.dice.below(near.len())))
            };
            helpers.extend(helper);
        }
        for helper in helpers {
            desk.send(helper, Message::PingFor { nonce, target });
        }
        desk.after(self.health.stretch(self.times.answer * 2), Timer::Silent(nonce));
    }

    /// Nobody had an answer. A node that is late itself leaves it at that: the next round will tell.
    pub(crate) fn silent(&mut self, nonce: u32, desk: &mut Desk<P>) {
        if let Some(Probe { target, .. }) = self.probes.open.remove(&nonce) {
            self.health.doubted();
            if !self.health.too_late(self.times.answer) {
                self.suspect(target, desk);
            }
        }
    }

    /// The link to a neighbour has fallen silent. A node that is late itself asks it once more.
    pub(crate) fn fell_silent(&mut self, peer: P, desk: &mut Desk<P>) {
        if self.health.too_late(self.times.answer) {
            self.ask(peer, desk);
        } else {
            self.suspect(peer, desk);
        }
    }

    /// The link to a peer gives nothing: there is no need to wait for its answer.
    pub(crate) fn unreachable(&mut self, peer: P, neighbours: &[P], desk: &mut Desk<P>) {
        let open = self.probes.open.iter().find(|(_, it)| it.target == peer);
        if let Some(nonce) = open.map(|it| *it.0)
            && !self.health.too_late(self.times.answer)
        {
            self.unanswered(nonce, neighbours, desk);
        }
    }

    /// Somebody asks whether we are alive.
    pub(crate) fn pinged(&self, from: P, nonce: u32, desk: &mut Desk<P>) {
        desk.send(from, Message::Ack { nonce, digest: self.table.digest() });
    }

    /// Somebody asks us to ask another one.
    pub(crate) fn ping_for(&mut self, from: P, (nonce, target): (u32, P), desk: &mut Desk<P>) {
        if target == self.us || self.table.get(&target).is_none() {
            return;
        }
        if self.probes.relayed.len() >= RELAYED {
            self.probes.relayed.pop_first();
        }
        let ours = self.ping(target, desk);
        self.probes.relayed.insert(ours, (target, from, nonce));
    }

    /// A member has answered.
    pub(crate) fn acked(&mut self, from: P, nonce: u32, digest: u64, desk: &mut Desk<P>) {
        if let Some((target, asker, theirs)) = self.probes.relayed.get(&nonce).copied()
            && target == from
        {
            self.probes.relayed.remove(&nonce);
            desk.send(asker, Message::AckFor { nonce: theirs });
        }
        if self.probes.open.get(&nonce).is_some_and(|it| it.target == from) {
            self.probes.open.remove(&nonce);
            self.health.answered();
        }
        if digest != self.table.digest() {
            self.reconcile(from, desk);
        }
    }

    /// A helper has an answer of the member that we probe.
    pub(crate) fn acked_for(&mut self, nonce: u32) {
        self.probes.open.remove(&nonce);
    }
}
