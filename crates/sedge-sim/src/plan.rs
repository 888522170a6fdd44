//! What happens in a run, and when: everything follows from the seed.

use std::time::Duration;

use sedge_base::Dice;

use crate::engine::Script;
use crate::net::Weather;
use crate::quorum::VOTERS;

/// How long things go wrong for.
const TROUBLE: Duration = Duration::from_secs(20);
/// The longest that one fault lasts.
const LASTS: Duration = Duration::from_secs(6);
/// By how much a clock jumps.
const JUMP_MS: i64 = 3_600_000;

/// The function that may run once only, on every machine from the start.
pub(crate) const ONCE: &str = "once";
/// The function that may be repeated, on every machine from the start.
pub(crate) const IDEMPOTENT: &str = "again";

/// Which sorts of faults a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// One link is cut, in one direction or both.
    Cut,
    /// One machine is cut off from all others.
    Island,
    /// One link is slow and loses much.
    Storm,
    /// A machine loses its power.
    Crash,
    /// A machine's clock jumps by an hour.
    Clock,
    /// A machine's disk is full.
    Full,
    /// A machine's disk is slow.
    Slow,
}

impl Sort {
    /// Every sort.
    pub const ALL: [Self; 7] =
        [Self::Cut, Self::Island, Self::Storm, Self::Crash, Self::Clock, Self::Full, Self::Slow];
}

/// A run: how many machines, and what happens to them.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// How many machines there are.
    pub machines: usize,
    /// Whether the last one turns against the others.
    pub hostile: bool,
    /// Up to so many machines talk to all others; of more, each talks to a few, and the rest is gossip.
    pub full_mesh: usize,
    /// Whether the first three vote on who coordinates, on claims and on records.
    pub quorum: bool,
    /// What happens, in order, each after so much time from the beginning of the trouble.
    pub steps: Vec<(Duration, Step)>,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Somebody asks for something.
    Work(Work),
    /// Nothing gets through from one machine to another.
    Cut(usize, usize),
    /// It gets through again.
    Mend(usize, usize),
    /// The link from one machine to another changes.
    Weather(usize, usize, Weather),
    /// A machine loses its power.
    Crash(usize),
    /// A machine is switched on.
    Start(usize),
    /// A machine's clock is wrong by so many milliseconds.
    Clock(usize, i64),
    /// A machine's disk is full, or no longer.
    Full(usize, bool),
    /// Every step on a machine's disk takes up to this long.
    Slow(usize, Duration),
}

/// Something that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// A task.
    Task(TaskWork),
    /// A new function of this name, on every machine or on one.
    Deploy {
        /// The machine that is asked.
        on: usize,
        /// The function's name.
        name: String,
        /// The machine that gets it; `None` is every one.
        to: Option<usize>,
    },
    /// The owner takes a membership back.
    Revoke(usize),
    /// The owner invites a machine again, and it joins.
    Readmit(usize),
    /// The owner takes the token back.
    RevokeToken,
    /// Something that a majority decides.
    Quorum(QuorumWork),
}

/// Something that is asked of the quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumWork {
    /// The machine that is asked.
    pub on: usize,
    /// For what.
    pub ask: QuorumAsk,
}

/// What the quorum is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuorumAsk {
    /// A claim on one of a few keys, for so long.
    Claim {
        /// Which key.
        key: u64,
        /// For how long.
        ttl: Duration,
    },
    /// A record in the log.
    Record {
        /// What it says.
        number: u64,
    },
}

/// A task that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskWork {
    /// The machine that is asked.
    pub on: usize,
    /// The machine that is to run it; `None` lets routing pick.
    pub pin: Option<usize>,
    /// The function.
    pub function: &'static str,
    /// What it is to do.
    pub script: Script,
    /// With which token it is asked for: the one that is taken back, or the one for a few calls.
    pub token: Option<Pass>,
}

/// The tokens of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Good for everything until the owner takes it back.
    Revocable,
    /// Good for `CALLS` calls.
    Counted,
}

/// How many calls the counted token is good for.
pub(crate) const CALLS: u64 = 3;

impl Plan {
    /// Makes the plan of a seed.
    pub fn new(dice: &mut Dice) -> Self {
        let machines = 3 + usize::from(dice.chance(40)) + usize::from(dice.chance(20));
        let hostile = dice.chance(25);
        let mut plan = Self { machines, hostile, full_mesh: 8, quorum: false, steps: Vec::new() };
        plan.plan_work(dice);
        for _ in 0..2 + dice.below(4) {
            plan.plan_fault(dice);
        }
        if dice.chance(50) {
            plan.full_mesh = 2;
        }
        // Voters trust each other: none of them turns against the others.
        plan.quorum = dice.chance(50) && (machines > VOTERS || !hostile);
        if plan.quorum {
            plan.plan_quorum(dice);
        }
        // The sort is stable: what is planned first for a moment happens first.
        plan.steps.sort_by_key(|it| it.0);
        plan
    }

    fn machine(&self, dice: &mut Dice) -> usize {
        below(dice, self.machines)
    }

    fn at(&mut self, when: Duration, step: Step) {
        self.steps.push((when, step));
    }

