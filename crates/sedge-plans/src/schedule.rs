//! One schedule: what is due when, and what came of it. Pure: the clock is an argument.

use std::collections::VecDeque;

use sedge_base::Timestamp;
use serde::{Deserialize, Serialize};

use crate::when::{When, WhenError};
use crate::wish::{Ran, Wish};

/// Runs of which a schedule remembers what came.
const KEPT_RUNS: usize = 10;

/// What happens to a run whose time passed while the node was away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// It runs when the node is back, once, however many were missed.
    #[default]
    Run,
    /// It is left out.
    Skip,
}

/// A task that runs by itself when it is due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its name among the schedules of the node.
    pub id: String,
    /// What runs.
    pub task: Wish,
    /// When.
    pub when: When,
    /// What happens to runs that were missed.
    pub missed: Missed,
    /// After how many runs it ends; `None`: never.
    pub max_runs: Option<u64>,
    /// When it was made.
    pub created: Timestamp,
    /// When it is due next; `None` when it has ended.
    pub next: Option<Timestamp>,
    /// How many runs have begun.
    pub runs: u64,
    /// How many were left out, because the one before had not ended or the node was away.
    pub skipped: u64,
    /// The last runs, the newest last, ten at most.
    pub last: VecDeque<Run>,
}

/// One run of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Which run it is, from 1.
    pub number: u64,
    /// When it was due.
    pub due: Timestamp,
    /// When it began.
    pub began: Timestamp,
    /// Where it stands.
    pub state: RunState,
    /// What came of it.
    #[serde(flatten)]
    pub ran: Ran,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It has begun.
    Running,
    /// It did what it should.
    Success,
    /// It failed, or was refused.
    Failed,
    /// The node stopped while it ran; it is not repeated.
    Interrupted,
}

impl Schedule {
    /// Makes a schedule that has not run yet.
    ///
    /// # Errors
    ///
    /// See [`WhenError`].
    pub fn new(id: String, task: Wish, when: When, now: Timestamp) -> Result<Self, WhenError> {
        let next = Some(when.first(now)?);
        Ok(Self {
            id,
            task,
            when,
            missed: Missed::default(),
            max_runs: None,
            created: now,
            next,
            runs: 0,
            skipped: 0,
            last: VecDeque::new(),
        })
    }

