//! Who coordinates: the later term, then the higher priority, then the smaller id.
//!
//! This is agreement among agents that can hear each other, no more: two halves of a divided swarm
//! each choose one, and agree again when they hear of each other.

use std::cmp::Reverse;

/// The largest step by which a term may grow at once, so that nobody can use the terms up.
const MAX_STEP: u64 = 1 << 20;

/// Somebody who wants to coordinate, or does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The agent.
    pub id: String,
    /// How much it should be the one.
    pub priority: u32,
    /// The election; later ones count.
    pub term: u64,
}

impl Candidate {
    /// Returns whether this one is to be preferred in the same term.
    fn beats(&self, other: &Self) -> bool {
        (self.priority, Reverse(&self.id)) > (other.priority, Reverse(&other.id))
    }
}

/// What an agent does about a message of an election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: the candidate is fine, or the coordinator is known.
    Fine,
    /// Says that it is the better candidate.
    Object(Candidate),
    /// The term is over, or too far ahead.
    Refuse {
        /// The present term.
        term: u64,
    },
}

/// What an agent knows of the election.
#[derive(Debug)]
pub(super) struct Election {
    own: String,
    priority: u32,
    term: u64,
    /// Whether somebody better stood up in this term.
    beaten: bool,
    coordinator: Option<Candidate>,
}

impl Election {
    pub(super) const fn new(own: String, priority: u32) -> Self {
        Self { own, priority, term: 0, beaten: false, coordinator: None }
    }

    pub(super) const fn coordinator(&self) -> Option<&Candidate> {
        self.coordinator.as_ref()
    }

    pub(super) const fn term(&self) -> u64 {
        self.term
    }

    fn own(&self) -> Candidate {
        Candidate { id: self.own.clone(), priority: self.priority, term: self.term }
    }

    /// Stands up in the next term.
    pub(super) fn stand(&mut self) -> Candidate {
        self.term = self.term.saturating_add(1);
        self.beaten = false;
        self.own()
    }

    /// Coordinates from now on, unless somebody better stood up in that term or it is over.
    pub(super) fn win(&mut self, term: u64) -> Option<Candidate> {
        let better = self.coordinator.as_ref().is_some_and(|it| it.term >= term);
        if self.beaten || self.term != term || better {
            return None;
        }
        self.coordinator = Some(self.own());
        self.coordinator.clone()
    }

    fn enter(&mut self, term: u64) -> Result<(), Verdict> {
        if term < self.term || term.saturating_sub(self.term) > MAX_STEP {
            return Err(Verdict::Refuse { term: self.term });
        }
        if term > self.term {
            (self.term, self.beaten) = (term, false);
        }
        Ok(())
    }

    /// Hears that somebody stands up.
    pub(super) fn heard_candidate(&mut self, candidate: &Candidate) -> Verdict {
        if let Err(refused) = self.enter(candidate.term) {
            return refused;
        }
        if candidate.beats(&self.own()) {
            self.beaten = true;
            Verdict::Fine
        } else {
            Verdict::Object(self.own())
        }
    }

    /// Hears that somebody coordinates.
    pub(super) fn heard_coordinator(&mut self, winner: &Candidate) -> Verdict {
        if let Err(refused) = self.enter(winner.term) {
            return refused;
        }
        let known = self.coordinator.as_ref().filter(|it| it.term == winner.term);
        if let Some(known) = known.filter(|it| *it != winner && !winner.beats(it)) {
            return Verdict::Object(known.clone());
        }
        self.beaten = winner.id != self.own;
        self.coordinator = Some(winner.clone());
        Verdict::Fine
    }

    /// Forgets a coordinator that left.
    pub(super) fn left(&mut self, id: &str) {
        self.coordinator.take_if(|it| it.id == id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: &str, priority: u32, term: u64) -> Candidate {
        Candidate { id: id.to_owned(), priority, term }
    }

    #[test]
    fn the_higher_priority_wins_its_term() {
        let mut low = Election::new("low".to_owned(), 1);
        let mut high = Election::new("high".to_owned(), 9);
        let stands = low.stand();
        assert_eq!(high.heard_candidate(&stands), Verdict::Object(candidate("high", 9, 1)));
        assert_eq!(low.heard_candidate(&candidate("high", 9, 1)), Verdict::Fine);
        assert_eq!(low.win(1), None);
        let winner = high.win(1).unwrap();
        assert_eq!(low.heard_coordinator(&winner), Verdict::Fine);
        assert_eq!(low.coordinator(), Some(&winner));
        low.left("high");
        assert_eq!(low.coordinator(), None);
    }

    #[test]
    fn old_terms_and_giant_steps_are_refused() {
        let mut one = Election::new("one".to_owned(), 5);
        assert_eq!(one.heard_coordinator(&candidate("a", 1, 7)), Verdict::Fine);
        let refused = Verdict::Refuse { term: 7 };
        assert_eq!(one.heard_candidate(&candidate("b", 9, 6)), refused);
        assert_eq!(one.heard_coordinator(&candidate("b", 9, u64::MAX)), refused);
        assert_eq!(one.heard_coordinator(&candidate("a", 1, 7)), Verdict::Fine, "said again");
        let worse = one.heard_coordinator(&candidate("b", 0, 7));
        assert_eq!(worse, Verdict::Object(candidate("a", 1, 7)));
        assert_eq!(one.heard_coordinator(&candidate("b", 0, 8)), Verdict::Fine);
    }

    #[test]
    fn of_equal_priorities_the_smaller_id_wins() {
        let mut b = Election::new("b".to_owned(), 5);
        assert_eq!(b.heard_candidate(&candidate("a", 5, 1)), Verdict::Fine);
        assert_eq!(b.heard_candidate(&candidate("c", 5, 1)), Verdict::Object(candidate("b", 5, 1)));
    }
}
