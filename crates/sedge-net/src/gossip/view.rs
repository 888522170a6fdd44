//! The few members that a node keeps links to.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::swarm::desk::{Desk, Output, Timer};
use crate::swarm::wire::{Message, News, Peer, Standing};
use crate::swim::Swim;

/// So many neighbours a node looks for.
pub(crate) const WANTED: usize = 4;
/// So many it takes when others ask; the mean is between five and six.
pub(crate) const ROOM: usize = 7;
/// So many are asked at one time: each request may cost a connection.
const ASKED: usize = 2;
/// How often the neighbours are looked after.
const TEND: Duration = Duration::from_millis(500);
/// How long the answer to a request may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a member that could not be reached is not asked again.
const SHUNNED: Duration = Duration::from_secs(10);
/// The longest time between two tries while nobody is known.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often a neighbour is exchanged for another one: two halves that were cut off from each other
/// grow together again.
const EXCHANGE: Duration = Duration::from_secs(60);
/// A node without neighbours is urgent after so many refusals.
const REFUSALS: u32 = 3;
/// How many others a node names that has no room.
const NAMED: usize = 8;

/// The neighbours of a node.
#[derive(Debug)]
pub(crate) struct View<P> {
    us: P,
    active: Vec<P>,
    /// Who was asked, and until when it may answer.
    asked: BTreeMap<P, Duration>,
    seeds: Vec<P>,
    /// Tries in vain since the last answer of anybody.
    vain: u32,
    next_try: Duration,
    refusals: u32,
    /// Who could not be reached, and until when it is not asked again.
    shunned: BTreeMap<P, Duration>,
    /// Who is to replace one of the others.
    exchange: Option<P>,
    /// How many members were known when the youngest neighbour came.
    known: usize,
    /// A neighbour is exchanged sooner than usual from then on.
    widens_at: Duration,
}

impl<P: Peer> View<P> {
    pub(crate) fn new(us: P, mut seeds: Vec<P>) -> Self {
        seeds.retain(|it| *it != us);
        Self {
            us,
            active: Vec::new(),
            asked: BTreeMap::new(),
            seeds,
            vain: 0,
            next_try: Duration::ZERO,
            refusals: 0,
            shunned: BTreeMap::new(),
            exchange: None,
            known: 0,
            widens_at: Duration::ZERO,
        }
    }

    /// Begins to look for neighbours.
    pub(crate) fn start(&mut self, swim: &Swim<P>, desk: &mut Desk<P>) {
        self.tend(swim, desk);
        desk.about(TEND, Timer::Tend);
        desk.about(EXCHANGE, Timer::Exchange);
    }

    pub(crate) fn neighbours(&self) -> &[P] {
        &self.active
    }

    pub(crate) fn has(&self, peer: &P) -> bool {
        self.active.contains(peer)
    }

    /// Adds one to those who are asked while nobody is known.
    pub(crate) fn add_seed(&mut self, seed: P) {
        if seed != self.us && !self.seeds.contains(&seed) {
            self.seeds.push(seed);
        }
    }

    /// Looks after the neighbours, and again later.
    pub(crate) fn on_tend(&mut self, swim: &Swim<P>, desk: &mut Desk<P>) {
        self.tend(swim, desk);
        // Those who came first and have no room left, because of each other, would keep to themselves.
        let grown = swim.table.alive() >= 2 * self.known.max(ROOM);
        if grown && desk.now >= self.widens_at {
            self.widens_at = desk.now + swim.health.stretch(ANSWER);
            self.exchange(swim, desk);
        }
        desk.about(TEND, Timer::Tend);
    }

