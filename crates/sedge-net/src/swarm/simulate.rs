//! Many members in virtual time: the state machines that run over connections, a network that delays,
//! loses, repeats and is cut, and every byte counted. The same seed gives the same run.

mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) use self::network::Network;
use super::wire::Standing;
use crate::swim::Times;

/// What to simulate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Simulation {
    /// How many members.
    pub members: u32,
    /// Where the dice start.
    pub seed: u64,
    /// The members' times.
    pub times: Times,
    /// The shortest and the longest time of a message on its way.
    pub delay: (Duration, Duration),
    /// The share of messages that get lost, from 0 to 1.
    pub loss: f64,
    /// The share of messages that arrive twice, from 0 to 1.
    pub repeats: f64,
    /// The share of members that are short of processor, from 0 to 1.
    pub slow: f64,
    /// By how much everything that such a member does comes late, at most.
    pub lateness: Duration,
    /// The members know each other from the start; otherwise they know only the first one, and
    /// start one after the other within two seconds.
    pub joined: bool,
}

/// What a simulation has shown. Times are virtual, bytes are those of messages and their frames
/// without what a transport adds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Simulated {
    /// When every member knew every other one, from the first start; `None` when that did not
    /// happen within two minutes.
    pub converged: Option<Duration>,
    /// Bytes that each member sent until then, on average.
    pub join_bytes: f64,
    /// Bytes per second that each member sends at rest, on average.
    pub rest_bytes: f64,
    /// Messages per second that each member sends at rest, on average.
    pub rest_messages: f64,
    /// Neighbours of a member, on average.
    pub neighbours: f64,
    /// When the first and the last other member suspected a killed one.
    pub suspected: Option<(Duration, Duration)>,
    /// When the first and the last other member counted a killed one as down.
    pub down: Option<(Duration, Duration)>,
    /// Members that were thought down and were not.
    pub wrongly_down: u32,
    /// When the last member knew one that came into the swarm as it stood, and when that one knew
    /// every other; `None` when that did not happen within two minutes.
    pub newcomer: Option<(Duration, Duration)>,
    /// When the last member had a broadcast of 256 bytes.
    pub broadcast: Option<Duration>,
    /// How many members got it, the author not counted.
    pub reached: u32,
    /// The most hops that it made.
    pub hops: u8,
    /// Bytes that each member sent for it, on average.
    pub broadcast_bytes: f64,
}

/// How long members are watched at rest, and after a broadcast or a death.
const WATCHED: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a simulation: joins, rest, a broadcast, a death, a newcomer.
pub fn simulate(simulation: &Simulation) -> Simulated {
    let mut net = Network::new(*simulation);
    net.start_all();
    let mut shown = Simulated::default();
    let every = Duration::from_millis(100);
    while shown.converged.is_none() && net.now() < PATIENCE {
        net.run_for(every);
        shown.converged = net.converged().then(|| net.now());
    }
    let members = f64::from(simulation.members);
    shown.join_bytes = net.sent().0 as f64 / members;
    // The neighbours settle.
    net.run_for(WATCHED);
    shown.neighbours = net.neighbours() as f64 / members;
    let before = net.sent();
    net.run_for(WATCHED);
    let (bytes, messages) = since(before, net.sent());
    shown.rest_bytes = bytes / members / WATCHED.as_secs_f64();
    shown.rest_messages = messages / members / WATCHED.as_secs_f64();
    broadcast(&mut net, &mut shown, members);
    death(&mut net, &mut shown);
    shown.newcomer = newcomer(&mut net);
    shown
}

/// Lets the one that died come back as a newcomer: it has forgotten everything but its first contact.
fn newcomer(net: &mut Network) -> Option<(Duration, Duration)> {
    net.forget_observations();
    let (begun, it) = (net.now(), net.last());
    net.restart(it);
    let every = Duration::from_millis(100);
    while !net.converged() {
        if net.now() >= begun + PATIENCE {
            return None;
        }
        net.run_for(every);
    }
    let known = net.changes().iter().filter(|change| change.about == it && change.by != it);
    let known = known.filter(|change| change.standing == Standing::Up).map(|change| change.at);
    Some((known.max()? - begun, net.now() - begun))
}

fn since(before: (u64, u64), after: (u64, u64)) -> (f64, f64) {
    ((after.0 - before.0) as f64, (after.1 - before.1) as f64)
}

fn broadcast(net: &mut Network, shown: &mut Simulated, members: f64) {
    // The first one finds the tree, the second one uses it.
    let author = net.last();
    net.post(author, 256);
    net.run_for(Duration::from_secs(5));
    net.forget_observations();
    let (begun, before) = (net.now(), net.sent());
    let rest = shown.rest_bytes * 5.0;
    net.post(author, 256);
    net.run_for(Duration::from_secs(5));
    let posts = net.delivered();
    let reached: BTreeSet<_> = posts.iter().map(|it| it.to).collect();
    shown.reached = u32::try_from(reached.len()).unwrap_or(u32::MAX);
    shown.broadcast = posts.iter().map(|it| it.at).max().map(|it| it - begun);
    shown.hops = posts.iter().map(|it| it.hops).max().unwrap_or(0);
    shown.broadcast_bytes = (since(before, net.sent()).0 / members - rest).max(0.0);
}

fn death(net: &mut Network, shown: &mut Simulated) {
    net.forget_observations();
    let (begun, victim) = (net.now(), net.last());
    net.kill(victim);
    net.run_for(WATCHED);
    let span = |standing| {
        // Each member counts once, however often it changed its mind.
        let mut at = BTreeMap::new();
        for change in net.changes() {
            if change.about == victim && change.standing == standing {
                at.entry(change.by).or_insert(change.at - begun);
            }
        }
        // A member that did not notice leaves the time open.
        let all = at.len() >= net.running();
        all.then(|| at.values().min().copied().zip(at.values().max().copied())).flatten()
    };
    shown.suspected = span(Standing::Suspect);
    shown.down = span(Standing::Down);
    let wrongly =
        net.changes().iter().filter(|it| it.about != victim && it.standing == Standing::Down);
    shown.wrongly_down = u32::try_from(wrongly.count()).unwrap_or(u32::MAX);
}

#[cfg(test)]
mod tests;