    /// Returns whether it is due.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.next.is_some_and(|it| it <= now)
    }

    /// Returns whether a run has begun and not ended.
    pub fn is_running(&self) -> bool {
        self.last.iter().any(|it| it.state == RunState::Running)
    }

    /// Takes the run that is due, if one is: counts it, and moves on to the next time. Returns its
    /// number; `None` when nothing is due, or the run before has not ended.
    pub fn take(&mut self, now: Timestamp) -> Option<u64> {
        let due = self.next.filter(|it| *it <= now)?;
        if self.is_running() {
            self.skipped += 1;
            self.next = self.when.next(now).ok().flatten();
            return None;
        }
        let number = self.begin(due, now);
        // Runs that were missed in between are not made up for.
        self.next = self.when.next(now).ok().flatten().filter(|_| !self.is_exhausted());
        Some(number)
    }

    /// Begins a run that is not due; the next time stays. `None` when a run has not ended.
    pub fn take_by_hand(&mut self, now: Timestamp) -> Option<u64> {
        (!self.is_running()).then(|| self.begin(now, now))
    }

    fn begin(&mut self, due: Timestamp, now: Timestamp) -> u64 {
        self.runs += 1;
        while self.last.len() >= KEPT_RUNS {
            self.last.pop_front();
        }
        let (number, state) = (self.runs, RunState::Running);
        self.last.push_back(Run { number, due, began: now, state, ran: Ran::default() });
        number
    }

    /// Notes what came of a run.
    pub fn ended(&mut self, number: u64, ran: Ran) {
        if let Some(run) = self.last.iter_mut().find(|it| it.number == number) {
            let failed = ran.failure.is_some();
            run.state = if failed { RunState::Failed } else { RunState::Success };
            run.ran = ran;
        }
    }

    /// Takes it up after the node was away: what ran then was interrupted, and what was missed is due
    /// now or left out.
    pub fn taken_up(&mut self, now: Timestamp) {
        for run in self.last.iter_mut().filter(|it| it.state == RunState::Running) {
            run.state = RunState::Interrupted;
        }
        if self.missed == Missed::Skip && self.is_due(now) {
            self.skipped += 1;
            self.next = self.when.next(now).ok().flatten();
        }
    }

    fn is_exhausted(&self) -> bool {
        self.max_runs.is_some_and(|most| self.runs >= most)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sedge_base::{Clock, ErrorKind};
    use sedge_capability::Failure;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedule(when: When, now: Timestamp) -> Schedule {
        let task = serde_json::from_str(r#"{"function":"fn-1","input":"x"}"#).unwrap();
        Schedule::new("one".to_owned(), task, when, now).unwrap()
    }

    fn five_minutes() -> When {
        When::Cron { cron: "*/5 * * * *".to_owned(), zone: "UTC".to_owned() }
    }

    #[test]
    fn row_077_every_five_minutes_has_the_right_times_and_advances_after_a_run() {
        let clock = Clock::manual(at("2026-11-21T12:02:00Z"));
        let mut one = schedule(five_minutes(), clock.now());
        let times = |it: &Schedule| it.when.upcoming(it.next.unwrap(), 3);
        let expected = |times: [&str; 3]| times.map(at);
        assert_eq!(
            times(&one),
            expected(["2026-11-21T12:05:00Z", "2026-11-21T12:10:00Z", "2026-11-21T12:15:00Z"])
        );
        assert_eq!(one.take(clock.now()), None, "not due");
        clock.advance(Duration::from_secs(181));
        assert!(one.is_due(clock.now()));
        assert_eq!(one.take(clock.now()), Some(1));
        assert_eq!(
            times(&one),
            expected(["2026-11-21T12:10:00Z", "2026-11-21T12:15:00Z", "2026-11-21T12:20:00Z"])
        );
        one.ended(1, Ran::default());
        assert_eq!(one.take(clock.now()), None, "it is due once only");
        let run = one.last.back().unwrap();
        assert_eq!((run.due, run.state), (at("2026-11-21T12:05:00Z"), RunState::Success));
    }

    #[test]
    fn many_missed_runs_are_one_or_none() {
        let now = at("2026-11-21T12:02:00Z");
        let mut one = schedule(five_minutes(), now);
        let mut none = Schedule { missed: Missed::Skip, ..one.clone() };
        let later = at("2026-11-22T12:02:00Z");
        for it in [&mut one, &mut none] {
            it.taken_up(later);
        }
        assert_eq!((one.take(later), one.next), (Some(1), Some(at("2026-11-22T12:05:00Z"))));
        assert_eq!((none.take(later), none.next), (None, Some(at("2026-11-22T12:05:00Z"))));
        assert_eq!((one.take(later), none.skipped), (None, 1));
    }

    #[test]
    fn a_run_that_has_not_ended_lets_the_next_be_left_out() {
        let now = at("2026-11-21T12:00:00Z");
        let mut one = schedule(When::Interval { every_ms: 1000 }, now);
        assert_eq!(one.take(now), Some(1));
        let later = now.plus(Duration::from_secs(1));
        assert_eq!((one.take(later), one.skipped), (None, 1));
        assert_eq!(one.take_by_hand(later), None);
        one.ended(1, Ran::refused(Failure::new(ErrorKind::Failed, "trap", "it trapped")));
        assert_eq!(one.last.back().unwrap().state, RunState::Failed);
        assert_eq!(one.take(later.plus(Duration::from_secs(1))), Some(2));
    }

    #[test]
    fn once_and_so_many_times_come_to_an_end() {
        let now = at("2026-11-21T12:00:00Z");
        let mut once = schedule(When::Once { at: now }, now);
        assert_eq!((once.take(now), once.next), (Some(1), None));
        let twice = schedule(When::Interval { every_ms: 1000 }, now);
        let mut twice = Schedule { max_runs: Some(2), ..twice };
        let later = now.plus(Duration::from_secs(9));
        assert_eq!(twice.take(now), Some(1));
        twice.ended(1, Ran::default());
        assert_eq!((twice.take(later), twice.next), (Some(2), None));
    }

    #[test]
    fn what_ran_when_the_node_stopped_was_interrupted_and_few_runs_are_kept() {
        let now = at("2026-11-21T12:00:00Z");
        let mut one = schedule(five_minutes(), now);
        for number in 1..=12 {
            assert_eq!(one.take_by_hand(now), Some(number));
            if number < 12 {
                one.ended(number, Ran::default());
            }
        }
        assert_eq!((one.last.len(), one.last[0].number), (KEPT_RUNS, 3));
        let text = serde_json::to_string(&one).unwrap();
        let mut again: Schedule = serde_json::from_str(&text).unwrap();
        assert_eq!(again, one);
        again.taken_up(now);
        assert_eq!(again.last.back().unwrap().state, RunState::Interrupted);
    }
}