    /// Asks for as many neighbours as are missing.
    pub(crate) fn tend(&mut self, swim: &Swim<P>, desk: &mut Desk<P>) {
        let now = desk.now;
        self.asked.retain(|_, until| *until > now);
        self.shunned.retain(|_, until| *until > now);
        while self.active.len() + self.asked.len() < WANTED && self.asked.len() < ASKED {
            let free = |it: &P| *it != self.us && !self.has(it) && !self.asked.contains_key(it);
            let known = swim.table.pick(&mut desk.dice, |peer, record| {
                record.standing == Standing::Up && free(peer) && !self.shunned.contains_key(peer)
            });
            // Seeds are asked while nobody else is there, at growing distances.
            let lonely = self.active.is_empty() && self.asked.is_empty() && now >= self.next_try;
            let mut seeds: Vec<P> = self.seeds.iter().copied().filter(|it| free(it)).collect();
            if seeds.iter().any(|it| !self.shunned.contains_key(it)) {
                seeds.retain(|it| !self.shunned.contains_key(it));
            }
            let seed = if lonely { desk.dice.pick(&seeds).copied() } else { None };
            let Some(peer) = (if self.vain % 2 == 1 { seed.or(known) } else { known.or(seed) })
            else {
                return;
            };
            if lonely {
                self.vain = self.vain.saturating_add(1);
                // Every seed has its turn before the distance grows.
                let turns = self.vain / u32::try_from(self.seeds.len()).unwrap_or(1).max(1);
                let wait = TEND.saturating_mul(1 << turns.min(8)).min(PATIENCE);
                self.next_try = now + wait.mul_f64(0.5 + desk.dice.unit() / 2.0);
            }
            self.ask(peer, swim, desk);
        }
    }

    fn ask(&mut self, peer: P, swim: &Swim<P>, desk: &mut Desk<P>) {
        let urgent = self.active.is_empty() && self.refusals >= REFUSALS;
        self.asked.insert(peer, desk.now + swim.health.stretch(ANSWER));
        desk.send(peer, Message::Neighbour { urgent, us: swim.ourselves() });
    }

    /// Asks a member that was cut off to be a neighbour, whether there is room or not.
    pub(crate) fn bridge(&mut self, peer: P, swim: &Swim<P>, desk: &mut Desk<P>) {
        if !self.has(&peer) {
            self.asked.insert(peer, desk.now + swim.health.stretch(ANSWER));
            desk.send(peer, Message::Neighbour { urgent: true, us: swim.ourselves() });
        }
    }

    /// Exchanges a neighbour for another one, and again later.
    pub(crate) fn on_exchange(&mut self, swim: &Swim<P>, desk: &mut Desk<P>) {
        desk.about(EXCHANGE, Timer::Exchange);
        self.exchange(swim, desk);
    }

    /// Asks somebody to replace one of the neighbours.
    fn exchange(&mut self, swim: &Swim<P>, desk: &mut Desk<P>) {
        self.exchange = None;
        if self.active.len() < WANTED {
            return;
        }
        let us = self.us;
        let other = swim.table.pick(&mut desk.dice, |peer, record| {
            record.standing == Standing::Up && *peer != us && !self.has(peer)
        });
        if let Some(other) = other {
            self.exchange = Some(other);
            self.ask(other, swim, desk);
        }
    }

    /// Somebody wants to be our neighbour; returns the one who has to go for it.
    pub(crate) fn wanted(
        &mut self,
        from: P,
        urgent: bool,
        swim: &Swim<P>,
        desk: &mut Desk<P>,
    ) -> Option<P> {
        let full = self.active.len() >= ROOM && !self.has(&from);
        if full && !urgent {
            let mut others: Vec<News<P>> = Vec::new();
            for _ in 0..NAMED {
                let other = swim.table.pick(&mut desk.dice, |peer, record| {
                    record.standing == Standing::Up
                        && *peer != self.us
                        && *peer != from
                        && others.iter().all(|it| it.node != *peer)
                });
                others.extend(other.and_then(|it| swim.table.news(&it)));
            }
            desk.send(from, Message::Refused { us: swim.ourselves(), others });
            return None;
        }
        let goes = if full { self.drop_one(&from, desk) } else { None };
        self.add(from, swim, desk);
        desk.send(from, Message::Accepted { us: swim.ourselves() });
        goes
    }

