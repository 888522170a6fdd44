//! Asking one member after the other whether it is alive, and others when it does not answer.

use std::collections::BTreeMap;

use super::{Swim, Times};
use crate::swarm::desk::{Desk, Judge, Timer};
use crate::swarm::wire::{Message, Peer, Standing};

/// How many others are asked to ask.
const HELPERS: usize = 3;
/// For how many others we ask at one time.
const RELAYED: usize = 256;

/// What was asked and not answered yet.
#[derive(Debug)]
pub(super) struct Probes<P> {
    /// The member that was probed last; all are probed in the order of their keys.
    cursor: P,
    nonce: u32,
    open: BTreeMap<u32, P>,
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

    /// Probes the next member.
    pub(crate) fn probe(&mut self, desk: &mut Desk<P>, judge: &dyn Judge<P>) {
        let few = self.table.alive() <= Times::FEW;
        desk.about(if few { self.times.probe_few } else { self.times.probe_many }, Timer::Probe);
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
        let nonce = self.ping(target, desk);
        self.probes.open.insert(nonce, target);
        desk.after(self.times.answer, Timer::Unanswered(nonce));
    }

    /// Asks a member outside of the turn, for instance one that was down.
    pub(crate) fn knock(&mut self, target: P, desk: &mut Desk<P>) {
        self.ping(target, desk);
    }

    /// The probed member has not answered in time: others ask it.
    pub(crate) fn unanswered(&mut self, nonce: u32, desk: &mut Desk<P>) {
        let Some(target) = self.probes.open.get(&nonce).copied() else { return };
        let mut helpers = Vec::new();
        for _ in 0..HELPERS {
            let us = self.us;
            let helper = self.table.pick(&mut desk.dice, |peer, record| {
                record.standing == Standing::Up
                    && *peer != us
                    && *peer != target
                    && !helpers.contains(peer)
            });
            helpers.extend(helper);
        }
        for helper in helpers {
            desk.send(helper, Message::PingFor { nonce, target });
        }
        desk.after(self.times.answer * 2, Timer::Silent(nonce));
    }

    /// Nobody had an answer.
    pub(crate) fn silent(&mut self, nonce: u32, desk: &mut Desk<P>) {
        if let Some(target) = self.probes.open.remove(&nonce) {
            self.suspect(target, desk);
        }
    }

    /// The link to a peer gives nothing: there is no need to wait for its answer.
    pub(crate) fn unreachable(&mut self, peer: P, desk: &mut Desk<P>) {
        let open = self.probes.open.iter().find(|(_, target)| **target == peer);
        if let Some(nonce) = open.map(|it| *it.0) {
            self.unanswered(nonce, desk);
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
        if self.probes.open.get(&nonce) == Some(&from) {
            self.probes.open.remove(&nonce);
        }
        if digest != self.table.digest() && self.may_answer(from, desk) {
            self.compare(from, false, desk);
        }
    }

    /// A helper has an answer of the member that we probe.
    pub(crate) fn acked_for(&mut self, nonce: u32) {
        self.probes.open.remove(&nonce);
    }
}