    fn plan_work(&mut self, dice: &mut Dice) {
        for tag in 0..u32::try_from(12 + dice.below(10)).unwrap_or(12) {
            let pin = dice.chance(40).then(|| self.machine(dice));
            let longest = if dice.chance(20) { 3000 } else { 200 };
            let script = Script {
                tag,
                takes: dice.up_to(Duration::from_millis(longest)),
                chunks: u32::try_from(1 + dice.below(3)).unwrap_or(1),
                fails: dice.chance(10),
            };
            let token = match dice.below(10) {
                0 | 1 => Some(Pass::Revocable),
                2 | 3 => Some(Pass::Counted),
                _ => None,
            };
            let function = if dice.chance(60) { ONCE } else { IDEMPOTENT };
            let work = TaskWork { on: self.machine(dice), pin, function, script, token };
            self.at(dice.up_to(TROUBLE), Step::Work(Work::Task(work)));
        }
        for number in 0..dice.below(4) {
            let to = dice.chance(50).then(|| self.machine(dice));
            let (on, name) = (self.machine(dice), format!("new{number}"));
            self.at(dice.up_to(TROUBLE), Step::Work(Work::Deploy { on, name, to }));
        }
        if dice.chance(50) {
            self.at(dice.up_to(TROUBLE), Step::Work(Work::RevokeToken));
        }
        if dice.chance(50) {
            // Never the owner, which is the first.
            let who = 1 + below(dice, self.machines - 1);
            let when = dice.up_to(TROUBLE / 2);
            self.at(when, Step::Work(Work::Revoke(who)));
            if dice.chance(60) {
                let again = when + dice.up_to(TROUBLE / 2);
                self.at(again, Step::Work(Work::Readmit(who)));
            }
        }
    }

    fn plan_quorum(&mut self, dice: &mut Dice) {
        for number in 0..8 + dice.below(8) {
            let ask = match dice.chance(60) {
                true => QuorumAsk::Claim {
                    key: dice.below(3),
                    ttl: Duration::from_millis(1) + dice.up_to(Duration::from_secs(4)),
                },
                false => QuorumAsk::Record { number },
            };
            let work = QuorumWork { on: self.machine(dice), ask };
            self.at(dice.up_to(TROUBLE), Step::Work(Work::Quorum(work)));
        }
    }

    fn plan_fault(&mut self, dice: &mut Dice) {
        let sort = dice.pick(&Sort::ALL).copied().unwrap_or(Sort::Cut);
        let (from, until) = {
            let from = dice.up_to(TROUBLE);
            (from, from + dice.up_to(LASTS))
        };
        let who = self.machine(dice);
        let other = (who + 1 + below(dice, self.machines - 1)) % self.machines;
        match sort {
            Sort::Cut => {
                let both = dice.chance(50);
                for (a, b) in [(who, other), (other, who)].into_iter().take(1 + usize::from(both)) {
                    self.at(from, Step::Cut(a, b));
                    self.at(until, Step::Mend(a, b));
                }
            }
            Sort::Island => {
                for other in (0..self.machines).filter(|it| *it != who) {
                    for (a, b) in [(who, other), (other, who)] {
                        self.at(from, Step::Cut(a, b));
                        self.at(until, Step::Mend(a, b));
                    }
                }
            }
            Sort::Storm => {
                let storm = Weather {
                    delay: dice.up_to(Duration::from_millis(300)),
                    jitter: dice.up_to(Duration::from_millis(200)),
                    loss_percent: dice.below(40),
                };
                for (a, b) in [(who, other), (other, who)] {
                    self.at(from, Step::Weather(a, b, storm));
                    self.at(until, Step::Weather(a, b, Weather::default()));
                }
            }
            Sort::Crash => {
                self.at(from, Step::Crash(who));
                self.at(until + Duration::from_millis(500), Step::Start(who));
            }
            Sort::Clock => {
                let by = if dice.chance(50) { JUMP_MS } else { -JUMP_MS };
                self.at(from, Step::Clock(who, by));
                self.at(until, Step::Clock(who, 0));
            }
            Sort::Full => {
                self.at(from, Step::Full(who, true));
                self.at(until, Step::Full(who, false));
            }
            Sort::Slow => {
                let slowest = dice.up_to(Duration::from_millis(150));
                self.at(from, Step::Slow(who, slowest));
                self.at(until, Step::Slow(who, Duration::ZERO));
            }
        }
    }
}

fn below(dice: &mut Dice, end: usize) -> usize {
    usize::try_from(dice.below(end as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_plan_and_another_seed_another() {
        let plan = |seed| Plan::new(&mut Dice::new(seed));
        assert_eq!(plan(5), plan(5));
        assert_ne!(plan(5), plan(6));
    }

    #[test]
    fn a_hundred_seeds_have_every_sort_of_step() {
        let plans: Vec<_> = (0..100).map(|it| Plan::new(&mut Dice::new(it))).collect();
        let has = |wanted: fn(&Step) -> bool| {
            plans.iter().any(|plan| plan.steps.iter().any(|(_, step)| wanted(step)))
        };
        assert!(has(|it| matches!(it, Step::Cut(..))));
        assert!(has(|it| matches!(it, Step::Crash(_))));
        assert!(has(|it| matches!(it, Step::Clock(_, by) if *by < 0)));
        assert!(has(|it| matches!(it, Step::Full(_, true))));
        assert!(has(|it| matches!(it, Step::Work(Work::Readmit(_)))));
        assert!(has(|it| matches!(it, Step::Work(Work::RevokeToken))));
        assert!(plans.iter().any(|it| it.full_mesh < it.machines));
        assert!(plans.iter().any(|it| it.full_mesh > it.machines));
        assert!(has(|it| matches!(it, Step::Work(Work::Quorum(_)))));
        assert!(plans.iter().any(|it| it.quorum && it.hostile));
        assert!(plans.iter().any(|it| it.hostile) && plans.iter().any(|it| it.machines == 5));
    }
}