    /// Somebody agrees to be our neighbour; returns the one who has to go for it.
    pub(crate) fn accepted(&mut self, from: P, swim: &Swim<P>, desk: &mut Desk<P>) -> Option<P> {
        if self.has(&from) {
            self.asked.remove(&from);
            return None;
        }
        if self.asked.remove(&from).is_none() {
            desk.send(from, Message::Apart);
            return None;
        }
        (self.vain, self.refusals) = (0, 0);
        let exchanged = self.exchange.take_if(|it| *it == from).is_some();
        let goes = if self.active.len() >= ROOM || (exchanged && self.active.len() > WANTED) {
            self.drop_one(&from, desk)
        } else {
            None
        };
        self.add(from, swim, desk);
        goes
    }

    /// Somebody has no room for us.
    pub(crate) fn refused(&mut self, from: P) {
        if self.asked.remove(&from).is_some() {
            self.refusals = self.refusals.saturating_add(1);
            self.next_try = Duration::ZERO;
        }
    }

    fn add(&mut self, peer: P, swim: &Swim<P>, desk: &mut Desk<P>) {
        self.asked.remove(&peer);
        if !self.has(&peer) {
            self.known = swim.table.alive();
            self.active.push(peer);
            desk.put(Output::Keep { peer, keep: true });
        }
    }

    fn drop_one(&mut self, except: &P, desk: &mut Desk<P>) -> Option<P> {
        let others: Vec<P> = self.active.iter().copied().filter(|it| it != except).collect();
        let goes = desk.dice.pick(&others).copied()?;
        desk.send(goes, Message::Apart);
        self.remove(&goes, desk);
        Some(goes)
    }

    /// The link to a peer has ended or did not come about; `false` when it was no neighbour.
    pub(crate) fn lost(&mut self, peer: P, desk: &mut Desk<P>) -> bool {
        self.shunned.insert(peer, desk.now + SHUNNED);
        self.remove(&peer, desk)
    }

    /// Removes a neighbour; `false` when it was none.
    pub(crate) fn remove(&mut self, peer: &P, desk: &mut Desk<P>) -> bool {
        self.asked.remove(peer);
        let before = self.active.len();
        self.active.retain(|it| it != peer);
        let was = self.active.len() < before;
        if was {
            desk.put(Output::Keep { peer: *peer, keep: false });
        }
        was
    }
}

#[cfg(test)]
mod tests {
    use sedge_base::NodeId;

    use super::*;
    use crate::swarm::wire::Key;
    use crate::swim::Times;

    fn key(id: u8) -> Key {
        Key::from(NodeId::from_bytes([id; 32]))
    }

    /// Returns who is asked to be a neighbour.
    fn asked(desk: &mut Desk<Key>) -> Vec<Key> {
        let asked = desk.take().into_iter().filter_map(|it| match it {
            Output::Send { to, message: Message::Neighbour { .. } } => Some(to),
            _ => None,
        });
        asked.collect()
    }

    #[test]
    fn those_who_came_first_and_have_no_room_look_for_the_others() {
        let (mut swim, mut desk) = (Swim::new(key(1), 0, Times::lan(), 100), Desk::new(1));
        let mut view = View::new(key(1), Vec::new());
        swim.know((2..=8).map(key), 1);
        for id in 2..=8 {
            assert_eq!(view.wanted(key(id), false, &swim, &mut desk), None);
        }
        view.on_tend(&swim, &mut desk);
        assert_eq!((view.neighbours().len(), asked(&mut desk)), (ROOM, Vec::new()));
        swim.know((9..=20).map(key), 1);
        view.on_tend(&swim, &mut desk);
        let others = asked(&mut desk);
        assert!(matches!(others[..], [it] if key(9) <= it && it <= key(20)), "{others:?}");
        assert!(view.accepted(others[0], &swim, &mut desk).is_some());
        assert!(view.has(&others[0]));
        desk.now += EXCHANGE / 2;
        view.on_tend(&swim, &mut desk);
        assert_eq!(asked(&mut desk), Vec::new(), "it has met them");
    }
}
